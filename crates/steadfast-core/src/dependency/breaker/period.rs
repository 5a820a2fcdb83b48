//! Time in equal pieces, told without a division.

/// A length that time is cut into. A division of 64 bits by a number that is not known when
/// the code is compiled takes the processor longer than all the rest of counting a call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Period {
    ms: u64,
    /// 2^64 over the length, rounded up.
    inverse: u64,
}

impl Period {
    /// Makes periods of `ms`, at least one and at most [`PERIOD_MAX`].
    pub(crate) fn new(ms: u64) -> Self {
        let ms = ms.clamp(1, PERIOD_MAX);
        // With a length of one the inverse would be 2^64; the quotient is the moment itself.
        let inverse = (u64::MAX / ms).wrapping_add(1);
        Self { ms, inverse }
    }

    pub(crate) const fn ms(self) -> u64 {
        self.ms
    }

    /// Returns which period a moment before [`MOMENT_MAX`] lies in.
    ///
    /// The rounding makes the product too large by less than `moment * ms / 2^64` of a
    /// period's part, so it is exact while `moment * ms` stays below 2^64 (T. Granlund and
    /// P. L. Montgomery, "Division by invariant integers using multiplication", 1994).
    #[inline]
    pub(crate) fn of(self, moment_ms: u64) -> u64 {
        if self.inverse == 0 {
            return moment_ms;
        }
        let product = u128::from(moment_ms.min(MOMENT_MAX)) * u128::from(self.inverse);
        (product >> 64) as u64
    }
}

/// The longest period: eighteen hours.
const PERIOD_MAX: u64 = (1 << 26) - 1;
/// The last moment that is told exactly: 8.7 years after the start, where a breaker's time
/// ends.
const MOMENT_MAX: u64 = (1 << 38) - 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_the_division(ms in 1..=PERIOD_MAX, moment in 0..=MOMENT_MAX) {
            prop_assert_eq!(Period::new(ms).of(moment), moment / ms);
        }

        #[test]
        fn it_is_exact_at_the_seams(ms in 1..=PERIOD_MAX, periods in 1_u64..1 << 38) {
            let seam = (periods % (MOMENT_MAX / ms)).max(1) * ms;
            prop_assert_eq!(Period::new(ms).of(seam), seam / ms);
            prop_assert_eq!(Period::new(ms).of(seam - 1), seam / ms - 1);
        }
    }

    #[test]
    fn the_shortest_and_the_longest_period_are_told() {
        assert_eq!(Period::new(0).of(MOMENT_MAX), MOMENT_MAX);
        assert_eq!(
            Period::new(u64::MAX).of(MOMENT_MAX),
            MOMENT_MAX / PERIOD_MAX
        );
    }
}
