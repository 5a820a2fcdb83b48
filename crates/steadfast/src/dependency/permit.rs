//! The right to make one call, for those who settle it themselves.

use std::{fmt, thread};

use steadfast_core::{
    CallFailure, CallOutcome, CallPermit, DependencyState, FailureClass, Name, Refusal, stripe,
};

use super::Dependency;
use crate::{clock, explain};

/// Permission to call a dependency once. It ends in exactly one [`Permit::settle`].
///
/// # Cancel safety
/// Dropped instead, it settles as *abandoned* after the time it was held: a client that
/// left is no evidence, a call that hung for longer than the limits is. Dropped by a panic,
/// it settles as failed.
#[must_use = "dropped at once, it says that the caller left"]
pub struct Permit<H: AsRef<DependencyState> = Dependency>(Option<CallPermit<H>>);

impl<H: AsRef<DependencyState>> Permit<H> {
    /// Asks for a permit. A refusal is noted for the request that this thread polls.
    #[inline]
    pub(crate) fn ask(handle: H) -> Result<Self, Refusal> {
        let asked = DependencyState::try_acquire(
            handle,
            clock::now(),
            stripe::current(),
            fastrand::u64(..),
        );
        match asked {
            Ok(permit) => Ok(Self(Some(permit))),
            Err(refusal) => Err(in_handler(refusal)),
        }
    }

    /// Tells how the call ended.
    #[inline]
    pub fn settle(mut self, outcome: CallOutcome) {
        if let Some(permit) = self.0.take() {
            permit.settle(outcome, clock::now());
        }
    }

    /// Tells that the call failed, and with which error; its text is shown to operators,
    /// redacted.
    pub fn fail(mut self, failure: impl Into<CallFailure>, error: &dyn fmt::Display) {
        if let Some(permit) = self.0.take() {
            permit.fail(failure.into(), error, clock::now());
        }
    }

    /// Whether this call helps to decide if the dependency is back.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.0.as_ref().is_some_and(CallPermit::is_probe)
    }
}

impl<H: AsRef<DependencyState>> Permit<H> {
    pub(crate) fn dependency(&self) -> &Name {
        let permit = self.0.as_ref().expect("it is settled by value");
        permit.state().name()
    }
}

/// A refusal inside a handler: it has been entered, and must not get lost.
#[cold]
pub(super) fn in_handler(refusal: Refusal) -> Refusal {
    let refusal = refusal.entered();
    explain::note_refusal_in_handler(&refusal);
    refusal
}

impl<H: AsRef<DependencyState>> Drop for Permit<H> {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            abandon(permit);
        }
    }
}

#[cold]
fn abandon<H: AsRef<DependencyState>>(permit: CallPermit<H>) {
    let now = clock::now();
    if thread::panicking() {
        permit.fail(FailureClass::Panicked.into(), &"the caller panicked", now);
        return;
    }
    let elapsed = now.saturating_duration_since(permit.started());
    permit.settle(CallOutcome::Abandoned { elapsed }, now);
}

impl<H: AsRef<DependencyState>> fmt::Debug for Permit<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.0).finish()
    }
}
