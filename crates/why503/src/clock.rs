//! The one place that reads time, so that every other room is handed it.

use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

/// This moment.
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// This moment by the wall's clock, which others set.
pub(crate) fn wall() -> Timestamp {
    Timestamp::now()
}

/// The wall's clock beside one that nobody sets, and that goes on while the machine sleeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clocks {
    wall: Timestamp,
    steady: Duration,
    /// How far apart the two may have been read.
    unsure: Duration,
}

/// Readings of which the tightest is taken: on a busy host the processor is lost between two.
const READINGS: usize = 8;

impl Clocks {
    /// Reads both; `None` where there is no such clock.
    pub(crate) fn read() -> Option<Self> {
        let one = |_| {
            let before = steady()?;
            let wall = wall();
            let unsure = steady()?.saturating_sub(before);
            Some(Self {
                wall,
                steady: before,
                unsure,
            })
        };
        (0..READINGS).filter_map(one).min_by_key(|it| it.unsure)
    }

    /// By how much the wall's clock was set since an earlier reading, at least, and whether back.
    pub(crate) fn step_since(&self, earlier: &Self) -> (Duration, bool) {
        let wall = self.wall.duration_since(earlier.wall).as_nanos();
        let steady = self.steady.saturating_sub(earlier.steady).as_nanos();
        let step = wall - i128::try_from(steady).unwrap_or(i128::MAX);
        let by = u64::try_from(step.unsigned_abs()).unwrap_or(u64::MAX);
        let by = Duration::from_nanos(by).saturating_sub(self.unsure + earlier.unsure);
        (by, step < 0)
    }
}

#[cfg(target_os = "linux")]
fn steady() -> Option<Duration> {
    use rustix::time::{ClockId, clock_gettime};
    Duration::try_from(clock_gettime(ClockId::Boottime)).ok()
}

#[cfg(not(target_os = "linux"))]
fn steady() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn clocks(wall: i64, steady: u64, unsure: u64) -> Clocks {
        Clocks {
            wall: Timestamp::from_millisecond(wall).expect("a moment"),
            steady: Duration::from_millis(steady),
            unsure: Duration::from_millis(unsure),
        }
    }

    #[test]
    fn a_step_is_what_the_steady_clock_does_not_share() {
        let begin = clocks(1_000_000, 50, 0);
        for (wall, steady, unsure, expected) in [
            // Both went on, however long it took.
            (1_015_000, 15_050, 0, (0, false)),
            (1_018_000, 15_050, 0, (3000, false)),
            (1_012_000, 15_050, 0, (3000, true)),
            // The processor was lost between the two readings.
            (1_018_000, 15_050, 3000, (0, false)),
        ] {
            let (by, back) = clocks(wall, steady, unsure).step_since(&begin);
            assert_eq!((by.as_millis(), back), expected, "{wall} {steady}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_clocks_of_this_host_can_be_read() {
        assert!(Clocks::read().is_some());
    }
}
