//! Atomics. What refusals tell clients and operators about time: how long a permit is held,
//! and who holds one for too long.
//!
//! Measuring visits every stripe, so one refusal in a tenth of a second does it and leaves
//! the results in words that the others read. They wait for no lock.

use std::time::{Duration, Instant};

use super::ShedGate;
use crate::{
    shed::inflight::running::{RunningRequest, Stamp},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        origin::{Origin, nanos},
        try_lock,
    },
};

/// How old the numbers behind a retry hint may be. Reading them visits every stripe, which
/// a refusal must not pay for each time; a tenth of the shortest hint is exact enough.
const AGE_MAX: Duration = Duration::from_millis(100);

/// Nothing has been measured.
const NOTHING: u64 = u64::MAX;

/// What was measured at the last look.
#[derive(Debug)]
pub(super) struct Pace {
    origin: Origin,
    /// When, in nanoseconds from the origin.
    looked_at: AtomicU64,
    /// How long a permit is held, in nanoseconds.
    mean_held: AtomicU64,
    /// Who had been running for longer than is healthy.
    stuck: [AtomicU64; 2],
    totals: Mutex<Totals>,
}

/// The counters as they were at the last look.
#[derive(Debug, Default)]
struct Totals {
    held_nanos: u64,
    settled: u64,
}

impl Pace {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin: Origin::new(origin),
            looked_at: AtomicU64::new(NOTHING),
            mean_held: AtomicU64::new(NOTHING),
            stuck: Stamp::NONE.to_words().map(AtomicU64::new),
            totals: Mutex::new(Totals::default()),
        }
    }

    fn mean_held(&self) -> Option<Duration> {
        // Relaxed: a measurement that is a moment old is as good.
        let nanos = self.mean_held.load(Ordering::Relaxed);
        (nanos != NOTHING).then(|| Duration::from_nanos(nanos))
    }
}

impl ShedGate {
    /// Returns how long a permit is held, as it was measured a moment ago.
    #[inline]
    pub(super) fn mean_held(&self, now: Instant) -> Option<Duration> {
        self.look_again(now);
        self.pace.mean_held()
    }

    /// Returns who hangs, as it was seen a moment ago. [`ShedGate::mean_held`] looks.
    pub(super) fn stuck(&self, now: Instant) -> Option<RunningRequest> {
        // Two loads that are no pair: if they are of two looks, no request is found that
        // fits both, and this one refusal does not name any.
        let words = self
            .pace
            .stuck
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        self.running.find(Stamp::from_words(words), now)
    }

    #[inline]
    fn look_again(&self, now: Instant) {
        let since = self.pace.origin.nanos(now).min(NOTHING - 1);
        let looked = self.pace.looked_at.load(Ordering::Relaxed);
        if looked == NOTHING || since.saturating_sub(looked) >= nanos(AGE_MAX) {
            self.look(since, looked, now);
        }
    }

    /// Measures, unless somebody else does.
    #[cold]
    fn look(&self, since: u64, looked: u64, now: Instant) {
        let pace = &self.pace;
        // Relaxed: it only chooses who looks.
        let chosen =
            pace.looked_at
                .compare_exchange(looked, since, Ordering::Relaxed, Ordering::Relaxed);
        // The lock is for one who has been looking for longer than a look lasts.
        let (Ok(_), Some(mut totals)) = (chosen, try_lock(&pace.totals)) else {
            return;
        };
        let (held_nanos, settled) = (self.held_nanos.sum(), self.settled.sum());
        let held = held_nanos.wrapping_sub(totals.held_nanos);
        if let Some(mean) = held.checked_div(settled.wrapping_sub(totals.settled)) {
            pace.mean_held.store(mean, Ordering::Relaxed);
            (totals.held_nanos, totals.settled) = (held_nanos, settled);
        }
        let stuck = self.running.first(self.held_max, now);
        for (word, value) in pace.stuck.iter().zip(stuck.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
    }
}
