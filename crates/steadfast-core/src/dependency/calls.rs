//! How calls ended, counted without a line that two threads share.
//!
//! This file uses atomics. A count guards no other memory, so every access is relaxed.

use crate::{
    FailureClass,
    dependency::breaker::CallOutcome,
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        stripe::{Padded, STRIPES},
    },
};

/// How a call ended, as metrics count it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CallKind {
    /// It did what it was asked for.
    Success,
    /// It failed.
    Failure,
    /// It did not answer in time.
    Timeout,
    /// The dependency said that it has too much to do.
    Throttled,
    /// This process had no connection to give.
    Saturated,
    /// It did what it was asked for, too slowly by the caller's own measure.
    Slow,
    /// It answered, and the answer says nothing about its health.
    Neutral,
    /// The caller left before the answer.
    Abandoned,
    /// It was not made: the breaker refused it, or a gate the request that would have.
    Refused,
    /// It was made although the breaker would have refused it, because it only observes.
    WouldRefuse,
}

impl CallKind {
    /// All of them, in the order of the counts.
    pub const ALL: [Self; KINDS] = [
        Self::Success,
        Self::Failure,
        Self::Timeout,
        Self::Throttled,
        Self::Saturated,
        Self::Slow,
        Self::Neutral,
        Self::Abandoned,
        Self::Refused,
        Self::WouldRefuse,
    ];

    /// Returns the stable token, for metric labels.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Failure => "failure",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Saturated => "saturated",
            Self::Slow => "slow",
            Self::Neutral => "neutral",
            Self::Abandoned => "abandoned",
            Self::Refused => "refused",
            Self::WouldRefuse => "would-refuse",
        }
    }

    pub(super) const fn of(outcome: &CallOutcome) -> Self {
        match outcome {
            CallOutcome::Success => Self::Success,
            CallOutcome::Slow => Self::Slow,
            CallOutcome::Neutral => Self::Neutral,
            CallOutcome::Abandoned { .. } => Self::Abandoned,
            CallOutcome::Failure(failure) => match failure.class {
                FailureClass::Timeout => Self::Timeout,
                FailureClass::Overloaded => Self::Throttled,
                FailureClass::Saturated => Self::Saturated,
                _ => Self::Failure,
            },
        }
    }
}

/// How calls ended since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CallCounts([u64; KINDS]);

impl CallCounts {
    /// Returns how many ended so.
    #[must_use]
    pub const fn of(&self, kind: CallKind) -> u64 {
        self.0[kind as usize]
    }
}

#[derive(Debug)]
pub(super) struct Calls {
    stripes: [Padded<[AtomicU64; KINDS]>; STRIPES],
}

impl Default for Calls {
    fn default() -> Self {
        Self {
            stripes: std::array::from_fn(|_| Padded(std::array::from_fn(|_| AtomicU64::new(0)))),
        }
    }
}

impl Calls {
    #[inline]
    pub(super) fn count(&self, stripe: usize, kind: CallKind) {
        self.stripes[stripe % STRIPES].0[kind as usize].fetch_add(1, Relaxed);
    }

    pub(super) fn sum(&self) -> CallCounts {
        let mut sum = CallCounts::default();
        for stripe in &self.stripes {
            for (total, count) in sum.0.iter_mut().zip(&stripe.0) {
                *total = total.wrapping_add(count.load(Relaxed));
            }
        }
        sum
    }
}

const KINDS: usize = 10;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn each_end_of_a_call_is_counted_as_its_kind_whichever_thread_saw_it() {
        let failed = |class: FailureClass| CallOutcome::Failure(class.into());
        let left = CallOutcome::Abandoned {
            elapsed: std::time::Duration::ZERO,
        };
        let calls = Calls::default();
        for (nth, (outcome, kind)) in [
            (CallOutcome::Success, CallKind::Success),
            (CallOutcome::Slow, CallKind::Slow),
            (CallOutcome::Neutral, CallKind::Neutral),
            (left, CallKind::Abandoned),
            (failed(FailureClass::Timeout), CallKind::Timeout),
            (failed(FailureClass::Overloaded), CallKind::Throttled),
            (failed(FailureClass::Saturated), CallKind::Saturated),
            (failed(FailureClass::Unhealthy), CallKind::Failure),
        ]
        .into_iter()
        .enumerate()
        {
            assert_eq!(CallKind::of(&outcome), kind);
            for stripe in 0..=nth {
                calls.count(stripe * 7, kind);
            }
            assert_eq!(calls.sum().of(kind), nth as u64 + 1, "{kind:?}");
        }
        let sum = calls.sum();
        let all: u64 = CallKind::ALL.iter().map(|kind| sum.of(*kind)).sum();
        assert_eq!(all, (1..=8).sum::<u64>());
        let codes: std::collections::BTreeSet<_> = CallKind::ALL.map(CallKind::code).into();
        assert_eq!(codes.len(), KINDS, "no two are counted as one metric");
    }
}
