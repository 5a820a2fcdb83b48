//! Atomics. What refusals tell clients and operators about time: how long a permit is held,
//! and who holds one for too long.
//!
//! Measuring visits every stripe, so one refusal in a tenth of a second does it and leaves
//! the results in words that the others read. They wait for no lock.

use std::time::{Duration, Instant};

use super::super::{ShedGate, lane::Lane};
use crate::{
    shed::inflight::running::{Running, RunningRequest, Stamp},
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

/// When somebody looked last. One of those who find that it was long ago is the next.
#[derive(Debug)]
struct Looks {
    origin: Origin,
    /// When, in nanoseconds from the origin.
    last: AtomicU64,
}

/// How long places of one lane are held, as it was measured at the last look.
#[derive(Debug)]
pub(in crate::shed) struct HoldTime {
    looks: Looks,
    /// How long a permit is held, in nanoseconds.
    mean_held: AtomicU64,
    totals: Mutex<Totals>,
}

/// The counters as they were at the last look.
#[derive(Debug, Default)]
struct Totals {
    held_nanos: u64,
    settled: u64,
}

/// Who hangs, as it was seen at the last look.
#[derive(Debug)]
pub(in crate::shed) struct Hanging {
    looks: Looks,
    /// After how long a held place is evidence of it.
    held_max: Duration,
    /// Who had been running for longer than that.
    stuck: [AtomicU64; 2],
}

impl Looks {
    fn new(origin: Instant) -> Self {
        Self {
            origin: Origin::new(origin),
            last: AtomicU64::new(NOTHING),
        }
    }

    /// Whether to look now, because the last look is long ago and nobody else does.
    #[inline]
    fn is_due(&self, now: Instant) -> bool {
        let since = self.origin.nanos(now).min(NOTHING - 1);
        // Relaxed: it only chooses who looks.
        let last = self.last.load(Ordering::Relaxed);
        (last == NOTHING || since.saturating_sub(last) >= nanos(AGE_MAX))
            && self
                .last
                .compare_exchange(last, since, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok()
    }
}

impl HoldTime {
    pub(in crate::shed) fn new(origin: Instant) -> Self {
        Self {
            looks: Looks::new(origin),
            mean_held: AtomicU64::new(NOTHING),
            totals: Mutex::new(Totals::default()),
        }
    }

    fn mean_held(&self) -> Option<Duration> {
        // Relaxed: a measurement that is a moment old is as good.
        let nanos = self.mean_held.load(Ordering::Relaxed);
        (nanos != NOTHING).then(|| Duration::from_nanos(nanos))
    }
}

impl Lane {
    /// Returns how long a permit is held, as it was measured a moment ago.
    #[inline]
    pub(in crate::shed) fn mean_held(&self, now: Instant) -> Option<Duration> {
        if self.hold_time.looks.is_due(now) {
            self.measure_held();
        }
        self.hold_time.mean_held()
    }

    #[cold]
    fn measure_held(&self) {
        // The lock is for one who has been looking for longer than a look lasts.
        let Some(mut totals) = try_lock(&self.hold_time.totals) else {
            return;
        };
        let (held_nanos, settled) = (self.held_nanos.sum(), self.settled.sum());
        let held = held_nanos.wrapping_sub(totals.held_nanos);
        if let Some(mean) = held.checked_div(settled.wrapping_sub(totals.settled)) {
            self.hold_time.mean_held.store(mean, Ordering::Relaxed);
            (totals.held_nanos, totals.settled) = (held_nanos, settled);
        }
    }
}

impl Hanging {
    pub(in crate::shed) fn new(held_max: Duration, origin: Instant) -> Self {
        Self {
            looks: Looks::new(origin),
            held_max,
            stuck: Stamp::NONE.to_words().map(AtomicU64::new),
        }
    }

    #[cold]
    fn look(&self, running: &Running, now: Instant) {
        let stuck = running.first(self.held_max, now);
        for (word, value) in self.stuck.iter().zip(stuck.to_words()) {
            word.store(value, Ordering::Relaxed);
        }
    }
}

impl ShedGate {
    /// Returns who hangs, as it was seen a moment ago.
    pub(in crate::shed) fn stuck(&self, now: Instant) -> Option<RunningRequest> {
        if self.hanging.looks.is_due(now) {
            self.hanging.look(&self.running, now);
        }
        // Two loads that are no pair: if they are of two looks, no request is found that
        // fits both, and this one refusal does not name any.
        let stuck = (self.hanging.stuck.each_ref()).map(|word| word.load(Ordering::Relaxed));
        self.running.find(Stamp::from_words(stuck), now)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{shed::ShedSettings, testing::origin};

    #[test]
    fn what_was_measured_is_told_for_a_tenth_of_a_second_and_of_the_time_since_the_last_look() {
        let start = origin();
        let gate = Lane::new(&ShedSettings::fixed(8), 7, start);
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
