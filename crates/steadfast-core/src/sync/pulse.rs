//! Atomics. The heartbeat of the main runtime: is it running at all, and how late.
//!
//! A task on the main runtime beats ten times a second. Whoever reads from another thread
//! learns for how long there has been no beat, which is the one fact that a wedged runtime
//! cannot report itself; and the longest delay of a beat in the last second, which is how
//! long any task waits before it runs.

use std::time::{Duration, Instant};

use crate::sync::{
    atomic::{AtomicU64, Ordering},
    origin::{Origin, nanos},
};

/// Between two beats. Ten a second cost nothing measurable and show a lag of 10 ms.
pub const BEAT: Duration = Duration::from_millis(100);

/// Beats over which the longest delay is taken: one second.
const BEATS_KEPT: usize = 10;

/// The heartbeat of a runtime.
#[derive(Debug)]
pub struct Pulse {
    origin: Origin,
    /// Nanoseconds from the origin to the last beat plus one; 0 before the first.
    last: AtomicU64,
    lags: [AtomicU64; BEATS_KEPT],
    next: AtomicU64,
}

impl Pulse {
    /// A heart that has not beaten.
    #[must_use]
    pub fn new(origin: Instant) -> Self {
        Self {
            origin: Origin::new(origin),
            last: AtomicU64::new(0),
            lags: std::array::from_fn(|_| AtomicU64::new(0)),
            next: AtomicU64::new(0),
        }
    }

    /// Beats, `lag` later than it should have. Called by one task only.
    pub fn beat(&self, lag: Duration, now: Instant) {
        let at = self.next.fetch_add(1, Ordering::Relaxed) as usize % BEATS_KEPT;
        self.lags[at].store(nanos(lag), Ordering::Relaxed);
        let since = self.origin.nanos(now);
        // Relaxed: a reader needs no other memory with it.
        self.last.store(since.saturating_add(1), Ordering::Relaxed);
    }

    /// Returns for how long there has been no beat; zero before the first one, because a
    /// runtime that nobody watches is not known to be stalled.
    #[must_use]
    pub fn silent_for(&self, now: Instant) -> Duration {
        match self.last.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            last => now.saturating_duration_since(self.origin.at(last - 1)),
        }
    }

    /// Returns the longest delay of a beat in the last second, or the present silence
    /// beyond one beat if that is longer.
    #[must_use]
    pub fn lag(&self, now: Instant) -> Duration {
        let longest = self
            .lags
            .iter()
            .map(|lag| lag.load(Ordering::Relaxed))
            .max()
            .unwrap_or(0);
        Duration::from_nanos(longest).max(self.silent_for(now).saturating_sub(BEAT))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    #[test]
    fn silence_and_lag_are_told_apart() {
        let start = origin();
        let pulse = Pulse::new(start);
        assert_eq!(
            pulse.silent_for(start + BEAT * 100),
            Duration::ZERO,
            "nobody watches yet"
        );
        pulse.beat(Duration::from_millis(30), start + BEAT);
        assert_eq!(pulse.lag(start + BEAT * 2), Duration::from_millis(30));
        assert_eq!(pulse.silent_for(start + BEAT * 151), BEAT * 150);
        assert_eq!(pulse.lag(start + BEAT * 151), BEAT * 149);
        for beat in 152..162 {
            pulse.beat(Duration::ZERO, start + BEAT * beat);
        }
        assert_eq!(
            pulse.lag(start + BEAT * 162),
            Duration::ZERO,
            "a second later it is forgotten"
        );
    }
}
