//! A transaction on a session that somebody has already: a savepoint, mostly.

use std::{
    fmt,
    ops::{Deref, DerefMut},
};

use super::GuardedSession;
use crate::driver::Driver;

/// A savepoint in a transaction, or a transaction on a connection that was borrowed; rolled
/// back when it is dropped. Made by [`GuardedSession::begin`].
///
/// Use it as `&mut savepoint` or `&mut *savepoint` wherever sqlx takes an executor.
#[must_use = "a savepoint that is dropped has been rolled back"]
pub struct GuardedSavepoint<'s, DB: Driver> {
    session: &'s mut GuardedSession<DB>,
    is_open: bool,
}

impl<'s, DB: Driver> GuardedSavepoint<'s, DB> {
    pub(super) const fn new(session: &'s mut GuardedSession<DB>) -> Self {
        Self {
            session,
            is_open: true,
        }
    }

    /// Commits, or releases the savepoint.
    ///
    /// # Errors
    /// What the server says; then nobody knows whether it was committed.
    pub async fn commit(mut self) -> sqlx::Result<()> {
        self.session.commit().await?;
        self.is_open = false;
        Ok(())
    }

    /// Rolls back, and waits for it.
    ///
    /// # Errors
    /// What the server says.
    ///
    /// # Cancel safety
    /// It is rolled back all the same.
    pub async fn rollback(mut self) -> sqlx::Result<()> {
        self.session.rollback().await?;
        self.is_open = false;
        Ok(())
    }
}

impl<DB: Driver> Deref for GuardedSavepoint<'_, DB> {
    type Target = GuardedSession<DB>;

    fn deref(&self) -> &GuardedSession<DB> {
        self.session
    }
}

impl<DB: Driver> DerefMut for GuardedSavepoint<'_, DB> {
    fn deref_mut(&mut self) -> &mut GuardedSession<DB> {
        self.session
    }
}

impl<DB: Driver> Drop for GuardedSavepoint<'_, DB> {
    fn drop(&mut self) {
        if self.is_open {
            self.session.start_rollback();
        }
    }
}

impl<DB: Driver> fmt::Debug for GuardedSavepoint<'_, DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("GuardedSavepoint")
            .field(&self.session)
            .finish()
    }
}
