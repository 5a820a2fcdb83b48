//! The gate in front of the routes that need a dependency.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    clock,
    dependency::Dependency,
    refusal::{self, Explain},
    request::{body::GateBody, head::RequestHead},
};

/// Refuses requests at once while a dependency that they need is down. Made by
/// [`Dependency::gate`], for `Router::route_layer`, one route, or any tower server.
///
/// It only looks: while the breaker is open it refuses, and while it probes, if no probe
/// may start. It takes no permit, so the handler must make its calls through the
/// dependency. The refusal is rendered by the guard or [`crate::ExplainLayer`] around it.
#[derive(Clone, Debug)]
pub struct DependencyGate {
    dependency: Dependency,
    explain: Option<Explain>,
}

impl DependencyGate {
    pub(crate) const fn new(dependency: Dependency) -> Self {
        Self {
            dependency,
            explain: None,
        }
    }

    /// Renders and writes down the refusals itself: for a stack without a guard and without
    /// an explain layer.
    #[must_use]
    pub fn explained_by(mut self, explain: Explain) -> Self {
        self.explain = Some(explain);
        self
    }
}

impl Dependency {
    /// Returns a layer for the routes that need this dependency: it refuses requests at
    /// once while no call would pass. It only looks and takes no permit; the handler's
    /// [`Dependency::call`] takes one.
    #[must_use]
    pub fn gate(&self) -> DependencyGate {
        DependencyGate::new(self.clone())
    }
}

impl<S> Layer<S> for DependencyGate {
    type Service = DependencyGateService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DependencyGateService {
            inner,
            gate: self.clone(),
        }
    }
}

/// See [`DependencyGate`].
#[derive(Clone, Debug)]
pub struct DependencyGateService<S> {
    inner: S,
    gate: DependencyGate,
}

impl<S> DependencyGateService<S> {
    /// Returns the service inside.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// Returns the service inside, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Returns the service inside and drops what is around it.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, A, B> Service<Request<A>> for DependencyGateService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<GateBody<B>>;
    type Error = S::Error;
    type Future = DependencyGateFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let state = match self.gate.dependency.state().refusal(clock::now()) {
            None => State::Running(self.inner.call(request)),
            Some(refusal) => State::Refused(Some(match &self.gate.explain {
                Some(explain) => explain.answer(refusal, &RequestHead::of(&request)),
                None => refusal::hand_over(refusal),
            })),
        };
        DependencyGateFuture { state }
    }
}

/// See [`DependencyGate`].
#[pin_project]
#[derive(Debug)]
pub struct DependencyGateFuture<F> {
    #[pin]
    state: State<F>,
}

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F> {
    Refused(Option<Response<Full<Bytes>>>),
    Running(#[pin] F),
}

impl<F, B, E> Future for DependencyGateFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GateBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(match self.project().state.project() {
            StateProjection::Refused(response) => {
                let response = response.take();
                let response = response.expect("a future is not polled after it is ready");
                Ok(response.map(GateBody::by_gate))
            }
            StateProjection::Running(inner) => {
                ready!(inner.poll(cx)).map(|response| response.map(GateBody::inside))
            }
        })
    }
}
