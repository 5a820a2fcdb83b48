//! What the pool counts, and what is told of it when the server answers.

use deadpool_redis::{Pool, Status};
use steadfast_core::{CheckOutcome, Failure, FailureClass};
use steadfast_pool::counts::{self, Counts, History};

use crate::fresh;

/// The pool's own numbers at one moment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gauges {
    pub(crate) counts: Counts,
    /// How many wait for one.
    waiting: u32,
    /// Whether one who finds the pool empty waits without an end.
    waits_for_ever: bool,
}

impl Gauges {
    pub(crate) fn read(pool: &Pool) -> Self {
        Self::of(pool.status(), pool.timeouts().wait.is_none())
    }

    fn of(status: Status, waits_for_ever: bool) -> Self {
        let count = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        Self {
            counts: Counts {
                size: count(status.size),
                idle: count(status.available),
                max: count(status.max_size),
            },
            waiting: count(status.waiting),
            waits_for_ever,
        }
    }

    /// Whether the pool has the connections that it wants.
    const fn is_complete(self) -> bool {
        self.counts.size >= self.counts.max && self.waiting == 0
    }

    /// Says how it is when the server gives no new session, and serves those of the pool.
    pub(crate) fn refused_beside(self, failure: &Failure) -> CheckOutcome {
        let text = fresh::sentence(failure, self.counts.size as usize);
        CheckOutcome::warn(failure.class(), text)
    }

    /// Says how the pool is, knowing that the server answers.
    pub(crate) fn answered(self, history: &History) -> CheckOutcome {
        let is_empty_again = history.is_empty_again();
        let told = history.fresh.refusal().and_then(|failure| {
            counts::refused(failure, self.counts, is_empty_again, self.is_complete())
        });
        if let Some(told) = told {
            return told;
        }
        if !self.counts.is_full() {
            return CheckOutcome::pass();
        }
        let (max, waiting) = (self.counts.max, self.waiting);
        let mut text = format!(
            "all {max} connections of the pool are in use and {waiting} wait for one; \
             the server answers"
        );
        if waiting > 0 && self.waits_for_ever {
            text.push_str("; they wait without an end, because the pool has no wait timeout");
        }
        CheckOutcome::warn(FailureClass::Saturated, text)
    }

    /// Adds the numbers of the pool.
    pub(crate) fn numbers(self, outcome: CheckOutcome) -> CheckOutcome {
        self.counts
            .numbers(outcome)
            .number("pool_waiting", self.waiting)
    }
}

#[cfg(test)]
mod tests {
    use steadfast_core::CheckStatus::{self, Fail, Pass, Warn};

    use super::*;

    #[track_caller]
    fn check(counts: [usize; 3], refused: Option<FailureClass>, status: CheckStatus) {
        let [size, available, waiting] = counts;
        let counted = Status {
            max_size: 4,
            size,
            available,
            waiting,
        };
        let gauges = Gauges::of(counted, true);
        let mut history = History::default();
        history.note(gauges.counts, crate::clock::now());
        history.note(gauges.counts, crate::clock::now());
        if let Some(class) = refused {
            history.fresh.refused(Failure::new(class, "no"));
        }
        let outcome = gauges.answered(&history);
        assert_eq!(outcome.status(), status, "{outcome:?}");
    }

    #[test]
    fn a_full_pool_is_saturated_and_one_that_cannot_grow_fails() {
        let full = Some(FailureClass::RefusedByServer);
        check([0, 0, 0], None, Pass);
        check([4, 1, 0], None, Pass);
        check([3, 0, 0], None, Pass);
        check([4, 0, 0], None, Warn);
        check([4, 0, 9], None, Warn);
        check([0, 0, 0], full, Fail);
        check([3, 0, 0], full, Fail);
        check([3, 1, 0], full, Warn);
        check([4, 1, 0], full, Pass);
        check([4, 0, 0], full, Warn);
        check([4, 0, 1], full, Fail);
        check([4, 4, 0], Some(FailureClass::Auth), Warn);
    }

    #[test]
    fn a_refusal_of_new_sessions_is_told_with_those_that_serve() {
        let counted = Status {
            max_size: 8,
            size: 4,
            available: 4,
            waiting: 0,
        };
        let gauges = Gauges::of(counted, false);
        let mut history = History::default();
        let said = "WRONGPASS invalid username-password pair";
        history
            .fresh
            .refused(Failure::new(FailureClass::Auth, said));
        assert_eq!(
            gauges.answered(&history).message(),
            format!("new sessions are refused: {said}; 4 old ones still serve")
        );
    }
}
