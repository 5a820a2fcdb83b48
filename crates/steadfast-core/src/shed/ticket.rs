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
        tenants::{Tenant, TenantMark},
        wait_queue::{Asking, Entered, PlaceNo, QueueSnapshot, Tempo, WaitQueue, WaitState},
    },
    sync::{local::Local, stripe},
};

/// A place in the queue. See the module's words; a drop gives the place back.
#[derive(Debug)]
#[must_use = "a ticket that is dropped gives its place back"]
pub struct ShedTicket<T: AsRef<ShedGate> + Send + Sync + 'static = ShedGate> {
    owner: Local<T>,
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
        let (Some(place), Some(queue)) = (self.place, &gate.queue) else {
            return Poll::Pending;
        };
        let told = queue.ask(place, &gate.tokens, waker, now);
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
                    gate.give_back(stripe, token, Some(now));
                    Err(refusal)
                }
            },
            WaitState::Run(token) => {
                let ask = Ask::new(route).priority(self.priority);
                Ok(self.run(token, stripe, ask, now))
            }
            WaitState::Refuse(rule, queued) => {
                Err(gate.refuse(rule, Some(queued), self.priority, stripe, now))
            }
            WaitState::TooLate(token, queued) => {
                gate.give_back(stripe, token, Some(now));
                Err(gate.refuse(Rule::Deadline, Some(queued), self.priority, stripe, now))
            }
        })
    }

    fn run(&self, token: Token, stripe: usize, ask: Ask<'_>, now: Instant) -> ShedPermit<T> {
        let mut permit = ShedGate::run(&self.owner, token, stripe, ask, now);
        permit.tenant = self.tenant;
        permit
    }
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> Drop for ShedTicket<T> {
    fn drop(&mut self) {
        let gate: &ShedGate = (*self.owner).as_ref();
        if let (Some(place), Some(queue)) = (self.place, &gate.queue) {
            if let Some(token) = queue.leave(place, &gate.tokens) {
                gate.give_back(stripe::current(), token, None);
            }
        }
    }
}

impl ShedGate {
    /// Decides on a request for which there was no token at first.
    #[cold]
    pub(super) fn wait_or_refuse<T>(
        owner: &Local<T>,
        ask: Ask<'_>,
        stripe: usize,
        now: Instant,
    ) -> Decision<ShedPermit<T>, ShedTicket<T>>
    where
        T: AsRef<Self> + Send + Sync + 'static,
    {
        let this: &Self = (**owner).as_ref();
        this.met(now);
        let met = || this.tokens.in_flight() >= this.tokens.limit();
        if this.look_at_reserve(stripe, met, now) && !this.tokens.seems_wanted() {
            if let Some(token) = this.tokens.take_as(ask.priority, stripe) {
                return Decision::Admit(Self::run(owner, token, stripe, ask, now));
            }
        }
        let limit = this.tokens.limit();
        let Some(queue) = this.queue.as_ref().filter(|queue| queue.len_max(limit) > 0) else {
            return Decision::Refuse(this.refuse(Rule::Limit, None, ask.priority, stripe, now));
        };
        let asking = Asking {
            priority: ask.priority,
            deadline: ask.deadline,
        };
        let tempo = Tempo {
            limit,
            service: this.mean_held(now).unwrap_or_default(),
        };
        match queue.enter(asking, tempo, &this.tokens, stripe, now) {
            Entered::Run(token) => Decision::Admit(Self::run(owner, token, stripe, ask, now)),
            Entered::Wait(place, until) => Decision::Wait(ShedTicket {
                owner: owner.clone(),
                place: Some(place),
                until,
                priority: ask.priority,
                stream: ask.stream,
                tenant: ask.tenant.as_ref().map(Tenant::mark),
            }),
            Entered::Refuse(rule, queued) => {
                Decision::Refuse(this.refuse(rule, Some(queued), ask.priority, stripe, now))
            }
        }
    }

    /// Gives a token back, and hands it to whoever waits.
    #[inline]
    pub(super) fn give_back(&self, stripe: usize, token: Token, now: Option<Instant>) {
        self.tokens.give_back(stripe, token);
        self.offer(stripe, now);
    }

    /// Hands over what may have become free.
    #[inline]
    pub(super) fn offer(&self, stripe: usize, now: Option<Instant>) {
        if self.tokens.is_wanted() {
            self.hand_over(stripe, now);
        }
    }

    #[cold]
    fn hand_over(&self, stripe: usize, now: Option<Instant>) {
        if let Some(queue) = &self.queue {
            queue.hand_over(&self.tokens, stripe, now);
        }
    }

    /// Wakes all who wait in the queue, because something else than their turn has come:
    /// whoever holds their tickets looks at what it is. They keep their places.
    pub fn wake_waiting(&self) {
        if let Some(queue) = &self.queue {
            queue.wake_all();
        }
    }

    pub(super) fn queue_snapshot(&self, now: Instant) -> Option<QueueSnapshot> {
        let look = |queue: &WaitQueue| queue.snapshot(self.tokens.limit(), now);
        self.queue.as_ref().map(look)
    }
}
