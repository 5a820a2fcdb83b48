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
