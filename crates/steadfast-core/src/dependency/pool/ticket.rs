//! A place in the queue for a connection.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{PoolGate, book::WaiterId, lease::PoolLease};
use crate::{Deadline, Refusal, sync::lock};

/// A request that waits for a place in the pool.
///
/// It ends in a lease ([`PoolTicket::poll_lease`]), in a refusal
/// ([`PoolTicket::refuse`], when [`PoolTicket::until`] has come), or by leaving
/// ([`PoolTicket::leave`]). One that is dropped leaves too, and only its wait is not
/// counted, because a drop knows no time.
#[must_use = "a ticket that is dropped has left the queue"]
pub struct PoolTicket {
    gate: Arc<PoolGate>,
    /// `None` once it has ended.
    id: Option<WaiterId>,
    until: Deadline,
    since: Instant,
}

impl PoolTicket {
    pub(super) fn new(gate: Arc<PoolGate>, id: WaiterId, until: Deadline, since: Instant) -> Self {
        Self {
            gate,
            id: Some(id),
            until,
            since,
        }
    }

    /// Returns the moment at which it has waited long enough.
    #[must_use]
    pub const fn until(&self) -> Deadline {
        self.until
    }

    /// Takes the place if it is this one's turn.
    ///
    /// # Panics
    /// If it is polled after it was ready.
    pub fn poll_lease(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<PoolLease> {
        let id = self.id.expect("a ticket is not polled after it was ready");
        let mut book = lock(&self.gate.book);
        match book.claim(id, now) {
            Some(slot) => {
                let seen = book.failures;
                drop(book);
                self.id = None;
                Poll::Ready(PoolLease::new(Arc::clone(&self.gate), slot, seen))
            }
            None => {
                book.wake_at_turn(id, cx.waker());
                Poll::Pending
            }
        }
    }

    /// Ends the wait, because it has been long enough.
    pub fn refuse(mut self, now: Instant) -> Refusal {
        let id = self.id.take();
        let mut book = lock(&self.gate.book);
        let next = id.and_then(|id| book.leave(id, Some(now)));
        let refusal = self.gate.refuse_waiting(&mut book, self.since, now);
        drop(book);
        if let Some(next) = next {
            next.wake();
        }
        refusal
    }

    /// Leaves the queue, because whoever waited has gone.
    pub fn leave(mut self, now: Instant) {
        self.end(Some(now));
    }

    fn end(&mut self, now: Option<Instant>) {
        let Some(id) = self.id.take() else { return };
        let mut book = lock(&self.gate.book);
        book.counts.cancelled += 1;
        let next = book.leave(id, now);
        drop(book);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Drop for PoolTicket {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for PoolTicket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolTicket")
            .field("gate", &self.gate.name)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}
