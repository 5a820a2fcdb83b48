//! What a connection's task has to look at next, and when.

use std::time::Instant;

use super::state::Why;

/// What comes next.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    EndReads(Why),
    TurnOver,
    HeadTooSlow,
    Blocked,
    GoawayLate,
    Streams,
    Goaway,
    Resumes,
}

impl Next {
    /// Whether how much the peer has taken decides.
    pub(super) const fn concerns_writes(self) -> bool {
        matches!(self, Self::Blocked | Self::GoawayLate | Self::Streams)
    }
}

/// The earlier one.
pub(super) fn first(
    one: Option<(Instant, Next)>,
    other: Option<(Instant, Next)>,
) -> Option<(Instant, Next)> {
    match (one, other) {
        (Some(one), Some(other)) => Some(if other.0 < one.0 { other } else { one }),
        (one, other) => one.or(other),
    }
}
