//! The guard around any tower service: the front, the gates and the explain room in one
//! service.
//!
//! It asks the same gates as [`crate::DrainLayer`], [`crate::ShedLayer`] and
//! [`crate::ExplainLayer`], in the same order, and has no power that they lack. It is not a
//! stack of them because a stack clones a handle for each layer and moves the request's
//! future through each: one service has one handle and one future.

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Once},
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{
    Ask, Decision, Lifecycle, Local, Outcome, Refusal, RefusedInside, ShedGate, Streams,
};
use tower_layer::Layer;
use tower_service::Service;

use super::body::GuardBody;
use crate::{
    clock,
    drain::Farewell,
    gate::{
        early::{Awaited, Early},
        shed::{Shedder, Turn, Waiting},
    },
    probe::paths::Front,
    refusal::Explain,
    request::{body::Held, head::RequestHead},
};

/// Everything a request needs, behind one handle.
#[derive(Debug)]
pub(super) struct Gates {
    front: Front,
    life: Arc<Lifecycle>,
    shedder: Shedder,
    explain: Explain,
    /// Whether leaving is also said in Envoy's words.
    envoy: bool,
    /// Said once that an application is protected twice.
    twice: Once,
}

impl Gates {
    /// The number of this guard, by which it knows a request that it has let in.
    fn scope(&self) -> usize {
        Arc::as_ptr(&self.life).addr()
    }

    fn farewell(&self, http1: bool) -> Farewell {
        Farewell {
            envoy: self.envoy,
            http1,
        }
    }
}

impl AsRef<ShedGate> for Gates {
    fn as_ref(&self) -> &ShedGate {
        self.shedder.gate()
    }
}

/// The guard as a tower layer. See [`crate::Guard::layer`].
#[derive(Clone, Debug)]
pub struct GuardLayer(Local<Gates>);

impl GuardLayer {
    pub(super) fn new(
        front: Front,
        life: Arc<Lifecycle>,
        shedder: Shedder,
        explain: Explain,
        envoy: bool,
    ) -> Self {
        Self(Local::new(Gates {
            front,
            life,
            shedder,
            explain,
            envoy,
            twice: Once::new(),
        }))
    }

    pub(super) fn front(&self) -> &Front {
        &self.0.front
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        GuardService {
            inner,
            gates: self.0.clone(),
        }
    }
}

/// A service behind the guard's gates. Its error type is the inner service's.
#[derive(Clone, Debug)]
pub struct GuardService<S> {
    inner: S,
    gates: Local<Gates>,
}

impl<S, A, B> Service<Request<A>> for GuardService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<GuardBody<B>>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, S, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, request: Request<A>) -> Self::Future {
        let gates = &*self.gates;
        if RefusedInside::scope() == gates.scope() {
            return self.step_aside(request);
        }
        let path = request.uri().path();
        let http1 = request.version() <= Version::HTTP_11;
        if gates.front.wants(path) {
            return GuardFuture::said(gates.front.answer(request), gates, http1);
        }
        let now = clock::now();
        gates.life.note_request(now);
        if !gates.life.is_open() {
            return self.ask(request, now, http1);
        }
        let head = RequestHead::at(&request, gates.shedder.deadlines(), now);
        GuardFuture::shed(&self.gates, &mut self.inner, request, head, now, http1)
    }
}

impl<S> GuardService<S> {
    /// Hands a request on that this guard has let in already: somebody protects twice.
    #[cold]
    fn step_aside<A>(&mut self, request: Request<A>) -> GuardFuture<S::Future, S, A>
    where
        S: Service<Request<A>>,
    {
        let gates = &*self.gates;
        gates.twice.call_once(|| {
            tracing::error!(
                target: "steadfast",
                "an application is protected twice by the same guard; the inner one steps aside"
            );
        });
        GuardFuture(State::Aside {
            held: Held::exempt(self.gates.clone()),
            inner: self.inner.call(request),
        })
    }

    /// Decides where not every request passes.
    #[cold]
    fn ask<A>(
        &mut self,
        request: Request<A>,
        now: Instant,
        http1: bool,
    ) -> GuardFuture<S::Future, S, A>
    where
        S: Service<Request<A>> + Clone,
    {
        let gates = &*self.gates;
        let head = RequestHead::at(&request, gates.shedder.deadlines(), now);
        match gates.life.ask(head.deadline, now) {
            Decision::Wait(ticket) => GuardFuture(State::Early {
                early: Early::new(ticket, &mut self.inner, request, now),
                gates: self.gates.clone(),
                http1,
            }),
            Decision::Refuse(refusal) => {
                GuardFuture::said(gates.explain.answer(refusal, &head), gates, http1)
            }
            _ => GuardFuture::shed(&self.gates, &mut self.inner, request, head, now, http1),
        }
    }
}

/// See [`GuardService`].
#[pin_project]
#[derive(Debug)]
pub struct GuardFuture<F, S, A>(#[pin] State<F, S, A>);

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F, S, A> {
    Said(Option<Response<Full<Bytes>>>),
    Early {
        early: Pin<Box<Early<S, A>>>,
        gates: Local<Gates>,
        http1: bool,
    },
    /// Let in by the same guard further out.
    Aside {
        held: Held<Gates>,
        #[pin]
        inner: F,
    },
    Waiting {
        #[pin]
        waiting: Waiting<S, A, Gates>,
        http1: bool,
    },
    Running {
        permit: Held<Gates>,
        head: RequestHead,
        http1: bool,
        /// In a box, because there hardly ever is one and the future moves with it.
        refused_inside: Option<Box<RefusedInside>>,
        #[pin]
        inner: F,
    },
}

impl<F, S, A> GuardFuture<F, S, A> {
    /// Asks the load-shedding gate.
    #[inline]
    fn shed(
        gates: &Local<Gates>,
        service: &mut S,
        request: Request<A>,
        head: RequestHead,
        now: Instant,
        http1: bool,
    ) -> Self
    where
        S: Service<Request<A>, Future = F> + Clone,
    {
        let class = gates.shedder.classes().of(&request);
        if class.is_exempt() {
            let held = Held::exempt(gates.clone());
            return Self::run(service, request, head, held, http1);
        }
        let streams = class.streams();
        let ask = Ask::new(request.uri().path())
            .priority(class.priority().unwrap_or_default())
            .deadline(head.deadline)
            .stream(streams == Streams::Always);
        match ShedGate::admit(gates, ask, now) {
            // The permit is made first: if `call` panics, its drop gives it back.
            Decision::Admit(permit) => {
                let held = Held::new(permit, streams);
                Self::run(service, request, head, held, http1)
            }
            Decision::Wait(ticket) => {
                let waiting = Waiting::new(ticket, service, request, head.deadline, streams);
                Self(State::Waiting { waiting, http1 })
            }
            Decision::Refuse(refusal) => {
                Self::said(gates.explain.answer(refusal, &head), gates, http1)
            }
            _ => unreachable!("this gate admits, lets wait or refuses"),
        }
    }

    /// Goes on with a request that came before the first round of checks was over.
    #[cold]
    fn awaited(awaited: Awaited<S, A>, gates: &Local<Gates>, http1: bool) -> Self
    where
        S: Service<Request<A>, Future = F> + Clone,
    {
        let Awaited {
            decided,
            mut service,
            request,
            came,
        } = awaited;
        let head = RequestHead::at(&request, gates.shedder.deadlines(), came);
        match decided {
            Ok(()) => Self::shed(gates, &mut service, request, head, clock::now(), http1),
            Err(refusal) => Self::said(gates.explain.answer(refusal, &head), gates, http1),
        }
    }

    #[inline]
    fn run(
        service: &mut S,
        request: Request<A>,
        head: RequestHead,
        permit: Held<Gates>,
        http1: bool,
    ) -> Self
    where
        S: Service<Request<A>, Future = F>,
    {
        let mut refused_inside = None;
        let scope = scope(&permit);
        let call = || service.call(request);
        let inner = RefusedInside::collecting(scope, &mut refused_inside, call);
        Self(State::Running {
            permit,
            head,
            http1,
            refused_inside,
            inner,
        })
    }

    /// Begins a request that has waited, or refuses it.
    #[cold]
    fn begin(turn: Turn<S, A, Gates>, gates: &Gates, http1: bool) -> Self
    where
        S: Service<Request<A>, Future = F>,
    {
        let Turn {
            decided,
            mut service,
            request,
            deadline,
            streams,
        } = turn;
        let mut head = RequestHead::of(&request);
        head.deadline = deadline;
        match decided {
            Ok(permit) => {
                let held = Held::new(permit, streams);
                Self::run(&mut service, request, head, held, http1)
            }
            Err(refusal) => Self::said(gates.explain.answer(refusal, &head), gates, http1),
        }
    }

    fn said(mut answer: Response<Full<Bytes>>, gates: &Gates, http1: bool) -> Self {
        gates.farewell(http1).say(&gates.life, &mut answer);
        Self(State::Said(Some(answer)))
    }
}

impl<F, S, A, B, E> Future for GuardFuture<F, S, A>
where
    S: Service<Request<A>, Future = F> + Clone,
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GuardBody<B>>, E>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let StateProjection::Early {
            early,
            gates,
            http1,
        } = self.as_mut().project().0.project()
        {
            let awaited = ready!(early.as_mut().poll(cx));
            let gone_on = Self::awaited(awaited, gates, *http1);
            self.set(gone_on);
        }
        if let StateProjection::Waiting { mut waiting, http1 } = self.as_mut().project().0.project()
        {
            let http1 = *http1;
            let gates = waiting.as_mut().owner();
            let open = || match gates.life.is_open() {
                true => Ok(()),
                false => gates.life.admit(clock::now()),
            };
            let turn = ready!(waiting.poll(open, cx));
            let begun = Self::begin(turn, &gates, http1);
            self.set(begun);
        }
        match self.project().0.project() {
            StateProjection::Early { .. } | StateProjection::Waiting { .. } => {
                unreachable!("its wait has just ended")
            }
            StateProjection::Said(answer) => {
                let answer = answer
                    .take()
                    .expect("a future is not polled after it is ready");
                Poll::Ready(Ok(answer.map(GuardBody::said)))
            }
            StateProjection::Aside { held, inner } => {
                let response = ready!(inner.poll(cx))?;
                let held = held.take();
                let body = |body| GuardBody::held(body, held);
                Poll::Ready(Ok(response.map(body)))
            }
            StateProjection::Running {
                permit,
                head,
                http1,
                refused_inside,
                inner,
            } => {
                if permit.is_in_line() {
                    if let Err(refusal) = ready!(permit.poll_turn(cx)) {
                        let answer = refuse(refusal, permit, head, *http1);
                        return Poll::Ready(Ok(answer));
                    }
                }
                let scope = scope(permit);
                let poll = || RefusedInside::collecting(scope, refused_inside, || inner.poll(cx));
                let answered = ready!(match head.deadline {
                    Some(deadline) => deadline.during(poll),
                    None => poll(),
                });
                let mut permit = permit.take();
                Poll::Ready(match answered {
                    Ok(response) => {
                        let note = refused_inside.take();
                        Ok(finish(response, &mut permit, head, *http1, note))
                    }
                    Err(error) => {
                        if let (Some(gates), Some(note)) = (permit.owner(), refused_inside.take()) {
                            gates.explain.failed(Some(note), head);
                        }
                        permit.settle(Outcome::Failed);
                        Err(error)
                    }
                })
            }
        }
    }
}

#[inline]
fn scope(permit: &Held<Gates>) -> usize {
    permit.owner().map_or(1, |gates| gates.scope())
}

/// Makes the guarded response of the application's.
#[inline]
fn finish<B: Body<Data = Bytes>>(
    mut response: Response<B>,
    permit: &mut Held<Gates>,
    head: &RequestHead,
    http1: bool,
    refused_inside: Option<Box<RefusedInside>>,
) -> Response<GuardBody<B>> {
    let gates = permit
        .owner()
        .expect("a permit is held until the response is made");
    if let Some(mut refusal) = gates.explain.finish(&mut response, head, refused_inside) {
        gates.farewell(http1).say(&gates.life, &mut refusal);
        permit.dismiss();
        return refusal.map(GuardBody::said);
    }
    permit.answered(response.status());
    if let Err(refusal) = permit.sort(response.headers(), response.body()) {
        return refuse(refusal, permit, head, http1);
    }
    let gates = permit
        .owner()
        .expect("a permit is held until the response is made");
    gates.farewell(http1).say(&gates.life, &mut response);
    let held = permit.take();
    response.map(|body| GuardBody::held(body, held))
}

/// Answers a request that was refused after it had a permit: before it was begun, or
/// because its answer is a stream that has no place.
#[cold]
fn refuse<B>(
    refusal: Refusal,
    permit: &mut Held<Gates>,
    head: &RequestHead,
    http1: bool,
) -> Response<GuardBody<B>> {
    let gates = permit
        .owner()
        .expect("a permit is held until the response is made");
    let mut answer = gates.explain.answer(refusal, head);
    gates.farewell(http1).say(&gates.life, &mut answer);
    permit.dismiss();
    answer.map(GuardBody::said)
}
