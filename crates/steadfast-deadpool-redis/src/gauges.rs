//! What the pool counts, and what is told of it when the server answers.

use std::time::{Duration, Instant};

use deadpool_redis::{Pool, Status};
use steadfast_core::{CheckOutcome, FailureClass};

use steadfast_core::Failure;

/// How long a trial connection that worked stays good news.
///
/// Twice a minute is what an instance may cost a server that has many of them; a trial
/// that was refused is repeated at each reading, because a refusal is cheap.
pub(crate) const TRIAL_INTERVAL: Duration = Duration::from_secs(30);

/// The pool's own numbers at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    status: Status,
    /// Whether one who finds the pool empty waits without an end.
    waits_for_ever: bool,
}

impl Gauges {
    pub(crate) fn read(pool: &Pool) -> Self {
        Self {
            status: pool.status(),
            waits_for_ever: pool.timeouts().wait.is_none(),
        }
    }

    /// Whether something is in use and nothing is left.
    fn is_empty(self) -> bool {
        self.status.size > 0 && self.status.available == 0
    }

    /// Whether nothing is left and nothing may be opened.
    fn is_full(self) -> bool {
        self.is_empty() && self.status.size >= self.status.max_size
    }

    pub(crate) fn has_spare(self) -> bool {
        self.status.available > 0
    }

    /// Says how the pool is, knowing that the server answers.
    pub(crate) fn answered(self, trial: Option<Failure>) -> CheckOutcome {
        let Status {
            max_size,
            size,
            waiting,
            ..
        } = self.status;
        // At its full size the pool opens nothing, unless somebody waits for what it opens.
        if let Some(failure) = trial
            && (size < max_size || waiting > 0)
        {
            return CheckOutcome::fail(
                failure.class(),
                format!(
                    "the pool can open no more connections (it counts {size} of {max_size}): {}",
                    failure.message()
                ),
            );
        }
        if !self.is_full() {
            return CheckOutcome::pass();
        }
        let mut text = format!(
            "all {max_size} connections of the pool are in use and {waiting} wait for one; \
             the server answers"
        );
        if waiting > 0 && self.waits_for_ever {
            text.push_str("; they wait without an end, because the pool has no wait timeout");
        }
        CheckOutcome::warn(FailureClass::Saturated, text)
    }

    /// Adds the numbers of the pool.
    pub(crate) fn numbers(self, outcome: CheckOutcome) -> CheckOutcome {
        let Status {
            max_size,
            size,
            available,
            waiting,
        } = self.status;
        let float = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        outcome
            .number("pool_size", float(size))
            .number("pool_idle", float(available))
            .number("pool_max", float(max_size))
            .number("pool_in_use", float(size - available))
            .number("pool_waiting", float(waiting))
    }
}

/// What earlier readings have shown.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct History {
    empty_readings: u32,
    trial_worked_at: Option<Instant>,
}

impl History {
    /// Takes a reading in.
    pub(crate) fn note(&mut self, gauges: Gauges) {
        self.empty_readings = if gauges.is_empty() {
            self.empty_readings.saturating_add(1)
        } else {
            0
        };
    }

    /// Notes whether a trial connection worked.
    pub(crate) fn tried(&mut self, worked: bool, now: Instant) {
        self.trial_worked_at = worked.then_some(now);
    }

    /// Whether it is time to see if the server would take one more: deadpool counts a
    /// connection that it is still opening as part of the pool.
    pub(crate) fn wants_trial(&self, now: Instant) -> bool {
        let is_recent = self
            .trial_worked_at
            .is_some_and(|at| now.saturating_duration_since(at) < TRIAL_INTERVAL);
        self.empty_readings >= 2 && !is_recent
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::CheckStatus::{self, Fail, Pass, Warn};

    use super::*;

    #[track_caller]
    fn check(counts: [usize; 3], trial: Option<FailureClass>, status: CheckStatus) {
        let [size, available, waiting] = counts;
        let gauges = Gauges {
            status: Status {
                max_size: 4,
                size,
                available,
                waiting,
            },
            waits_for_ever: true,
        };
        let outcome = gauges.answered(trial.map(|class| Failure::new(class, "full")));
        assert_eq!(outcome.status(), status, "{outcome:?}");
    }

    #[test]
    fn a_full_pool_is_saturated_and_one_that_cannot_grow_fails() {
        let refused = Some(FailureClass::RefusedByServer);
        check([0, 0, 0], None, Pass);
        check([4, 1, 0], None, Pass);
        check([3, 0, 0], None, Pass);
        check([4, 0, 0], None, Warn);
        check([4, 0, 9], None, Warn);
        check([3, 0, 0], refused, Fail);
        check([4, 0, 0], refused, Warn);
        check([4, 0, 1], refused, Fail);
    }
}
