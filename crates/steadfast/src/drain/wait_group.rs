//! How much is still going on, and a way to wait until nothing is.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;

/// A count that somebody waits for to become zero. Clones share.
#[derive(Clone, Debug, Default)]
pub(crate) struct WaitGroup(Arc<Count>);

#[derive(Debug, Default)]
struct Count {
    number: Mutex<usize>,
    none: Notify,
}

impl WaitGroup {
    /// Counts one more, until what this returns is dropped.
    pub(crate) fn enter(&self) -> WaitGroupMember {
        *self.number() += 1;
        WaitGroupMember(self.clone())
    }

    /// Returns how many there are.
    pub(crate) fn count(&self) -> usize {
        *self.number()
    }

    /// Waits until there are none.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub(crate) async fn none(&self) {
        loop {
            let notified = self.0.none.notified();
            if self.count() == 0 {
                return;
            }
            notified.await;
        }
    }

    fn number(&self) -> std::sync::MutexGuard<'_, usize> {
        self.0.number.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One that is counted.
#[derive(Debug)]
pub(crate) struct WaitGroupMember(WaitGroup);

impl Drop for WaitGroupMember {
    fn drop(&mut self) {
        let mut number = self.0.number();
        *number -= 1;
        if *number == 0 {
            self.0.0.none.notify_waiters();
        }
    }
}
