//! A check of the runtime it runs on: how late a task runs.

use std::time::Duration;

use steadfast_core::{Check, CheckOutcome, CheckRun, FailureClass};

use crate::clock;

/// Sleeps of one run. The longest delay counts, so one busy moment among them is seen.
const ROUNDS: u32 = 5;

/// Length of one sleep: long against the timer's grain of 1 ms, short enough that a run
/// takes a twentieth of a second.
const ROUND: Duration = Duration::from_millis(10);

/// Fails when a task of this runtime runs later than `max` after its time, which is what
/// every request waits before its handler is polled. A healthy runtime is under 5 ms late;
/// 20 ms is where others call a service overloaded (WeChat's DAGOR).
///
/// It degrades or informs; lag is no reason to take an instance out of rotation, because
/// its load would go to others that have the same.
#[must_use]
pub const fn runtime_lag(max: Duration) -> RuntimeLagCheck {
    RuntimeLagCheck { max }
}

/// See [`runtime_lag`].
#[derive(Clone, Copy, Debug)]
pub struct RuntimeLagCheck {
    max: Duration,
}

impl Check for RuntimeLagCheck {
    async fn run(&self, _run: CheckRun) -> CheckOutcome {
        let mut longest = Duration::ZERO;
        for _ in 0..ROUNDS {
            let due = clock::now() + ROUND;
            tokio::time::sleep_until(due.into()).await;
            longest = longest.max(clock::now().saturating_duration_since(due));
        }
        let outcome = if longest > self.max {
            CheckOutcome::fail(
                FailureClass::Overloaded,
                format!("tasks run {longest:.1?} late; allowed is {:.1?}", self.max),
            )
        } else {
            CheckOutcome::pass()
        };
        outcome.number("lag_ms", longest.as_secs_f64() * 1000.0)
    }

    fn kind(&self) -> &'static str {
        "runtime-lag"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use steadfast_core::{CheckStatus, Deadline};

    #[tokio::test]
    async fn a_blocked_runtime_is_seen_and_an_idle_one_passes() {
        let run = || CheckRun::new(Deadline::at(clock::now() + Duration::from_secs(60)));
        let patient = runtime_lag(Duration::from_secs(30));
        assert_eq!(patient.run(run()).await.status(), CheckStatus::Pass);
        // On one thread: whoever runs now makes the check late by as much as it takes.
        let blocker = tokio::spawn(async {
            let until = clock::now() + Duration::from_millis(60);
            while clock::now() < until {
                std::hint::spin_loop();
            }
        });
        let strict = runtime_lag(Duration::from_millis(20)).run(run()).await;
        blocker.await.expect("joined");
        assert_eq!(strict.status(), CheckStatus::Fail, "{}", strict.message());
    }
}
