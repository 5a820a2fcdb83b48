//! What speaks against a dependency whose breaker is closed: too little to refuse anybody,
//! and enough to say so.
//!
//! A trip needs evidence that waiting would fail, so at one call a second it takes five
//! seconds, and a dependency that falls silent takes longer still. Whoever looks at its health
//! meanwhile must not be told that all is well while each caller hears otherwise. So two
//! failures in a row, or silence that is far longer than answers take, are a *doubt*: it is
//! shown as a warning, explains the errors that come with it, and ends with the next success.
//!
//! This file uses atomics. What a tick has seen guards no memory; every access is relaxed.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{Breaker, pending_calls::PendingCalls, state::BreakerState, trip_rules::ms};
use crate::{
    FailureClass,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
};

/// What speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BreakerDoubt {
    /// The latest calls have failed, and none has succeeded since the first of them.
    Failing {
        /// Failures in a row, those included that asked to be left alone.
        failures: u32,
        /// From the first of them to the last.
        spread: Duration,
    },
    /// Calls wait, and nothing has been answered for far longer than answers take.
    Silent {
        /// How many wait.
        calls: u32,
        /// For how long nothing has been answered, while at least as many waited as hang when
        /// the stall rule trips.
        silent: Duration,
    },
}

impl fmt::Display for BreakerDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failing { failures, spread } => write!(
                f,
                "the last {failures} calls failed within {spread:?}, and none succeeded since"
            ),
            Self::Silent { calls, silent } => {
                write!(
                    f,
                    "{calls} calls wait, and there was no answer for {silent:?}"
                )
            }
        }
    }
}

impl Breaker {
    /// Returns what speaks against it while it is closed.
    pub(crate) fn doubt(&self, now: Instant) -> Option<BreakerDoubt> {
        let now_ms = self.ms(now);
        if self.word().state_at(now_ms) != BreakerState::Closed {
            return None;
        }
        self.failing(now_ms, SPREAD_MS)
            .or_else(|| self.silence(now_ms))
    }

    /// Returns how calls fail while it is closed, be it for a moment only: too little to say of
    /// the dependency, and the reason of one whose own call is the last of them.
    pub(crate) fn fails(&self, now: Instant) -> Option<BreakerDoubt> {
        let now_ms = self.ms(now);
        let is_closed = self.word().state_at(now_ms) == BreakerState::Closed;
        is_closed.then(|| self.failing(now_ms, 0))?
    }

    /// Returns how the latest calls failed while it is closed, if they did.
    pub(crate) fn failing_in_a_row(&self, now: Instant) -> Option<FailingCalls> {
        let now_ms = self.ms(now);
        let word = self.word();
        let is_closed = word.state_at(now_ms) == BreakerState::Closed;
        let (_, first) = is_closed.then(|| self.streaks.misses.read(word.generation()))??;
        Some(FailingCalls {
            class: self.record.last_failure()?,
            first: self.instant(first),
            last: self.instant(self.record.last_call_failure()?),
        })
    }

    fn failing(&self, now_ms: u64, spread_min_ms: u64) -> Option<BreakerDoubt> {
        let (failures, first) = self.streaks.misses.read(self.word().generation())?;
        let last = self.record.last_call_failure()?;
        let spread = last.saturating_sub(first);
        let is_young = now_ms.saturating_sub(last) <= ms(self.rules.window());
        (failures >= FAILURES && spread >= spread_min_ms && is_young).then(|| {
            BreakerDoubt::Failing {
                failures,
                spread: Duration::from_millis(spread),
            }
        })
    }

    fn silence(&self, now_ms: u64) -> Option<BreakerDoubt> {
        let silent = self.silence_ms(now_ms)?;
        let pending = self.pending.as_ref()?;
        Some(BreakerDoubt::Silent {
            calls: pending.look(now_ms).waiting,
            silent: Duration::from_millis(silent),
        })
    }

    /// Returns for how long calls have waited without an answer, if that is far longer than
    /// answers take.
    pub(super) fn silence_ms(&self, now_ms: u64) -> Option<u64> {
        let pending = self.pending.as_ref()?;
        let since = self.hush.since(pending.last_answer())?;
        let silent = now_ms.saturating_sub(since);
        let usual = pending.longest_answer(now_ms)?;
        let waits = pending.look(now_ms).waiting >= self.rules.stalled_calls();
        (waits && silent >= usual.saturating_mul(TIMES).max(SILENT_MS)).then_some(silent)
    }

    /// Looks whether calls wait and nothing is answered; once for each tick.
    pub(super) fn listen(&self, now_ms: u64) {
        let Some(pending) = &self.pending else { return };
        let waiting = pending.look(now_ms).waiting;
        let waits = waiting >= self.rules.stalled_calls();
        self.hush.note(waits, pending, now_ms);
    }
}

/// The latest calls, all of which have failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FailingCalls {
    /// The kind of the last failure.
    pub(crate) class: FailureClass,
    /// When the first of them failed; none has succeeded since.
    pub(crate) first: Instant,
    /// When the last did.
    pub(crate) last: Instant,
}

/// Since when calls have been seen to wait without an answer. Written by ticks, so that a
/// call writes nothing for it.
#[derive(Debug, Default)]
pub(super) struct Hush {
    /// The moment plus one; zero is none.
    since: AtomicU64,
    /// The moment of the last answer at that time, plus one; zero is none.
    after: AtomicU64,
}

impl Hush {
    fn note(&self, waits: bool, pending: &PendingCalls, now_ms: u64) {
        let after = pending.last_answer().map_or(0, |moment| moment + 1);
        if !waits {
            self.since.store(0, Relaxed);
        } else if self.since.load(Relaxed) == 0 || self.after.load(Relaxed) != after {
            self.after.store(after, Relaxed);
            self.since.store(now_ms + 1, Relaxed);
        }
    }

    /// Returns since when, if nothing has been answered meanwhile.
    fn since(&self, last_answer: Option<u64>) -> Option<u64> {
        let after = last_answer.map_or(0, |moment| moment + 1);
        let since = self.since.load(Relaxed).checked_sub(1)?;
        (self.after.load(Relaxed) == after).then_some(since)
    }
}

/// One failure is a moment's; the second, half a second later, is not.
const FAILURES: u32 = 2;
const SPREAD_MS: u64 = 500;

/// How many times as long as the longest of the latest answers a silence is, to mean anything,
/// and how long at least: a packet that is lost is sent again within a second (RFC 6298).
const TIMES: u64 = 3;
const SILENT_MS: u64 = 1_200;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{CallFailure, CallOutcome, FailureClass, Trip, testing::origin};

    const MS: Duration = Duration::from_millis(1);
    const SEC: Duration = Duration::from_secs(1);

    fn breaker(start: Instant) -> Breaker {
        Breaker::new(Trip::default().build().expect("rules"), 1, start)
    }

    fn end(breaker: &Breaker, outcome: CallOutcome, now: Instant) {
        let permit = breaker.try_acquire(now, 0, 0).expect("it is closed");
        let moved = permit.settle(outcome, now);
        assert_eq!(moved, None, "a doubt refuses nobody");
    }

    fn failed(class: FailureClass) -> CallOutcome {
        CallOutcome::Failure(class.into())
    }

    #[test]
    fn the_second_failure_in_a_row_is_said_and_a_success_takes_it_back() {
        let start = origin();
        let breaker = breaker(start);
        let unreachable = failed(FailureClass::Unreachable);
        end(&breaker, unreachable, start);
        assert_eq!((breaker.doubt(start), breaker.fails(start)), (None, None));
        end(&breaker, unreachable, start + 400 * MS);
        assert_eq!(breaker.doubt(start + 400 * MS), None, "one moment's");
        let own = BreakerDoubt::Failing {
            failures: 2,
            spread: 400 * MS,
        };
        assert_eq!(breaker.fails(start + 400 * MS), Some(own));
        end(&breaker, unreachable, start + SEC);
        let doubt = BreakerDoubt::Failing {
            failures: 3,
            spread: SEC,
        };
        assert_eq!(breaker.doubt(start + SEC), Some(doubt));
        assert_eq!(breaker.snapshot(start + SEC).doubt, Some(doubt));
        assert_eq!(breaker.doubt(start + 12 * SEC), None, "it is old");
        end(&breaker, CallOutcome::Success, start + 2 * SEC);
        assert_eq!(breaker.doubt(start + 2 * SEC), None);
    }

    #[test]
    fn who_asks_to_be_left_alone_is_heard_although_that_is_no_failure_in_a_row() {
        let start = origin();
        let breaker = breaker(start);
        for second in 0..2 {
            let busy = CallFailure::new(FailureClass::Overloaded);
            end(&breaker, CallOutcome::Failure(busy), start + second * SEC);
        }
        assert!(breaker.doubt(start + SEC).is_some());
    }

    /// Goal: silence is measured by what answers take. Method: three calls that hang after one
    /// that was answered after so long.
    #[test]
    fn silence_is_said_when_it_is_far_longer_than_answers_take() {
        for (took, known_after) in [(5 * MS, 1_250 * MS), (SEC, 3_000 * MS)] {
            let start = origin();
            let breaker = breaker(start);
            let permit = breaker.try_acquire(start, 0, 0).expect("it is closed");
            let began = start + took;
            assert_eq!(permit.settle(CallOutcome::Success, began), None);
            let hanging: Vec<_> = (0..3)
                .map(|_| breaker.try_acquire(began, 0, 0).expect("it is closed"))
                .collect();
            let mut known_at = None;
            for step in 0..20 {
                let now = began + step * 250 * MS;
                assert_eq!(breaker.tick(now, 0), None);
                if breaker.doubt(now).is_some() {
                    known_at.get_or_insert(now - began);
                }
            }
            assert_eq!(known_at, Some(known_after));
            let now = began + 6 * SEC;
            drop(hanging);
            assert_eq!(breaker.doubt(now), None, "nobody waits");
        }
    }

    #[test]
    fn where_nothing_was_ever_answered_nobody_knows_what_is_usual() {
        let start = origin();
        let breaker = breaker(start);
        let _hanging: Vec<_> = (0..3)
            .map(|_| breaker.try_acquire(start, 0, 0).expect("it is closed"))
            .collect();
        for second in 0..9 {
            let now = start + second * SEC;
            assert_eq!(breaker.tick(now, 0), None);
            assert_eq!(breaker.doubt(now), None);
        }
    }
}
