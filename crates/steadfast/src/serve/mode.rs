//! How a connection is treated, what it speaks, and why it ends.

/// How the wrapper treats a read for which there is nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It waits.
    Open,
    /// A turn of the driver is waited for; then, if still nothing has come, it ends.
    AboutToEnd,
    /// It ends: the peer seems to have closed, which makes hyper close in order.
    Ending,
    /// Everything fails.
    Cut,
}

/// What is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Protocol {
    /// Not known yet.
    Unknown,
    Http1,
    Http2,
}

/// Why the connection was or is being closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    Idle,
    Unused,
    TooSlow,
    GoawayUnacknowledged,
}
