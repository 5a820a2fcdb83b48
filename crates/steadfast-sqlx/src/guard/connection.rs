//! What a guard lends: a connection, or one with a transaction on it.

use std::{
    fmt,
    ops::{Deref, DerefMut},
    time::Duration,
};

use sqlx::{Transaction, pool::PoolConnection};
use steadfast_core::{PoolCatch, PoolLease};
use tokio::{runtime::Handle, time::timeout};

use crate::{clock, driver::Driver};

/// How long a connection may take to come back. A query that was abandoned runs on in the
/// server, and its connection is not free before it ends; past this it is closed, so that a
/// path which died without a word does not keep its place for ever.
const RETURN_MAX: Duration = Duration::from_secs(30);

/// A connection of a guarded pool; goes back when it is dropped.
///
/// Use it as `&mut *connection` wherever sqlx takes an executor. Its place is free for
/// others when it is back in the pool, which a query that was cancelled half-way delays
/// until the server has ended it.
#[must_use = "a connection that is dropped has gone back"]
pub struct GuardedConnection<DB: Driver> {
    /// Both are `None` only while it is dropped.
    connection: Option<PoolConnection<DB>>,
    lease: Option<PoolLease>,
}

impl<DB: Driver> GuardedConnection<DB> {
    pub(super) fn new(caught: PoolCatch<PoolConnection<DB>>) -> Self {
        let (connection, lease) = caught.settle(clock::now());
        Self {
            connection: Some(connection),
            lease: Some(lease),
        }
    }

    /// Closes the connection instead of giving it back: for one that was left in an unknown
    /// state.
    ///
    /// # Errors
    /// What the driver met on the way; it is closed all the same.
    pub async fn close(mut self) -> Result<(), sqlx::Error> {
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

impl<DB: Driver> Deref for GuardedConnection<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        self.connection
            .as_ref()
            .expect("it is there until the drop")
    }
}

impl<DB: Driver> DerefMut for GuardedConnection<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        self.connection
            .as_mut()
            .expect("it is there until the drop")
    }
}

impl<DB: Driver> Drop for GuardedConnection<DB> {
    fn drop(&mut self) {
        let (Some(mut connection), Some(lease)) = (self.connection.take(), self.lease.take())
        else {
            return;
        };
        // Without a runtime there is no pool to go back to.
        let Ok(runtime) = Handle::try_current() else {
            return;
        };
        // What sqlx's own drop spawns; here the place follows when it is done.
        let back = connection.return_to_pool();
        runtime.spawn(async move {
            let _ = timeout(RETURN_MAX, back).await;
            lease.give_back(clock::now());
        });
    }
}

impl<DB: Driver> fmt::Debug for GuardedConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedConnection")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}

/// A transaction on a connection of a guarded pool; rolled back when it is dropped.
///
/// Use it as `&mut *transaction` wherever sqlx takes an executor.
#[must_use = "a transaction that is dropped has been rolled back"]
pub struct GuardedTransaction<DB: Driver> {
    /// Dropped before the lease.
    transaction: Transaction<'static, DB>,
    lease: Lease,
}

/// A lease that is given back with the time.
struct Lease(Option<PoolLease>);

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(lease) = self.0.take() {
            lease.give_back(clock::now());
        }
    }
}

impl<DB: Driver> GuardedTransaction<DB> {
    pub(super) fn new(caught: PoolCatch<Transaction<'static, DB>>) -> Self {
        let (transaction, lease) = caught.settle(clock::now());
        Self {
            transaction,
            lease: Lease(Some(lease)),
        }
    }

    /// Commits.
    ///
    /// # Errors
    /// What the server says; then nobody knows whether it was committed.
    ///
    /// # Cancel safety
    /// Cancelled, it is committed or rolled back, and nobody knows which. The connection is
    /// in no transaction either way.
    pub async fn commit(self) -> Result<(), sqlx::Error> {
        let Self { transaction, lease } = self;
        let _lease = lease;
        transaction.commit().await
    }

    /// Rolls back, and waits for it.
    ///
    /// # Errors
    /// What the server says; the connection is closed then, and the server rolls back.
    ///
    /// # Cancel safety
    /// It is rolled back all the same.
    pub async fn rollback(self) -> Result<(), sqlx::Error> {
        let Self { transaction, lease } = self;
        let _lease = lease;
        transaction.rollback().await
    }
}

impl<DB: Driver> Deref for GuardedTransaction<DB> {
    type Target = DB::Connection;

    fn deref(&self) -> &DB::Connection {
        &self.transaction
    }
}

impl<DB: Driver> DerefMut for GuardedTransaction<DB> {
    fn deref_mut(&mut self) -> &mut DB::Connection {
        &mut self.transaction
    }
}

impl<DB: Driver> fmt::Debug for GuardedTransaction<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedTransaction")
            .field("lease", &self.lease.0)
            .finish_non_exhaustive()
    }
}
