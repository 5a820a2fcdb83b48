//! Time in these tests is a number of milliseconds after `Rig::start`.

mod checklist;
mod fleet;
mod flood;
mod model;
mod modes;
mod recovery;
mod rules;
mod settings;

use std::time::{Duration, Instant};

use super::*;
use crate::{FailureClass, WindowCounts, testing::origin};

/// The middle of the jitter, and a call that every ramp lets pass.
const MIDDLE: u64 = 1 << 63;
const FAILED: CallOutcome = failed(FailureClass::Unhealthy);

const fn failed(class: FailureClass) -> CallOutcome {
    CallOutcome::Failure(CallFailure::new(class))
}

const fn abandoned(ms: u64) -> CallOutcome {
    CallOutcome::Abandoned {
        elapsed: Duration::from_millis(ms),
    }
}

struct Rig {
    breaker: Breaker,
    start: Instant,
}

impl Rig {
    fn new(trip: Trip) -> Self {
        let start = origin();
        let rules = trip.build().expect("the test's settings are right");
        Self {
            breaker: Breaker::new(rules, 2, start),
            start,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn acquire(&self, ms: u64) -> Result<BreakerPermit<&Breaker>, BreakerRefusal> {
        self.breaker.try_acquire(self.at(ms), 0, MIDDLE)
    }

    /// Admits and settles in the same moment.
    fn call(&self, ms: u64, outcome: CallOutcome) -> Option<BreakerTransition> {
        let permit = self.acquire(ms).expect("the call passes");
        permit.settle(outcome, self.at(ms))
    }

    fn tick(&self, ms: u64) -> Option<BreakerTransition> {
        self.breaker.tick(self.at(ms), MIDDLE)
    }

    fn state(&self, ms: u64) -> BreakerState {
        self.snapshot(ms).state
    }

    fn snapshot(&self, ms: u64) -> BreakerSnapshot {
        self.breaker.snapshot(self.at(ms))
    }

    /// Fails calls until it opens; the wait is one base.
    fn trip(&self, ms: u64) -> BreakerTransition {
        (0..100)
            .find_map(|_| self.call(ms, FAILED))
            .expect("a hundred failures trip")
    }

    /// Lets probes succeed until the ramp begins.
    fn recover(&self, ms: u64) -> BreakerTransition {
        (0..15)
            .find_map(|_| self.call(ms, CallOutcome::Success))
            .expect("enough successes pass a round")
    }
}

#[test]
fn a_breaker_can_be_shared() {
    fn shared<T: Send + Sync + std::fmt::Debug>() {}
    shared::<Breaker>();
    shared::<BreakerPermit<std::sync::Arc<Breaker>>>();
    shared::<BreakerRefusal>();
    shared::<BreakerSnapshot>();
    shared::<BreakerTransition>();
    shared::<Trip>();
    shared::<TripRules>();
}

#[test]
fn a_permit_and_a_refusal_are_small_enough_to_move_around() {
    assert!(size_of::<BreakerRefusal>() < 128);
    assert!(size_of::<BreakerPermit<&Breaker>>() <= 48);
}
