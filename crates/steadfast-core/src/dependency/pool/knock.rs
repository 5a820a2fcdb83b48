//! Who finds out whether the server can be reached.
//!
//! A driver that retries a refused connect says nothing until its time is over. So one of
//! those who wait for an answer asks the server itself; only one at a time, because a
//! server in trouble must not be asked by everybody who needs it.

use std::{fmt, sync::Arc};

use super::PoolGate;
use crate::sync::lock;

/// The turn to ask the server, given to one at a time.
///
/// When it is dropped, those who wait for news are woken, so that one of them can take over.
#[must_use = "the turn ends when this is dropped"]
pub struct KnockTurn(Arc<PoolGate>);

impl PoolGate {
    /// Takes the turn to ask the server, unless somebody has it.
    #[must_use]
    pub fn knock(self: &Arc<Self>) -> Option<KnockTurn> {
        let mut book = lock(&self.book);
        if std::mem::replace(&mut book.is_knocking, true) {
            return None;
        }
        drop(book);
        Some(KnockTurn(Arc::clone(self)))
    }
}

impl Drop for KnockTurn {
    fn drop(&mut self) {
        let mut book = lock(&self.0.book);
        book.is_knocking = false;
        let wakers = book.connecting_wakers();
        drop(book);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }
}

impl fmt::Debug for KnockTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("KnockTurn").field(&self.0.name).finish()
    }
}
