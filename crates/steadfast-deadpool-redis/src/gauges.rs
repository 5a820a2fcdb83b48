//! What the pool counts, and what is told of it when the server answers.

use std::time::Instant;

use deadpool_redis::{Pool, Status};
use steadfast_core::{CheckOutcome, Failure, FailureClass};

use crate::fresh::{self, Fresh};

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

    /// Whether the pool has the connections that it wants.
    fn is_complete(self) -> bool {
        let Status {
            max_size,
            size,
            waiting,
            ..
        } = self.status;
        size >= max_size && waiting == 0
    }

    /// Says how it is when the server gives no new session, and serves those of the pool.
    pub(crate) fn refused_beside(self, failure: &Failure) -> CheckOutcome {
        CheckOutcome::warn(failure.class(), fresh::sentence(failure, self.status.size))
    }

    /// Says how the pool is, knowing that the server answers.
    pub(crate) fn answered(self, history: &History) -> CheckOutcome {
        let Status {
            max_size,
            size,
            waiting,
            ..
        } = self.status;
        if let Some(failure) = history.fresh.refusal() {
            if size == 0 || history.is_empty_again() && !self.is_complete() {
                return CheckOutcome::fail(
                    failure.class(),
                    format!(
                        "the pool can open no more connections (it counts {size} of {max_size}): {}",
                        failure.message()
                    ),
                );
            }
            // A server that is full with what this pool has is no trouble of this pool.
            let is_ours = failure.class() == FailureClass::RefusedByServer && self.is_complete();
            if !is_ours {
                return self.refused_beside(failure);
            }
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
#[derive(Debug, Default)]
pub(crate) struct History {
    empty_readings: u32,
    pub(crate) fresh: Fresh,
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

    /// Whether the pool has had nothing left at more than one reading. One is what any busy
    /// pool shows, and deadpool counts a connection that it is still opening.
    fn is_empty_again(&self) -> bool {
        self.empty_readings >= EMPTY_READINGS
    }

    /// Whether it is time to see if the server would give one more session: now and then,
    /// and when the pool begins to want one.
    pub(crate) fn wants_session(&self, now: Instant) -> bool {
        self.empty_readings == EMPTY_READINGS || self.fresh.is_due(now)
    }
}

/// At how many readings in a row a pool has nothing left before it wants to grow.
const EMPTY_READINGS: u32 = 2;

#[cfg(test)]
mod tests {
    use steadfast_core::CheckStatus::{self, Fail, Pass, Warn};

    use super::*;

    #[track_caller]
    fn check(counts: [usize; 3], refused: Option<FailureClass>, status: CheckStatus) {
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
        let mut history = History::default();
        history.note(gauges);
        history.note(gauges);
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
        let gauges = Gauges {
            status: Status {
                max_size: 8,
                size: 4,
                available: 4,
                waiting: 0,
            },
            waits_for_ever: false,
        };
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
