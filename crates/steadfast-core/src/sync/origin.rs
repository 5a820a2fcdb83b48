//! Moments and lengths as numbers that fit an atomic: nanoseconds, from an origin of one's own.

use std::time::{Duration, Instant};

/// Where the counting begins. A moment before it counts as zero, and one more than 584 years
/// after it as the last.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin(Instant);

impl Origin {
    pub(crate) const fn new(at: Instant) -> Self {
        Self(at)
    }

    #[inline]
    pub(crate) fn nanos(self, now: Instant) -> u64 {
        nanos(now.saturating_duration_since(self.0))
    }

    /// Returns the moment that [`Origin::nanos`] made a number of.
    pub(crate) fn at(self, nanos: u64) -> Instant {
        self.0 + Duration::from_nanos(nanos)
    }
}

/// A length in nanoseconds. Half the work of `as_nanos`, which counts in 128 bits.
#[inline]
pub(crate) fn nanos(length: Duration) -> u64 {
    let whole = length.as_secs().saturating_mul(1_000_000_000);
    whole.saturating_add(u64::from(length.subsec_nanos()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_survives_its_number_and_the_edges_are_kept() {
        let start = crate::testing::origin();
        let origin = Origin::new(start + Duration::from_secs(5));
        let now = start + Duration::from_millis(7_250);
        assert_eq!(origin.nanos(now), 2_250_000_000);
        assert_eq!(origin.at(origin.nanos(now)), now);
        assert_eq!(origin.nanos(start), 0);
        assert_eq!(nanos(Duration::MAX), u64::MAX);
    }
}
