//! Calls through a dependency, whatever makes them.

use std::{
    error::Error,
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project::pin_project;
use steadfast_core::{
    CallOutcome, DependencyState, FailureClass, Refusal,
    plumbing::{BreakerMode, CallTimedOut, Spent, ToldBefore},
};

use super::{
    Dependency,
    call_error::CallError,
    permit::{PanicFails, Permit, in_handler},
    within::{Elapsed, Within},
};
use crate::{
    clock,
    dependency::{
        classifier::{Classify, Described, Plain},
        client::BreakerLayer,
    },
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
    pub fn call<T, E, F>(&self, future: F) -> DependencyCall<'_, F>
    where
        F: Future<Output = Result<T, E>>,
        E: fmt::Display,
    {
        self.call_by(Plain, future)
    }

    /// Calls the dependency like [`Dependency::call`], and asks `classify` how it ended.
    ///
    /// # Errors
    /// As [`Dependency::call`].
    pub fn call_by<T, E, F, C>(&self, classify: C, future: F) -> DependencyCall<'_, F, C>
    where
        F: Future<Output = Result<T, E>>,
        C: Classify<T, E>,
        E: fmt::Display,
    {
        DependencyCall {
            state: self.state(),
            classify: Some(classify),
            writes: false,
            counted: Counted {
                inner: Within::new(future, None),
                kept: None,
                judged: PhantomData,
            },
        }
    }

    /// Asks for the right to make one call, for those who settle it themselves.
    ///
    /// # Errors
    /// A refusal with cause `dependency-down`.
    pub fn try_acquire(&self) -> Result<Permit, Refusal> {
        Permit::ask_now(self.clone())
    }

    /// Returns a layer for an outbound tower client: hyper-util's, a tonic channel. It judges
    /// answers as [`crate::classifier::Http`] does. A client whose error is a boxed one (as that
    /// of a stack with tower's `timeout`) is judged by
    /// `layer().classify(Boxed(Http))`, see [`crate::classifier::Boxed`]; the answers of reqwest
    /// are turned into `http::Response` first (`map_response(http::Response::from)`), as
    /// `examples/recipes` does.
    #[must_use]
    pub fn layer(&self) -> BreakerLayer {
        BreakerLayer::new(self.clone())
    }

    /// Asks what an error of the application's own has to do with this dependency: returns
    /// the refusal that is in it, or the one that describes the outage if the dependency is
    /// down at this moment, or seems to go down (the last two calls failed). An existing error type asks this in its `into_response`, and
    /// answers `explain::carry(refusal)` if there is one.
    #[must_use]
    pub fn explain(&self, error: &(dyn Error + 'static)) -> Option<Refusal> {
        if let Some(refusal) = Refusal::find(error) {
            return Some(refusal.clone());
        }
        self.state().explanation(clock::now()).map(in_handler)
    }

    /// Returns who decides on calls: the rules, or a person.
    #[must_use]
    pub fn mode(&self) -> BreakerMode {
        self.state().mode()
    }

    /// Sets the longest call from now on, `None` for as long as it likes; see
    /// [`DependencyBuilder::call_timeout`](super::DependencyBuilder::call_timeout).
    pub fn set_call_timeout(&self, limit: Option<Duration>) {
        self.state().set_call_timeout(limit);
    }

    /// Sets who decides on calls, from now on. No timer undoes it.
    pub fn set_mode(&self, mode: BreakerMode) {
        self.state().set_mode(mode, clock::now());
    }
}

/// A call through a dependency, made by [`Dependency::call`] and [`Dependency::call_by`].
/// It asks for its permit when it is polled, and keeps the future where it is.
#[pin_project]
#[must_use = "futures do nothing unless polled"]
pub struct DependencyCall<'a, F, C = Plain> {
    state: &'a DependencyState,
    /// `None` once it has asked.
    classify: Option<C>,
    writes: bool,
    #[pin]
    counted: Counted<F, C, AtHead, &'a DependencyState>,
}

impl<F, C> DependencyCall<'_, F, C> {
    pub(super) fn that_writes(mut self) -> Self {
        self.writes = true;
        self
    }
}

impl<F, T, E, C> Future for DependencyCall<'_, F, C>
where
    F: Future<Output = Result<T, E>>,
    E: fmt::Display,
    C: Classify<T, E>,
{
    type Output = Result<T, CallError<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut counted = this.counted;
        if let Some(classify) = this.classify.take() {
            if *this.writes {
                let admitted = this.state.admit_write(clock::now());
                if let Err(refusal) = admitted.map_err(in_handler) {
                    return Poll::Ready(Err(CallError::Refused(refusal)));
                }
            }
            match Permit::ask(*this.state) {
                Ok(permit) => {
                    let limit = this.state.call_timeout();
                    counted.as_mut().begin(permit, classify, limit);
                }
                Err(refusal) => return Poll::Ready(Err(CallError::Refused(refusal))),
            }
        }
        counted.poll(cx)
    }
}

impl<F, C> fmt::Debug for DependencyCall<'_, F, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DependencyCall")
            .field("dependency", self.state.name())
            .finish_non_exhaustive()
    }
}

/// When the answers of a client are judged: [`AtHead`], or
/// [`AtEnd`](super::client::AtEnd).
pub trait Judged<T, E, C> {
    /// What the caller gets of an answer `T`.
    type Answer;
}

/// Judges the end of a call, and settles its permit or hands it on with the answer.
pub(crate) trait Conclude<T, E, C, H: AsRef<DependencyState> = Dependency>:
    Judged<T, E, C>
{
    fn conclude(
        permit: Permit<H>,
        classify: C,
        ended: Ended<T, E>,
    ) -> Result<Self::Answer, CallError<E>>;
}

/// How a call ended.
pub(crate) struct Ended<T, E> {
    pub(crate) result: Result<Result<T, E>, Elapsed>,
    /// What had been told of the dependency when it was polled last.
    pub(crate) before: ToldBefore,
}

/// Answers are judged at their head, and nothing is kept of their body.
///
/// Complete: it is a word for the compiler, and nobody has one.
#[derive(Clone, Copy, Debug)]
pub enum AtHead {}

impl<T, E, C> Judged<T, E, C> for AtHead {
    type Answer = T;
}

impl<T, E, C, H> Conclude<T, E, C, H> for AtHead
where
    C: Classify<T, E>,
    E: fmt::Display,
    H: AsRef<DependencyState>,
{
    #[inline]
    fn conclude(permit: Permit<H>, classify: C, ended: Ended<T, E>) -> Result<T, CallError<E>> {
        conclude_once(permit, &classify, ended)
    }
}

/// A future with the permit that it ends, and who judges it.
#[pin_project]
#[derive(Debug)]
pub(crate) struct Counted<F, C, J, H: AsRef<DependencyState> = Dependency> {
    #[pin]
    inner: Within<F>,
    /// `None` before it begins and once it has ended.
    kept: Option<(Permit<H>, C)>,
    judged: PhantomData<J>,
}

impl<F, C, J, H: AsRef<DependencyState>> Counted<F, C, J, H> {
    #[inline]
    pub(crate) fn new(future: F, limit: Option<Duration>, permit: Permit<H>, classify: C) -> Self {
        Self {
            inner: Within::new(future, limit),
            kept: Some((permit, classify)),
            judged: PhantomData,
        }
    }

    #[inline]
    fn begin(self: Pin<&mut Self>, permit: Permit<H>, classify: C, limit: Option<Duration>) {
        let this = self.project();
        *this.kept = Some((permit, classify));
        this.inner.limit(limit);
    }
}

impl<F, T, E, C, J, H> Future for Counted<F, C, J, H>
where
    F: Future<Output = Result<T, E>>,
    J: Conclude<T, E, C, H>,
    H: AsRef<DependencyState>,
{
    type Output = Result<J::Answer, CallError<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let before = ToldBefore::now();
        match PanicFails::watch(this.kept, || this.inner.poll(cx)) {
            Poll::Pending => {
                if let Some((permit, _)) = this.kept {
                    permit.waits();
                    Spent::waits_for(permit.dependency());
                }
                Poll::Pending
            }
            Poll::Ready(result) => {
                let kept = this.kept.take();
                let (permit, classify) = kept.expect("a future is not polled after it is ready");
                Poll::Ready(J::conclude(permit, classify, Ended { result, before }))
            }
        }
    }
}

/// Counts how a call ended, unless a guard of the same dependency has told its failure.
#[inline]
pub(crate) fn conclude_once<T, E, C, H>(
    permit: Permit<H>,
    classify: &C,
    ended: Ended<T, E>,
) -> Result<T, CallError<E>>
where
    C: Classify<T, E>,
    E: fmt::Display,
    H: AsRef<DependencyState>,
{
    match ended.result {
        Ok(Err(error)) if permit.was_told_since(ended.before) => {
            permit.hand_back();
            Err(CallError::Inner(error))
        }
        result => conclude(permit, classify, result),
    }
}

/// Counts how a call ended.
#[inline]
fn conclude<T, E, C, H>(
    permit: Permit<H>,
    classify: &C,
    ended: Result<Result<T, E>, Elapsed>,
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
                CallOutcome::Success => permit.succeed(),
                CallOutcome::Failure(failure) => {
                    permit.fail(failure, &Described(classify, result.as_ref()));
                }
                outcome => permit.settle(outcome),
            }
            result.map_err(CallError::Inner)
        }
        Err(elapsed) => Err(CallError::TimedOut(time_out(permit, &elapsed))),
    }
}

#[cold]
fn time_out<H: AsRef<DependencyState>>(permit: Permit<H>, elapsed: &Elapsed) -> CallTimedOut {
    let timed_out = CallTimedOut::new(permit.dependency().clone(), elapsed.0);
    permit.fail(FailureClass::Timeout, &timed_out);
    timed_out
}
