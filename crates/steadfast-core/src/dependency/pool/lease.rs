//! A place in the pool, from the turn to the end of the hold.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    PoolGate,
    slots::{Slot, WakeList},
};
use crate::{
    dependency::check::failure::Failure,
    refusal::Refusal,
    request::{deadline::Deadline, spent::Spent},
    sync::lock,
};

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
    /// Whether a request that is measured has been told that it holds a connection.
    told: bool,
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

/// What one with a place hears while it waits for an answer.
#[derive(Debug)]
pub(super) enum News {
    /// Others have found that the server gives no connection.
    Trouble(Failure),
    /// The server has answered a question that was asked since it waits.
    Answered,
    /// It has waited in vain for so long that it is to make room.
    Evicted,
}

impl PoolLease {
    pub(super) const fn new(gate: Arc<PoolGate>, slot: Slot, seen: u64) -> Self {
        let slot = Some(slot);
        let told = false;
        Self {
            gate,
            slot,
            seen,
            told,
        }
    }

    /// Says that there is a connection and that it answers. It is held from now on.
    pub fn connected(&mut self, now: Instant) {
        self.lend(true, now);
        self.told = self.told || Spent::holds(&self.gate.name);
    }

    /// Says the same of a connection that goes back at once, because nobody wants it any
    /// more. That it is held for a moment says nothing about how long requests hold one.
    pub(super) fn connected_for_nobody(&mut self, now: Instant) {
        self.lend(false, now);
    }

    fn lend(&self, is_measured: bool, now: Instant) {
        let Some(slot) = self.slot else { return };
        let mut wakes = WakeList::default();
        let mut slots = lock(&self.gate.slots);
        slots.lend(slot, now, &mut wakes);
        if !is_measured {
            slots.without_measure(slot);
        }
        drop(slots);
        wakes.wake();
    }

    /// Says that the connection is held for so long on purpose, at most a day: for a command
    /// that waits in the server, or a long query. Until then it is neither reported as held
    /// for long nor makes a full pool stuck; and its length predicts no other hold.
    pub fn expect_up_to(&self, hold: Duration, now: Instant) {
        if let Some(slot) = self.slot {
            let until = Deadline::after(now, hold).instant();
            lock(&self.gate.slots).expect(slot, until);
        }
    }

    /// Says that the driver's pool is asked in this place, having lent so many. Returns whether
    /// it has none left because somebody beside the gate has them.
    pub(super) fn asks_driver(&self, in_use: u32) -> bool {
        self.slot
            .is_some_and(|slot| lock(&self.gate.slots).asks_driver(slot, in_use))
    }

    /// Says that the connection is on its way back.
    pub(super) fn begin_release(&mut self) {
        self.is_held_no_more();
        if let Some(slot) = self.slot {
            lock(&self.gate.slots).begin_release(slot);
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

    /// Gives the place back because no connection could be had in it.
    pub(super) fn fell_through(mut self, now: Instant) {
        let Some(slot) = self.slot.take() else { return };
        let mut wakes = WakeList::default();
        lock(&self.gate.slots).fell_through(slot, now, &mut wakes);
        wakes.wake();
    }

    fn is_held_no_more(&mut self) {
        if std::mem::take(&mut self.told) {
            Spent::holds_no_more(&self.gate.name);
        }
    }

    /// Refuses a request that has heard nothing in time, for a reason that says nothing
    /// against the server. The place stays taken until the lease ends.
    pub fn refuse(&self, why: PoolSilence, waited: Duration, now: Instant) -> Refusal {
        self.gate.refuse_silent(why, waited, now)
    }

    /// Waits for news from others since this lease was given, or last [`heard`](Self::heard)
    /// them; for one who has waited since then for an answer, longer than is usual. That the
    /// server has answered a question is news as long as that is `open`.
    pub(super) fn poll_news(&self, since: Instant, open: bool, cx: &mut Context<'_>) -> Poll<News> {
        let Some(slot) = self.slot else {
            return Poll::Pending;
        };
        let waker = cx.waker().clone();
        let mut slots = lock(&self.gate.slots);
        let news = if slots.is_evicted(slot) {
            News::Evicted
        } else if let Some(failure) = slots.trouble_since(self.seen, since) {
            News::Trouble(failure.clone())
        } else if open && slots.has_answered(since) {
            News::Answered
        } else {
            let spent = slots.wake_at_news(slot, waker);
            drop(slots);
            drop(spent);
            return Poll::Pending;
        };
        drop(slots);
        Poll::Ready(news)
    }

    /// Says that the news so far has been heard.
    pub(super) fn heard(&mut self) {
        self.seen = lock(&self.gate.slots).failures();
    }

    /// Returns the gate that it came from.
    #[must_use]
    pub const fn gate(&self) -> &Arc<PoolGate> {
        &self.gate
    }

    fn end(&mut self, now: Option<Instant>) {
        let Some(slot) = self.slot.take() else { return };
        self.is_held_no_more();
        let mut wakes = WakeList::default();
        lock(&self.gate.slots).free(slot, now, &mut wakes);
        wakes.wake();
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
