//! The guard of a pool: who gets a connection, who waits, and who is refused with a reason.
//!
//! [`guard`] puts a [`PoolGate`](steadfast_core::plumbing::PoolGate) in front of a pool and a
//! dependency's breaker behind it.
//! Against `pool.get()` it
//! - never waits for ever, whatever the pool's own timeouts are: no longer than the
//!   request's own deadline, and not at all where that is in vain;
//! - says which of many things a timeout was, as a refusal with numbers: cause
//!   `pool-exhausted` if all connections are in use (and whether any comes back, and which
//!   line of code has had one for longest), `dependency-down` with the last error if Redis
//!   cannot be reached, loads its data or has no client slot free;
//! - learns that a server is gone within [`PROBE_AFTER`](steadfast_core::plumbing::PROBE_AFTER), and
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
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use deadpool_redis::Pool;
use steadfast_core::{
    Deadline, DependencyState, Failure,
    plumbing::{PoolAdvice, PoolFleet, PoolSettings, PoolSnapshot},
};
use steadfast_pool::{Drive, Gated, Located, PoolKind};

pub(crate) use self::idle::any_serves;
use self::{acquire::Connections, sessions::Sessions};
pub use self::{connection::GuardedConnection, error::Error};
use crate::{
    gauges::Gauges,
    reach::{self, Endpoint},
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
    PoolGuardBuilder::new(
        Unguarded {
            pool: pool.clone(),
            endpoint: reach::of_pool(pool),
        },
        Arc::clone(dependency.as_ref()),
        settings.driver_waits(timeouts.wait, timeouts.create),
    )
}

/// Builds a [`PoolGuard`]; made by [`guard`].
///
/// The address of the server stands in the pool's own settings; `url` is for a pool whose
/// settings lead to another place than where the server answers.
pub type PoolGuardBuilder = steadfast_pool::PoolGuardBuilder<Unguarded>;

/// A pool that is about to be guarded; made by [`guard`].
pub struct Unguarded {
    pool: Pool,
    endpoint: Option<Endpoint>,
}

impl PoolKind for Unguarded {
    type Guard = PoolGuard;
    /// A command that takes longer than an hour is no matter of a request.
    const SILENCE_LONGEST: Duration = Duration::from_secs(3600);

    fn idle(&self) -> impl Fn() -> u32 + Send + Sync + 'static {
        let counted = self.pool.clone();
        move || Gauges::read(&counted).counts.idle
    }

    fn guarded(self, gated: Gated, silence_max: Option<Duration>) -> PoolGuard {
        let sessions = Sessions::new(self.pool, Arc::clone(gated.state()), self.endpoint);
        let connections = Connections {
            sessions: Arc::new(sessions),
            gate: Arc::clone(gated.gate()),
        };
        PoolGuard(Arc::new(Inner {
            gated,
            silence_max,
            connections: Arc::new(connections),
        }))
    }
}

impl Located for Unguarded {
    fn locate(&mut self, url: &str) -> Result<(), Failure> {
        self.endpoint = Some(reach::of_url(url)?);
        Ok(())
    }
}

impl fmt::Debug for Unguarded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The pool's own text shows the client, and with it the password.
        f.debug_struct("Unguarded")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// How long a command may be without an answer where nothing else is set: the driver's own
/// response timeout. Commands that wait in the server on purpose are told by
/// [`GuardedConnection::expect_up_to`].
pub const SILENCE_MAX_DEFAULT: Duration = Duration::from_millis(500);

/// The guard of a pool. Clones share it.
#[derive(Clone)]
pub struct PoolGuard(Arc<Inner>);

struct Inner {
    gated: Gated,
    silence_max: Option<Duration>,
    connections: Arc<Connections>,
}

impl PoolGuard {
    /// Takes a connection from the pool: at once, after a wait, or not at all.
    ///
    /// It starts when it is polled first, and waits until the deadline of the request in
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
        let connections = Arc::clone(&self.0.connections);
        let drive = self.0.gated.acquire(connections, deadline);
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
        self.0.gated.snapshot()
    }

    /// Says how the pool's size fits what was asked of it in the last two minutes, and what
    /// the server gives to all instances (`CONFIG GET maxclients`).
    #[must_use]
    pub fn advice(&self, fleet: Option<PoolFleet>) -> PoolAdvice {
        self.0.gated.advice(fleet)
    }
}

impl fmt::Debug for PoolGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolGuard")
            .field(self.0.gated.gate())
            .finish()
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
        let acquired = ready!(Pin::new(&mut self.drive).poll(cx));
        let (silence_max, deadline) = (self.silence_max, self.deadline);
        let sessions = Arc::clone(&self.sessions);
        Poll::Ready(match acquired {
            Ok(acquired) => Ok(GuardedConnection::new(
                acquired,
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
