//! A connection that a guard lends.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::GuardedSession;
use crate::driver::Driver;

/// A connection of a guarded pool; goes back when it is dropped.
///
/// Use it as `&mut connection` or `&mut *connection` wherever sqlx takes an executor. Its
/// place is free for others when it is back in the pool, which a query that was cancelled
/// half-way delays until the server has ended it; one that looks for its clients does so soon
/// (`client_connection_check_interval`). One that is not back after [`RELEASE_MAX`]
/// is closed, and so is one whose session is over or takes no writes any more.
///
/// [`RELEASE_MAX`]: steadfast_core::plumbing::RELEASE_MAX
#[must_use = "a connection that is dropped has gone back"]
pub struct GuardedConnection<DB: Driver>(GuardedSession<DB>);

impl<DB: Driver> GuardedConnection<DB> {
    pub(super) const fn new(session: GuardedSession<DB>) -> Self {
        Self(session)
    }

    /// Closes the connection instead of giving it back: for one that was left in an unknown
    /// state.
    ///
    /// # Errors
    /// What the driver met on the way; it is closed all the same.
    pub async fn close(self) -> Result<(), sqlx::Error> {
        self.0.close().await
    }
}

impl<DB: Driver> Deref for GuardedConnection<DB> {
    type Target = GuardedSession<DB>;

    fn deref(&self) -> &GuardedSession<DB> {
        &self.0
    }
}

impl<DB: Driver> DerefMut for GuardedConnection<DB> {
    fn deref_mut(&mut self) -> &mut GuardedSession<DB> {
        &mut self.0
    }
}

impl<DB: Driver> fmt::Debug for GuardedConnection<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuardedConnection").field(&self.0).finish()
    }
}
