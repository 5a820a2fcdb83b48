//! The breaker around an outbound client.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use pin_project::pin_project;
use steadfast_core::Refusal;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::BodyBreakerLayer,
    late::{Asked, Asking, Late},
};
use crate::dependency::classifier::{Classify, Http};
use crate::dependency::{CallError, Dependency, call::Counted};

/// Puts a dependency's breaker around an outbound client. Made by [`Dependency::layer`].
///
/// The error becomes [`CallError`] of the client's own, so that a caller sees whether the
/// call was made. Generic over request and answer; answers are judged at their head.
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
pub struct BreakerLayer<C = Http> {
    dependency: Dependency,
    classify: C,
}

impl BreakerLayer {
    pub(crate) const fn new(dependency: Dependency) -> Self {
        Self {
            dependency,
            classify: Http,
        }
    }
}

impl<C> BreakerLayer<C> {
    /// Sets who judges how a call ended: one of [`classifier`](crate::classifier), or a closure.
    pub fn classify<D>(self, classify: D) -> BreakerLayer<D> {
        BreakerLayer {
            dependency: self.dependency,
            classify,
        }
    }

    /// Judges at the end of the body instead of at the head: for gRPC, whose status is in
    /// the trailers, and for answers that break off half-way. The permit is held until then;
    /// how long the body takes is no evidence.
    pub fn judge_bodies(self) -> BodyBreakerLayer<C> {
        BodyBreakerLayer::new(self.dependency, self.classify)
    }
}

impl<S, C: Clone> Layer<S> for BreakerLayer<C> {
    type Service = BreakerService<S, C>;

    fn layer(&self, inner: S) -> Self::Service {
        BreakerService {
            inner: Asked::new(inner),
            dependency: self.dependency.clone(),
            classify: self.classify.clone(),
        }
    }
}

/// See [`BreakerLayer`].
#[derive(Clone, Debug)]
pub struct BreakerService<S, C = Http> {
    inner: Asked<S>,
    dependency: Dependency,
    classify: C,
}

impl<S, C> BreakerService<S, C> {
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

impl<S, C, R> Service<R> for BreakerService<S, C>
where
    S: Service<R> + Clone,
    S::Error: fmt::Display,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = BreakerFuture<S, R, C>;

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
pub struct BreakerFuture<S: Service<R>, R, C> {
    #[pin]
    state: State<S, R, C>,
}

#[pin_project(project = StateProjection)]
enum State<S: Service<R>, R, C> {
    Refused(Option<Refusal>),
    Late(Box<Late<S, R>>, Option<C>),
    Running(#[pin] Counted<S::Future, C>),
}

impl<S, R, C> Future for BreakerFuture<S, R, C>
where
    S: Service<R>,
    S::Error: fmt::Display,
    C: Classify<S::Response, S::Error>,
{
    type Output = Result<S::Response, CallError<S::Error>>;

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

impl<S: Service<R>, R, C> fmt::Debug for BreakerFuture<S, R, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BreakerFuture").finish_non_exhaustive()
    }
}
