//! A session that a guard lends: a connection whose every result is judged, and its way back.

use std::{fmt, mem, sync::Arc, time::Duration};

use sqlx::{Connection, Database, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager;
use steadfast_core::plumbing::{PoolAcquired, PoolFuture, PoolLease, PoolRelease};
use steadfast_pool::Timed;
use tokio::{runtime::Handle, time::timeout};

use super::{
    GuardedSavepoint,
    acquire::Connections,
    cut::{end_query, take_back},
    judged::{JudgedAnswer, JudgedRows, RowStream, Step},
    watch::{Patience, Watcher},
};
use crate::{
    clock,
    driver::{Driver, SessionName},
};

/// How long a session that is closed may take to say goodbye. As long as sqlx waits.
const CLOSE_MAX: Duration = Duration::from_secs(5);

/// A session with the database, lent by a guard: what `&mut *connection` and
/// `&mut *transaction` lead to.
///
/// It is an `Executor`, and each result that it carries is told to the dependency once. A
/// function that wants a connection and need not know whether it is in a transaction takes
/// `&mut GuardedSession<Postgres>`.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # {
/// use sqlx::Sqlite;
/// use steadfast_sqlx::{GuardedSession, PoolGuard};
///
/// async fn count(session: &mut GuardedSession<Sqlite>) -> sqlx::Result<i64> {
///     sqlx::query_scalar("select count(*) from goods").fetch_one(&mut *session).await
/// }
///
/// async fn counts(db: &PoolGuard<Sqlite>) -> sqlx::Result<(i64, i64)> {
///     let mut connection = db.acquire().await?;
///     let before = count(&mut connection).await?;
///     drop(connection);
///     let mut transaction = db.begin().await?;
///     let after = count(&mut transaction).await?;
///     transaction.commit().await?;
///     Ok((before, after))
/// }
/// # }
/// ```
pub struct GuardedSession<DB: Driver> {
    /// Both are `None` only while it is dropped.
    connection: Option<PoolConnection<DB>>,
    lease: Option<PoolLease>,
    watcher: Watcher,
    connections: Arc<Connections<DB>>,
    /// By which name the server ends what it is asked, if that was wanted.
    name: Option<SessionName>,
}

impl<DB: Driver> GuardedSession<DB> {
    pub(super) fn acquired(
        acquired: PoolAcquired<PoolConnection<DB>>,
        connections: &Arc<Connections<DB>>,
    ) -> Self {
        let PoolAcquired {
            connection,
            lease,
            permit,
        } = acquired;
        let mut session = Self::new(connection, lease, Arc::clone(connections));
        session.watcher.acquired(permit);
        session
    }

    pub(super) fn new(
        connection: PoolConnection<DB>,
        lease: PoolLease,
        connections: Arc<Connections<DB>>,
    ) -> Self {
        Self {
            connection: Some(connection),
            lease: Some(lease),
            watcher: Watcher::new(Arc::clone(&connections.observer)),
            connections,
            name: None,
        }
    }

    /// Says that this session is held for so long on purpose, at most a day: for a long
    /// report, or a `LISTEN`. Until then the guard neither reports it as held for long nor
    /// calls a full pool stuck because of it, and ends no query on it. Its place is taken all
    /// the same, so what waits for ever belongs on a connection of its own beside the pool.
    pub fn expect_up_to(&mut self, hold: Duration) {
        let now = clock::now();
        if let Some(lease) = &self.lease {
            lease.expect_up_to(hold, now);
        }
        self.watcher.expect_up_to(hold, now);
    }

    /// Returns the connection itself, for what only the driver's own type can do (`COPY`,
    /// hooks of SQLite).
    ///
    /// What is asked on it is not seen: it is no evidence for or against the dependency, has
    /// no bound, and one that is cut half-way is found out on its way back to the pool only.
    /// Put such work into `Dependency::call`, which judges by its result.
    pub fn raw(&mut self) -> &mut DB::Connection {
        self.watcher.looks_away();
        self.connection()
    }

    /// Says that what is asked on it writes.
    pub(super) const fn set_writes(&mut self) {
        self.watcher.set_writes();
    }

    fn connection(&mut self) -> &mut PoolConnection<DB> {
        self.connection.as_mut().expect(PRESENT)
    }

    /// Asks for rows, and judges what comes.
    pub(super) fn rows<'s, T>(
        &'s mut self,
        look: fn(&T) -> Step,
        ask: impl FnOnce(&'s mut DB::Connection) -> RowStream<'s, T>,
    ) -> RowStream<'s, T>
    where
        T: Send + 's,
    {
        let watch = self.watcher.watch(Patience::OfRequest);
        let connection = self.connection.as_mut().expect(PRESENT);
        Box::pin(JudgedRows::new(ask(connection), look, watch))
    }

    /// Asks for one answer, and judges it.
    pub(super) fn answer<'s, F, T>(
        &'s mut self,
        patience: Patience,
        ask: impl FnOnce(&'s mut DB::Connection) -> F,
    ) -> JudgedAnswer<'s, T>
    where
        F: Future<Output = sqlx::Result<T>> + Send + 's,
    {
        let watch = self.watcher.watch(patience);
        let connection = self.connection.as_mut().expect(PRESENT);
        JudgedAnswer::new(Box::pin(ask(connection)), watch)
    }

    /// Begins a transaction on it, or inside one a savepoint.
    ///
    /// It is rolled back unless [`GuardedSavepoint::commit`] is called.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Cancel safety
    /// Cancelled before the answer, nobody knows whether it has begun, and the session is
    /// closed when its holder has done with it.
    pub async fn begin(&mut self) -> sqlx::Result<GuardedSavepoint<'_, DB>> {
        self.watcher.set_unsure(!DB::UNDOES_A_CUT_BEGIN);
        let begun = self.answer(Patience::OfServer, |connection| {
            <DB as Database>::TransactionManager::begin(connection, None)
        });
        let begun = begun.await;
        let has_answered = matches!(
            begun,
            Ok(()) | Err(sqlx::Error::Database(_) | sqlx::Error::BeginFailed)
        );
        if has_answered {
            self.watcher.set_unsure(false);
        }
        begun.map(|()| GuardedSavepoint::new(self))
    }

    pub(super) async fn commit(&mut self) -> sqlx::Result<()> {
        let commit = <DB as Database>::TransactionManager::commit;
        self.answer(Patience::OfServer, commit).await
    }

    pub(super) async fn rollback(&mut self) -> sqlx::Result<()> {
        let rollback = <DB as Database>::TransactionManager::rollback;
        self.answer(Patience::OfServer, rollback).await
    }

    /// Asks the server by what name another session can have it end what this one is asked.
    pub(super) async fn learn_name(&mut self) -> sqlx::Result<()> {
        self.name = self
            .answer(Patience::OfRequest, |connection| {
                DB::session_name(connection)
            })
            .await?;
        Ok(())
    }

    pub(super) fn start_rollback(&mut self) {
        <DB as Database>::TransactionManager::start_rollback(self.connection());
    }

    /// Closes the session instead of giving it back.
    pub(super) async fn close(mut self) -> Result<(), sqlx::Error> {
        let (connection, lease) = (self.connection.take(), self.lease.take());
        let closed = match connection {
            Some(connection) => connection.close().await,
            None => Ok(()),
        };
        if let Some(lease) = lease {
            lease.give_back(clock::now());
        }
        closed
    }
}

impl<DB: Driver> AsMut<DB::Connection> for GuardedSession<DB> {
    /// As [`GuardedSession::raw`]: for the guard of an advisory lock, which asks for this.
    fn as_mut(&mut self) -> &mut DB::Connection {
        self.raw()
    }
}

impl<DB: Driver> Drop for GuardedSession<DB> {
    fn drop(&mut self) {
        let (Some(mut connection), Some(lease)) = (self.connection.take(), self.lease.take())
        else {
            return;
        };
        let Ok(runtime) = Handle::try_current() else {
            discard(connection);
            return;
        };
        let connections = Arc::clone(&self.connections);
        let is_cut = self.watcher.has_unanswered();
        let name = self.name.take().filter(|_| is_cut);
        let back: PoolFuture<()> = if self.watcher.is_over() {
            let closed = timeout(CLOSE_MAX, connection.close());
            Box::pin(async move { drop(closed.await) })
        } else if let Some(name) = name {
            let observer = Arc::clone(&connections.observer);
            let ended = end_query(connections.pool.clone(), observer, name);
            Box::pin(async move {
                ended.await;
                // What the server says of the query that it has ended.
                let _ = connection.ping().await;
                connection.return_to_pool().await;
            })
        } else if is_cut && DB::MAY_LOOK_FOR_CLIENTS {
            let observer = Arc::clone(&connections.observer);
            Box::pin(take_back(connection, connections.pool.clone(), observer))
        } else {
            // What sqlx's own drop spawns; here the place follows when it is done.
            Box::pin(connection.return_to_pool())
        };
        let back = PoolRelease::new(connections, lease, back, clock::now());
        runtime.spawn(Timed::new(back));
    }
}

/// Closes a connection where there is no runtime, and so nobody to test it.
///
/// sqlx would panic there, because it spawns a task whenever a connection of a pool is
/// dropped. The handle to the pool that is forgotten for it keeps the pool in memory, and
/// no connection open.
pub(super) fn discard<DB: Driver>(mut connection: PoolConnection<DB>) {
    drop(connection.return_to_pool());
    mem::forget(connection);
}

const PRESENT: &str = "it is there until the drop";

impl<DB: Driver> fmt::Debug for GuardedSession<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedSession")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
