//! The layer that renders what handlers refused and marks what the application refused.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::Body;
use pin_project::pin_project;
use steadfast_core::{INCIDENT_GAP, Refusal};
use tower_layer::Layer;
use tower_service::Service;

use super::{Explain, lost};
use crate::{body::GateBody, clock, head::RequestHead};

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
        ExplainFuture {
            inner: self.inner.call(request),
            explain: self.explain.clone(),
            head,
            refused_inside: None,
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
    refused_inside: Option<lost::Note>,
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
        let polled = lost::collecting(this.refused_inside, || inner.poll(cx));
        let mut response = ready!(polled)?;
        if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
            return Poll::Ready(Ok(this
                .explain
                .respond(&refusal, this.head)
                .map(GateBody::by_gate)));
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            this.explain.mark(response.headers_mut(), this.head);
        }
        if let Some(note) = this.refused_inside {
            if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
                this.explain.note_lost(note);
            }
        }
        Poll::Ready(Ok(response.map(GateBody::inside)))
    }
}

impl Explain {
    /// Says that a refusal was answered as a 500, which hides its cause; at most once in
    /// the length of an incident's gap.
    fn note_lost(&self, note: &lost::Note) {
        let now = clock::now();
        {
            let said = &self.0.lost_said;
            let mut said = said
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if said.is_some_and(|at| now.saturating_duration_since(at) < INCIDENT_GAP) {
                return;
            }
            *said = Some(now);
        }
        tracing::error!(
            target: "steadfast",
            cause = note.cause.code(), source = %note.source,
            "a refusal left the application as a 500: its error type does not pass refusals on, \
             see `steadfast::Error`"
        );
        self.note(
            &note.source,
            "refused",
            "500",
            "the error type hid a refusal",
        );
    }
}
