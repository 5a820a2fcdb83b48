//! Sums over a group of requests, and what they say.

/// Sums over a group of requests.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    n: f64,
    latency: f64,
    latency_squares: f64,
    log: f64,
    log_squares: f64,
    in_flight: f64,
    abandoned: f64,
    shift: f64,
}

impl Sums {
    pub(super) fn add(&mut self, latency_secs: f64, in_flight: u32, abandoned: bool) {
        let log = latency_secs.ln();
        self.n += 1.0;
        self.latency += latency_secs;
        self.latency_squares += latency_secs * latency_secs;
        self.log += log;
        self.log_squares += log * log;
        self.in_flight += f64::from(in_flight);
        self.abandoned += f64::from(u8::from(abandoned));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.n += other.n;
        self.latency += other.latency;
        self.latency_squares += other.latency_squares;
        self.log += other.log;
        self.log_squares += other.log_squares;
        self.in_flight += other.in_flight;
        self.abandoned += other.abandoned;
        self.shift += other.shift;
    }

    /// Notes how much longer the logarithm of this latency would be after a wait.
    pub(super) fn would_wait(&mut self, latency_secs: f64, wait_secs: f64) {
        self.shift += (wait_secs / latency_secs).ln_1p();
    }

    /// Mean of what [`Sums::would_wait`] noted.
    pub(super) fn shift(&self) -> f64 {
        self.shift / self.n.max(1.0)
    }

    pub(super) fn n(&self) -> f64 {
        self.n
    }

    pub(super) fn latency(&self) -> f64 {
        self.latency / self.n.max(1.0)
    }

    pub(super) fn in_flight(&self) -> f64 {
        self.in_flight / self.n.max(1.0)
    }

    pub(super) fn log(&self) -> f64 {
        self.log / self.n.max(1.0)
    }

    pub(super) fn abandoned_ratio(&self) -> f64 {
        self.abandoned / self.n.max(1.0)
    }

    /// Variance of the mean of the logarithms.
    pub(super) fn log_error_squared(&self) -> f64 {
        let n = self.n.max(1.0);
        let variance = self.log_squares / n - (self.log / n) * (self.log / n);
        variance.max(LOG_VARIANCE_MIN) / n
    }

    /// Variance of the latency, in square seconds.
    pub(super) fn variance(&self) -> f64 {
        let mean = self.latency();
        (self.latency_squares / self.n.max(1.0) - mean * mean).max(0.0)
    }

    /// Squared relative error of the mean latency: cv² / n.
    pub(super) fn error_squared(&self) -> f64 {
        let n = self.n.max(1.0);
        let mean = self.latency();
        if mean <= 0.0 {
            return 1.0;
        }
        (self.variance() / (mean * mean)).max(VARIANCE_MIN) / n
    }

    /// The latency of this group over that of one with more in flight: between their ratio in flight, if all of them queue, and 1, if nobody does.
    pub(super) fn queued(&self, high: &Self) -> f64 {
        let fewer = (self.in_flight() / high.in_flight()).min(1.0);
        (self.latency() / high.latency()).clamp(fewer, 1.0)
    }

    /// Whether the mean latencies of two groups at the same limit cannot be of one service: it became faster or slower between them.
    /// `error_squared` is that of the logarithm of their ratio.
    pub(super) fn differs_from(&self, other: &Self, error_squared: f64) -> bool {
        let apart = (self.latency() / other.latency().max(1e-9)).ln().abs();
        apart > MOVED && apart > SURE * error_squared.sqrt()
    }
}

/// Logarithm by which a latency must move to say that the service changed its speed; noise moves it by half of that.
const MOVED: f64 = 0.4;
/// And so many standard errors.
const SURE: f64 = 4.0;
/// Samples that are all alike are not known without an error: a thousandth,
const LOG_VARIANCE_MIN: f64 = 1e-6;
/// or a hundredth of a mean, which is what timers round by.
const VARIANCE_MIN: f64 = 1e-4;

#[cfg(test)]
mod tests;
