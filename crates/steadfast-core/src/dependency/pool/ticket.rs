//! A place in the queue for a connection.

use std::{
    fmt,
    panic::Location,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    PoolGate,
    lease::PoolLease,
    slots::{AskerId, Slot, Turn, WakeList},
};
use crate::{refusal::Refusal, request::deadline::Deadline, sync::lock};

/// A request that waits for a place in the pool.
///
/// It ends in a lease ([`PoolTicket::poll_lease`]), in a refusal
/// ([`PoolTicket::refuse`], when [`PoolTicket::until`] has come), or by leaving
/// ([`PoolTicket::leave`]). One that is dropped leaves too, and only its wait is not
/// counted, because a drop knows no time.
#[must_use = "a ticket that is dropped has left the queue"]
pub struct PoolTicket {
    gate: Arc<PoolGate>,
    id: AskerId,
    place: &'static Location<'static>,
    /// Whether it stands in the queue, or has been promised a place.
    stands: bool,
    until: Deadline,
    since: Instant,
    look_at: Option<Instant>,
}

/// A turn: a place, and whether a new connection is to be opened in it.
#[derive(Debug)]
pub(super) struct Start {
    pub(super) lease: PoolLease,
    pub(super) is_new: bool,
}

impl PoolGate {
    /// Asks for a connection, while so many lie idle in the driver's pool. There is a start
    /// if there is something to do at once; one who opens a connection stands in the queue
    /// too, for whichever comes first.
    pub(super) fn admit(
        self: &Arc<Self>,
        idle: u32,
        deadline: Option<Deadline>,
        place: &'static Location<'static>,
        now: Instant,
    ) -> Result<(PoolTicket, Option<Start>), Refusal> {
        let until = self.wait_until(deadline, now);
        let left = until.remaining(now);
        let mut wakes = WakeList::default();
        let mut slots = lock(&self.slots);
        slots.recent.arrived(now);
        let id = slots.number();
        let turn = slots.come(id, place, idle, now, &mut wakes);
        let is_full = matches!(turn, Turn::Wait(_))
            && (slots.waiting() >= self.settings.waiters_max
                || left.is_zero()
                || slots.is_hopeless(left, now));
        if is_full {
            let refusal = self.refuse_waiting(&mut slots, now, now);
            drop(slots);
            wakes.wake();
            return Err(refusal);
        }
        if matches!(turn, Turn::Wait(_)) {
            slots.line_up(id, place, false, now);
        }
        let seen = slots.failures();
        drop(slots);
        wakes.wake();
        let start = self.start(turn, seen);
        let ticket = PoolTicket {
            gate: Arc::clone(self),
            id,
            place,
            stands: !matches!(turn, Turn::Take(_)),
            until,
            since: now,
            look_at: None,
        };
        Ok((ticket, start))
    }

    fn start(self: &Arc<Self>, turn: Turn, seen: u64) -> Option<Start> {
        let lease = |slot: Slot| PoolLease::new(Arc::clone(self), slot, seen);
        match turn {
            Turn::Take(slot) => Some(Start {
                lease: lease(slot),
                is_new: false,
            }),
            Turn::Open(slot) => Some(Start {
                lease: lease(slot),
                is_new: true,
            }),
            Turn::Wait(_) => None,
        }
    }
}

impl PoolTicket {
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
        assert!(self.stands, "a ticket is not polled after it was ready");
        self.poll_start(u32::MAX, cx, now).map(|start| {
            self.stands = false;
            start.lease
        })
    }

    /// Takes the place if it is this one's turn, while so many connections lie idle in the
    /// driver's pool. Stands no longer if it is to take one of these.
    pub(super) fn poll_start(
        &mut self,
        idle: u32,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Start> {
        if !self.stands {
            return Poll::Pending;
        }
        let waker = cx.waker().clone();
        let mut wakes = WakeList::default();
        let mut slots = lock(&self.gate.slots);
        let is_patient = !self.until.remaining(now).is_zero();
        let turn = slots.look(self.id, idle, is_patient, waker, now, &mut wakes);
        let seen = slots.failures();
        drop(slots);
        wakes.wake();
        self.look_at = match turn {
            Turn::Wait(look_at) => look_at,
            Turn::Take(_) | Turn::Open(_) => None,
        };
        self.stands = !matches!(turn, Turn::Take(_));
        let start = self.gate.start(turn, seen);
        start.map_or(Poll::Pending, Poll::Ready)
    }

    /// Returns from when on it waits in vain, unless something happens until then.
    pub(super) fn vain_at(&self, now: Instant) -> Instant {
        lock(&self.gate.slots).vain_at(self.since, now)
    }

    /// Returns when it wants to look again, whether it is woken or not.
    pub(super) fn look_at(&self) -> Option<Instant> {
        self.look_at.filter(|_| self.stands)
    }

    /// Stands in the queue, where it came; `is_served` says that there is a place in which a
    /// connection is new or late.
    pub(super) fn stand(&mut self, is_served: bool, now: Instant) {
        let mut slots = lock(&self.gate.slots);
        if self.stands {
            slots.set_served(self.id, is_served, now);
        } else {
            slots.line_up(self.id, self.place, is_served, now);
        }
        drop(slots);
        self.stands = true;
    }

    /// Ends the wait, because it has been long enough.
    pub fn refuse(mut self, now: Instant) -> Refusal {
        let mut wakes = WakeList::default();
        let mut slots = lock(&self.gate.slots);
        if std::mem::take(&mut self.stands) {
            slots.leave(self.id, false, Some(now), &mut wakes);
        }
        let refusal = self.gate.refuse_waiting(&mut slots, self.since, now);
        drop(slots);
        wakes.wake();
        refusal
    }

    /// Leaves the queue, because whoever waited has gone.
    pub fn leave(mut self, now: Instant) {
        self.end(false, Some(now));
    }

    /// Leaves the queue, because whoever waited was refused for another reason.
    pub(super) fn refused(mut self, now: Instant) {
        if !std::mem::take(&mut self.stands) {
            return;
        }
        let mut wakes = WakeList::default();
        lock(&self.gate.slots).leave(self.id, false, Some(now), &mut wakes);
        wakes.wake();
    }

    /// Leaves the queue, with a connection.
    pub(super) fn served(mut self, now: Instant) {
        self.end(true, Some(now));
    }

    fn end(&mut self, has_connection: bool, now: Option<Instant>) {
        if !std::mem::take(&mut self.stands) {
            return;
        }
        let mut wakes = WakeList::default();
        let mut slots = lock(&self.gate.slots);
        let has_waited = slots.leave(self.id, has_connection, now, &mut wakes);
        if has_waited && !has_connection {
            slots.counts.cancelled += 1;
        }
        drop(slots);
        wakes.wake();
    }
}

impl Drop for PoolTicket {
    fn drop(&mut self) {
        self.end(false, None);
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
