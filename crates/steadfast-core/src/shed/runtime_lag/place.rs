//! A request's place in the line, and what those in it say of a limit.

use super::LagLoop;

/// A request's place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It runs at once.
    Out,
    /// It is about to give way, on this stripe's count.
    Joining(u8),
    /// It has given way, for the last time in this round of the thread that polled it;
    /// `again` says that it let an older one go first in the same round.
    Waiting { stripe: u8, round: u32, again: bool },
}

impl Line {
    pub(super) const fn stripe(self) -> Option<usize> {
        match self {
            Self::Out => None,
            Self::Joining(stripe) | Self::Waiting { stripe, .. } => Some(stripe as usize),
        }
    }
}

impl LagLoop {
    /// Whether half of so many in flight or more stand in line. What they take then is the
    /// runtime's doing, and says nothing of how many may run: a limit that was found on them
    /// refused what this loop would have refused sooner and for less.
    #[inline]
    pub(crate) fn lines_most(&self, in_flight: impl FnOnce() -> u32) -> bool {
        self.stands() && self.waiting().saturating_mul(2) >= in_flight()
    }
}
