//! The one frame around every gate: what a request goes through between a layer's `call` and
//! the body of its answer.
//!
//! ```text
//! call ─▶ decide ─┬─▶ run ──────────────────────┬─▶ the service ─▶ finish ─▶ the answer's body
//!                 ├─▶ wait, until it is decided ─┤
//!                 └─▶ own ◀──────────────────────┘   a refusal, or what the guard says itself
//! ```
//!
//! A layer is a gate by [`Decide`]: it decides on a request in `call`, says what is kept of one
//! that runs ([`Decide::Kept`]) and in what one waits that is not decided yet
//! ([`Decide::Wait`]), and finishes the answer. A request is looked at where it lies and moved
//! only into the service or into its wait, because it is large enough for a move to count. The rest is written once: [`Framed`] is the
//! service of each layer, and [`FramedFuture`] its future. [`crate::GuardLayer`] is a gate like
//! the others, with one handle and one future for all it asks, and no stack of them.
//!
//! Laws kept here, so that no gate has to:
//! - `poll_ready` only forwards, and a gate decides in `call`, before the body is touched;
//! - the service that was polled ready is the one that is called: a request that waits takes
//!   it along ([`Parked`]) and leaves a clone that was not asked;
//! - what is kept of a request is made before the service is called, so a panic in its `call`
//!   drops it, and so does a future that is dropped at any moment;
//! - a gate that lets nobody wait needs no clone of the service, and its future no place for
//!   a waiting request: its [`Decide::Wait`] is [`Pending`](std::future::Pending), which is
//!   never made and takes no room;
//! - the error is the inner service's.

mod alarm;
mod parked;

use std::{
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use tower_service::Service;

use crate::request::body::OwnBody;

pub(crate) use {alarm::Alarm, parked::Parked};

/// A layer of this crate that decides on requests before a service sees them:
/// [`DrainLayer`](crate::DrainLayer), [`ShedLayer`](crate::ShedLayer),
/// [`ExplainLayer`](crate::ExplainLayer), [`DependencyGate`](crate::DependencyGate) and
/// [`GuardLayer`](crate::GuardLayer). Only they make a [`Framed`] a service.
pub trait Gate {
    /// The body of an answer: the gate's own words, or the service's body `B`.
    type Body<B>: Body<Data = Bytes, Error = B::Error>
    where
        B: Body<Data = Bytes>;
}

/// How a gate decides on requests for a service `S` with a body `A`, and what it makes of the
/// answers.
pub(crate) trait Decide<S, A>: Gate {
    /// What is kept of a request from the decision to its answer. Its drop gives back what it
    /// holds.
    type Kept;
    /// What a request that is not decided yet waits with.
    type Ticket;
    /// What it waits in until it is decided.
    type Wait: Future<Output = Waited<S, A, Self::Kept>>;

    /// Decides on a request.
    fn decide(&self, request: &mut Request<A>) -> Decided<Self::Kept, Self::Ticket>;

    /// Has a request wait. It takes along `ready`, the service that was polled ready.
    fn wait(&self, ticket: Self::Ticket, ready: &mut S, request: Request<A>) -> Self::Wait;

    /// Calls the service.
    #[inline]
    fn calling<R>(_kept: &mut Self::Kept, call: impl FnOnce() -> R) -> R {
        call()
    }

    /// Polls the service's future.
    #[inline]
    fn polling<R>(_kept: &mut Self::Kept, poll: impl FnOnce() -> R) -> R {
        poll()
    }

    /// Makes the answer of the service's, or says something else instead.
    fn finish<B>(kept: &mut Self::Kept, response: Response<B>) -> Response<Self::Body<B>>
    where
        B: Body<Data = Bytes>;

    /// Hears that the service has failed.
    #[inline]
    fn failed(_kept: &mut Self::Kept) {}

    /// Makes a body of the gate's own words.
    fn own<B>(body: OwnBody) -> Self::Body<B>
    where
        B: Body<Data = Bytes>;
}

/// What a gate decides in `call`.
pub(crate) enum Decided<K, T> {
    /// The request runs.
    Run(K),
    /// It waits, with the service, until that is known.
    Wait(T),
    /// It is answered here.
    Own(Response<OwnBody>),
}

/// What becomes of a request that has waited.
pub(crate) enum Waited<S, A, K> {
    /// It runs, in the service that was polled ready for it.
    Run(K, S, Request<A>),
    /// It is answered here.
    Own(Response<OwnBody>),
}

/// A service behind a gate of this crate. Clones share what the gate decides by; the error is
/// the inner service's, so under axum no `HandleErrorLayer` is needed.
#[derive(Clone, Debug)]
pub struct Framed<S, G> {
    inner: S,
    gate: G,
}

impl<S, G> Framed<S, G> {
    pub(crate) const fn new(inner: S, gate: G) -> Self {
        Self { inner, gate }
    }

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

impl<S, A, B, G> Service<Request<A>> for Framed<S, G>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
    G: Decide<S, A>,
{
    type Response = Response<G::Body<B>>;
    type Error = S::Error;
    type Future = FramedFuture<S, A, G>;

    #[inline]
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        FramedFuture {
            state: match self.gate.decide(&mut request) {
                Decided::Run(kept) => run::<S, A, G>(kept, &mut self.inner, request),
                Decided::Wait(ticket) => {
                    State::Waiting(self.gate.wait(ticket, &mut self.inner, request))
                }
                Decided::Own(answer) => State::Own(Some(answer)),
            },
        }
    }
}

/// The future of a [`Framed`] service.
#[pin_project]
#[expect(private_bounds, reason = "the gates are this crate's own")]
pub struct FramedFuture<S: Service<Request<A>>, A, G: Decide<S, A>> {
    #[pin]
    state: State<S::Future, G::Kept, G::Wait>,
}

#[pin_project(project = StateProjection)]
enum State<F, K, W> {
    /// `None` once it has been given.
    Own(Option<Response<OwnBody>>),
    Waiting(#[pin] W),
    Running {
        kept: K,
        #[pin]
        inner: F,
    },
}

/// Calls the service. What is kept is there before it, for the case that it panics.
#[inline(always)]
fn run<S, A, G>(
    mut kept: G::Kept,
    service: &mut S,
    request: Request<A>,
) -> State<S::Future, G::Kept, G::Wait>
where
    S: Service<Request<A>>,
    G: Decide<S, A>,
{
    let inner = G::calling(&mut kept, || service.call(request));
    State::Running { kept, inner }
}

impl<S, A, B, G> Future for FramedFuture<S, A, G>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
    G: Decide<S, A>,
{
    type Output = Result<Response<G::Body<B>>, S::Error>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        if let StateProjection::Waiting(wait) = state.as_mut().project() {
            let begun = match ready!(wait.poll(cx)) {
                Waited::Run(kept, mut service, request) => {
                    run::<S, A, G>(kept, &mut service, request)
                }
                Waited::Own(answer) => State::Own(Some(answer)),
            };
            state.set(begun);
        }
        match state.project() {
            StateProjection::Waiting(_) => unreachable!("its wait has just ended"),
            StateProjection::Own(answer) => {
                let answer = answer.take();
                let answer = answer.expect("a future is not polled after it is ready");
                Poll::Ready(Ok(answer.map(G::own)))
            }
            StateProjection::Running { kept, inner } => {
                Poll::Ready(match ready!(G::polling(kept, || inner.poll(cx))) {
                    Ok(response) => Ok(G::finish(kept, response)),
                    Err(error) => {
                        G::failed(kept);
                        Err(error)
                    }
                })
            }
        }
    }
}

impl<S: Service<Request<A>>, A, G: Decide<S, A>> fmt::Debug for FramedFuture<S, A, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match &self.state {
            State::Own(_) => "own",
            State::Waiting(_) => "waiting",
            State::Running { .. } => "running",
        };
        f.debug_struct("FramedFuture")
            .field("state", &state)
            .finish_non_exhaustive()
    }
}
