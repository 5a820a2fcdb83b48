//! A guard for queries that write.

use super::PoolGuard;
use crate::driver::Driver;

/// A guard for queries that write; made by [`PoolGuard::writes`].
#[derive(Debug)]
pub struct Writes<'g, DB: Driver>(pub(super) &'g PoolGuard<DB>);

impl<DB: Driver> Clone for Writes<'_, DB> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<DB: Driver> Copy for Writes<'_, DB> {}
