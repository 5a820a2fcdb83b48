//! How long a request waits for a connection, and what counts as too long.

use std::time::Duration;

/// Most connections of one pool. Far beyond what one server serves well; it bounds the
/// table of leases.
pub const POOL_SIZE_MAX: u32 = 65_535;

/// Most requests that wait for a connection of one pool.
pub const WAITERS_MAX: u32 = 65_535;

/// Most requests that wait for a connection of one pool, unless configured.
///
/// It bounds memory and nothing else: a place in the queue is some 200 bytes, and who waits
/// keeps its request, which is a few KiB. Whether waiting makes sense is told by how fast the
/// queue moves, so there is no number of heads that is too many.
pub const WAITERS_DEFAULT: u32 = 16_384;

/// Longest wait for a turn, where neither the pool of the driver nor anybody else says one.
///
/// It is what sqlx waits: whoever the bare pool would serve in that time is served. It is no
/// measure of patience, and need not be short, because waits that are in vain end sooner: at
/// the request's deadline, when the queue is too long for it, and when nothing comes back
/// ([`NONE_BACK_MAX`]).
pub const WAIT_MAX_DEFAULT: Duration = Duration::from_secs(30);

/// Longest wait, with a turn, for a connection to answer or to be opened, unless
/// configured. A connect across a continent with TLS takes a quarter of it; a server whose
/// processors are busy takes the rest to check a password.
pub const CONNECT_MAX_DEFAULT: Duration = Duration::from_secs(2);

/// How long a connect may be silent while nothing shows that it should not take so long: until
/// the server has given a first connection, and after that for three times as long as it took
/// lately. A connect that is under way is no failure. Where the driver's own time is shorter or
/// longer, it is that.
pub const CONNECT_SLOW_MAX_DEFAULT: Duration = Duration::from_secs(30);

/// How long nothing may come back to a pool before those who have waited for
/// [`PATIENCE_MIN`] are told that they wait in vain; twice the longest hold of late, if
/// that is longer, and never past [`PoolSettings::stuck_after`]. Longer than queries take that a
/// person waits for, and shorter than people and balancers wait, so that a pool whose holders
/// wait for each other says so before they have gone.
pub const NONE_BACK_MAX: Duration = Duration::from_secs(4);

/// How long a request waits before it is told that nothing moves: what it finds may be over in
/// a moment.
pub const PATIENCE_MIN: Duration = Duration::from_secs(2);

/// After how long without one connection coming back a full pool is stuck, unless
/// configured: longer than any query that a waiting request would still be glad of.
pub const STUCK_AFTER_DEFAULT: Duration = Duration::from_secs(10);

/// A connection held for longer is reported with the place that borrowed it, unless
/// configured. Thirty seconds is past the patience of every client, so whoever holds it
/// works for nobody, or has lost it.
pub const HELD_LONG_DEFAULT: Duration = Duration::from_secs(30);

/// Shortest wait that is taken over from a driver; it says zero for no wait at all.
const LENGTH_MIN: Duration = Duration::from_millis(1);

/// Longest length that any setting takes: a day.
const LENGTH_MAX: Duration = Duration::from_secs(86_400);

/// Settings of a [`PoolGate`](super::PoolGate).
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct PoolSettings {
    pub(super) size: u32,
    pub(super) waiters_max: u32,
    pub(super) wait_max: Duration,
    pub(super) connect_max: Duration,
    pub(super) connect_slow_max: Duration,
    pub(super) stuck_after: Duration,
    pub(super) held_long: Duration,
}

impl PoolSettings {
    /// Begins with the most connections that the pool may have: 1 to [`POOL_SIZE_MAX`].
    pub const fn new(size: u32) -> Self {
        Self {
            size,
            waiters_max: WAITERS_DEFAULT,
            wait_max: WAIT_MAX_DEFAULT,
            connect_max: CONNECT_MAX_DEFAULT,
            connect_slow_max: CONNECT_SLOW_MAX_DEFAULT,
            stuck_after: STUCK_AFTER_DEFAULT,
            held_long: HELD_LONG_DEFAULT,
        }
    }

    /// Sets how many requests may wait, whatever they wait for: 0 to [`WAITERS_MAX`]. Default
    /// [`WAITERS_DEFAULT`]. One whose new connection is slow or fails waits all the same, so
    /// there may be as many more as the pool has places.
    pub const fn waiters_max(mut self, waiters: u32) -> Self {
        self.waiters_max = waiters;
        self
    }

    /// Takes over how long the driver's own pool waits for a turn and for a new connection, where
    /// it says that: whoever it would have served is to be served.
    pub fn driver_waits(mut self, wait: Option<Duration>, connect: Option<Duration>) -> Self {
        let in_range = |found: Duration| found.clamp(LENGTH_MIN, LENGTH_MAX);
        if let Some(wait) = wait.map(in_range) {
            self.wait_max = wait;
        }
        if let Some(connect) = connect.map(in_range) {
            self.connect_max = self.connect_max.min(connect);
            self.connect_slow_max = connect;
        }
        self
    }

    /// Sets the longest wait for a turn; a request with an earlier deadline waits until
    /// that, and one that waits in vain not so long (see [`NONE_BACK_MAX`]). Default
    /// [`WAIT_MAX_DEFAULT`]; above 0 s to a day.
    pub const fn wait_max(mut self, wait: Duration) -> Self {
        self.wait_max = wait;
        self
    }

    /// Sets how long the server may take to answer one who has a turn: to a sign of life on
    /// an idle connection, or to a new one. While another connection works, whoever asked waits
    /// for that instead, and a connect goes on for longer in any case. Default
    /// [`CONNECT_MAX_DEFAULT`], and for a new connection [`CONNECT_SLOW_MAX_DEFAULT`] while nothing
    /// shows that it should not take so long; what is set here holds for both. Above 0 s to a day.
    pub const fn connect_max(mut self, wait: Duration) -> Self {
        self.connect_max = wait;
        self.connect_slow_max = wait;
        self
    }

    /// Sets after how long without one connection coming back a full pool is called stuck.
    /// Default [`STUCK_AFTER_DEFAULT`]; above 0 s to a day.
    pub const fn stuck_after(mut self, after: Duration) -> Self {
        self.stuck_after = after;
        self
    }

    /// Sets after how long a held connection is reported. Default [`HELD_LONG_DEFAULT`];
    /// above 0 s to a day.
    pub const fn held_long(mut self, after: Duration) -> Self {
        self.held_long = after;
        self
    }

    /// Returns what is wrong with the settings.
    #[must_use]
    pub fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.size == 0 || self.size > POOL_SIZE_MAX {
            faults.push(format!(
                "size {}; allowed is 1 to {POOL_SIZE_MAX}",
                self.size
            ));
        }
        if self.waiters_max > WAITERS_MAX {
            let found = self.waiters_max;
            faults.push(format!(
                "waiters_max {found}; allowed is 0 to {WAITERS_MAX}"
            ));
        }
        for (name, found) in [
            ("wait_max", self.wait_max),
            ("connect_max", self.connect_max),
            ("stuck_after", self.stuck_after),
            ("held_long", self.held_long),
        ] {
            if found.is_zero() || found > LENGTH_MAX {
                faults.push(format!(
                    "{name} {found:?}; allowed is above 0s to {LENGTH_MAX:?}"
                ));
            }
        }
        faults
    }
}
