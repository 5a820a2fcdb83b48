//! How long a server has to be silent before that means anything. Pure.
//!
//! What is left of a check's time may be a few milliseconds, and a server that has not
//! answered in those is not to blame. So a question that needs a new session is asked only
//! while there is time for it, and is held against nobody before it had a fair one.

use std::time::{Duration, Instant};

use steadfast_core::Deadline;
pub use steadfast_core::plumbing::FAIR_MAX;

/// The time for which a server is waited for, and what of it is fair.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    until: Deadline,
    fair: Duration,
}

impl Patience {
    /// Begins to wait until then. The fair time is [`FAIR_MAX`], and half of the whole where
    /// that is shorter: the one question of a short check is held against a server too.
    #[must_use]
    pub fn new(until: Deadline, now: Instant) -> Self {
        let fair = (until.remaining(now) / 2).min(FAIR_MAX);
        Self { until, fair }
    }

    /// Returns until when it lasts.
    #[must_use]
    pub const fn until(self) -> Deadline {
        self.until
    }

    /// Whether what is left is fair to whoever is asked now.
    #[must_use]
    pub fn is_enough(self, now: Instant) -> bool {
        self.is_fair(self.until.remaining(now))
    }

    /// Whether silence for so long, while somebody waited, is held against a server.
    #[must_use]
    pub fn is_fair(self, waited: Duration) -> bool {
        waited >= self.fair
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_is_fair_and_half_of_what_is_shorter_than_two() {
        let now = crate::clock::now();
        for (whole_ms, fair_ms) in [(10_000, 1000), (2000, 1000), (900, 450), (100, 50)] {
            let whole = Duration::from_millis(whole_ms);
            let patience = Patience::new(Deadline::at(now + whole), now);
            let fair = Duration::from_millis(fair_ms);
            let short = fair - Duration::from_millis(1);
            assert!(patience.is_fair(fair) && !patience.is_fair(short));
            assert!(patience.is_enough(now));
            assert!(patience.is_enough(now + whole - fair));
            assert!(!patience.is_enough(now + whole - short));
        }
    }
}
