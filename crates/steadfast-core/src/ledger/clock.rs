//! Atomics. When an incident last went on, for all stripes that count it.

use super::INCIDENT_GAP;
use crate::sync::{
    atomic::{AtomicU64, Ordering},
    origin::nanos,
};

/// Goes on with each refusal of an incident, and has stopped when none came for
/// [`INCIDENT_GAP`].
#[derive(Debug)]
pub(super) struct Clock {
    /// Nanoseconds from the ledger's origin to the last refusal, plus one; 0 before the first.
    last: AtomicU64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self {
            last: AtomicU64::new(0),
        }
    }

    /// Takes a refusal in, so many nanoseconds after the ledger's origin. Returns whether it sets
    /// the clock going: of those who come together, one does.
    pub(super) fn goes_on(&self, at: u64) -> bool {
        let at = at.saturating_add(1);
        // Relaxed: the word is all there is to know, and its own order tells who was first.
        let before = self.last.fetch_max(at, Ordering::Relaxed);
        before == 0 || at.saturating_sub(before) > nanos(INCIDENT_GAP)
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    #[test]
    fn loom_of_two_who_come_together_one_begins() {
        loom::model(|| {
            let clock = Arc::new(Clock::new());
            assert!(clock.goes_on(0));
            let after = nanos(INCIDENT_GAP * 2);
            let other = Arc::clone(&clock);
            let there = thread::spawn(move || other.goes_on(after));
            let here = clock.goes_on(after + nanos(INCIDENT_GAP / 2));
            assert!(here ^ there.join().expect("joined"));
        });
    }
}
