//! The gate as a tower layer.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{Ask, ConfigError, Decision, Local, Outcome, ShedGate, plumbing::Streams};
use tower_layer::Layer;
use tower_service::Service;

use super::{Shed, Shedder, Waiting, shedder::ShedState};
use crate::{
    clock,
    refusal::Explain,
    request::{
        body::{GateBody, Held, HeldBody},
        head::RequestHead,
    },
};

/// Refuses requests when as many run as may. Apply it anywhere in a tower stack.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    shedder: Shedder,
    explain: Explain,
}

impl ShedLayer {
    /// Makes a layer with a gate of its own.
    ///
    /// # Errors
    /// Every fault of the settings.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "settings are made in place, as `Shed::fixed(64)`"
    )]
    pub fn new(shed: Shed, explain: Explain) -> Result<Self, ConfigError> {
        Ok(Self::with(Shedder::new(&shed)?, explain))
    }

    /// Makes a layer around a gate that others share.
    #[must_use]
    pub const fn with(shedder: Shedder, explain: Explain) -> Self {
        Self { shedder, explain }
    }

    /// Returns the operator's end.
    #[must_use]
    pub fn shedder(&self) -> Shedder {
        self.shedder.clone()
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = ShedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ShedService {
            inner,
            room: self.shedder.0.clone(),
            explain: self.explain.clone(),
        }
    }
}

/// See [`ShedLayer`].
#[derive(Clone, Debug)]
pub struct ShedService<S> {
    inner: S,
    room: Local<ShedState>,
    explain: Explain,
}

impl<S> ShedService<S> {
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

impl<S, A, B> Service<Request<A>> for ShedService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<ShedBody<B>>;
    type Error = S::Error;
    type Future = ShedFuture<S::Future, S, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let class = self.room.classes.of(&request);
        if class.is_exempt() {
            let permit = Held::exempt(self.room.clone());
            let inner = self.inner.call(request);
            return ShedFuture {
                state: State::Running { permit, inner },
            };
        }
        let now = clock::now();
        let head = RequestHead::at(&request, &self.room.deadlines, now);
        let streams = class.streams();
        let ask = Ask::new(request.uri().path())
            .priority(class.priority().unwrap_or_default())
            .deadline(head.deadline)
            .stream(streams == Streams::Always);
        let state = match ShedGate::admit(&self.room, ask, now) {
            Decision::Admit(permit) => {
                // The permit is made first: if `call` panics, its drop gives it back.
                let permit = Held::new(permit, streams);
                State::begin(permit, &mut self.inner, request, || {
                    (self.explain.clone(), head)
                })
            }
            Decision::Wait(ticket) => State::Waiting {
                waiting: Waiting::new(ticket, &mut self.inner, request, head.deadline, streams),
                explain: self.explain.clone(),
            },
            Decision::Refuse(refusal) => State::Refused(Some(self.explain.answer(refusal, &head))),
            _ => unreachable!("this gate admits, lets wait or refuses"),
        };
        ShedFuture { state }
    }
}

/// See [`ShedLayer`].
#[pin_project]
#[derive(Debug)]
pub struct ShedFuture<F, S, A> {
    #[pin]
    state: State<F, S, A>,
}

#[pin_project(project = StateProjection)]
#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "an axum route's future is larger; a box would be one more allocation under load"
)]
enum State<F, S, A> {
    Refused(Option<Response<Full<Bytes>>>),
    Waiting {
        #[pin]
        waiting: Waiting<S, A, ShedState>,
        explain: Explain,
    },
    /// It stands in line. The service has not been asked.
    Lined {
        permit: Held<ShedState>,
        /// `None` once its turn has come.
        kept: Option<Box<Lined<S, A>>>,
    },
    Running {
        permit: Held<ShedState>,
        #[pin]
        inner: F,
    },
}

/// A request in line, the service that was polled ready for it, and what its refusal needs.
#[derive(Debug)]
struct Lined<S, A> {
    service: S,
    request: Request<A>,
    explain: Explain,
    head: RequestHead,
}

impl<F, S, A> State<F, S, A>
where
    S: Service<Request<A>, Future = F> + Clone,
{
    /// Begins a request that has a permit, or lines it up. A service may do its work in `call`,
    /// and what is refused at its turn must not have been done.
    fn begin(
        permit: Held<ShedState>,
        service: &mut S,
        request: Request<A>,
        refusing: impl FnOnce() -> (Explain, RequestHead),
    ) -> Self {
        if !permit.is_in_line() {
            let inner = service.call(request);
            return Self::Running { permit, inner };
        }
        let (explain, head) = refusing();
        let clone = service.clone();
        let service = std::mem::replace(service, clone);
        let lined = Lined {
            service,
            request,
            explain,
            head,
        };
        Self::Lined {
            permit,
            kept: Some(Box::new(lined)),
        }
    }
}

impl<F, S, A, B, E> Future for ShedFuture<F, S, A>
where
    S: Service<Request<A>, Future = F> + Clone,
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<ShedBody<B>>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let StateProjection::Waiting { waiting, explain } =
            self.as_mut().project().state.project()
        {
            let mut turn = ready!(waiting.poll(|| Ok(()), cx));
            let head = RequestHead::of(&turn.request);
            let begun = match turn.decided {
                Ok(permit) => {
                    // As in `call`: a panic gives it back.
                    let permit = Held::new(permit, turn.streams);
                    State::begin(permit, &mut turn.service, turn.request, || {
                        (explain.clone(), head)
                    })
                }
                Err(refusal) => State::Refused(Some(explain.answer(refusal, &head))),
            };
            self.as_mut().project().state.set(begun);
        }
        if let StateProjection::Lined { permit, kept } = self.as_mut().project().state.project() {
            if let Err(refusal) = ready!(permit.poll_turn(cx)) {
                let lined = kept
                    .as_deref()
                    .expect("a future is not polled after it is ready");
                let answer = lined.explain.answer(refusal, &lined.head);
                permit.dismiss();
                return Poll::Ready(Ok(answer.map(|full| ShedBody(GateBody::by_gate(full)))));
            }
            let mut lined = kept
                .take()
                .expect("a future is not polled after it is ready");
            // As in `call`: taken out, it is given back if the service panics.
            let permit = permit.take();
            let inner = lined.service.call(lined.request);
            let begun = State::Running { permit, inner };
            self.as_mut().project().state.set(begun);
        }
        match self.project().state.project() {
            StateProjection::Waiting { .. } | StateProjection::Lined { .. } => {
                unreachable!("its turn has just come")
            }
            StateProjection::Refused(response) => {
                let response = response
                    .take()
                    .expect("a future is not polled after it is ready");
                Poll::Ready(Ok(response.map(|full| ShedBody(GateBody::by_gate(full)))))
            }
            StateProjection::Running { permit, inner } => {
                let answered = ready!(inner.poll(cx));
                let mut permit = permit.take();
                Poll::Ready(match answered {
                    Ok(response) => {
                        permit.answered(response.status());
                        // What is needed to refuse a stream is gone; without room among the
                        // streams it keeps its place among the requests.
                        let _ = permit.sort(response.headers(), response.body());
                        Ok(response
                            .map(|body| ShedBody(GateBody::inside(HeldBody::new(body, permit)))))
                    }
                    Err(error) => {
                        permit.settle(Outcome::Failed);
                        Err(error)
                    }
                })
            }
        }
    }
}

/// The body of a response: a refusal's words, or the inner service's body, which holds its
/// permit to the end.
#[pin_project]
#[derive(Debug)]
pub struct ShedBody<B>(#[pin] GateBody<HeldBody<B, ShedState>>);

impl<B: Body<Data = Bytes>> Body for ShedBody<B> {
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
