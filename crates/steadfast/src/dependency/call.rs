//! Calls through a dependency, whatever makes them.

use std::{error::Error, fmt, future::Future};

use steadfast_core::{BreakerMode, CallOutcome, DependencyState, FailureClass, Refusal};

use super::{
    Dependency,
    call_error::{CallError, CallTimedOut},
    permit::{Permit, in_handler},
    within::{Late, Within},
};
use crate::{
    breaker::{
        BreakerLayer, DependencyGate,
        classifier::{Classify, Described, Plain},
    },
    clock,
};

impl Dependency {
    /// Calls the dependency: polls the future if the breaker lets it, cuts it after
    /// `call_timeout`, and counts how it ended. Every error is a failure; where some are
    /// not, use [`Dependency::call_by`].
    ///
    /// # Errors
    /// [`CallError::Refused`] without having polled the future, [`CallError::TimedOut`], or
    /// the future's own error.
    ///
    /// # Cancel safety
    /// Dropped, it drops the future and counts the call as *abandoned* after the time it
    /// ran. A cancelled probe hands its slot back.
    pub async fn call<T, E, F>(&self, future: F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        self.call_by(Plain, future).await
    }

    /// Calls the dependency like [`Dependency::call`], and asks `classify` how it ended.
    ///
    /// # Errors
    /// As [`Dependency::call`].
    pub async fn call_by<T, E, F, C>(&self, classify: C, future: F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
        E: fmt::Display,
    {
        let state: &DependencyState = self.state();
        let permit = Permit::ask(state).map_err(CallError::Refused)?;
        let ended = Within::new(future, state.call_timeout()).await;
        conclude(permit, &classify, ended)
    }

    /// Asks for the right to make one call, for those who settle it themselves.
    ///
    /// # Errors
    /// A refusal with cause `dependency-down`.
    pub fn try_acquire(&self) -> Result<Permit, Refusal> {
        Permit::ask(self.clone())
    }

    /// Returns a layer for an outbound tower client: hyper-util's, reqwest's, a tonic
    /// channel. It judges answers as [`crate::classifier::Http`] does.
    #[must_use]
    pub fn layer(&self) -> BreakerLayer {
        BreakerLayer::new(self.clone())
    }

    /// Returns a layer for the routes that need this dependency: it refuses requests at
    /// once while no call would pass. It only looks and takes no permit; the handler's
    /// [`Dependency::call`] takes one.
    #[must_use]
    pub fn gate(&self) -> DependencyGate {
        DependencyGate::new(self.clone())
    }

    /// Asks what an error of the application's own has to do with this dependency: returns
    /// the refusal that is in it, or the one that describes the outage if the dependency is
    /// down at this moment. An existing error type asks this in its `into_response`, and
    /// answers `explain::carry(refusal)` if there is one.
    #[must_use]
    pub fn explain(&self, error: &(dyn Error + 'static)) -> Option<Refusal> {
        if let Some(refusal) = Refusal::find(error) {
            return Some(refusal.clone());
        }
        self.state().outage(clock::now()).map(in_handler)
    }

    /// Returns who decides on calls: the rules, or a person.
    #[must_use]
    pub fn mode(&self) -> BreakerMode {
        self.state().mode()
    }

    /// Sets the longest call from now on, `None` for as long as it likes; see
    /// [`DependencyBuilder::call_timeout`](super::DependencyBuilder::call_timeout).
    pub fn set_call_timeout(&self, limit: Option<std::time::Duration>) {
        self.state().set_call_timeout(limit);
    }

    /// Sets who decides on calls, from now on. No timer undoes it.
    pub fn set_mode(&self, mode: BreakerMode) {
        self.state().set_mode(mode, clock::now());
    }
}

/// Counts how a call ended.
#[inline]
pub(crate) fn conclude<T, E, C, H>(
    permit: Permit<H>,
    classify: &C,
    ended: Result<Result<T, E>, Late>,
) -> Result<T, CallError<E>>
where
    C: Classify<T, E>,
    E: fmt::Display,
    H: AsRef<DependencyState>,
{
    match ended {
        Ok(result) => {
            let outcome = classify.classify(result.as_ref());
            match outcome {
                CallOutcome::Failure(failure) => {
                    permit.fail(failure, &Described(classify, result.as_ref()));
                }
                outcome => permit.settle(outcome),
            }
            result.map_err(CallError::Inner)
        }
        Err(late) => Err(CallError::TimedOut(time_out(permit, &late))),
    }
}

#[cold]
fn time_out<H: AsRef<DependencyState>>(permit: Permit<H>, late: &Late) -> CallTimedOut {
    let late = CallTimedOut {
        dependency: permit.dependency().clone(),
        after: late.0,
    };
    permit.fail(FailureClass::Timeout, &late);
    late
}
