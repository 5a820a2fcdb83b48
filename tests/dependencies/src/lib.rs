//! What the tests of this package share.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

pub mod guarded;

use std::{
    future::Future,
    time::{Duration, Instant},
};

use steadfast_core::{Check, CheckOutcome, CheckRun, Deadline};

/// Long enough for any machine; what is waited for ends as soon as it is seen.
const PATIENCE: Duration = Duration::from_secs(60);

/// Runs a check with time enough to be answered by any machine.
///
/// # Panics
/// If it has not answered before its deadline: a check must never be cut.
pub async fn ask(check: &impl Check) -> CheckOutcome {
    ask_within(check, Duration::from_secs(20)).await
}

/// Runs a check for the first time in its process, with time enough for any machine.
///
/// # Panics
/// If it has not answered before its deadline.
pub async fn ask_first(check: &impl Check) -> CheckOutcome {
    let time = Duration::from_secs(20);
    let run = CheckRun::new(Deadline::at(Instant::now() + time)).first(true);
    let outcome = tokio::time::timeout(time, check.run(run)).await;
    outcome.unwrap_or_else(|_| panic!("{} was not answered within {time:?}", check.kind()))
}

/// Runs a check that is expected to hear nothing, and so takes nearly the whole `time`.
///
/// # Panics
/// If it has not answered before its deadline.
pub async fn ask_within(check: &impl Check, time: Duration) -> CheckOutcome {
    let started_at = Instant::now();
    let run = CheckRun::new(Deadline::at(started_at + time));
    let outcome = tokio::time::timeout(time, check.run(run)).await;
    outcome.unwrap_or_else(|_| panic!("{} was not answered within {time:?}", check.kind()))
}

/// Asks until an answer is as wanted.
///
/// # Panics
/// If that does not come; with the last answer.
pub async fn ask_until(check: &impl Check, wanted: impl Fn(&CheckOutcome) -> bool) -> CheckOutcome {
    let started_at = Instant::now();
    loop {
        let outcome = ask(check).await;
        if wanted(&outcome) {
            return outcome;
        }
        assert!(started_at.elapsed() < PATIENCE, "still {outcome:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Waits until something is so.
///
/// # Panics
/// If it never is.
pub async fn wait_until<F: Future<Output = bool>>(what: &str, mut is_so: impl FnMut() -> F) {
    let started_at = Instant::now();
    while !is_so().await {
        assert!(started_at.elapsed() < PATIENCE, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the present moment, for a deadline.
#[must_use]
pub fn now() -> Instant {
    Instant::now()
}

/// Returns a number of an outcome.
#[must_use]
pub fn number(outcome: &CheckOutcome, name: &str) -> Option<f64> {
    let found = outcome.numbers().iter().find(|number| number.name == name);
    found.map(|number| number.value)
}
