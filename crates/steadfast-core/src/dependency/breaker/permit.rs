//! The permission to make one call, to be settled with how the call ended.

use std::{
    fmt,
    ops::Deref,
    time::{Duration, Instant},
};

use super::{
    Breaker,
    admit::{Kind, Ticket},
    outcome::CallOutcome,
    stage::Stage,
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

    /// Settles with a success, and leaves the handle to the caller.
    #[inline]
    pub(crate) fn succeed(&mut self, now: Instant) -> Option<BreakerTransition> {
        let ticket = self.ticket;
        self.ticket.kind = Kind::Over;
        let breaker = &*self.handle;
        breaker.succeed(ticket, breaker.ms(now))
    }

    /// Gives back what it holds, for whoever asks in its place.
    pub(crate) fn hand_back(mut self) {
        let ticket = self.ticket;
        self.ticket.kind = Kind::Over;
        self.handle.hand_back(ticket);
    }

    /// Begins the time of a call that was admitted without it, at its first wait.
    pub(crate) fn begin(&mut self, now: Instant, random: u64) -> Option<BreakerTransition> {
        let breaker = &*self.handle;
        breaker.begin(&mut self.ticket, breaker.ms(now), random)
    }

    /// Whether the call's time has begun.
    #[inline]
    pub(crate) fn has_begun(&self) -> bool {
        self.ticket.stage != Stage::Asked
    }

    /// Tells that the head of the answer is there while its end is still to come. Returns
    /// the transition if this probe decided.
    ///
    /// From here on the call no longer counts as one that might hang, its time for the slow
    /// rule is over, and leaving it is no evidence. A probe has succeeded, unless the call
    /// fails while the round is still on.
    #[must_use = "nobody else gets this transition"]
    pub fn answered(&mut self, now: Instant) -> Option<BreakerTransition> {
        let breaker = &*self.handle;
        breaker.answer(&mut self.ticket, breaker.ms(now))
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
        matches!(self.ticket.kind, Kind::Probe | Kind::Heard)
    }

    /// Whether the call would have been refused if the breaker did more than observe.
    #[must_use]
    pub fn is_observed_refusal(&self) -> bool {
        self.ticket.kind == Kind::Bystander
    }

    pub(crate) const fn handle(&self) -> &B {
        &self.handle
    }

    #[inline]
    pub(crate) const fn stripe(&self) -> usize {
        self.ticket.stripe()
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

    /// Returns how long the dependency has let the call wait for an answer, to the
    /// millisecond.
    #[must_use]
    pub fn waited(&self, now: Instant) -> Duration {
        Duration::from_millis(self.ticket.waited_ms(self.handle.ms(now)))
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
