//! Takes steps of the control word: notes first, then the exchange, and the winner alone
//! gets the transition.
//!
//! This file uses atomics.

use std::time::{Duration, Instant};

use super::{
    Breaker,
    control_word::{ControlWord, Event},
    reason::{BreakerReason, REASON_BITS},
    state::{BreakerMode, BreakerState},
};
use crate::sync::atomic::Ordering::{AcqRel, Acquire};

/// A step that a breaker took. One thread gets it, so it can be logged exactly once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BreakerTransition {
    /// Where it was.
    pub from: BreakerState,
    /// Where it is.
    pub to: BreakerState,
    /// Who decides from now on.
    pub mode: BreakerMode,
    /// Why it moved, with numbers.
    pub reason: BreakerReason,
    /// When it moved.
    pub at: Instant,
    /// The generation that began, or went on if only the last part of a ramp ended or the
    /// mode changed between auto and observe.
    pub generation: u32,
}

impl BreakerTransition {
    /// Whether calls are refused from here on.
    #[must_use]
    pub const fn is_outage(&self) -> bool {
        matches!(self.to, BreakerState::Open)
    }

    /// Packs a step that an admission took: `reason 52 | from 2 | to 2 | mode 2 | how many
    /// generations the permit is ahead 6`. It is never zero.
    pub(super) fn pack(self, generation: u32) -> u64 {
        let bits = |state| ControlWord::pack(state, self.mode, 0, 0, 0).0;
        let ahead = generation.wrapping_sub(self.generation);
        self.reason.pack()
            | (bits(self.from) & 0b11) << REASON_BITS
            | bits(self.to) << (REASON_BITS + 2)
            | u64::from(ahead) << (REASON_BITS + 6)
    }
}

impl Breaker {
    /// Unpacks the step that an admission took.
    pub(super) fn unpack_transition(
        &self,
        packed: u64,
        generation: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let next = ControlWord(packed >> (REASON_BITS + 2));
        let ahead = sign_extend(packed >> (REASON_BITS + 6));
        Some(BreakerTransition {
            reason: BreakerReason::unpack(packed, &self.rules)?,
            from: ControlWord(packed >> REASON_BITS).state(),
            to: next.state(),
            mode: next.mode(),
            at: self.instant(now_ms),
            generation: generation.wrapping_sub(ahead),
        })
    }

    /// Opens if the machine is where `generation` says and rules may move it.
    pub(super) fn trip(
        &self,
        generation: u32,
        reason: BreakerReason,
        retry_after: Option<Duration>,
        jitter: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        loop {
            let word = self.word();
            if word.generation() != generation {
                return None;
            }
            let level = word.level_at(now_ms, self.rules.heal_ms, self.rules.level_max);
            // In a ramp nothing has healed, and the count goes on past the longest wait.
            let opens = level.max(match word.state() {
                BreakerState::Ramping => word.level(),
                BreakerState::Closed | BreakerState::Open | BreakerState::Probing => 0,
            });
            let event = Event::Trip {
                level: opens + 1,
                wait_ms: self.wait_ms(reason, level, retry_after, jitter),
            };
            let next = word.step(event, now_ms)?;
            self.note_opening(word, next, reason, now_ms);
            // The end of a ramp moves the word and keeps the generation: look again.
            if let Some(moved) = self.exchange(word, next, reason, now_ms) {
                return Some(moved);
            }
        }
    }

    /// Returns how long to wait after a step for this reason, and `level` openings in a row.
    fn wait_ms(
        &self,
        reason: BreakerReason,
        level: u32,
        retry_after: Option<Duration>,
        jitter: u32,
    ) -> u64 {
        let class = match reason {
            BreakerReason::ProbeFailed(class) | BreakerReason::CheckFailed(class) => Some(class),
            BreakerReason::ConsecutiveFailures { .. } | BreakerReason::FailureRatio { .. } => {
                self.record.last_failure()
            }
            _ => None,
        };
        class
            .and_then(|class| self.rules.eager_wait_ms(class, retry_after, jitter))
            .unwrap_or_else(|| self.rules.wait_ms(level, retry_after, jitter))
    }

    /// Ends a round of probes badly.
    pub(super) fn fail_round(
        &self,
        word: ControlWord,
        reason: BreakerReason,
        retry_after: Option<Duration>,
        jitter: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let level = word.level();
        let event = match reason {
            // Nothing was found out, so nothing counts against the dependency.
            BreakerReason::ProbesInconclusive { .. } => Event::ProbesFailed {
                level,
                wait_ms: self
                    .rules
                    .wait_ms(level.saturating_sub(1), retry_after, jitter),
            },
            _ => Event::ProbesFailed {
                level: level + 1,
                wait_ms: self.wait_ms(reason, level, retry_after, jitter),
            },
        };
        let next = word.step(event, now_ms)?;
        self.note_opening(word, next, reason, now_ms);
        self.exchange(word, next, reason, now_ms)
    }

    /// Ends a round of probes well.
    pub(super) fn pass_round(
        &self,
        word: ControlWord,
        probes: u32,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let ramp_ms = self.rules.ramp_ms;
        let next = word.step(Event::ProbesPassed { ramp_ms }, now_ms)?;
        // The ramp begins with fresh evidence. Nobody records while probes run, so it is
        // safe to clear before the step and would be too late after it.
        if self.word() == word {
            self.window.clear();
        }
        self.exchange(word, next, BreakerReason::ProbesPassed { probes }, now_ms)
    }

    /// Takes a step that explains itself.
    pub(super) fn advance(
        &self,
        word: ControlWord,
        event: Event,
        reason: BreakerReason,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        let next = word.step(event, now_ms)?;
        self.exchange(word, next, reason, now_ms)
    }

    pub(super) fn exchange(
        &self,
        word: ControlWord,
        next: ControlWord,
        reason: BreakerReason,
        now_ms: u64,
    ) -> Option<BreakerTransition> {
        // AcqRel: the release pairs with the acquire in `Breaker::word`; the acquire takes
        // over what the thread that took the step before had published.
        self.control
            .compare_exchange(word.0, next.0, AcqRel, Acquire)
            .ok()?;
        Some(BreakerTransition {
            from: word.state(),
            to: next.state(),
            mode: next.mode(),
            reason,
            at: self.instant(now_ms),
            generation: next.generation(),
        })
    }

    /// Writes down when and, if an outage begins or is found again in a ramp, why.
    pub(super) fn note_opening(
        &self,
        word: ControlWord,
        next: ControlWord,
        reason: BreakerReason,
        now_ms: u64,
    ) {
        let is_current = || self.is_current(word.generation());
        let generation = next.generation();
        let is_trip = matches!(word.state(), BreakerState::Closed | BreakerState::Ramping);
        // A note that is kept gets the new tag too: tags that are far apart would be
        // mistaken for each other.
        self.record.tripped.write(
            generation,
            |kept| if is_trip { reason.pack() } else { kept },
            is_current,
        );
        let is_outage_new = word.state() == BreakerState::Closed;
        self.record.outage.write(
            generation,
            |kept| if is_outage_new { now_ms + 1 } else { kept },
            is_current,
        );
        self.record.opened.write(generation, |_| now_ms, is_current);
    }

    /// Writes down an outage that begins with the breaker itself.
    pub(super) fn note_outage(&self, word: ControlWord, reason: BreakerReason, now_ms: u64) {
        let generation = word.generation();
        let is_current = || true;
        self.record
            .tripped
            .write(generation, |_| reason.pack(), is_current);
        self.record
            .outage
            .write(generation, |_| now_ms + 1, is_current);
        self.record.opened.write(generation, |_| now_ms, is_current);
    }
}

/// Widens a number of 6 bits that may be negative: in observe mode, a step can be ahead of
/// the permit that took it.
const fn sign_extend(bits: u64) -> u32 {
    (((bits as u32) << 26) as i32 >> 26) as u32
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{FailureClass, dependency::breaker::Trip, testing::origin};

    fn breaker() -> Breaker {
        let trip = Trip::default().jitter_ratio(0.0);
        let rules = trip.build().expect("the test's settings are right");
        Breaker::new(rules, 1, origin())
    }

    #[test]
    fn a_step_is_what_it_was_after_its_permit_has_carried_it() {
        let breaker = breaker();
        let at = breaker.instant(700);
        let ten = Duration::from_secs(10);
        for reason in [
            BreakerReason::ProbeDue,
            BreakerReason::RampOver,
            BreakerReason::ProbeSilent { lease: ten },
            BreakerReason::ProbesInconclusive { probes: 9 },
            BreakerReason::Stalled {
                calls: 12,
                oldest: ten,
            },
        ] {
            for (from, to, mode) in [
                (BreakerState::Open, BreakerState::Probing, BreakerMode::Auto),
                (
                    BreakerState::Ramping,
                    BreakerState::Closed,
                    BreakerMode::Auto,
                ),
                (
                    BreakerState::Closed,
                    BreakerState::Open,
                    BreakerMode::Observe,
                ),
            ] {
                // In observe mode a step can be ahead of the permit that took it.
                for (permit, generation) in [(7, 7), (7, 6), (7, 8), (0, 1)] {
                    let moved = BreakerTransition {
                        from,
                        to,
                        mode,
                        reason,
                        at,
                        generation,
                    };
                    let packed = moved.pack(permit);
                    assert_ne!(packed, 0, "nothing else is zero");
                    let found = breaker.unpack_transition(packed, permit, 700);
                    assert_eq!(found, Some(moved));
                }
            }
        }
    }

    #[test]
    fn an_outage_is_one_until_it_closes_and_each_opening_waits_longer() {
        let breaker = breaker();
        let word = breaker.word();
        let fails = |class| BreakerReason::ProbeFailed(class);
        let trips = BreakerReason::Stalled {
            calls: 3,
            oldest: Duration::ZERO,
        };
        let opened = breaker.trip(word.generation(), trips, None, 0, 1_000);
        assert_eq!(opened.map(|moved| moved.to), Some(BreakerState::Open));
        assert!(
            breaker
                .trip(word.generation(), trips, None, 0, 1_001)
                .is_none(),
            "what belongs to the evidence of before decides nothing"
        );
        let first = breaker.word();
        assert_eq!(first.level(), 1);
        let due = first.moment();
        let probing = breaker.advance(first, Event::ProbeDue, BreakerReason::ProbeDue, due);
        assert_eq!(probing.map(|moved| moved.to), Some(BreakerState::Probing));
        let class = FailureClass::Timeout;
        let failed = breaker.fail_round(breaker.word(), fails(class), None, 0, due + 5);
        assert_eq!(failed.map(|moved| moved.reason), Some(fails(class)));
        let second = breaker.word();
        assert_eq!((second.state(), second.level()), (BreakerState::Open, 2));
        let now = breaker.instant(due + 6);
        let seen = breaker.snapshot(now);
        assert_eq!(seen.outage_since, Some(breaker.instant(1_000)), "the first");
        assert_eq!(seen.since, breaker.instant(due + 5), "of this wait");
        assert_eq!(seen.reason, Some(trips), "what began the outage");
        // A round that found nothing out speaks against nobody.
        let due = second.moment();
        breaker.advance(second, Event::ProbeDue, BreakerReason::ProbeDue, due);
        let nothing = BreakerReason::ProbesInconclusive { probes: 3 };
        breaker.fail_round(breaker.word(), nothing, None, 0, due);
        assert_eq!(breaker.word().level(), 2);
    }

    #[test]
    fn who_could_not_be_reached_is_asked_again_soon() {
        let breaker = breaker();
        let wait = |reason, level| breaker.wait_ms(reason, level, None, 0);
        let absent = FailureClass::Unreachable;
        let eager = wait(BreakerReason::ProbeFailed(absent), 3);
        assert_eq!(eager, 50);
        assert_eq!(wait(BreakerReason::CheckFailed(absent), 3), eager);
        let patient = wait(BreakerReason::ProbeFailed(FailureClass::Timeout), 3);
        assert!(patient > eager);
        let in_a_row = BreakerReason::ConsecutiveFailures {
            failures: 3,
            spread: Duration::ZERO,
        };
        assert_eq!(wait(in_a_row, 3), patient, "nobody knows of what kind");
        breaker.record.failed(absent);
        assert_eq!(wait(in_a_row, 3), eager, "as the last failure was");
    }
}
