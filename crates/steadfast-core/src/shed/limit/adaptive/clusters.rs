//! How uncertain a mean is whose samples share their fate.
//!
//! A process that waits for a processor answers in slices: whatever became due meanwhile
//! ends together, and so is late together. Sixteen samples out of one slice know as much
//! as one. Taken for sixteen, they made a limit wander between 13 and 45 on 16 workers
//! (simulator, `starved-*`), and each step down cost a third of the goodput.
//!
//! So samples that end within an eighth of a latency make a cluster, and what clusters
//! differ by is held against what samples differ by: with `S` and `n` the sum and the size
//! of a cluster and `m` the mean, the variance of the mean is
//! `sum((S - n m)²) G / (G - 1) / N²` over `G` clusters and `N` samples
//! (Liang and Zeger 1986, with their correction for few clusters).

/// Clusters of one side of a comparison.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Clusters {
    /// When the present one began, in seconds.
    since: f64,
    open: Cluster,
    closed: f64,
    n: f64,
    sizes: f64,
    latency: Moments,
    log: Moments,
}

#[derive(Clone, Copy, Debug, Default)]
struct Cluster {
    n: f64,
    latency: f64,
    log: f64,
}

/// Of the clusters' sums of one value: over all clusters.
#[derive(Clone, Copy, Debug, Default)]
struct Moments {
    sum: f64,
    squares: f64,
    by_size: f64,
}

/// What the clusters say of a variance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Spread {
    /// There are none, so samples are all there is to go by.
    Unknown,
    /// There are too few to say.
    Few,
    /// Variance of the mean.
    Is(f64),
}

impl Clusters {
    /// Takes a sample in that ended at this moment, in seconds; `width` is how long a
    /// cluster lasts.
    pub(super) fn add(&mut self, at: f64, width: f64, latency_secs: f64) {
        if self.open.n > 0.0 && !(0.0..=width).contains(&(at - self.since)) {
            self.close();
        }
        if self.open.n == 0.0 {
            self.since = at;
        }
        self.open.n += 1.0;
        self.open.latency += latency_secs;
        self.open.log += latency_secs.ln();
    }

    fn close(&mut self) {
        let Cluster { n, latency, log } = std::mem::take(&mut self.open);
        self.closed += 1.0;
        self.n += n;
        self.sizes += n * n;
        self.latency.add(n, latency);
        self.log.add(n, log);
    }

    /// Adds those of another group.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut other = *other;
        other.close_last();
        self.close_last();
        self.closed += other.closed;
        self.n += other.n;
        self.sizes += other.sizes;
        self.latency.merge(other.latency);
        self.log.merge(other.log);
    }

    /// Whether there are too few to tell.
    pub(super) fn few(&self) -> bool {
        self.latency_spread() == Spread::Few
    }

    /// Variance of the mean latency.
    pub(super) fn latency_spread(mut self) -> Spread {
        self.close_last();
        self.spread(self.latency)
    }

    /// Variance of the mean of the logarithms.
    pub(super) fn log_spread(mut self) -> Spread {
        self.close_last();
        self.spread(self.log)
    }

    fn close_last(&mut self) {
        if self.open.n > 0.0 {
            self.close();
        }
    }

    fn spread(&self, of: Moments) -> Spread {
        if self.closed == 0.0 {
            return Spread::Unknown;
        }
        if self.closed < CLUSTERS_MIN {
            return Spread::Few;
        }
        let mean = of.sum / self.n;
        let squares = of.squares - 2.0 * mean * of.by_size + mean * mean * self.sizes;
        let few = self.closed / (self.closed - 1.0);
        Spread::Is(squares.max(0.0) * few / (self.n * self.n))
    }
}

impl Spread {
    /// The same in another unit.
    pub(super) fn over(self, unit: f64) -> Self {
        match self {
            Self::Is(variance) => Self::Is(variance / unit),
            other @ (Self::Unknown | Self::Few) => other,
        }
    }
}

impl Moments {
    fn merge(&mut self, other: Self) {
        self.sum += other.sum;
        self.squares += other.squares;
        self.by_size += other.by_size;
    }

    fn add(&mut self, n: f64, sum: f64) {
        self.sum += sum;
        self.squares += sum * sum;
        self.by_size += n * sum;
    }
}

/// A variance that is known from the samples, unless the clusters say that it is far more.
/// With half a dozen of them it is twice too large by chance once in ten.
pub(super) fn larger(samples: f64, clusters: Spread) -> f64 {
    match clusters {
        Spread::Is(variance) if variance > FAR_MORE * samples => variance,
        Spread::Few => samples.max(FEW_ERROR_SQUARED),
        Spread::Is(_) | Spread::Unknown => samples,
    }
}

/// How long a cluster lasts, in latencies: short against what requests differ by, long
/// against the slice in which a process catches up.
pub(super) const WIDTH: f64 = 0.125;
/// Fewer say nothing of a variance.
const CLUSTERS_MIN: f64 = 5.0;
/// See [`larger`].
const FAR_MORE: f64 = 2.0;
/// What is known from too few clusters is not known: an error of the whole value.
const FEW_ERROR_SQUARED: f64 = 1.0;

#[cfg(test)]
mod tests {
    use super::*;

    fn of(samples: impl Iterator<Item = (f64, f64)>) -> Clusters {
        let mut clusters = Clusters::default();
        for (at, latency) in samples {
            clusters.add(at, 0.001, latency);
        }
        clusters
    }

    #[test]
    fn samples_that_share_their_fate_count_once() {
        // Eight slices of sixteen, each with a latency of its own.
        let late = |slice: u32| 0.02 + 0.01 * f64::from(slice % 2);
        let slices = (0..8).flat_map(|slice| (0..16).map(move |_| slice));
        let together = of(slices.map(|slice| (f64::from(slice), late(slice))));
        let alone = of((0..8).map(|slice| (f64::from(slice), late(slice))));
        let (Spread::Is(together), Spread::Is(alone)) =
            (together.latency_spread(), alone.latency_spread())
        else {
            panic!("eight are enough")
        };
        assert!((together / alone - 1.0).abs() < 1e-9, "{together} {alone}");
    }

    #[test]
    fn samples_that_end_apart_vary_as_samples_do() {
        let value = |i: u32| 0.01 * (1.0 + f64::from(i * 7919 % 13));
        let clusters = of((0..100).map(|i| (f64::from(i), value(i))));
        let mean = (0..100).map(value).sum::<f64>() / 100.0;
        let variance = (0..100).map(|i| (value(i) - mean).powi(2)).sum::<f64>() / 99.0 / 100.0;
        let Spread::Is(spread) = clusters.latency_spread() else {
            panic!("a hundred are enough")
        };
        assert!(
            (spread / variance - 1.0).abs() < 1e-6,
            "{spread} {variance}"
        );
    }

    #[test]
    fn one_slice_knows_nothing() {
        let clusters = of((0..64).map(|i| (1.0, 0.01 + 0.0001 * f64::from(i))));
        assert!(clusters.few());
        assert_eq!(larger(1e-6, clusters.latency_spread()), FEW_ERROR_SQUARED);
        assert_eq!(larger(1e-6, Clusters::default().latency_spread()), 1e-6);
    }
}
