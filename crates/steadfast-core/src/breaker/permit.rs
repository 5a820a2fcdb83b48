//! The permission to make one call, to be settled with how the call ended.

use std::{fmt, ops::Deref, time::Instant};

use super::{
    Breaker,
    admit::{Kind, Ticket},
    outcome::CallOutcome,
    step::BreakerTransition,
};

/// Permission to call the dependency once.
///
/// It ends in exactly one [`BreakerPermit::settle`]. One that is dropped instead gives back
/// what it holds and is no evidence, because a drop knows no time; the shell's permit
/// settles as [`CallOutcome::Abandoned`] when it is dropped.
#[must_use = "a call without a settled permit is no evidence"]
pub struct BreakerPermit<B: Deref<Target = Breaker>> {
    handle: B,
    ticket: Ticket,
}

impl<B: Deref<Target = Breaker>> BreakerPermit<B> {
    #[inline]
    pub(crate) fn new(handle: B, ticket: Ticket) -> Self {
        Self { handle, ticket }
    }

    /// Tells the breaker how the call ended. Returns the transition if this call decided.
    #[must_use = "nobody else gets this transition"]
    #[inline]
    pub fn settle(mut self, outcome: CallOutcome, now: Instant) -> Option<BreakerTransition> {
        self.end(outcome, now)
    }

    /// Settles, and leaves the handle to the caller.
    #[inline]
    pub(crate) fn end(&mut self, outcome: CallOutcome, now: Instant) -> Option<BreakerTransition> {
        let ticket = self.ticket;
        self.ticket.kind = Kind::Over;
        let breaker = &*self.handle;
        breaker.settle(ticket, outcome, breaker.ms(now))
    }

    /// Takes the transition that the admission made: the breaker began to probe, or its
    /// ramp ended.
    #[must_use = "nobody else gets this transition"]
    pub fn take_transition(&mut self) -> Option<BreakerTransition> {
        let packed = std::mem::take(&mut self.ticket.moved);
        let ticket = self.ticket;
        self.handle
            .unpack_transition(packed, ticket.generation, ticket.started_ms)
    }

    /// Whether this call helps to decide if the dependency is back.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.ticket.kind == Kind::Probe
    }

    /// Whether the call would have been refused if the breaker did more than observe.
    #[must_use]
    pub fn is_observed_refusal(&self) -> bool {
        self.ticket.kind == Kind::Bystander
    }

    pub(crate) const fn handle(&self) -> &B {
        &self.handle
    }

    pub(crate) const fn stripe(&self) -> usize {
        self.ticket.stripe as usize
    }

    /// Whether the admission was more than a look at a closed breaker.
    #[inline]
    pub(crate) fn is_remarkable(&self) -> bool {
        self.ticket.moved != 0 || self.ticket.kind == Kind::Bystander
    }

    /// Returns the generation the permit was given under.
    #[must_use]
    pub fn generation(&self) -> u32 {
        self.ticket.generation
    }

    /// Returns when the permit was given, to the millisecond.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.handle.instant(self.ticket.started_ms)
    }
}

impl<B: Deref<Target = Breaker>> Drop for BreakerPermit<B> {
    fn drop(&mut self) {
        if self.ticket.kind != Kind::Over {
            self.handle.release(self.ticket);
        }
    }
}

impl<B: Deref<Target = Breaker>> fmt::Debug for BreakerPermit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerPermit")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
