//! The guard of a pool: who gets a connection, who waits, who is refused with a reason, and
//! what becomes of every query.
//!
//! [`guard`] puts a [`PoolGate`](steadfast_core::plumbing::PoolGate) in front of a pool and a
//! dependency's breaker behind it.
//! Against `pool.acquire()` it
//! - waits no longer than the request's own deadline, and not at all where that is in vain;
//! - says which of the many things `PoolTimedOut` stands for it was, as a refusal with
//!   numbers: cause `pool-exhausted` if all connections are in use (and whether any comes
//!   back, and which line of code has had one for longest) or the server has no slot free,
//!   `dependency-down` with the last connect error if it cannot be reached;
//! - learns that a server is gone within [`PROBE_AFTER`](steadfast_core::plumbing::PROBE_AFTER),
//!   waits for up to 3 s for one that was there a moment ago, as the pool would, because it may
//!   be restarted, and tells the breaker then, which refuses at once;
//! - closes no connection when a request is cancelled or its deadline passes, and never
//!   leaves one in a transaction that nobody knows of ([`PoolGuard::begin`]).
//!
//! The guard is an `Executor`, and so is all that it lends. An application moves behind it by
//! changing the type of its pool, and each of its queries is judged once:
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use sqlx::{Sqlite, SqlitePool};
//! use steadfast::Dependency;
//! use steadfast_sqlx::{PoolGuard, guard};
//!
//! async fn answer(db: &PoolGuard<Sqlite>) -> sqlx::Result<i64> {
//!     let mut transaction = db.begin().await?;
//!     sqlx::query("create table if not exists goods (n int)")
//!         .execute(&mut *transaction)
//!         .await?;
//!     transaction.commit().await?;
//!     sqlx::query_scalar("select 42").fetch_one(db).await
//! }
//!
//! let pool = SqlitePool::connect("sqlite::memory:").await?;
//! let orders_db = Dependency::builder("orders-db").build()?;
//! let db = guard(&pool, &orders_db).build()?;
//! assert_eq!(answer(&db).await?, 42);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```
//!
//! # What a query says
//! | how it ends | told |
//! |---|---|
//! | an answer, rows that come | a success |
//! | a session that is lost or was ended (08…, 57P0x), no resources (53…), the server's files or data damaged (58…, XX001), silence for [`SILENCE_MAX_DEFAULT`] | a failure |
//! | the server takes no writes (25006, 53100; MySQL 1290, 1836, 1036, 1021; SQLite `READONLY`, `FULL`) | *read-only*, which is no outage: reads go on, and once it is known [`PoolGuard::begin`] and [`PoolGuard::writes`] refuse |
//! | a bound that an operator has set (57014; MySQL 3024) | too slow, for who sets a slow limit |
//! | any other error of the server: a unique violation, a syntax error, a missing right | nothing, for it has answered |
//! | a caller that left, a request whose own deadline came | nothing by itself; many of them without an answer |
//!
//! That there was a connection says nothing, because a proxy in front of a dead server lends
//! them too. A session that is over is closed instead of given back. So are all that lead to
//! a server which takes no writes, as soon as a new one leads to a server which does: that is
//! looked for twice a second, by one session beside the pool.
//!
//! A refusal travels inside [`sqlx::Error`], which is what every function here returns:
//! `steadfast::Error` and [`Refusal::find`](steadfast_core::Refusal::find) find it there, and
//! [`Error`] takes the two apart. A query that fails because the database cannot serve, when
//! that is known already, carries both: the breaker lets it try while waiting may help, and a
//! handler that answers with `steadfast::Error` explains what came of it. It was known if the
//! breaker is open, if calls have failed in a row or no connection could be had, or if health
//! warns of a failure of the same kind; the first failure is what it was. What the driver said
//! is behind it ([`underlying`]).
//!
//! # Recipes
//! A guard can say who holds a connection; only the server can take it back. For
//! PostgreSQL set limits where connections are opened, so that neither a lost transaction
//! nor a query that nobody waits for any more keeps its connection:
//!
//! ```
//! # #[cfg(feature = "postgres")]
//! # fn pool() -> sqlx::postgres::PgPoolOptions {
//! use sqlx::{Executor, postgres::PgPoolOptions};
//!
//! PgPoolOptions::new().max_connections(10).after_connect(|connection, _| {
//!     Box::pin(async move {
//!         // A transaction whose owner has gone, or waits for something else.
//!         connection.execute("SET idle_in_transaction_session_timeout = '10s'").await?;
//!         // Longer than the longest query that is meant to run.
//!         connection.execute("SET statement_timeout = '5s'").await?;
//!         // A query that waits for a table lock holds its connection too.
//!         connection.execute("SET lock_timeout = '2s'").await?;
//!         Ok(())
//!     })
//! })
//! # }
//! ```
//!
//! A query that its bound has cut, or whose request has gone, runs on in the server: sqlx shows
//! neither PostgreSQL's key for a cancel request nor the number of a MySQL session. Its session
//! keeps its place until the server has ended it, and is closed after
//! [`RELEASE_MAX`](steadfast_core::plumbing::RELEASE_MAX). A PostgreSQL that looks whether its
//! clients are there ends it sooner: one line, which the guard notices by itself.
//!
//! ```sql
//! ALTER ROLE app SET client_connection_check_interval = '1s';
//! ```
//!
//! A query that has not ended within 1 s of its cut then loses its connection, and its place is
//! free when the server has looked. A bound in the server ends it too (`statement_timeout`;
//! MariaDB's `max_statement_time`; MySQL's `max_execution_time`), or, for the one report that
//! has none, [`GuardedTransaction::cancel_when_cut`].
//!
//! # Hazards
//! - Who takes connections from the pool itself is not counted: a pool that lent little is busy.
//! - What is asked on a connection itself ([`GuardedSession::raw`]) is not seen.
//! - A query on the guard needs no `Dependency::call` around it, which would tell of it twice.
//! - A query on the guard itself is held by a line of this crate, as far as reports can tell.
//!   Take a connection where it matters who holds it.
//! - sqlx's `Acquire` is not implemented, because its connections are raw ones. `acquire` and
//!   `begin` are methods of the guard; migrations run on [`PoolGuard::pool`].
//! - sqlx 0.8.4 to 0.9.0 leave a transaction open on PostgreSQL if `begin` is cancelled
//!   before it is answered. [`PoolGuard::begin`] is safe; `pool.begin()` is not.

mod acquire;
mod connection;
mod cut;
mod error;
#[cfg(any(feature = "postgres", feature = "mysql", feature = "sqlite"))]
mod executor;
mod judged;
mod observer;
mod savepoint;
mod scout;
mod session;
mod transaction;
mod watch;
mod writes;

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use sqlx::Pool;
use steadfast_core::{
    Deadline, DependencyState,
    plumbing::{PoolAdvice, PoolFleet, PoolSettings, PoolSnapshot},
};
use steadfast_pool::{Drive, Gated, PoolKind};

pub(crate) use self::error::carried;
use self::{
    acquire::{Connections, How},
    observer::Observer,
    scout::PoolScout,
};
pub use self::{
    connection::GuardedConnection, error::Error, error::underlying, observer::SILENCE_MAX_DEFAULT,
    savepoint::GuardedSavepoint, session::GuardedSession, transaction::GuardedTransaction,
    writes::Writes,
};
use crate::{
    driver::Driver,
    gauges,
    version::{self, SqlSafeStr, SqlStr},
};

/// Begins the guard of a pool that belongs to a dependency (a `steadfast::Dependency`, or
/// its state): see the [module](self). A pool needs one guard, which is cloned; two would
/// not know of each other.
///
/// It waits for a connection as long as the pool itself would, which is its `acquire_timeout`,
/// and less long where that is in vain: see [`PoolSettings`].
pub fn guard<DB: Driver>(
    pool: &Pool<DB>,
    dependency: &impl AsRef<Arc<DependencyState>>,
) -> PoolGuardBuilder<DB> {
    let options = pool.options();
    let timeout = options.get_acquire_timeout();
    let settings = PoolSettings::new(options.get_max_connections());
    PoolGuardBuilder::new(
        Unguarded(pool.clone()),
        Arc::clone(dependency.as_ref()),
        settings.driver_waits(Some(timeout), Some(timeout)),
    )
}

/// Builds a [`PoolGuard`]; made by [`guard`].
pub type PoolGuardBuilder<DB> = steadfast_pool::PoolGuardBuilder<Unguarded<DB>>;

/// A pool that is about to be guarded; made by [`guard`].
#[derive(Debug)]
pub struct Unguarded<DB: Driver>(Pool<DB>);

impl<DB: Driver> PoolKind for Unguarded<DB> {
    type Guard = PoolGuard<DB>;
    /// A day, as all lengths of a guard.
    const SILENCE_LONGEST: Duration = Duration::from_secs(86_400);

    fn idle(&self) -> impl Fn() -> u32 + Send + Sync + 'static {
        let counted = self.0.clone();
        move || gauges::read(&counted).idle
    }

    fn guarded(self, gated: Gated, silence_max: Option<Duration>) -> PoolGuard<DB> {
        let silence_max = silence_max.unwrap_or(SILENCE_MAX_DEFAULT);
        let scout = Arc::new(PoolScout(self.0.clone()));
        let observer = Observer::new(Arc::clone(gated.state()), silence_max, scout);
        let connections = Connections::new(&self.0, How::Bare, Arc::new(observer));
        PoolGuard(Arc::new(Inner {
            gated,
            connections: Arc::new(connections),
        }))
    }
}

/// The guard of a pool. Clones share it.
pub struct PoolGuard<DB: Driver>(Arc<Inner<DB>>);

struct Inner<DB: Driver> {
    gated: Gated,
    connections: Arc<Connections<DB>>,
}

impl<DB: Driver> PoolGuard<DB> {
    /// Takes a connection from the pool: at once, after a wait, or not at all.
    ///
    /// It starts when it is polled first, and waits until the deadline of the request in
    /// which this was called ([`Deadline::current`]), and no longer than the guard's own
    /// limits.
    ///
    /// # Errors
    /// A refusal, which `steadfast::Error` finds in the driver's type; or the driver's own
    /// error if the application has closed the pool.
    ///
    /// # Cancel safety
    /// Dropped while it waits for its turn, it leaves the queue. Dropped, or refused at the
    /// request's deadline, while the connection is tested or opened, that goes on by itself
    /// and the connection goes to the pool, so a request that goes closes none.
    #[track_caller]
    pub fn acquire(&self) -> Acquire<DB> {
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
    pub fn acquire_before(&self, deadline: Option<Deadline>) -> Acquire<DB> {
        let connections = Arc::clone(&self.0.connections);
        Acquire(self.acquire_session(connections, deadline))
    }

    /// Returns the same guard for queries that write: while the database is known to take no
    /// writes they are refused with that reason, instead of failing there, and one that
    /// succeeds shows that it takes them again.
    ///
    /// ```
    /// # #[cfg(feature = "sqlite")]
    /// # async fn run(db: steadfast_sqlx::PoolGuard<sqlx::Sqlite>) -> sqlx::Result<()> {
    /// sqlx::query("update goods set n = n + 1").execute(db.writes()).await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub const fn writes(&self) -> Writes<'_, DB> {
        Writes(self)
    }

    /// Takes a connection and begins a transaction on it, which is meant to write: while the
    /// database is known to take no writes, it is refused with that reason. One that only
    /// reads begins by [`Self::begin_with`] and `BEGIN READ ONLY`.
    ///
    /// It is rolled back unless [`GuardedTransaction::commit`] is called.
    ///
    /// # Errors
    /// As [`Self::acquire`].
    ///
    /// # Cancel safety
    /// As [`Self::acquire`]: once sent, `BEGIN` is waited for whatever becomes of the
    /// request, and the transaction is then rolled back. Without that, sqlx up to 0.9.0
    /// gives the connection back to the pool with an open transaction.
    #[track_caller]
    pub fn begin(&self) -> Begin<DB> {
        self.begin_how(None)
    }

    /// Takes a connection and begins a transaction on it with `statement`:
    /// `BEGIN IMMEDIATE`, `BEGIN ISOLATION LEVEL SERIALIZABLE`.
    ///
    /// # Errors
    /// As [`Self::acquire`]; and the driver's error if the statement begins no transaction.
    ///
    /// # Cancel safety
    /// As [`Self::begin`].
    #[track_caller]
    pub fn begin_with(&self, statement: impl SqlSafeStr) -> Begin<DB> {
        self.begin_how(Some(statement.into_sql_str()))
    }

    #[track_caller]
    fn begin_how(&self, statement: Option<SqlStr>) -> Begin<DB> {
        let text = statement.as_ref().map(version::text);
        let writes = !text.is_some_and(|text| text.to_ascii_uppercase().contains("READ ONLY"));
        let connections = self.connections(How::Begun(statement));
        Begin {
            acquire: self.acquire_session(connections, Deadline::current()),
            writes,
        }
    }

    /// Returns the pool, for what needs it whole: migrations, closing.
    #[must_use]
    pub fn pool(&self) -> &Pool<DB> {
        &self.0.connections.pool
    }

    /// Returns the numbers, and who holds connections.
    #[must_use]
    pub fn snapshot(&self) -> PoolSnapshot {
        self.0.gated.snapshot()
    }

    /// Says how the pool's size fits what was asked of it in the last two minutes, and what
    /// the server gives to all instances.
    #[must_use]
    pub fn advice(&self, fleet: Option<PoolFleet>) -> PoolAdvice {
        self.0.gated.advice(fleet)
    }

    /// Asks the server how many connections it gives, for [`Self::advice`] to so many
    /// instances, each of which has a check of its own beside the pool. `None` if the
    /// server has no such limit (SQLite) or does not say.
    ///
    /// # Errors
    /// As [`Self::acquire`], because it takes a connection of the pool.
    pub async fn fleet(&self, instances: u32) -> sqlx::Result<Option<PoolFleet>> {
        let mut connection = self.acquire_before(None).await?;
        let slots = DB::slots(connection.raw()).await;
        let fleet = |slots: crate::driver::Slots| {
            PoolFleet::new(instances, slots.max)
                .reserved(slots.reserved)
                .beside(1)
        };
        Ok(slots.map(fleet))
    }

    fn connections(&self, how: How) -> Arc<Connections<DB>> {
        let observer = Arc::clone(&self.0.connections.observer);
        Arc::new(Connections::new(self.pool(), how, observer))
    }

    #[track_caller]
    fn acquire_session(
        &self,
        connections: Arc<Connections<DB>>,
        deadline: Option<Deadline>,
    ) -> AcquireSession<DB> {
        let drive = self.0.gated.acquire(Arc::clone(&connections), deadline);
        AcquireSession { drive, connections }
    }
}

impl<DB: Driver> Clone for PoolGuard<DB> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<DB: Driver> fmt::Debug for PoolGuard<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PoolGuard")
            .field(self.0.gated.gate())
            .finish()
    }
}

/// Takes a connection; made by [`PoolGuard::acquire`].
#[derive(Debug)]
#[must_use = "nothing is acquired unless this is awaited"]
pub struct Acquire<DB: Driver>(AcquireSession<DB>);

impl<DB: Driver> Future for Acquire<DB> {
    type Output = sqlx::Result<GuardedConnection<DB>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let session = ready!(Pin::new(&mut self.0).poll(cx));
        Poll::Ready(session.map(GuardedConnection::new))
    }
}

/// Begins a transaction; made by [`PoolGuard::begin`].
#[derive(Debug)]
#[must_use = "nothing is begun unless this is awaited"]
pub struct Begin<DB: Driver> {
    acquire: AcquireSession<DB>,
    /// Whether it is still to be asked if the database takes writes.
    writes: bool,
}

impl<DB: Driver> Future for Begin<DB> {
    type Output = sqlx::Result<GuardedTransaction<DB>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if std::mem::take(&mut self.writes)
            && let Err(refused) = self.acquire.connections.observer.admit_write()
        {
            return Poll::Ready(Err(refused));
        }
        let session = ready!(Pin::new(&mut self.acquire).poll(cx));
        Poll::Ready(session.map(GuardedTransaction::new))
    }
}

/// The way to a connection, of either kind.
#[derive(Debug)]
struct AcquireSession<DB: Driver> {
    drive: Drive<Connections<DB>>,
    connections: Arc<Connections<DB>>,
}

impl<DB: Driver> Future for AcquireSession<DB> {
    type Output = sqlx::Result<GuardedSession<DB>>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match ready!(Pin::new(&mut self.drive).poll(cx)) {
            Ok(acquired) => Ok(GuardedSession::acquired(acquired, &self.connections)),
            Err(error) => Err(error::of_pool(error)),
        })
    }
}
