//! The guard of a pool: who gets a connection, who waits, and who is refused with a reason.
//!
//! [`guard`] puts a [`PoolGate`] in front of a pool and a dependency's breaker behind it.
//! Against `pool.get()` it
//! - never waits for ever, whatever the pool's own timeouts are: no longer than the
//!   request's own deadline, and not at all where that is in vain;
//! - says which of many things a timeout was, as a refusal with numbers: cause
//!   `pool-exhausted` if all connections are in use (and whether any comes back, and which
//!   line of code has had one for longest), `dependency-down` with the last error if Redis
//!   cannot be reached, loads its data or has no client slot free;
//! - learns that a server is gone within [`KNOCK_AFTER`](steadfast_core::plumbing::KNOCK_AFTER), and
//!   then tests the pool's idle connections all at once, which deadpool would do one after
//!   the other for half a second each; those that do not answer are closed, and a server
//!   that only gives no *new* session costs none that works;
//! - judges each command once by its answer ([`GuardedConnection`]), so a cluster that has
//!   lost a slot opens the breaker, and a server that takes no writes has them refused
//!   while reads go on;
//! - closes the sessions that lead to a demoted server, so that the pool follows a failover.
//!
//! ```no_run
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! use deadpool_redis::{Config, Runtime, redis::AsyncCommands};
//! use steadfast::Dependency;
//! use steadfast_deadpool_redis::{guard, ping};
//!
//! let pool = Config::from_url("redis://cache/").create_pool(Some(Runtime::Tokio1))?;
//! let cache = Dependency::builder("cache").check(ping(&pool)).degrades().build()?;
//! let redis = guard(&pool, &cache).build()?;
//!
//! let mut connection = redis.acquire().await?;
//! let products: Option<String> = connection.get("products").await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Hazards
//! - Who takes connections from the pool itself is not counted: the guard then sees a pool
//!   that is busy although it has lent little, and says so only after a wait.
//! - It takes the pool's size once. A pool that is resized needs a new guard.
//! - A command that waits in the server on purpose (`BLPOP`, `XREAD BLOCK`) ends with the
//!   driver's response timeout too, unless [`GuardedConnection::expect_up_to`] is called
//!   before.
//! - Which commands write is known by their names. A script, a command of a module and
//!   `SORT` are sent to a server that is known to take no writes.

mod acquire;
mod command;
mod connection;
mod error;
mod generation;
mod idle;
mod sessions;
mod watch;

use std::{
    fmt,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use deadpool_redis::Pool;
use steadfast_core::{
    ConfigError, Deadline, DependencyState,
    plumbing::{PoolAdvice, PoolFleet, PoolGate, PoolPursuit, PoolSettings, PoolSnapshot},
};
use steadfast_pool::{Drive, attach};

pub(crate) use self::idle::any_serves;
use self::{acquire::Connections, sessions::Sessions};
pub use self::{connection::GuardedConnection, error::Error};
use crate::{
    clock,
    knock::{self, Endpoint},
};

/// Begins the guard of a pool that belongs to a dependency (a `steadfast::Dependency`, or
/// its state): see the [module](self). A pool needs one guard, which is cloned; two would
/// not know of each other.
///
/// It waits for a connection as long as the pool itself would, by its wait and create timeouts
/// where it has any, and less long where that is in vain: see [`PoolSettings`].
pub fn guard(pool: &Pool, dependency: &impl AsRef<Arc<DependencyState>>) -> PoolGuardBuilder {
    let size = u32::try_from(pool.status().max_size).unwrap_or(u32::MAX);
    let settings = PoolSettings::new(size);
    let timeouts = pool.timeouts();
    PoolGuardBuilder {
        pool: pool.clone(),
        state: Arc::clone(dependency.as_ref()),
        settings: settings.driver_waits(timeouts.wait, timeouts.create),
        silence_max: None,
        endpoint: None,
        faults: Vec::new(),
    }
}

/// Builds a [`PoolGuard`]; made by [`guard`].
#[must_use]
pub struct PoolGuardBuilder {
    pool: Pool,
    state: Arc<DependencyState>,
    settings: PoolSettings,
    silence_max: Option<Duration>,
    endpoint: Option<Endpoint>,
    faults: Vec<String>,
}

impl PoolGuardBuilder {
    /// Says where the server is, which a pool does not; only the address is taken. With it a
    /// server that hangs and one that is gone come apart, and a full one is quoted.
    pub fn url(mut self, url: &str) -> Self {
        match knock::of_url(url) {
            Ok(endpoint) => self.endpoint = Some(endpoint),
            Err(failure) => self.faults.push(format!("url: {failure}")),
        }
        self
    }

    /// Sets how many requests may wait: see [`PoolSettings::waiters_max`].
    pub fn waiters_max(mut self, waiters: u32) -> Self {
        self.settings = self.settings.waiters_max(waiters);
        self
    }

    /// Sets the longest wait for a turn: see [`PoolSettings::wait_max`].
    pub fn wait_max(mut self, wait: Duration) -> Self {
        self.settings = self.settings.wait_max(wait);
        self
    }

    /// Sets how long the server may take to answer: see [`PoolSettings::connect_max`].
    pub fn connect_max(mut self, wait: Duration) -> Self {
        self.settings = self.settings.connect_max(wait);
        self
    }

    /// Sets how long a command may be without an answer, above zero and at most an hour;
    /// [`SILENCE_MAX_DEFAULT`] without it. One that is silent for longer has failed, and so
    /// has the server. The request's deadline ends a command sooner, and commands that wait in
    /// the server on purpose are told by [`GuardedConnection::expect_up_to`].
    pub fn silence_max(mut self, longest: Duration) -> Self {
        if longest.is_zero() || longest > COMMAND_LONGEST {
            let fault = format!("silence_max {longest:?}; allowed is above 0s to 1h");
            self.faults.push(fault);
        }
        self.silence_max = Some(longest);
        self
    }

    /// Sets when a full pool is called stuck: see [`PoolSettings::stuck_after`].
    pub fn stuck_after(mut self, after: Duration) -> Self {
        self.settings = self.settings.stuck_after(after);
        self
    }

    /// Sets when a held connection is reported: see [`PoolSettings::held_long`].
    pub fn held_long(mut self, after: Duration) -> Self {
        self.settings = self.settings.held_long(after);
        self
    }

    /// Makes the guard, and shows its numbers with the dependency.
    ///
    /// # Errors
    /// Every setting that is out of its range, a URL that cannot be read, and a dependency
    /// that has as many pools as it may.
    pub fn build(self) -> Result<PoolGuard, ConfigError> {
        let name = self.state.name().clone();
        let about = |fault| format!("pool of {name}: {fault}");
        ConfigError::check(self.faults.into_iter().map(about).collect())?;
        let counted = self.pool.clone();
        let idle = move || u32::try_from(counted.status().available).unwrap_or(u32::MAX);
        let gate = attach(&self.state, &self.settings, idle)?;
        let sessions = Sessions::new(self.pool, Arc::clone(&self.state), self.endpoint);
        let connections = Connections {
            sessions: Arc::new(sessions),
            gate: Arc::clone(&gate),
        };
        Ok(PoolGuard(Arc::new(Inner {
            gate,
            state: self.state,
            silence_max: self.silence_max,
            connections: Arc::new(connections),
        })))
    }
}

impl fmt::Debug for PoolGuardBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pool's own text shows the client, and with it the password.
        f.debug_struct("PoolGuardBuilder")
            .field("dependency", self.state.name())
            .field("settings", &self.settings)
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// How long a command may be without an answer where nothing else is set: the driver's own
/// response timeout.
pub const SILENCE_MAX_DEFAULT: Duration = Duration::from_millis(500);

/// Longest setting for a command: one that takes longer is no matter of a request.
const COMMAND_LONGEST: Duration = Duration::from_secs(3600);

/// The guard of a pool. Clones share it.
#[derive(Clone)]
pub struct PoolGuard(Arc<Inner>);

struct Inner {
    gate: Arc<PoolGate>,
    state: Arc<DependencyState>,
    silence_max: Option<Duration>,
    connections: Arc<Connections>,
}

impl PoolGuard {
    /// Takes a connection from the pool: at once, after a wait, or not at all.
    ///
    /// It sets out when it is polled first, and waits until the deadline of the request in
    /// which this was called ([`Deadline::current`]), and no longer than the guard's own
    /// limits.
    ///
    /// # Errors
    /// A refusal, which `?` passes on into `steadfast::Error`; or the driver's error if the
    /// application has closed the pool.
    ///
    /// # Cancel safety
    /// Dropped while it waits for its turn, it leaves the queue. Dropped, or refused at the
    /// request's deadline, while the connection is tested or opened, that goes on by itself
    /// and the connection goes to the pool, so a request that goes closes none.
    #[track_caller]
    pub fn acquire(&self) -> Acquire {
        self.acquire_before(Deadline::current())
    }

    /// Takes a connection as [`Self::acquire`] does, with a deadline given by hand: for work
    /// on a task of its own, which sees no request.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    ///
    /// # Cancel safety
    /// As [`Self::acquire`].
    #[track_caller]
    pub fn acquire_before(&self, deadline: Option<Deadline>) -> Acquire {
        let state = &self.0.state;
        let drive = Drive::new(PoolPursuit::new(
            Arc::clone(&self.0.connections),
            Arc::clone(state),
            Arc::clone(&self.0.gate),
            deadline,
            Location::caller(),
            fastrand::u64(..),
        ));
        Acquire {
            drive,
            sessions: Arc::clone(&self.0.connections.sessions),
            silence_max: self.0.silence_max,
            deadline,
        }
    }

    /// Returns the pool, for what needs it whole.
    #[must_use]
    pub fn pool(&self) -> &Pool {
        &self.0.connections.sessions.pool
    }

    /// Returns the numbers, and who holds connections.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        self.0.gate.snapshot(clock::now())
    }

    /// Says how the pool's size fits what was asked of it in the last two minutes, and what
    /// the server gives to all instances (`CONFIG GET maxclients`).
    #[must_use]
    pub fn advice(&self, fleet: Option<PoolFleet>) -> PoolAdvice {
        self.0.gate.advice(fleet, clock::now())
    }
}

impl fmt::Debug for PoolGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolGuard").field(&self.0.gate).finish()
    }
}

/// Takes a connection; made by [`PoolGuard::acquire`].
#[must_use = "nothing is acquired unless this is awaited"]
pub struct Acquire {
    drive: Drive<Connections>,
    sessions: Arc<Sessions>,
    silence_max: Option<Duration>,
    deadline: Option<Deadline>,
}

impl Future for Acquire {
    type Output = Result<GuardedConnection, Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let caught = ready!(Pin::new(&mut self.drive).poll(cx));
        let (silence_max, deadline) = (self.silence_max, self.deadline);
        let sessions = Arc::clone(&self.sessions);
        Poll::Ready(match caught {
            Ok(caught) => Ok(GuardedConnection::new(
                caught,
                sessions,
                silence_max,
                deadline,
            )),
            Err(error) => Err(Error::of_pool(error)),
        })
    }
}

impl fmt::Debug for Acquire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Acquire").field(&self.drive).finish()
    }
}
