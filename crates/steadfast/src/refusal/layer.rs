//! The layer that renders what handlers refused and marks what the application refused.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{INCIDENT_GAP, Refusal};
use tower_layer::Layer;
use tower_service::Service;

use super::{Explain, lost, render};
use crate::{
    clock,
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
    refused_inside: Option<Box<lost::Note>>,
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

/// Keeps what layers between the handler and here put on the answer: CORS, cookies,
/// request ids. What describes the body that is replaced goes with it, and where both name
/// a header ours stands, except for `vary`, whose values add up.
fn keep_headers(ours: &mut HeaderMap, theirs: &HeaderMap) {
    for name in theirs.keys() {
        let of_the_body = name.as_str().starts_with("content-")
            && name != header::CONTENT_SECURITY_POLICY
            || matches!(
                *name,
                header::ETAG
                    | header::LAST_MODIFIED
                    | header::TRANSFER_ENCODING
                    | header::TRAILER
                    | header::ACCEPT_RANGES
            );
        // `carry` set these for the case that nobody renders; gRPC has other words for them.
        let carried =
            matches!(*name, header::RETRY_AFTER | header::CACHE_CONTROL) || *name == render::WHY;
        if of_the_body || carried || name != header::VARY && ours.contains_key(name) {
            continue;
        }
        for value in theirs.get_all(name) {
            ours.append(name, value.clone());
        }
    }
}

impl Explain {
    /// Looks at what a handler answered. Returns what to answer instead if it was refused
    /// by something it called; marks a 503 of its own; notices a refusal that was lost.
    #[inline]
    pub(crate) fn finish<B>(
        &self,
        response: &mut Response<B>,
        head: &RequestHead,
        refused_inside: Option<Box<lost::Note>>,
    ) -> Option<Response<Full<Bytes>>> {
        if !response.extensions().is_empty() {
            if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
                let mut rendered = self.answer(refusal, head);
                keep_headers(rendered.headers_mut(), response.headers());
                return Some(rendered);
            }
        }
        if response.status() == StatusCode::SERVICE_UNAVAILABLE {
            self.mark(response.headers_mut(), head);
        }
        if let Some(note) = refused_inside {
            if response.status() == StatusCode::INTERNAL_SERVER_ERROR {
                self.note_lost(&note);
            }
        }
        None
    }

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
