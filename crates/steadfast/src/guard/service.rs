//! The guard around any tower service.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower_service::Service;

use crate::{
    body::{GateBody, HeldBody, IntoAxum},
    drain::{DrainFuture, DrainService},
    explain::{ExplainFuture, ExplainService},
    front::{FrontFuture, FrontService},
    shed::{ShedFuture, ShedService},
};

type Stack<S> = FrontService<DrainService<ShedService<ExplainService<S>>>>;
type StackFuture<F> = FrontFuture<DrainFuture<ShedFuture<ExplainFuture<F>>>>;
type StackBody<B> = GateBody<GateBody<GateBody<HeldBody<GateBody<B>>>>>;

/// A service behind the guard's gates. Its error type is the inner service's.
#[derive(Clone, Debug)]
pub struct GuardService<S>(Stack<S>);

impl<S> GuardService<S> {
    pub(super) const fn new(stack: Stack<S>) -> Self {
        Self(stack)
    }
}

impl<S, A, B> Service<Request<A>> for GuardService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<GuardBody<B>>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        GuardFuture(self.0.call(request))
    }
}

/// See [`GuardService`].
#[pin_project]
#[derive(Debug)]
pub struct GuardFuture<F>(#[pin] StackFuture<F>);

impl<F, B, E> Future for GuardFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GuardBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project()
            .0
            .poll(cx)
            .map_ok(|response| response.map(GuardBody))
    }
}

/// The body of a guarded response: a gate's own words, or the application's body, which
/// holds its permit to the end.
#[pin_project]
#[derive(Debug)]
pub struct GuardBody<B>(#[pin] StackBody<B>);

impl<B: Body<Data = Bytes>> Body for GuardBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.project().0.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

impl IntoAxum for GuardBody<axum::body::Body> {
    fn into_axum(self) -> axum::body::Body {
        self.0.into_axum()
    }
}
