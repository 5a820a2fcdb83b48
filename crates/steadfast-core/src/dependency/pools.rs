//! The seam between a dependency and the pools in front of it.
//!
//! A pool knows things that neither a call nor a check can know: that everything is lent
//! out, who waits, for how long. What it tells here is shown beside the breaker and the
//! check, and a shortage of its own degrades the dependency; it never makes it *failing*,
//! because a pool that is empty of connections is this process's shortage.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{check::failure::Failure, pool::PoolHeld};

/// A pool that belongs to a dependency.
///
/// It is read by probes, metrics and the operator's view, so it must not wait and not take
/// a lock that an `acquire` holds for long.
pub trait PoolGauge: fmt::Debug + Send + Sync + 'static {
    /// Reads the gauges as of `now`.
    fn reading(&self, now: Instant) -> PoolReading;

    /// Names who holds connections, the longest first, for the operator's view. A pool that
    /// does not know answers nobody, which is the default.
    fn holders(&self, now: Instant) -> Vec<PoolHeld> {
        let _ = now;
        Vec::new()
    }

    /// Returns why no connection can be had, while none works and none lies ready. One that
    /// cannot tell says nothing, which is the default.
    fn trouble(&self, now: Instant) -> Option<Failure> {
        let _ = now;
        None
    }

    /// Returns why none could be had when that was seen last, and when, however it is now: a
    /// proxy without a server lends a session between two refusals. One that cannot tell says
    /// nothing, which is the default.
    fn last_trouble(&self) -> Option<(Failure, Instant)> {
        None
    }
}

/// How a pool stands, the worst last. Complete: it has some, it has none, or none comes back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PoolPressure {
    /// There is something to give.
    #[default]
    None,
    /// Everything is lent out and comes back.
    Saturated,
    /// Everything is lent out and nothing has come back for a while.
    Stuck,
}

impl PoolPressure {
    /// Returns the stable token.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Saturated => "saturated",
            Self::Stuck => "stuck",
        }
    }
}

/// The gauges of a pool at one moment. Numbers may be a call or two apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolReading {
    /// Most connections the pool may have.
    pub max: u32,
    /// Connections lent out.
    pub in_use: u32,
    /// Connections that lie ready.
    pub idle: u32,
    /// Callers that wait for one.
    pub waiting: u32,
    /// How it stands.
    pub pressure: PoolPressure,
    /// What all callers have waited together since the start. Its growth for each second
    /// is the mean length of the queue.
    pub waited_total: Duration,
    /// How long the longest holder has had its connection, if that is known.
    pub longest_held: Option<Duration>,
    /// Connections that were never given back: held beyond every bound.
    pub leaked: u32,
    /// How many connections the server has room for, if it has said that it has no more.
    pub room: Option<u32>,
}

impl PoolReading {
    /// Begins a reading with what every pool knows.
    #[must_use]
    pub const fn new(max: u32, in_use: u32, idle: u32, waiting: u32) -> Self {
        Self {
            max,
            in_use,
            idle,
            waiting,
            pressure: PoolPressure::None,
            waited_total: Duration::ZERO,
            longest_held: None,
            leaked: 0,
            room: None,
        }
    }
}
