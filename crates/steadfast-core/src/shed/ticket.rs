//! A request that waits for its turn at the gate.
//!
//! A [`ShedTicket`] is a place in the queue. It is asked with the time and a waker, until
//! it has become a permit or a refusal; whoever holds it sees to it that it is asked again
//! at [`ShedTicket::until`] at the latest. Dropped, it gives its place back, and hands on
//! the token that it may have been given meanwhile.

use std::{
    task::{Poll, Waker},
    time::Instant,
};

use super::{Ask, Decision, ShedGate, ShedPermit};
use crate::{
    refusal::{Refusal, cause::Rule},
    request::priority::Priority,
    shed::{
        inflight::tokens::Token,
        lanes::LaneId,
        tenants::{Tenant, TenantMark},
        wait_queue::{Asking, Entered, PlaceNo, Tempo, WaitQueue, WaitState},
    },
    sync::{local::Local, stripe},
};

/// A place in the queue. See the module's words; a drop gives the place back.
#[derive(Debug)]
#[must_use = "a ticket that is dropped gives its place back"]
pub struct ShedTicket<T: AsRef<ShedGate> + Send + Sync + 'static = ShedGate> {
    owner: Local<T>,
    /// In whose queue it waits.
    lane: LaneId,
    /// `None` once it has been told.
    place: Option<PlaceNo>,
    until: Instant,
    priority: Priority,
    /// Whether its answer is a stream, for which there must be room when its turn comes.
    stream: bool,
    /// Whose it is, where that is weighed.
    tenant: Option<TenantMark>,
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> ShedTicket<T> {
    /// Returns the moment at which it must be asked again at the latest.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Returns what the ticket was made from.
    #[must_use]
    pub const fn owner(&self) -> &Local<T> {
        &self.owner
    }

    /// Asks what became of the request. `route` is its path, as it was asked with.
    ///
    /// While it waits, `waker` is woken when that has been decided; only the latest waker
    /// counts. Asked again after an answer, it waits for ever.
    pub fn poll(
        &mut self,
        route: &str,
        waker: &Waker,
        now: Instant,
    ) -> Poll<Result<ShedPermit<T>, Refusal>> {
        let gate: &ShedGate = (*self.owner).as_ref();
        let lane = gate.lanes.at(self.lane);
        let (Some(place), Some(queue)) = (self.place, &lane.queue) else {
            return Poll::Pending;
        };
        let told = queue.ask(place, &lane.tokens, waker, now);
        if told == WaitState::Wait {
            return Poll::Pending;
        }
        self.place = None;
        let stripe = stripe::current();
        Poll::Ready(match told {
            WaitState::Wait => unreachable!("it was looked at above"),
            WaitState::Run(token) if self.stream => match gate.foresee_stream(stripe, now) {
                Ok(()) => {
                    let ask = Ask::new(route).priority(self.priority).stream(true);
                    Ok(self.run(token, stripe, ask, now))
                }
                Err(refusal) => {
                    lane.give_back(stripe, token, Some(now));
                    Err(refusal)
                }
            },
            WaitState::Run(token) => {
                let ask = Ask::new(route).priority(self.priority);
                Ok(self.run(token, stripe, ask, now))
            }
            WaitState::Refuse(rule, queued) => {
                Err(gate.refuse(self.lane, rule, Some(queued), self.priority, stripe, now))
            }
            WaitState::TooLate(token, queued) => {
                lane.give_back(stripe, token, Some(now));
                let rule = Rule::Deadline;
                Err(gate.refuse(self.lane, rule, Some(queued), self.priority, stripe, now))
            }
        })
    }

    fn run(&self, token: Token, stripe: usize, ask: Ask<'_>, now: Instant) -> ShedPermit<T> {
        let mut permit = ShedGate::run(&self.owner, self.lane, token, stripe, ask, now);
        permit.tenant = self.tenant;
        permit
    }
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> Drop for ShedTicket<T> {
    fn drop(&mut self) {
        let gate: &ShedGate = (*self.owner).as_ref();
        let lane = gate.lanes.at(self.lane);
        if let (Some(place), Some(queue)) = (self.place, &lane.queue) {
            if let Some(token) = queue.leave(place, &lane.tokens) {
                lane.give_back(stripe::current(), token, None);
            }
        }
    }
}

impl ShedGate {
    /// Decides on a request for which there was no token at first.
    #[cold]
    pub(super) fn wait_or_refuse<T>(
        owner: &Local<T>,
        at: LaneId,
        ask: Ask<'_>,
        stripe: usize,
        now: Instant,
    ) -> Decision<ShedPermit<T>, ShedTicket<T>>
    where
        T: AsRef<Self> + Send + Sync + 'static,
    {
        let this: &Self = (**owner).as_ref();
        let lane = this.lanes.at(at);
        lane.met(now);
        let met = || lane.tokens.in_flight() >= lane.tokens.limit();
        if lane.look_at_reserve(stripe, met, now) && !lane.tokens.seems_wanted() {
            if let Some(token) = lane.tokens.take_as(ask.priority, stripe) {
                return Decision::Admit(Self::run(owner, at, token, stripe, ask, now));
            }
        }
        let limit = lane.tokens.limit();
        let Some(queue) = lane.queue.as_ref().filter(|queue| queue.len_max(limit) > 0) else {
            let refusal = this.refuse(at, Rule::Limit, None, ask.priority, stripe, now);
            return Decision::Refuse(refusal);
        };
        let asking = Asking {
            priority: ask.priority,
            deadline: ask.deadline,
        };
        let tempo = Tempo {
            limit,
            service: lane.mean_held(now).unwrap_or_default(),
        };
        match queue.enter(asking, tempo, &lane.tokens, stripe, now) {
            Entered::Run(token) => Decision::Admit(Self::run(owner, at, token, stripe, ask, now)),
            Entered::Wait(place, until) => Decision::Wait(ShedTicket {
                owner: owner.clone(),
                lane: at,
                place: Some(place),
                until,
                priority: ask.priority,
                stream: ask.stream,
                tenant: ask.tenant.as_ref().map(Tenant::mark),
            }),
            Entered::Refuse(rule, queued) => {
                Decision::Refuse(this.refuse(at, rule, Some(queued), ask.priority, stripe, now))
            }
        }
    }

    /// Wakes all who wait in the queue, because something else than their turn has come:
    /// whoever holds their tickets looks at what it is. They keep their places.
    pub fn wake_waiting(&self) {
        let queues = self.lanes.all().filter_map(|lane| lane.queue.as_ref());
        queues.for_each(WaitQueue::wake_all);
    }
}
