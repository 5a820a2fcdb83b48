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
