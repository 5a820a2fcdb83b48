//! A request's place in the line.

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
