//! What the last two minutes asked of the pool, for advice on its size.

use std::time::{Duration, Instant};

/// Length of one bucket. Twelve of them cover two minutes: long enough to smooth a burst,
/// short enough that advice speaks of the present load.
const BUCKET: Duration = Duration::from_secs(10);

const BUCKETS: usize = 12;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    /// Which stretch of time since the start it holds.
    epoch: u64,
    arrivals: u64,
    holds: u64,
    held: Duration,
}

/// What was asked of the pool lately.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Demand {
    pub(super) arrivals_per_sec: f64,
    pub(super) mean_hold: Duration,
    pub(super) holds: u64,
}

#[derive(Debug)]
pub(super) struct Recent {
    origin: Instant,
    buckets: [Bucket; BUCKETS],
}

impl Recent {
    pub(super) fn new(origin: Instant) -> Self {
        Self {
            origin,
            buckets: [Bucket::default(); BUCKETS],
        }
    }

    pub(super) fn arrived(&mut self, now: Instant) {
        self.bucket(now).arrivals += 1;
    }

    pub(super) fn held(&mut self, hold: Duration, now: Instant) {
        let bucket = self.bucket(now);
        bucket.holds += 1;
        bucket.held += hold;
    }

    fn bucket(&mut self, now: Instant) -> &mut Bucket {
        let epoch = self.epoch(now);
        let bucket = &mut self.buckets[(epoch % BUCKETS as u64) as usize];
        if bucket.epoch != epoch {
            *bucket = Bucket {
                epoch,
                ..Bucket::default()
            };
        }
        bucket
    }

    fn epoch(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.origin);
        since.as_secs() / BUCKET.as_secs()
    }

    pub(super) fn demand(&self, now: Instant) -> Option<Demand> {
        let epoch = self.epoch(now);
        let live = |bucket: &&Bucket| epoch - bucket.epoch.min(epoch) < BUCKETS as u64;
        let (mut arrivals, mut holds, mut held) = (0, 0, Duration::ZERO);
        for bucket in self.buckets.iter().filter(live) {
            arrivals += bucket.arrivals;
            holds += bucket.holds;
            held += bucket.held;
        }
        let whole = BUCKET * (BUCKETS as u32 - 1);
        let began = now.saturating_duration_since(self.origin).as_secs_f64();
        let in_bucket = began % BUCKET.as_secs_f64();
        let covered = began.min(whole.as_secs_f64() + in_bucket);
        if holds == 0 || covered <= 0.0 {
            return None;
        }
        Some(Demand {
            arrivals_per_sec: arrivals as f64 / covered,
            mean_hold: Duration::from_secs_f64(held.as_secs_f64() / holds as f64),
            holds,
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn demand_is_of_the_last_two_minutes_and_of_nothing_before() {
        let start = origin();
        let mut recent = Recent::new(start);
        assert_eq!(recent.demand(start + SECOND), None, "nothing was held");
        // Five a second, held for 40 ms each, and twice as long from the second minute on.
        let mut at = |second: u64, hold_ms| {
            let now = start + Duration::from_secs(second);
            for _ in 0..5 {
                recent.arrived(now);
                recent.held(Duration::from_millis(hold_ms), now);
            }
            recent.demand(now + SECOND).expect("some were held")
        };
        let first = (0..60).map(|second| at(second, 40)).last().expect("sixty");
        assert_eq!((first.holds, first.mean_hold), (300, SECOND / 25));
        assert!((first.arrivals_per_sec - 5.0).abs() < 0.01, "{first:?}");
        let later = (60..400).map(|second| at(second, 80)).last().expect("many");
        assert_eq!(later.mean_hold, SECOND * 2 / 25, "the first are forgotten");
        assert!((later.arrivals_per_sec - 5.0).abs() < 0.01, "{later:?}");
        assert!((550..=600).contains(&later.holds), "{later:?}");
    }

    #[test]
    fn what_was_long_ago_is_no_demand_though_nothing_came_since() {
        let start = origin();
        let mut recent = Recent::new(start);
        recent.arrived(start);
        recent.held(SECOND, start);
        let at = |secs| recent.demand(start + Duration::from_secs(secs));
        assert_eq!(at(119).map(|demand| demand.holds), Some(1));
        assert_eq!(at(120), None);
        assert_eq!(at(100_000), None);
    }
}
