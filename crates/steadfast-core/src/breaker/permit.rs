//! The permission to make one call, to be settled with how the call ended.

use std::{fmt, ops::Deref, time::Instant};

use super::{
    Breaker,
    admit::{Admitted, Kind, Ticket},
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
    moved: Option<BreakerTransition>,
    is_settled: bool,
}

impl<B: Deref<Target = Breaker>> BreakerPermit<B> {
    pub(super) fn new(handle: B, admitted: &Admitted) -> Self {
        Self {
            handle,
            ticket: admitted.ticket,
            moved: admitted.moved,
            is_settled: false,
        }
    }

    /// Tells the breaker how the call ended. Returns the transition if this call decided.
    #[must_use = "nobody else gets this transition"]
    pub fn settle(mut self, outcome: CallOutcome, now: Instant) -> Option<BreakerTransition> {
        self.is_settled = true;
        let breaker = &*self.handle;
        breaker.settle(self.ticket, outcome, breaker.ms(now))
    }

    /// Takes the transition that the admission made: the breaker began to probe, or its
    /// ramp ended.
    #[must_use = "nobody else gets this transition"]
    pub fn take_transition(&mut self) -> Option<BreakerTransition> {
        self.moved.take()
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
        if !self.is_settled {
            self.handle.release(self.ticket);
        }
    }
}

impl<B: Deref<Target = Breaker>> fmt::Debug for BreakerPermit<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerPermit")
            .field("ticket", &self.ticket)
            .field("is_settled", &self.is_settled)
            .finish_non_exhaustive()
    }
}
