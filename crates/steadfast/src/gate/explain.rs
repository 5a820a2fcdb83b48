//! The layer that renders what handlers refused and marks what the application refused.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use steadfast_core::plumbing::RefusedInside;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    refusal::Explain,
    request::{body::GateBody, head::RequestHead},
};

/// Renders refusals that come out of handlers, and marks the application's own 503s.
///
/// It belongs directly around the application, inside every gate.
#[derive(Clone, Debug, Default)]
pub struct ExplainLayer {
    explain: Explain,
}

impl ExplainLayer {
    /// Makes a layer that writes into this room's ledger.
    #[must_use]
    pub const fn new(explain: Explain) -> Self {
        Self { explain }
    }
}

impl<S> Layer<S> for ExplainLayer {
    type Service = ExplainService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ExplainService {
            inner,
            explain: self.explain.clone(),
        }
    }
}

/// See [`ExplainLayer`].
#[derive(Clone, Debug)]
pub struct ExplainService<S> {
    inner: S,
    explain: Explain,
}

impl<S> ExplainService<S> {
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

impl<S, A, B> Service<Request<A>> for ExplainService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<GateBody<B>>;
    type Error = S::Error;
    type Future = ExplainFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let head = RequestHead::of(&request);
        let mut refused_inside = None;
        let call = || self.inner.call(request);
        let inner = RefusedInside::collecting(SCOPE, &mut refused_inside, call);
        ExplainFuture {
            inner,
            explain: self.explain.clone(),
            head,
            refused_inside,
        }
    }
}

/// See [`ExplainLayer`].
#[pin_project]
#[derive(Debug)]
pub struct ExplainFuture<F> {
    #[pin]
    inner: F,
    explain: Explain,
    head: RequestHead,
    refused_inside: Option<Box<RefusedInside>>,
}

impl<F, B, E> Future for ExplainFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GateBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let inner = this.inner;
        let poll = || inner.poll(cx);
        let polled = RefusedInside::collecting(SCOPE, this.refused_inside, poll);
        let mut response = match ready!(polled) {
            Ok(response) => response,
            Err(error) => {
                let refused = this.refused_inside.take();
                this.explain.failed(refused, this.head);
                return Poll::Ready(Err(error));
            }
        };
        Poll::Ready(Ok(
            match this
                .explain
                .finish(&mut response, this.head, this.refused_inside.take())
            {
                Some(refusal) => refusal.map(GateBody::by_gate),
                None => response.map(GateBody::inside),
            },
        ))
    }
}

/// An explain layer, as whoever polls. A guard has a number of its own.
const SCOPE: usize = 1;
