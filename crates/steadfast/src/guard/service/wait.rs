//! A request that the guard has not decided on yet.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use http::{Request, Response};
use http_body::Body;
use pin_project::pin_project;
use steadfast_core::{Local, plumbing::StartTicket};

use super::{
    Gates, GuardLayer,
    kept::{Kept, Manner},
};
use crate::{
    clock,
    gate::{
        early::{Awaited, Early},
        frame::{Decided, Waited},
        shed::{Placed, ShedWait, Shedding},
    },
    probe::{page_request::PageRequest, paths::Answer},
    request::{body::OwnBody, head::RequestHead},
};

/// What such a request waits with.
#[allow(
    clippy::large_enum_variant,
    reason = "it is made and used within one call"
)]
pub(crate) enum Ticket {
    /// It is for the guard itself, whose answer needs the whole request.
    OwnPath {
        http1: bool,
    },
    Early {
        start: StartTicket,
        came: Instant,
        http1: bool,
    },
    Shed(Placed<Gates>),
}

impl Ticket {
    /// Takes the decision of the load-shedding gate.
    #[inline]
    pub(super) fn of(decided: Decided<Kept, Placed<Gates>>) -> Decided<Kept, Self> {
        match decided {
            Decided::Run(kept) => Decided::Run(kept),
            Decided::Wait(placed) => Decided::Wait(Self::Shed(placed)),
            Decided::Own(answer) => Decided::Own(answer),
        }
    }
}

/// See the module.
#[pin_project(project = WaitProjection)]
#[allow(
    clippy::large_enum_variant,
    reason = "requests wait for a place under load, where a box would be one more allocation"
)]
pub(crate) enum GuardWait<S, A> {
    /// An answer of the guard's own paths; `None` once it has been given.
    Own(Option<Response<OwnBody>>),
    /// The operator's page, which may read a form and hold an answer back.
    Page {
        asked: Pin<Box<PageRequest<A>>>,
        gates: Local<Gates>,
        http1: bool,
    },
    /// For the first round of checks.
    Early {
        early: Pin<Box<Early<S, A>>>,
        layer: GuardLayer,
        http1: bool,
    },
    /// For a place, or for its turn.
    Shed(#[pin] ShedWait<S, A, Gates>),
}

impl<S: Clone, A> GuardWait<S, A> {
    pub(super) fn new(
        layer: &GuardLayer,
        ticket: Ticket,
        ready: &mut S,
        request: Request<A>,
    ) -> Self {
        match ticket {
            Ticket::Shed(placed) => Self::Shed(ShedWait::new(placed, ready, request)),
            Ticket::Early { start, came, http1 } => Self::Early {
                early: Early::new(start, ready, request, came),
                layer: layer.clone(),
                http1,
            },
            Ticket::OwnPath { http1 } => match layer.0.own_paths.answer(request) {
                Answer::Own(answer) => {
                    Self::Own(Some(layer.0.own(answer.map(OwnBody::Text), http1)))
                }
                Answer::Page(asked) => Self::Page {
                    asked,
                    gates: layer.0.clone(),
                    http1,
                },
            },
        }
    }
}

impl<S: Clone, A: Body> Future for GuardWait<S, A> {
    type Output = Waited<S, A, Kept>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let WaitProjection::Early {
            early,
            layer,
            http1,
        } = self.as_mut().project()
        {
            let awaited = ready!(early.as_mut().poll(cx));
            let (decided, mut service, request) = layer.go_on(awaited, *http1);
            match decided {
                Decided::Run(kept) => return Poll::Ready(Waited::Run(kept, service, request)),
                Decided::Own(answer) => return Poll::Ready(Waited::Own(answer)),
                Decided::Wait(placed) => {
                    self.set(Self::Shed(ShedWait::new(placed, &mut service, request)));
                }
            }
        }
        match self.project() {
            WaitProjection::Early { .. } => unreachable!("its wait has just ended"),
            WaitProjection::Shed(wait) => wait.poll(cx),
            WaitProjection::Own(answer) => {
                let answer = answer.take();
                let answer = answer.expect("a future is not polled after it is ready");
                Poll::Ready(Waited::Own(answer))
            }
            WaitProjection::Page {
                asked,
                gates,
                http1,
            } => {
                let answer = ready!(asked.as_mut().poll(cx));
                Poll::Ready(Waited::Own(gates.own(answer, *http1)))
            }
        }
    }
}

impl GuardLayer {
    /// Decides again on a request that came before the first round of checks was over. It may
    /// have to wait again, for a place.
    #[cold]
    fn go_on<S, A>(
        &self,
        awaited: Awaited<S, A>,
        http1: bool,
    ) -> (Decided<Kept, Placed<Gates>>, S, Request<A>) {
        let Awaited {
            decided,
            service,
            request,
            came,
        } = awaited;
        let gates = &*self.0;
        let head = RequestHead::at(&request, gates.shedder.deadlines(), came);
        let decided = match decided {
            Ok(()) => self.shed(&request, head, clock::now(), http1),
            Err(refusal) => {
                let manner = Manner::of(http1);
                Decided::Own(gates.refuse(refusal, request.headers(), &head, manner))
            }
        };
        (decided, service, request)
    }
}
