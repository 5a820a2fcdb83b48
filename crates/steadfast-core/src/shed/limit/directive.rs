//! What an algorithm publishes: the cap to enforce, and what it wants to hear.

/// The cap to enforce now, and what the algorithm wants to be told.
///
/// Packs into a `u64` so that it can be published in one atomic word.
///
/// ```
/// use steadfast_core::limit::{Directive, Sampling};
///
/// let directive = Directive::new(Some(24), Sampling::OneIn(1), 16);
/// assert_eq!(Directive::from_word(directive.to_word()), directive);
/// assert!(directive.admits(23) && !directive.admits(24));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Directive {
    /// A request is admitted while fewer than this many are in flight; `None` admits all.
    pub cap: Option<u32>,
    /// Which admitted requests the algorithm wants to hear of.
    pub sampling: Sampling,
    /// Arrivals after which the algorithm wants a window; 0 asks for none. At most [`Directive::WINDOW_MAX`].
    pub window: u16,
}

/// Which admitted requests an algorithm wants to hear of.
///
/// Complete: every caller of an algorithm has to do each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sampling {
    /// None.
    Nothing,
    /// One in this many. A power of two lets the caller test a counter with a mask.
    OneIn(u16),
}

impl Directive {
    /// The most arrivals that a window may span; the field has 16 bits.
    pub const WINDOW_MAX: u16 = u16::MAX;

    /// Makes a directive; a cap of `u32::MAX` is the same as none.
    #[must_use]
    pub const fn new(cap: Option<u32>, sampling: Sampling, window: u16) -> Self {
        let cap = match cap {
            Some(u32::MAX) | None => None,
            Some(0) => Some(1),
            Some(cap) => Some(cap),
        };
        Self {
            cap,
            sampling,
            window,
        }
    }

    /// Whether one more may start beside `in_flight` others. With none in flight the answer is always yes.
    #[must_use]
    pub const fn admits(&self, in_flight: u32) -> bool {
        match self.cap {
            Some(cap) => in_flight < cap,
            None => true,
        }
    }

    /// Packs the directive: cap in the low 32 bits, then sampling, then window.
    #[must_use]
    pub const fn to_word(self) -> u64 {
        let cap = match self.cap {
            Some(cap) => cap,
            None => u32::MAX,
        };
        let one_in = match self.sampling {
            Sampling::Nothing => 0,
            Sampling::OneIn(0) => 1,
            Sampling::OneIn(n) => n,
        };
        cap as u64 | (one_in as u64) << 32 | (self.window as u64) << 48
    }

    /// Unpacks what [`Directive::to_word`] packed.
    #[must_use]
    pub const fn from_word(word: u64) -> Self {
        let sampling = match (word >> 32) as u16 {
            0 => Sampling::Nothing,
            n => Sampling::OneIn(n),
        };
        Self::new(Some(word as u32), sampling, (word >> 48) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directive_survives_its_word() {
        for cap in [None, Some(1), Some(24), Some(u32::MAX - 1)] {
            for sampling in [
                Sampling::Nothing,
                Sampling::OneIn(1),
                Sampling::OneIn(u16::MAX),
            ] {
                for window in [0, 16, Directive::WINDOW_MAX] {
                    let directive = Directive::new(cap, sampling, window);
                    assert_eq!(Directive::from_word(directive.to_word()), directive);
                }
            }
        }
    }

    #[test]
    fn an_idle_service_admits_whatever_the_cap() {
        assert!(Directive::new(Some(0), Sampling::Nothing, 0).admits(0));
    }
}
