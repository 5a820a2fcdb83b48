//! The breaker around an outbound client.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use pin_project::pin_project;
use steadfast_core::Refusal;
use tower_layer::Layer;
use tower_service::Service;

use super::{
    body::BodyBreakerLayer,
    classifier::{Classify, Http},
};
use crate::dependency::{CallError, Dependency, Permit, call::Counted};

/// Puts a dependency's breaker around an outbound client. Made by [`Dependency::layer`].
///
/// The error becomes [`CallError`] of the client's own, so that a caller sees whether the
/// call was made. Generic over request and answer; answers are judged at their head.
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
    /// Sets who judges how a call ended: one of [`super::classifier`], or a closure.
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
            inner,
            dependency: self.dependency.clone(),
            classify: self.classify.clone(),
        }
    }
}

/// See [`BreakerLayer`].
#[derive(Clone, Debug)]
pub struct BreakerService<S, C = Http> {
    inner: S,
    dependency: Dependency,
    classify: C,
}

impl<S, C, R> Service<R> for BreakerService<S, C>
where
    S: Service<R>,
    S::Error: fmt::Display,
    C: Classify<S::Response, S::Error> + Clone,
{
    type Response = S::Response;
    type Error = CallError<S::Error>;
    type Future = BreakerFuture<S::Future, C>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx).map_err(CallError::Inner)
    }

    #[inline]
    fn call(&mut self, request: R) -> Self::Future {
        let state = match Permit::ask(self.dependency.clone()) {
            // The permit is made first: if `call` panics, its drop gives it back.
            Ok(permit) => State::Running(Counted::new(
                self.inner.call(request),
                self.dependency.state().call_timeout(),
                permit,
                self.classify.clone(),
            )),
            Err(refusal) => State::Refused(Some(refusal)),
        };
        BreakerFuture { state }
    }
}

/// See [`BreakerLayer`].
#[pin_project]
#[derive(Debug)]
pub struct BreakerFuture<F, C> {
    #[pin]
    state: State<F, C>,
}

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F, C> {
    Refused(Option<Refusal>),
    Running(#[pin] Counted<F, C>),
}

impl<F, T, E, C> Future for BreakerFuture<F, C>
where
    F: Future<Output = Result<T, E>>,
    E: fmt::Display,
    C: Classify<T, E>,
{
    type Output = Result<T, CallError<E>>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Refused(refusal) => {
                let refusal = refusal.take();
                let refusal = refusal.expect("a future is not polled after it is ready");
                Poll::Ready(Err(CallError::Refused(refusal)))
            }
            StateProjection::Running(call) => call.poll(cx),
        }
    }
}
