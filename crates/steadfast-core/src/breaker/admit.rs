//! Decides whether a call may run.
//!
//! This file uses atomics. A call that passes a closed breaker loads the control word and,
//! if the stall rule is on, counts itself on its own stripe: nothing else.

use super::{
    Breaker,
    reason::BreakerReason,
    refusal::BreakerRefusal,
    round::{Round, Standing},
    state::{BreakerMode, BreakerState},
    step::BreakerTransition,
    word::{Event, Word, tag},
};
use crate::sync::atomic::Ordering::{AcqRel, Acquire};

/// What a permit remembers of its admission.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ticket {
    pub(super) started_ms: u64,
    pub(super) stripe: usize,
    pub(super) generation: u32,
    pub(super) jitter: u32,
    pub(super) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A call whose result is evidence.
    Call,
    /// One of the few that decide whether the dependency is back.
    Probe,
    /// A call that would have been refused if the breaker did more than observe. Its
    /// result is no evidence, as it would not exist.
    Bystander,
}

#[derive(Debug)]
pub(super) struct Admitted {
    pub(super) ticket: Ticket,
    pub(super) moved: Option<BreakerTransition>,
}

impl Breaker {
    pub(super) fn admit(
        &self,
        now_ms: u64,
        stripe: usize,
        random: u64,
    ) -> Result<Admitted, BreakerRefusal> {
        let word = self.word();
        let jitter = (random >> 32) as u32;
        let (word, kind, mut moved) = if word.is_plain_closed() {
            (word, Some(Kind::Call), None)
        } else {
            self.decide(now_ms, random as u32, jitter)
        };
        let mut kind = match kind {
            Some(kind) => kind,
            None if word.mode() == BreakerMode::Observe => Kind::Bystander,
            None => return Err(self.refusal(word, now_ms, moved)),
        };
        if let Some(flights) = &self.flights {
            // Where nothing ticks, the first call of each quarter of the stall limit looks
            // for calls that hang.
            let is_look_due = flights.start(stripe, now_ms);
            if is_look_due && kind == Kind::Call && moved.is_none() {
                moved = self.trip_if_stalled(word, jitter, now_ms);
                if moved.is_some() && word.mode() == BreakerMode::Observe {
                    kind = Kind::Bystander;
                } else if moved.is_some() {
                    flights.end(stripe, now_ms);
                    return Err(self.refusal(self.word(), now_ms, moved));
                }
            }
        }
        let ticket = Ticket {
            started_ms: now_ms,
            stripe,
            generation: word.generation(),
            jitter,
            kind,
        };
        Ok(Admitted { ticket, moved })
    }

    /// Decides where the control word alone does not. Returns `None` for a refusal.
    ///
    /// Each turn of the loop decides, or takes the one step that is due, or has lost a race
    /// to somebody who took it.
    fn decide(
        &self,
        now_ms: u64,
        random: u32,
        jitter: u32,
    ) -> (Word, Option<Kind>, Option<BreakerTransition>) {
        let mut moved = None;
        loop {
            let word = self.word();
            let may_step = moved.is_none();
            let kind = match (word.mode(), word.state()) {
                (BreakerMode::ForcedOpen, _) => None,
                (BreakerMode::ForcedClosed, _) | (_, BreakerState::Closed) => Some(Kind::Call),
                (_, BreakerState::Open) if may_step && now_ms >= word.moment() => {
                    moved = self.advance(word, Event::ProbeDue, BreakerReason::ProbeDue, now_ms);
                    continue;
                }
                (_, BreakerState::Open) => None,
                (_, BreakerState::Probing) => match self.start_probe(word, now_ms) {
                    Some(Standing::Free) => Some(Kind::Probe),
                    Some(Standing::Full) => None,
                    Some(standing) if may_step => {
                        moved = self.end_round(word, standing, jitter, now_ms);
                        continue;
                    }
                    Some(_) => None,
                    None => continue,
                },
                (_, BreakerState::Ramping) if may_step && now_ms >= word.moment() => {
                    moved = self.advance(word, Event::RampOver, BreakerReason::RampOver, now_ms);
                    continue;
                }
                (_, BreakerState::Ramping) => {
                    let share = self.rules.ramp_share(word.moment().saturating_sub(now_ms));
                    (f64::from(random) < share * RANDOM_RANGE).then_some(Kind::Call)
                }
            };
            return (word, kind, moved);
        }
    }

    /// Takes a probe's slot if the round has one; [`Standing::Free`] means taken. Returns
    /// `None` if the round is over.
    fn start_probe(&self, word: Word, now_ms: u64) -> Option<Standing> {
        let mut standing = Standing::Full;
        self.edit_round(word, |round| {
            standing = round.standing(&self.rules.round, now_ms);
            (standing == Standing::Free).then(|| round.start(&self.rules.round, now_ms))
        })?;
        Some(standing)
    }

    /// Changes the round that `word` is in, if `change` wants to. Returns the round after
    /// it, or `None` if the machine is not in that round any more.
    pub(super) fn edit_round(
        &self,
        word: Word,
        mut change: impl FnMut(Round) -> Option<Round>,
    ) -> Option<Round> {
        // Acquire: pairs with the release below, so that whoever sees a newer round also
        // sees the newer control word.
        let mut seen = self.round.load(Acquire);
        loop {
            let round = if Round(seen).tag() == tag(word.generation()) {
                Round(seen)
            } else {
                Round::fresh(tag(word.generation()))
            };
            if !self.is_current(word.generation()) {
                return None;
            }
            let Some(next) = change(round) else {
                return Some(round);
            };
            // AcqRel: pairs with the same exchange in another thread of the round.
            match self.round.compare_exchange(seen, next.0, AcqRel, Acquire) {
                Ok(_) => return Some(next),
                Err(other) => seen = other,
            }
        }
    }

    /// Takes the step that a decided round asks for.
    pub(super) fn end_round(
        &self,
        word: Word,
        standing: Standing,
        jitter: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let limits = &self.rules.round;
        let reason = match standing {
            Standing::Free | Standing::Full => return None,
            Standing::Passed => return self.pass_round(word, limits.successes, now_ms),
            Standing::LeaseOver => BreakerReason::ProbeSilent {
                lease: self.rules.probe_lease(),
            },
            Standing::Exhausted => BreakerReason::ProbesInconclusive {
                probes: limits.inconclusive,
            },
        };
        self.fail_round(word, reason, None, jitter, now_ms)
    }
}

/// Values of a random `u32`.
const RANDOM_RANGE: f64 = 4_294_967_296.0;
