//! Random numbers that are the same on every machine for the same seed.

/// A small generator (splitmix64), good enough for arrivals and service times.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// Starts from a seed; near seeds give unrelated numbers.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let mut rng = Self(seed ^ 0x5851_f42d_4c95_7f2d);
        rng.next();
        rng
    }

    /// The next 64 random bits.
    #[expect(
        clippy::should_implement_trait,
        reason = "it is no iterator: it never ends"
    )]
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        ((self.unit() * n as f64) as usize).min(n.saturating_sub(1))
    }

    /// Exponential with the given mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.unit()).ln()
    }

    /// Standard normal (Box-Muller).
    pub fn normal(&mut self) -> f64 {
        let radius = (-2.0 * (1.0 - self.unit()).ln()).sqrt();
        radius * (std::f64::consts::TAU * self.unit()).cos()
    }
}

/// How long something takes, in seconds.
#[derive(Clone, Copy, Debug)]
pub enum Dist {
    /// Always the same.
    Constant(f64),
    /// Uniform between two bounds.
    Uniform(f64, f64),
    /// Lognormal with this mean and this sigma of the logarithm.
    Lognormal(f64, f64),
    /// The first value with this probability, else the second.
    Bimodal(f64, f64, f64),
}

impl Dist {
    /// Draws one.
    pub fn draw(self, rng: &mut Rng) -> f64 {
        match self {
            Self::Constant(secs) => secs,
            Self::Uniform(low, high) => low + (high - low) * rng.unit(),
            Self::Lognormal(mean, sigma) => {
                mean * (sigma * rng.normal() - sigma * sigma / 2.0).exp()
            }
            Self::Bimodal(share, short, long) => {
                if rng.unit() < share {
                    short
                } else {
                    long
                }
            }
        }
    }

    /// The mean.
    #[must_use]
    pub fn mean(self) -> f64 {
        match self {
            Self::Constant(secs) => secs,
            Self::Uniform(low, high) => f64::midpoint(low, high),
            Self::Lognormal(mean, _) => mean,
            Self::Bimodal(share, short, long) => share * short + (1.0 - share) * long,
        }
    }

    /// The 99th percentile, from draws with a seed of their own.
    #[must_use]
    pub fn p99(self) -> f64 {
        let mut rng = Rng::new(99);
        let mut draws: Vec<f64> = (0..40_000).map(|_| self.draw(&mut rng)).collect();
        draws.sort_by(f64::total_cmp);
        draws[39_600]
    }
}
