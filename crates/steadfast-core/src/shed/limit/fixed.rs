//! A limit that somebody chose.

use std::num::NonZeroU32;

use super::{Directive, Limit, LimitPhase, Sampling, Snapshot};

/// Keeps the limit it was given and asks to hear nothing.
///
/// Right where the number is known, say the size of the one pool that everything waits for, and wrong as soon as it changes: in front of 16 workers, 100 is six times too much as soon as they become slow (`cargo run -p sim --release -- brownout --peer all` shows it).
///
/// ```
/// use std::num::NonZeroU32;
/// use steadfast_core::limit::{Fixed, Limit};
///
/// let limit = Fixed::new(NonZeroU32::new(16).unwrap());
/// assert_eq!(limit.directive().cap, Some(16));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Fixed {
    limit: NonZeroU32,
}

impl Fixed {
    /// Admits at most `limit` at once.
    #[must_use]
    pub const fn new(limit: NonZeroU32) -> Self {
        Self { limit }
    }
}

impl Limit for Fixed {
    fn directive(&self) -> Directive {
        Directive::new(Some(self.limit.get()), Sampling::Nothing, 0)
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(LimitPhase::Held);
        snapshot.limit = Some(self.limit.get());
        snapshot
    }
}
