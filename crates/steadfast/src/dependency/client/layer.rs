//! The breaker around an outbound client.

use std::{
    fmt,
    future::Future,
    marker::PhantomData,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use steadfast_core::Refusal;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::AtEnd,
    late::{Asking, Late, PolledClient},
};
use crate::dependency::{
    CallError, Dependency,
    call::{AtHead, Conclude, Counted},
    classifier::{Classify, Http},
};

/// Puts a dependency's breaker around an outbound client. Made by [`Dependency::layer`].
///
/// The error becomes [`CallError`] of the client's own, so that a caller sees whether the
/// call was made. Generic over request and answer; `C` judges an answer, and `J` says when: at
/// its head, or at the end of its body ([`BreakerLayer::judge_bodies`]).
///
/// While every call would be refused it is ready, whatever the client is, and refuses in
/// `call`. A call that comes after the outage with such a readiness asks a clone of the
/// client, which is why the client must be [`Clone`].
///
/// ```
/// use steadfast::{CallError, Dependency};
/// use tower::{Layer, Service, ServiceExt, service_fn};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let payments = Dependency::builder("payments").build()?;
/// let client = service_fn(|_: http::Request<()>| async {
///     Ok::<_, std::io::Error>(http::Response::new("paid"))
/// });
/// let mut client = payments.layer().layer(client);
/// let answer = client.ready().await?.call(http::Request::new(())).await?;
/// assert_eq!(answer.body(), &"paid");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap().unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct BreakerLayer<C = Http, J = AtHead> {
    dependency: Dependency,
    classify: C,
    judged: PhantomData<J>,
}

impl BreakerLayer {
    pub(crate) const fn new(dependency: Dependency) -> Self {
        Self {
            dependency,
            classify: Http,
            judged: PhantomData,
        }
    }
}

impl<C> BreakerLayer<C> {
    /// Sets who judges how a call ended: one of [`classifier`](crate::classifier), or a closure.
    pub fn classify<D>(self, classify: D) -> BreakerLayer<D> {
        BreakerLayer {
            dependency: self.dependency,
            classify,
            judged: PhantomData,
        }
    }

    /// Judges at the end of the body instead of at the head: for gRPC, whose status is in
    /// the trailers, and for answers that break off half-way. The permit is held until then;
    /// how long the body takes is no evidence.
    ///
    /// A body that ends well is judged by its trailers, one that breaks off has failed, and one
    /// that the caller drops half-way is *abandoned*, which is no evidence: the head was there.
    /// Its time is that of the head, so a stream that stays open for hours is neither slow nor
    /// does it hang. A probe has succeeded with its head, unless its body ends badly while the
    /// breaker still probes.
    pub fn judge_bodies(self) -> BodyBreakerLayer<C> {
        BreakerLayer {
            dependency: self.dependency,
            classify: self.classify,
            judged: PhantomData,
        }
    }
}

impl<S, C: Clone, J> Layer<S> for BreakerLayer<C, J> {
    type Service = BreakerService<S, C, J>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService {
            inner: PolledClient::new(inner),
            dependency: self.dependency.clone(),
            classify: self.classify.clone(),
            judged: PhantomData,
        }
    }
}

/// A [`BreakerLayer`] that judges answers at the end of their body:
/// [`BreakerLayer::judge_bodies`].
pub type BodyBreakerLayer<C> = BreakerLayer<C, AtEnd>;

/// See [`BreakerLayer`].
#[derive(Clone, Debug)]
pub struct BreakerService<S, C = Http, J = AtHead> {
    inner: PolledClient<S>,
    dependency: Dependency,
    classify: C,
    judged: PhantomData<J>,
}

/// See [`BodyBreakerLayer`].
pub type BodyBreakerService<S, C> = BreakerService<S, C, AtEnd>;

impl<S, C, J> BreakerService<S, C, J> {
    /// Returns the client inside.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner.client
    }

    /// Returns the client inside, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner.client
    }

    /// Returns the client inside and drops what is around it.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner.client
    }
}

impl<S, C, J, R> Service<R> for BreakerService<S, C, J>
where
    S: Service<R> + Clone,
    S::Error: fmt::Display,
    C: Classify<S::Response, S::Error> + Clone,
    J: Conclude<S::Response, S::Error, C>,
{
    type Response = J::Answer;
    type Error = CallError<S::Error>;
    type Future = BreakerFuture<S, R, C, J>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(&self.dependency, cx)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        let state = match self.inner.ask(&self.dependency) {
            Asking::Ready(Ok(permit)) => State::Running(Counted::new(
                self.inner.call(request),
                self.dependency.state().call_timeout(),
                permit,
                self.classify.clone(),
            )),
            Asking::Ready(Err(refusal)) => State::Refused(Some(refusal)),
            Asking::Late => {
                let late = self.inner.late(&self.dependency, request);
                State::Late(late, Some(self.classify.clone()))
            }
        };
        BreakerFuture { state }
    }
}

/// See [`BreakerLayer`].
#[pin_project]
pub struct BreakerFuture<S: Service<R>, R, C, J = AtHead> {
    #[pin]
    state: State<S, R, C, J>,
}

#[pin_project(project = StateProjection)]
enum State<S: Service<R>, R, C, J> {
    Refused(Option<Refusal>),
    Late(Box<Late<S, R>>, Option<C>),
    Running(#[pin] Counted<S::Future, C, J>),
}

impl<S, R, C, J> Future for BreakerFuture<S, R, C, J>
where
    S: Service<R>,
    S::Error: fmt::Display,
    C: Classify<S::Response, S::Error>,
    J: Conclude<S::Response, S::Error, C>,
{
    type Output = Result<J::Answer, CallError<S::Error>>;
    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let next = match state.as_mut().project() {
                StateProjection::Running(call) => return call.poll(cx),
                StateProjection::Refused(refusal) => {
                    let refusal = refusal.take();
                    let refusal = refusal.expect("a future is not polled after it is ready");
                    return Poll::Ready(Err(CallError::Refused(refusal)));
                }
                StateProjection::Late(late, classify) => {
                    let limit = late.call_timeout();
                    let (future, permit) = ready!(late.poll(cx))?;
                    let classify = classify.take();
                    let classify = classify.expect("a late call begins once");
                    State::Running(Counted::new(future, limit, permit, classify))
                }
            };
            state.set(next);
        }
    }
}

impl<S: Service<R>, R, C, J> fmt::Debug for BreakerFuture<S, R, C, J> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerFuture").finish_non_exhaustive()
    }
}
