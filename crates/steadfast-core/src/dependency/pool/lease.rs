//! A place in the pool, from the turn to the end of the hold.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{PoolGate, book::Slot};
use crate::{Deadline, Failure, FailureClass, Refusal, sync::lock};

/// The right to have one connection of the pool.
///
/// First the connection is tested or opened: [`PoolLease::connected`] ends that well,
/// [`PoolLease::failed`] ends it badly. Then it is held until
/// [`PoolLease::give_back`]. One that is dropped gives its place back too, and only its
/// hold is not measured, because a drop knows no time.
#[must_use = "a lease that is dropped has given its place back"]
pub struct PoolLease {
    gate: Arc<PoolGate>,
    /// `None` once it has ended.
    slot: Option<Slot>,
    /// How many connect failures had been noted when it was given.
    seen: u64,
}

/// What it means that one who has a turn heard nothing. Complete: whatever else it means
/// is a [`Failure`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolSilence {
    /// The server answers others, so the connections are held by somebody who did not ask
    /// this gate, or work on although their request has gone; or the request's deadline came
    /// soon after its turn, for which it had waited most of its time.
    Busy {
        /// How many the driver's pool has lent.
        in_use: u32,
    },
    /// The request's own deadline came before the server was late.
    Cut,
}

impl PoolLease {
    pub(super) const fn new(gate: Arc<PoolGate>, slot: Slot, seen: u64) -> Self {
        let slot = Some(slot);
        Self { gate, slot, seen }
    }

    /// Says that there is a connection and that it answers. It is held from now on.
    pub fn connected(&mut self, now: Instant) {
        if let Some(slot) = self.slot {
            lock(&self.gate.book).lend(slot, now);
        }
    }

    /// Says the same of a connection that goes back at once, because nobody wants it any
    /// more. That it is held for a moment says nothing about how long requests hold one.
    pub(super) fn connected_for_nobody(&mut self, now: Instant) {
        if let Some(slot) = self.slot {
            let mut book = lock(&self.gate.book);
            book.lend(slot, now);
            book.without_measure(slot);
        }
    }

    /// Says that the connection is held for so long on purpose, at most a day: for a command
    /// that waits in the server, or a long query. Until then it is neither reported as held
    /// for long nor makes a full pool stuck; and its length predicts no other hold.
    pub fn expect_up_to(&self, hold: Duration, now: Instant) {
        if let Some(slot) = self.slot {
            let until = Deadline::after(now, hold).instant();
            lock(&self.gate.book).expect(slot, until);
        }
    }

    /// Gives the place back after the connection has been used.
    pub fn give_back(mut self, now: Instant) {
        self.end(Some(now));
    }

    /// Gives the place back because no connection could be had, and says why not.
    ///
    /// The failure is noted as the pool's own; `waited` is how long the request has waited
    /// in all.
    pub fn failed(mut self, failure: &Failure, waited: Duration, now: Instant) -> Refusal {
        self.gate.connect_failed(failure.clone(), now);
        self.end(Some(now));
        self.gate.refuse_failed(failure, waited, now)
    }

    /// Refuses a request that has heard nothing in time, for a reason that says nothing
    /// against the server. The place stays taken until the lease ends.
    pub fn refuse(&self, why: PoolSilence, waited: Duration, now: Instant) -> Refusal {
        match why {
            PoolSilence::Busy { in_use } => {
                let mut book = lock(&self.gate.book);
                self.gate.refuse_full(&mut book, in_use, waited, now)
            }
            PoolSilence::Cut => {
                let text = if waited.is_zero() {
                    "the request's time was over before a connection was asked for".to_owned()
                } else {
                    format!("no connection answered within {} ms", waited.as_millis())
                };
                let failure = Failure::new(FailureClass::Timeout, text);
                self.gate.refuse_failed(&failure, waited, now)
            }
        }
    }

    /// Waits for news from others that the server cannot be reached, since this lease was
    /// given. For one who has waited for an answer longer than is usual.
    pub fn poll_trouble(&self, cx: &mut Context<'_>) -> Poll<Failure> {
        let mut book = lock(&self.gate.book);
        if let Some(failure) = book.trouble_since(self.seen) {
            return Poll::Ready(failure.clone());
        }
        if let Some(slot) = self.slot {
            book.wake_at_trouble(slot, cx.waker());
        }
        Poll::Pending
    }

    /// Returns the gate that it came from.
    #[must_use]
    pub const fn gate(&self) -> &Arc<PoolGate> {
        &self.gate
    }

    fn end(&mut self, now: Option<Instant>) {
        let Some(slot) = self.slot.take() else { return };
        let next = lock(&self.gate.book).free(slot, now);
        if let Some(next) = next {
            next.wake();
        }
    }
}

impl Drop for PoolLease {
    fn drop(&mut self) {
        self.end(None);
    }
}

impl fmt::Debug for PoolLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolLease")
            .field("gate", &self.gate.name)
            .field("slot", &self.slot)
            .finish_non_exhaustive()
    }
}
