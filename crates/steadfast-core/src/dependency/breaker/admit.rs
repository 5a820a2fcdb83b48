//! Decides whether a call may run.
//!
//! This file uses atomics. A call that passes a closed breaker loads the control word and,
//! if the stall rule is on, counts itself on its own stripe: nothing else.

use std::time::Instant;

use super::{
    Breaker,
    control_word::{ControlWord, Event, TAG_BITS, tag},
    probe_round::{ProbeRound, Standing},
    reason::BreakerReason,
    refusal::BreakerRefusal,
    stage::Stage,
    state::{BreakerMode, BreakerState},
    step::BreakerTransition,
};
use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire},
};

/// What a permit remembers of its admission.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ticket {
    /// Means nothing before the call's time has begun.
    pub(super) started_ms: u64,
    /// The step that the admission took, packed so that a permit stays small: carried as it is,
    /// a call costs 666 instructions instead of 619. Zero is none.
    pub(super) moved: u64,
    pub(super) generation: u32,
    pub(super) jitter: u32,
    /// How long the head of the answer took, up to 49 days; nothing before it is there.
    pub(super) waited_ms: u32,
    stripe: u16,
    pub(super) kind: Kind,
    pub(super) stage: Stage,
}

impl Ticket {
    #[inline]
    fn new(word: ControlWord, kind: Kind, now_ms: u64, stripe: usize, random: u64) -> Self {
        Self {
            started_ms: now_ms,
            // Stripes are taken modulo their number, so the high bits are of no use.
            stripe: stripe as u16,
            waited_ms: 0,
            generation: word.generation(),
            jitter: (random >> 32) as u32,
            moved: 0,
            kind,
            stage: Stage::Underway,
        }
    }

    /// Makes the ticket of a call whose time has not begun.
    #[inline]
    pub(super) fn untimed(word: ControlWord, stripe: usize) -> Self {
        let mut ticket = Self::new(word, Kind::Call, 0, stripe, 0);
        ticket.stage = Stage::Asked;
        ticket
    }

    pub(super) const fn stripe(&self) -> usize {
        self.stripe as usize
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A call whose result is evidence.
    Call,
    /// One of the few that decide whether the dependency is back.
    Probe,
    /// A probe that has been judged by the head of its answer.
    Heard,
    /// A call that would have been refused if the breaker did more than observe. Its
    /// result is no evidence, as it would not exist.
    Bystander,
    /// None any more: the permit is settled.
    Over,
}

impl Breaker {
    /// Admits like [`Breaker::try_acquire`]; the caller makes the permit of the ticket.
    #[inline]
    pub(crate) fn admit_at(
        &self,
        now: Instant,
        stripe: usize,
        random: u64,
    ) -> Result<Ticket, BreakerRefusal> {
        self.admit(self.ms(now), stripe, random)
    }

    #[inline]
    pub(super) fn admit(
        &self,
        now_ms: u64,
        stripe: usize,
        random: u64,
    ) -> Result<Ticket, BreakerRefusal> {
        let word = self.word();
        if !word.is_plain_closed() {
            return self.admit_with_care(now_ms, stripe, random);
        }
        let ticket = Ticket::new(word, Kind::Call, now_ms, stripe, random);
        match &self.pending {
            Some(pending) if pending.start(stripe, now_ms) => self.admit_after_look(word, ticket),
            _ => Ok(ticket),
        }
    }

    /// Admits where the rules decide, or a person has.
    #[cold]
    fn admit_with_care(
        &self,
        now_ms: u64,
        stripe: usize,
        random: u64,
    ) -> Result<Ticket, BreakerRefusal> {
        let (word, kind, moved) = self.decide(now_ms, random as u32, (random >> 32) as u32);
        let kind = match kind {
            Some(kind) => kind,
            None if word.mode() == BreakerMode::Observe => Kind::Bystander,
            None => return Err(self.refusal(word, now_ms, moved)),
        };
        let mut ticket = Ticket::new(word, kind, now_ms, stripe, random);
        ticket.moved = moved.map_or(0, |moved| moved.pack(ticket.generation));
        match &self.pending {
            Some(pending)
                if pending.start(stripe, now_ms) && kind == Kind::Call && moved.is_none() =>
            {
                self.admit_after_look(word, ticket)
            }
            _ => Ok(ticket),
        }
    }

    /// Looks for calls that hang before it admits: where nothing ticks, the first call of
    /// each quarter of the stall limit does.
    #[cold]
    fn admit_after_look(
        &self,
        word: ControlWord,
        mut ticket: Ticket,
    ) -> Result<Ticket, BreakerRefusal> {
        let now_ms = ticket.started_ms;
        let Some(moved) = self.trip_if_stalled(word, ticket.jitter, now_ms) else {
            return Ok(ticket);
        };
        if word.mode() == BreakerMode::Observe {
            ticket.kind = Kind::Bystander;
            ticket.moved = moved.pack(ticket.generation);
            return Ok(ticket);
        }
        if let Some(pending) = &self.pending {
            pending.end(ticket.stripe(), now_ms);
        }
        Err(self.refusal(self.word(), now_ms, Some(moved)))
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
    ) -> (ControlWord, Option<Kind>, Option<BreakerTransition>) {
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
                    Some(Standing::Free) => {
                        self.record.probed(jitter);
                        Some(Kind::Probe)
                    }
                    Some(Standing::Full) => None,
                    Some(standing) if may_step => {
                        moved = self.end_round(word, standing, jitter, now_ms);
                        continue;
                    }
                    Some(_) => None,
                    None => continue,
                },
                (_, BreakerState::Ramping) if may_step && word.state_at(now_ms) != word.state() => {
                    moved = self.advance(word, Event::RampOver, BreakerReason::RampOver, now_ms);
                    continue;
                }
                (_, BreakerState::Ramping) => {
                    let share = self.rules.ramp_share(word.moment().saturating_sub(now_ms));
                    let by_share = f64::from(random) < share * RANDOM_RANGE;
                    match self.enter_ramp(word, by_share) {
                        Some(enters) => enters.then_some(Kind::Call),
                        None => continue,
                    }
                }
            };
            return (word, kind, moved);
        }
    }

    /// Takes a probe's slot if the round has one; [`Standing::Free`] means taken. Returns
    /// `None` if the round is over.
    fn start_probe(&self, word: ControlWord, now_ms: u64) -> Option<Standing> {
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
        word: ControlWord,
        mut change: impl FnMut(ProbeRound) -> Option<ProbeRound>,
    ) -> Option<ProbeRound> {
        let change = |round| change(ProbeRound(round)).map(|round| round.0);
        self.edit(&self.round, word, change).map(ProbeRound)
    }

    /// Changes a word that begins with the tag of the generation it is of; it is fresh if
    /// its tag is another.
    pub(super) fn edit(
        &self,
        cell: &AtomicU64,
        word: ControlWord,
        mut change: impl FnMut(u64) -> Option<u64>,
    ) -> Option<u64> {
        let tag = tag(word.generation());
        // Acquire: pairs with the release below, so that whoever sees a newer tag also
        // sees the newer control word.
        let mut seen = cell.load(Acquire);
        loop {
            let present = if seen & TAG_MASK == tag { seen } else { tag };
            if !self.is_current(word.generation()) {
                return None;
            }
            let Some(next) = change(present) else {
                return Some(present);
            };
            // AcqRel: pairs with the same exchange in another thread of the generation.
            match cell.compare_exchange(seen, next, AcqRel, Acquire) {
                Ok(_) => return Some(next),
                Err(other) => seen = other,
            }
        }
    }

    /// Takes the step that a decided round asks for.
    pub(super) fn end_round(
        &self,
        word: ControlWord,
        standing: Standing,
        jitter: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let limits = &self.rules.round;
        let reason = match standing {
            Standing::Free | Standing::Full => return None,
            Standing::Passed => return self.pass_round(word, limits.successes, now_ms),
            Standing::LeaseOver => {
                // Silence is an answer too, and it is no check's.
                self.record.call_failed(now_ms);
                BreakerReason::ProbeSilent {
                    lease: self.rules.probe_lease(),
                }
            }
            Standing::Exhausted => BreakerReason::ProbesInconclusive {
                probes: limits.inconclusive,
            },
        };
        self.fail_round(word, reason, None, jitter, now_ms)
    }
}

const TAG_MASK: u64 = (1 << TAG_BITS) - 1;
/// Values of a random `u32`.
const RANDOM_RANGE: f64 = 4_294_967_296.0;
