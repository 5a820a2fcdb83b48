//! Atomics. What refusals tell clients and operators about time: how long a permit is held,
//! and who holds one for too long.
//!
//! Measuring visits every stripe, so one refusal in a tenth of a second does it and leaves
//! the results in words that the others read. They wait for no lock.

use std::time::{Duration, Instant};

use super::super::ShedGate;
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
pub(in crate::shed) struct HoldTime {
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

impl HoldTime {
    pub(in crate::shed) fn new(origin: Instant) -> Self {
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
    pub(in crate::shed) fn mean_held(&self, now: Instant) -> Option<Duration> {
        self.look_again(now);
        self.hold_time.mean_held()
    }

    /// Returns who hangs, as it was seen a moment ago. [`ShedGate::mean_held`] looks.
    pub(in crate::shed) fn stuck(&self, now: Instant) -> Option<RunningRequest> {
        // Two loads that are no pair: if they are of two looks, no request is found that
        // fits both, and this one refusal does not name any.
        let words = self
            .hold_time
            .stuck
            .each_ref()
            .map(|word| word.load(Ordering::Relaxed));
        self.running.find(Stamp::from_words(words), now)
    }

    #[inline]
    fn look_again(&self, now: Instant) {
        let since = self.hold_time.origin.nanos(now).min(NOTHING - 1);
        let looked = self.hold_time.looked_at.load(Ordering::Relaxed);
        if looked == NOTHING || since.saturating_sub(looked) >= nanos(AGE_MAX) {
            self.look(since, looked, now);
        }
    }

    /// Measures, unless somebody else does.
    #[cold]
    fn look(&self, since: u64, looked: u64, now: Instant) {
        let measured = &self.hold_time;
        // Relaxed: it only chooses who looks.
        let chosen = measured.looked_at.compare_exchange(
            looked,
            since,
            Ordering::Relaxed,
            Ordering::Relaxed,
        );
        // The lock is for one who has been looking for longer than a look lasts.
        let (Ok(_), Some(mut totals)) = (chosen, try_lock(&measured.totals)) else {
            return;
        };
        let (held_nanos, settled) = (self.held_nanos.sum(), self.settled.sum());
        let held = held_nanos.wrapping_sub(totals.held_nanos);
        if let Some(mean) = held.checked_div(settled.wrapping_sub(totals.settled)) {
            measured.mean_held.store(mean, Ordering::Relaxed);
            (totals.held_nanos, totals.settled) = (held_nanos, settled);
        }
        let stuck = self.running.first(self.held_max, now);
        for (word, value) in measured.stuck.iter().zip(stuck.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{shed::ShedSettings, sync::local::Local, testing::origin};

    #[test]
    fn what_was_measured_is_told_for_a_tenth_of_a_second_and_of_the_time_since_the_last_look() {
        let start = origin();
        let gate = ShedGate::new(&ShedSettings::fixed(8), 7, start).expect("valid");
        let gate = Local::new(gate);
        let ms = |ms| start + Duration::from_millis(ms);
        assert_eq!(gate.mean_held(ms(0)), None, "nobody has ended");
        gate.note_held(0, ms(10), ms(30));
        gate.note_held(3, ms(10), ms(50));
        assert_eq!(gate.mean_held(ms(99)), None, "it was looked just now");
        let mean = Duration::from_millis(30);
        assert_eq!(gate.mean_held(ms(100)), Some(mean));
        gate.note_held(0, ms(50), ms(150));
        assert_eq!(gate.mean_held(ms(199)), Some(mean));
        let later = Some(Duration::from_millis(100));
        assert_eq!(gate.mean_held(ms(200)), later, "of those since");
        assert_eq!(gate.mean_held(ms(900)), later, "and of none before another");
    }
}
