//! A connection that a guard lends, and its way back.

use std::{
    fmt, mem,
    ops::{Deref, DerefMut},
    sync::Arc,
    time::Duration,
};

use sqlx::pool::PoolConnection;
use steadfast_core::{PoolCatch, PoolLease, PoolReturn};
use tokio::runtime::Handle;

use super::acquire::{Connections, Timed};
use crate::{clock, driver::Driver};

/// A connection of a guarded pool; goes back when it is dropped.
///
/// Use it as `&mut *connection` wherever sqlx takes an executor. Its place is free for
/// others when it is back in the pool, which a query that was cancelled half-way delays
/// until the server has ended it. One that is not back after [`RETURN_MAX`] is closed.
///
/// [`RETURN_MAX`]: steadfast_core::RETURN_MAX
#[must_use = "a connection that is dropped has gone back"]
pub struct GuardedConnection<DB: Driver> {
    /// Both are `None` only while it is dropped.
    connection: Option<PoolConnection<DB>>,
    lease: Option<PoolLease>,
    connections: Arc<Connections<DB>>,
}

impl<DB: Driver> GuardedConnection<DB> {
    pub(super) fn caught(
        caught: PoolCatch<PoolConnection<DB>>,
        connections: &Arc<Connections<DB>>,
    ) -> Self {
        let (connection, lease) = caught.settle(clock::now());
        Self::new(connection, lease, Arc::clone(connections))
    }

    pub(super) const fn new(
        connection: PoolConnection<DB>,
        lease: PoolLease,
        connections: Arc<Connections<DB>>,
    ) -> Self {
        Self {
            connection: Some(connection),
            lease: Some(lease),
            connections,
        }
    }

    /// Says that this connection is held for so long on purpose, at most a day: for a long
    /// report, or a `LISTEN`. Until then the guard neither reports it as held for long nor
    /// calls a full pool stuck because of it. Its place is taken all the same, so what waits
    /// for ever belongs on a connection of its own beside the pool.
    pub fn expect_up_to(&self, hold: Duration) {
        if let Some(lease) = &self.lease {
            lease.expect_up_to(hold, clock::now());
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
        let Ok(runtime) = Handle::try_current() else {
            discard(connection);
            return;
        };
        // What sqlx's own drop spawns; here the place follows when it is done.
        let back = connection.return_to_pool();
        let connections = Arc::clone(&self.connections);
        let back = PoolReturn::new(connections, lease, Box::pin(back), clock::now());
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

impl<DB: Driver> fmt::Debug for GuardedConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GuardedConnection")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
