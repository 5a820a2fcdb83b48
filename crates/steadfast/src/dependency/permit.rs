//! The right to make one call, for those who settle it themselves.

use std::{fmt, thread};

use steadfast_core::{
    CallFailure, CallOutcome, CallPermit, DependencyState, FailureClass, Name, Refusal,
    plumbing::{ToldBefore, stripe},
};

use super::Dependency;
use crate::clock;

/// Permission to call a dependency once. It ends in exactly one [`Permit::settle`].
///
/// # Cancel safety
/// Dropped instead, it settles as *abandoned* after the time it was held: a client that
/// left is no evidence, a call that hung for longer than the limits is. Dropped by a panic,
/// it settles as failed.
#[must_use = "dropped at once, it says that the caller left"]
pub struct Permit<H: AsRef<DependencyState> = Dependency>(Option<CallPermit<H>>);

impl<H: AsRef<DependencyState>> Permit<H> {
    /// Asks for a permit for a future, whose time begins when it first waits
    /// ([`Permit::waits`]). A refusal is noted for the request that this thread polls.
    #[inline]
    pub(crate) fn ask(handle: H) -> Result<Self, Refusal> {
        match DependencyState::try_acquire_untimed(handle, stripe::current()) {
            Ok(permit) => Ok(Self(Some(permit))),
            Err(handle) => Self::ask_now(handle),
        }
    }

    /// Asks for a permit for a call that begins now.
    pub(crate) fn ask_now(handle: H) -> Result<Self, Refusal> {
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

    /// Tells that the call waits.
    #[inline]
    pub(crate) fn waits(&mut self) {
        if let Some(permit) = &mut self.0 {
            if !permit.has_begun() {
                begin(permit);
            }
        }
    }

    /// Tells that the head of the answer is there while its end is still to come: a stream,
    /// or a body that is read by and by.
    ///
    /// From here on the call does not count as one that hangs, however long it goes on; it
    /// has been as slow as its head was; and leaving it is no evidence. A probe has
    /// succeeded, unless the call fails while the breaker still probes.
    pub fn answered(&mut self) {
        if let Some(permit) = &mut self.0 {
            permit.answered(clock::now());
        }
    }

    /// Tells how the call ended.
    #[inline]
    pub fn settle(mut self, outcome: CallOutcome) {
        if matches!(outcome, CallOutcome::Success) {
            return self.succeed();
        }
        self.waits();
        if let Some(permit) = self.0.take() {
            permit.settle(outcome, clock::now());
        }
    }

    /// Tells that the call succeeded.
    #[inline]
    pub(crate) fn succeed(mut self) {
        if let Some(permit) = self.0.take() {
            permit.succeed(clock::now());
        }
    }

    /// Tells that the call failed, and with which error; its text is shown to operators,
    /// redacted.
    pub fn fail(mut self, failure: impl Into<CallFailure>, error: &dyn fmt::Display) {
        self.waits();
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
    /// Whether one who judges inside the call has told its failure since then.
    #[inline]
    pub(crate) fn was_told_since(&self, before: ToldBefore) -> bool {
        let permit = self.0.as_ref();
        permit.is_some_and(|permit| permit.state().was_told_since(before))
    }

    /// Gives it back, as no evidence.
    pub(crate) fn hand_back(mut self) {
        if let Some(permit) = self.0.take() {
            permit.hand_back();
        }
    }

    pub(crate) fn dependency(&self) -> &Name {
        let permit = self.0.as_ref().expect("it is settled by value");
        permit.state().name()
    }
}

/// Fails the call if foreign code panics before this is forgotten. The future that holds the
/// permit may be dropped long after the panic has been caught, and nobody could tell then.
pub(crate) struct PanicFails<'a, T>(&'a mut Option<T>);

impl<'a, T> PanicFails<'a, T> {
    /// Polls foreign code.
    #[inline]
    pub(crate) fn watch<R>(held: &'a mut Option<T>, poll: impl FnOnce() -> R) -> R {
        let watch = Self(held);
        let polled = poll();
        std::mem::forget(watch);
        polled
    }
}

impl<T> Drop for PanicFails<'_, T> {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// A refusal inside a handler: it has been entered, and must not get lost.
#[cold]
pub(crate) fn in_handler(refusal: Refusal) -> Refusal {
    refusal.entered()
}

impl<H: AsRef<DependencyState>> Drop for Permit<H> {
    #[inline]
    fn drop(&mut self) {
        if let Some(permit) = self.0.take() {
            abandon(permit);
        }
    }
}

/// A call that waits is not in a hurry, so what it needs for waiting is out of the way of
/// those that do not.
#[cold]
fn begin<H: AsRef<DependencyState>>(permit: &mut CallPermit<H>) {
    permit.begin(clock::now(), fastrand::u64(..));
}

#[cold]
fn abandon<H: AsRef<DependencyState>>(mut permit: CallPermit<H>) {
    let now = clock::now();
    permit.begin(now, fastrand::u64(..));
    if thread::panicking() {
        permit.fail(FailureClass::Panicked.into(), &"the caller panicked", now);
        return;
    }
    let elapsed = permit.waited(now);
    permit.settle(CallOutcome::Abandoned { elapsed }, now);
}

impl<H: AsRef<DependencyState>> fmt::Debug for Permit<H> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Permit").field(&self.0).finish()
    }
}
