//! When it happened: counts in buckets of equal width, which grow so that there are never more
//! than a fixed number of them.

use std::collections::BTreeMap;

use super::cause::Cause;

/// Requests and failures over time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    /// Which width the buckets have, see [`width`].
    step: u32,
    buckets: BTreeMap<i64, Bucket>,
}

/// What happened between one moment and the next.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Bucket {
    pub(crate) requests: u64,
    pub(crate) failed: Vec<(Option<Cause>, u64)>,
    /// The second of the first failure in it, and of the last.
    pub(crate) first_failed: Option<i64>,
    pub(crate) last_failed: Option<i64>,
    /// How long the requests that did not fail took together, and how many they were.
    pub(crate) millis: f64,
    pub(crate) timed: u64,
}

impl Timeline {
    /// Counts a request that was served, in its time.
    pub(crate) fn served(&mut self, at: i64, millis: Option<f64>) {
        let bucket = self.bucket(at);
        bucket.requests += 1;
        if let Some(millis) = millis.filter(|it| it.is_finite()) {
            bucket.millis += millis;
            bucket.timed += 1;
        }
    }

    /// Counts a request whose reason for failing is not known yet.
    pub(crate) fn asked(&mut self, at: i64) {
        self.bucket(at).requests += 1;
    }

    /// Counts failures.
    pub(crate) fn failed(&mut self, at: i64, why: Option<Cause>, count: u64) {
        self.bucket(at).fail(at, at, why, count);
    }

    /// Takes over what another counted.
    pub(crate) fn merge(&mut self, mut other: Self) {
        while self.step < other.step {
            self.widen();
        }
        while other.step < self.step {
            other.widen();
        }
        for (at, bucket) in other.buckets {
            self.bucket(at).merge(bucket);
        }
    }

    /// The width of a bucket, in seconds.
    pub(crate) fn width(&self) -> i64 {
        width(self.step)
    }

    /// The buckets in order, each with the second in which it begins.
    pub(crate) fn buckets(&self) -> impl DoubleEndedIterator<Item = (i64, &Bucket)> {
        self.buckets.iter().map(|(at, bucket)| (*at, bucket))
    }

    fn bucket(&mut self, at: i64) -> &mut Bucket {
        while self.buckets.len() >= BUCKETS_MAX && !self.buckets.contains_key(&self.start(at)) {
            self.widen();
        }
        self.buckets.entry(self.start(at)).or_default()
    }

    fn start(&self, at: i64) -> i64 {
        at - at.rem_euclid(self.width())
    }

    fn widen(&mut self) {
        self.step += 1;
        for (at, bucket) in std::mem::take(&mut self.buckets) {
            let at = self.start(at);
            self.buckets.entry(at).or_default().merge(bucket);
        }
    }
}

impl Bucket {
    /// How many failed.
    pub(crate) fn failures(&self) -> u64 {
        self.failed.iter().map(|it| it.1).sum()
    }

    fn fail(&mut self, first: i64, last: i64, why: Option<Cause>, count: u64) {
        match self.failed.iter_mut().find(|it| it.0 == why) {
            Some(known) => known.1 += count,
            None => self.failed.push((why, count)),
        }
        self.first_failed = Some(self.first_failed.map_or(first, |it| it.min(first)));
        self.last_failed = Some(self.last_failed.map_or(last, |it| it.max(last)));
    }

    /// Takes over what another counted.
    pub(crate) fn merge(&mut self, other: Self) {
        self.requests += other.requests;
        self.millis += other.millis;
        self.timed += other.timed;
        let (Some(first), Some(last)) = (other.first_failed, other.last_failed) else {
            return;
        };
        for (why, count) in other.failed {
            self.fail(first, last, why, count);
        }
    }
}

/// Each width is a multiple of the one before, so that buckets can be joined.
fn width(step: u32) -> i64 {
    const WIDTHS: [i64; 11] = [
        1, 5, 15, 60, 300, 900, 3_600, 10_800, 43_200, 86_400, 604_800,
    ];
    let at = step as usize;
    match WIDTHS.get(at) {
        Some(width) => *width,
        None => WIDTHS[10].saturating_mul(5_i64.saturating_pow(step - 10)),
    }
}

/// The widths that rows of a picture may have, of which `seconds` is a divisor.
pub(crate) fn wider(seconds: i64) -> impl Iterator<Item = i64> {
    const ROWS: [i64; 19] = [
        1, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200,
        86_400, 604_800, 3_024_000,
    ];
    let rows = ROWS
        .into_iter()
        .filter(move |it| *it >= seconds && it % seconds == 0);
    rows.chain((0..24).map(move |it| {
        seconds
            .max(3_024_000)
            .saturating_mul(5_i64.saturating_pow(it))
    }))
}

/// Half an hour in seconds, a week in quarters of an hour.
const BUCKETS_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_widen_and_lose_no_count() {
        let mut timeline = Timeline::default();
        for at in 0..100_000 {
            timeline.served(at * 7, Some(1.0));
            if at % 10 == 0 {
                timeline.failed(at * 7, None, 2);
            }
        }
        assert!(timeline.buckets.len() <= BUCKETS_MAX);
        assert_eq!(timeline.width(), 900);
        assert_eq!(
            timeline.buckets().map(|it| it.1.requests).sum::<u64>(),
            100_000
        );
        assert_eq!(
            timeline.buckets().map(|it| it.1.failures()).sum::<u64>(),
            20_000
        );
    }

    #[test]
    fn two_of_different_widths_become_one() {
        let (mut near, mut far) = (Timeline::default(), Timeline::default());
        near.failed(1_000_003, Some(Cause::Dns), 1);
        (0..5_000).for_each(|at| far.asked(at * 300));
        near.merge(far);
        assert_eq!(near.buckets().map(|it| it.1.requests).sum::<u64>(), 5_000);
        let failed = near.buckets().find_map(|it| it.1.first_failed);
        assert_eq!(failed, Some(1_000_003));
    }

    #[test]
    fn no_time_is_too_far() {
        let mut timeline = Timeline::default();
        for at in 0..10_000_i64 {
            timeline.asked(at * 987_654_321 % 253_402_300_000);
        }
        assert!(timeline.buckets.len() <= BUCKETS_MAX);
    }
}
