//! A request on its way through the guard.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{
    Ask, Decision, Local, Outcome, Refusal, ShedGate,
    plumbing::{RefusedInside, Streams, WhenDraining},
};
use tower_service::Service;

use super::Gates;
use crate::{
    clock,
    drain::here,
    gate::{
        early::{Awaited, Early},
        shed::{Resumed, Waiting},
    },
    guard::body::GuardBody,
    instance::traffic,
    probe::{asked::Asked, paths::Answer},
    request::{body::Held, head::RequestHead},
};

/// What is known of a request beside its head.
#[derive(Clone, Copy, Debug)]
struct Manner {
    http1: bool,
    /// Whether its route's answers are waited for when the process leaves.
    finishes: bool,
}

/// See [`crate::GuardService`].
#[pin_project]
#[derive(Debug)]
pub struct GuardFuture<F, S, A>(#[pin] State<F, S, A>);

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F, S, A> {
    Said(Option<Response<Full<Bytes>>>),
    /// The operator's page, which may read a form and hold an answer back.
    Page {
        asked: Pin<Box<Asked<A>>>,
        gates: Local<Gates>,
        http1: bool,
    },
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
        manner: Manner,
    },
    /// It stands in line. The application has not been asked.
    Lined {
        permit: Held<Gates>,
        head: RequestHead,
        manner: Manner,
        /// `None` once its turn has come.
        kept: Option<(S, Request<A>)>,
    },
    Running {
        permit: Held<Gates>,
        head: RequestHead,
        manner: Manner,
        /// In a box, because there hardly ever is one and the future moves with it.
        refused_inside: Option<Box<RefusedInside>>,
        #[pin]
        inner: F,
    },
}

impl<F, S, A> GuardFuture<F, S, A> {
    /// Answers for the guard's own paths.
    #[cold]
    pub(super) fn own(answer: Answer<A>, gates: &Local<Gates>, http1: bool) -> Self {
        match answer {
            Answer::Said(answer) => Self::said(answer, gates, http1),
            Answer::Page(asked) => Self(State::Page {
                asked,
                gates: gates.clone(),
                http1,
            }),
        }
    }

    /// Hands a request on.
    pub(super) const fn aside(held: Held<Gates>, inner: F) -> Self {
        Self(State::Aside { held, inner })
    }

    /// Waits for the first round of checks.
    pub(super) const fn early(
        early: Pin<Box<Early<S, A>>>,
        gates: Local<Gates>,
        http1: bool,
    ) -> Self {
        Self(State::Early {
            early,
            gates,
            http1,
        })
    }

    /// Asks the load-shedding gate.
    #[inline]
    pub(super) fn shed(
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
        let finishes = class.draining() == Some(WhenDraining::Finish);
        let manner = Manner { http1, finishes };
        if class.is_exempt() {
            if *request.method() == Method::OPTIONS {
                gates.cors.preflight(request.headers());
            }
            let held = Held::exempt(gates.clone());
            return Self::run(service, request, head, held, manner);
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
                Self::run(service, request, head, held, manner)
            }
            Decision::Wait(ticket) => {
                let waiting = Waiting::new(ticket, service, request, head.deadline, streams);
                Self(State::Waiting { waiting, manner })
            }
            Decision::Refuse(refusal) => {
                gates.cors.refuses(request.headers());
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
            Err(refusal) => {
                gates.cors.refuses(request.headers());
                Self::said(gates.explain.answer(refusal, &head), gates, http1)
            }
        }
    }

    #[inline]
    fn run(
        service: &mut S,
        request: Request<A>,
        head: RequestHead,
        permit: Held<Gates>,
        manner: Manner,
    ) -> Self
    where
        S: Service<Request<A>, Future = F> + Clone,
    {
        if permit.is_in_line() {
            return Self::line_up(service, request, head, permit, manner);
        }
        Self::running(service, request, head, permit, manner)
    }

    #[inline]
    fn running(
        service: &mut S,
        request: Request<A>,
        head: RequestHead,
        permit: Held<Gates>,
        manner: Manner,
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
            manner,
            refused_inside,
            inner,
        })
    }

    /// Keeps a request, and the service that was polled ready, until its turn. A service may
    /// do its work in `call`, and what is refused at its turn must not have been done.
    #[cold]
    fn line_up(
        service: &mut S,
        request: Request<A>,
        head: RequestHead,
        permit: Held<Gates>,
        manner: Manner,
    ) -> Self
    where
        S: Clone,
    {
        let clone = service.clone();
        let ready = std::mem::replace(service, clone);
        Self(State::Lined {
            permit,
            head,
            manner,
            kept: Some((ready, request)),
        })
    }

    /// Begins a request that has waited, or refuses it.
    #[cold]
    fn begin(resumed: Resumed<S, A, Gates>, gates: &Gates, manner: Manner) -> Self
    where
        S: Service<Request<A>, Future = F> + Clone,
    {
        let Resumed {
            decided,
            mut service,
            request,
            deadline,
            streams,
        } = resumed;
        let mut head = RequestHead::of(&request);
        head.deadline = deadline;
        match decided {
            Ok(permit) => {
                let held = Held::new(permit, streams);
                Self::run(&mut service, request, head, held, manner)
            }
            Err(refusal) => {
                gates.cors.refuses(request.headers());
                Self::said(gates.explain.answer(refusal, &head), gates, manner.http1)
            }
        }
    }

    pub(super) fn said(mut answer: Response<Full<Bytes>>, gates: &Gates, http1: bool) -> Self {
        gates.leaving_headers(http1).say(&gates.life, &mut answer);
        Self(State::Said(Some(answer)))
    }
}

impl<F, S, A, B, E> Future for GuardFuture<F, S, A>
where
    S: Service<Request<A>, Future = F> + Clone,
    A: Body,
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
        if let StateProjection::Waiting {
            mut waiting,
            manner,
        } = self.as_mut().project().0.project()
        {
            let manner = *manner;
            let gates = waiting.as_mut().owner();
            let open = || match gates.life.is_open() {
                true => Ok(()),
                false => gates.life.admit(clock::now()),
            };
            let turn = ready!(waiting.poll(open, cx));
            let begun = Self::begin(turn, &gates, manner);
            self.set(begun);
        }
        if let StateProjection::Lined {
            permit,
            head,
            manner,
            kept,
        } = self.as_mut().project().0.project()
        {
            if let Err(refusal) = ready!(permit.poll_turn(cx)) {
                let answer = refuse(refusal, permit, head, manner.http1);
                return Poll::Ready(Ok(answer));
            }
            let (mut service, request) = kept
                .take()
                .expect("a future is not polled after it is ready");
            // As in `call`: taken out, it is given back if the service panics.
            let (permit, head, manner) = (permit.take(), head.clone(), *manner);
            let begun = Self::running(&mut service, request, head, permit, manner);
            self.set(begun);
        }
        match self.project().0.project() {
            StateProjection::Early { .. }
            | StateProjection::Waiting { .. }
            | StateProjection::Lined { .. } => {
                unreachable!("its wait has just ended")
            }
            StateProjection::Said(answer) => {
                let answer = answer
                    .take()
                    .expect("a future is not polled after it is ready");
                Poll::Ready(Ok(answer.map(GuardBody::said)))
            }
            StateProjection::Page {
                asked,
                gates,
                http1,
            } => {
                let mut answer = ready!(asked.as_mut().poll(cx));
                gates.leaving_headers(*http1).say(&gates.life, &mut answer);
                Poll::Ready(Ok(answer.map(GuardBody::page)))
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
                manner,
                refused_inside,
                inner,
            } => {
                let room = &permit
                    .owner()
                    .expect("a permit is held until the response is made")
                    .room;
                let scope = scope(permit);
                let poll = || {
                    here(room, manner.finishes, || {
                        RefusedInside::collecting(scope, refused_inside, || inner.poll(cx))
                    })
                };
                let answered = ready!(match head.deadline {
                    Some(deadline) => deadline.during(poll),
                    None => poll(),
                });
                let mut permit = permit.take();
                Poll::Ready(match answered {
                    Ok(response) => {
                        let note = refused_inside.take();
                        Ok(finish(response, &mut permit, head, manner.http1, note))
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
        gates.leaving_headers(http1).say(&gates.life, &mut refusal);
        permit.dismiss();
        return refusal.map(GuardBody::said);
    }
    gates.cors.answered(response.headers());
    permit.answered(response.status());
    if let Err(refusal) = permit.sort(response.headers(), response.body()) {
        return refuse(refusal, permit, head, http1);
    }
    let gates = permit
        .owner()
        .expect("a permit is held until the response is made");
    if traffic::is_drawn() {
        if let Some(began) = permit.began() {
            gates.measure_head(began);
        }
    }
    gates.leaving_headers(http1).say(&gates.life, &mut response);
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
    gates.leaving_headers(http1).say(&gates.life, &mut answer);
    permit.dismiss();
    answer.map(GuardBody::said)
}
