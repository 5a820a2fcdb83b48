//! A transaction on a connection that a guard lends.
//!
//! It is sqlx's own transaction manager on a [`GuardedSession`], and not sqlx's
//! `Transaction`, for two reasons. The place of a transaction that was dropped is free when
//! its connection is back in the pool, after the rollback, and not before: one who is lent
//! the place sooner waits for a connection that others are said to have no use for. And a
//! `BEGIN` that is cut leaves no transaction behind.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use sqlx::{Database, pool::PoolConnection};
use sqlx_core::transaction::TransactionManager;
use tokio::runtime::Handle;

use super::{GuardedSession, session::discard};
use crate::{driver::Driver, version::SqlStr};

/// A transaction on a connection of a guarded pool; rolled back when it is dropped.
///
/// Use it as `&mut transaction` or `&mut *transaction` wherever sqlx takes an executor. Its
/// place is free for others when it is rolled back and its connection is back in the pool.
#[must_use = "a transaction that is dropped has been rolled back"]
pub struct GuardedTransaction<DB: Driver> {
    session: GuardedSession<DB>,
    is_open: bool,
}

/// Begins a transaction with `statement`, or as sqlx does.
///
/// On an error of the server the connection is back in the pool before the error is told.
pub(super) async fn begin<DB: Driver>(
    connection: PoolConnection<DB>,
    statement: Option<SqlStr>,
) -> sqlx::Result<PoolConnection<DB>> {
    let mut beginning = Beginning(Some(connection));
    let begun = <DB as Database>::TransactionManager::begin(beginning.get(), statement).await;
    let Err(error) = begun else {
        return Ok(beginning.take());
    };
    if matches!(error, sqlx::Error::Database(_) | sqlx::Error::BeginFailed) {
        // Nothing has begun, and the connection works.
        beginning.take().return_to_pool().await;
    }
    Err(error)
}

/// A connection on which a transaction begins.
///
/// Dropped meanwhile, it is closed: the server may have begun what the driver does not know
/// of (sqlx 0.8.4 to 0.9.0 on PostgreSQL, all versions on MySQL), and would then keep the
/// transaction open on a connection that is lent to somebody else.
struct Beginning<DB: Driver>(Option<PoolConnection<DB>>);

impl<DB: Driver> Beginning<DB> {
    fn get(&mut self) -> &mut PoolConnection<DB> {
        self.0.as_mut().expect("it is taken once, at the end")
    }

    fn take(&mut self) -> PoolConnection<DB> {
        self.0.take().expect("it is taken once, at the end")
    }
}

impl<DB: Driver> Drop for Beginning<DB> {
    fn drop(&mut self) {
        let Some(mut connection) = self.0.take() else {
            return;
        };
        if Handle::try_current().is_err() {
            discard(connection);
        } else if !DB::UNDOES_A_CUT_BEGIN {
            connection.close_on_drop();
        }
    }
}

impl<DB: Driver> GuardedTransaction<DB> {
    /// Takes over a session on which a transaction has begun.
    pub(super) const fn new(session: GuardedSession<DB>) -> Self {
        Self {
            session,
            is_open: true,
        }
    }

    /// Has the server end whatever query of this transaction is cut, by its bound or because
    /// its request has gone, so that the place is free soon and not when the query has run to
    /// its own end. For a report without a `statement_timeout`.
    ///
    /// It costs a question now, and where something is cut a session beside the pool, one at
    /// a time and for 2 s at most. Where none can be had, it is as without it. `COMMIT` and
    /// `ROLLBACK` run to their end. It does nothing for SQLite.
    ///
    /// ```
    /// # #[cfg(feature = "postgres")]
    /// # async fn run(db: steadfast_sqlx::PoolGuard<sqlx::Postgres>) -> sqlx::Result<()> {
    /// let mut report = db.begin_with("BEGIN READ ONLY").await?;
    /// report.cancel_when_cut().await?;
    /// sqlx::query("SELECT pg_sleep(600)").execute(&mut *report).await?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// What the server says to the question.
    pub async fn cancel_when_cut(&mut self) -> sqlx::Result<()> {
        self.session.learn_name().await
    }

    /// Commits.
    ///
    /// # Errors
    /// What the server says; then nobody knows whether it was committed.
    ///
    /// # Cancel safety
    /// Cancelled, it is committed or rolled back, and nobody knows which. The connection is
    /// in no transaction either way.
    pub async fn commit(mut self) -> Result<(), sqlx::Error> {
        self.session.commit().await?;
        self.is_open = false;
        Ok(())
    }

    /// Rolls back, and waits for it.
    ///
    /// # Errors
    /// What the server says. It is told once more on the connection's way back, and one that
    /// does not answer then is closed.
    ///
    /// # Cancel safety
    /// It is rolled back all the same.
    pub async fn rollback(mut self) -> Result<(), sqlx::Error> {
        self.session.rollback().await?;
        self.is_open = false;
        Ok(())
    }
}

impl<DB: Driver> Deref for GuardedTransaction<DB> {
    type Target = GuardedSession<DB>;

    fn deref(&self) -> &GuardedSession<DB> {
        &self.session
    }
}

impl<DB: Driver> DerefMut for GuardedTransaction<DB> {
    fn deref_mut(&mut self) -> &mut GuardedSession<DB> {
        &mut self.session
    }
}

impl<DB: Driver> Drop for GuardedTransaction<DB> {
    fn drop(&mut self) {
        if self.is_open {
            // The driver sends it before whatever is asked next, which is the test on the way
            // back to the pool.
            self.session.start_rollback();
        }
    }
}

impl<DB: Driver> fmt::Debug for GuardedTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuardedTransaction")
            .field(&self.session)
            .finish()
    }
}
