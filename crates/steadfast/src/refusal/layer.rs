//! The layer that renders what handlers refused and marks what the application refused.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{
    Cause, Evidence, Name, Refusal,
    plumbing::{Answered, INCIDENT_GAP, RefusedInside},
};
use tower_layer::Layer;
use tower_service::Service;

use super::{APPLICATION, Explain, Explained, render};
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
    /// Looks at what a handler answered. Returns what to answer instead if it was refused by
    /// something it called and passes that on; marks a 503 of its own; writes down what it was
    /// refused and did not pass on.
    #[inline]
    pub(crate) fn finish<B>(
        &self,
        response: &mut Response<B>,
        head: &RequestHead,
        refused_inside: Option<Box<RefusedInside>>,
    ) -> Option<Response<Full<Bytes>>> {
        let is_plain = refused_inside.is_none()
            && response.extensions().is_empty()
            && response.status() != StatusCode::SERVICE_UNAVAILABLE;
        if is_plain {
            return None;
        }
        let status = response.status();
        let mut refused = refused_inside.into_iter().flat_map(|it| it.into_refusals());
        if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
            let others =
                refused.filter(|other| !is_of(other, refusal.cause(), refusal.refused_by()));
            self.write_down_lost(others, Answered::Status(status.as_u16()), head);
            let mut rendered = self.answer(refusal, head);
            keep_headers(rendered.headers_mut(), response.headers());
            return Some(rendered);
        }
        if let Some(Explained(cause, source)) = response.extensions().get().cloned() {
            let others = refused.filter(|other| !is_of(other, cause, &source));
            self.write_down_lost(others, Answered::Status(status.as_u16()), head);
            return None;
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let own = || {
                let now = clock::now();
                Refusal::new(APPLICATION, Evidence::Application, Duration::ZERO, now).entered()
            };
            // Whoever was refused and answers 503 says what was said to it.
            let refusal = refused.next().unwrap_or_else(own);
            self.mark(response.headers_mut(), refusal, head);
        }
        self.write_down_lost(refused, Answered::Status(status.as_u16()), head);
        None
    }

    /// Writes down what a service was refused that then failed.
    pub(crate) fn failed(&self, refused_inside: Option<Box<RefusedInside>>, head: &RequestHead) {
        let refused = refused_inside.into_iter().flat_map(|it| it.into_refusals());
        self.write_down_lost(refused, Answered::Nothing, head);
    }

    fn write_down_lost(
        &self,
        refused: impl Iterator<Item = Refusal>,
        answered: Answered,
        head: &RequestHead,
    ) {
        for refusal in refused {
            if matches!(answered, Answered::Status(400..=502 | 504..) | Answered::Nothing) {
                self.say_that_it_was_lost(&refusal, answered);
            }
            let id = self.0.ids.make(&refusal, refusal.at());
            self.write_down(refusal, id, Duration::ZERO, answered, head);
        }
    }

    /// Says that a refusal was answered as another error, which hides its cause; at most once
    /// in the length of an incident's gap.
    fn say_that_it_was_lost(&self, refusal: &Refusal, answered: Answered) {
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
            target: crate::log::APPLICATION,
            cause = refusal.cause().code(), source = %refusal.refused_by(), answered = %answered,
            "a refusal left the application as another answer: its error type does not pass \
             refusals on, see `steadfast::Error`"
        );
        let to = answered.to_string();
        let why = "the error type hid a refusal";
        self.note(refusal.refused_by(), "refused", &to, why);
    }
}

fn is_of(refusal: &Refusal, cause: Cause, source: &Name) -> bool {
    refusal.cause() == cause && refusal.refused_by() == source
}

/// An explain layer, as whoever polls. A guard has a number of its own.
const SCOPE: usize = 1;
