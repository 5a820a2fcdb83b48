//! The two bounds of the tokens in one word: the limit, and how much of it is kept back.
//!
//! They are one word so that two threads that each change one of them agree on how many
//! tokens there are in between.

use super::{Keep, LIMIT_MAX};
use crate::request::priority::Priority;

/// A limit, and the places of it that are kept for some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    /// How many run at most.
    pub(super) limit: u32,
    /// How many of those places are to be kept; at most all but one are.
    pub(super) kept: u32,
}

impl Bounds {
    pub(super) fn new(limit: u32, kept: u32) -> Self {
        Self {
            limit: limit.clamp(1, LIMIT_MAX),
            kept: kept.min(LIMIT_MAX),
        }
    }

    /// How many places are kept. One always is for everybody: with nothing in flight
    /// whoever comes is admitted.
    pub(super) fn kept(self) -> u32 {
        self.kept.min(self.limit - 1)
    }

    /// How many are kept from a class from which `places` are to be, of `most` from any. The
    /// rest of what is kept is spared for those from whom nothing is.
    pub(super) fn kept_from(self, places: u32, most: u32) -> u32 {
        let spared = self.kept.saturating_sub(most);
        // Where nothing is kept from anybody there is nobody to spare it for.
        let first = places == 0 && most > 0;
        let from = if first { 0 } else { places + spared };
        from.min(self.kept())
    }

    /// How deep the pool may go into debt for a class.
    pub(super) fn debt_max(self, class: Priority, keep: Keep) -> i64 {
        let theirs = self.kept_from(keep.from(class), keep.most());
        i64::from(self.kept() - theirs)
    }

    /// How many places everybody may take: as many tokens go round.
    pub(super) fn common(self) -> i64 {
        i64::from(self.limit - self.kept())
    }

    pub(super) const fn to_word(self) -> u64 {
        self.limit as u64 | (self.kept as u64) << 32
    }

    pub(super) fn from_word(word: u64) -> Self {
        Self::new(word as u32, (word >> 32) as u32)
    }
}
