//! A check of a worker that must show itself: it beats, or it is called stuck.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use steadfast_core::{Check, CheckOutcome, CheckRun, FailureClass};

use crate::clock;

/// Makes a pair: the worker keeps the [`Heartbeat`] and beats, the dependency gets the
/// check, which fails when no beat came for longer than `within`.
///
/// The first beat is due `within` after this call, so a worker that never starts is found.
#[must_use]
pub fn heartbeat(within: Duration) -> (Heartbeat, HeartbeatCheck) {
    let last = Arc::new(Mutex::new(clock::now()));
    (
        Heartbeat {
            last: Arc::clone(&last),
        },
        HeartbeatCheck { last, within },
    )
}

/// The worker's end. Clones beat the same heart.
#[derive(Clone)]
pub struct Heartbeat {
    last: Arc<Mutex<Instant>>,
}

impl Heartbeat {
    /// Says that the worker is alive.
    pub fn beat(&self) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = clock::now();
    }
}

impl fmt::Debug for Heartbeat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Heartbeat")
    }
}

/// The dependency's end.
#[derive(Debug)]
pub struct HeartbeatCheck {
    last: Arc<Mutex<Instant>>,
    within: Duration,
}

impl Check for HeartbeatCheck {
    async fn run(&self, _run: CheckRun) -> CheckOutcome {
        let last = *self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let silent = clock::now().saturating_duration_since(last);
        let outcome = if silent > self.within {
            CheckOutcome::fail(
                FailureClass::Stuck,
                format!(
                    "no heartbeat for {silent:.1?}; allowed is {:.1?}",
                    self.within
                ),
            )
        } else {
            CheckOutcome::pass()
        };
        outcome.number("silent_ms", silent.as_secs_f64() * 1000.0)
    }

    fn kind(&self) -> &'static str {
        "heartbeat"
    }
}
