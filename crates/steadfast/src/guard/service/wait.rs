//! A request that the guard has not decided on yet.

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

use http_body::Body;
use pin_project::pin_project;
use steadfast_core::Local;

use super::{
    Gates, GuardLayer, ShedDecision,
    kept::{Kept, Manner},
};
use crate::{
    clock,
    gate::{
        early::{Awaited, Early},
        frame::{Decided, Waited},
        shed::{ShedWait, Shedding},
    },
    probe::page_request::PageRequest,
    request::head::RequestHead,
};

/// See the module.
#[pin_project(project = WaitProjection)]
#[allow(
    clippy::large_enum_variant,
    reason = "requests wait for a place under load, where a box would be one more allocation"
)]
pub(crate) enum GuardWait<S, A> {
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

impl<S, A> GuardWait<S, A> {
    /// Takes the decision of the load-shedding gate.
    #[inline]
    pub(super) fn of(decided: ShedDecision<S, A>) -> Decided<A, Kept, Self> {
        match decided {
            Decided::Run(kept, request) => Decided::Run(kept, request),
            Decided::Wait(wait) => Decided::Wait(Self::Shed(wait)),
            Decided::Own(answer) => Decided::Own(answer),
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
            match layer.go_on(awaited, *http1) {
                (Decided::Run(kept, request), service) => {
                    return Poll::Ready(Waited::Run(kept, service, request));
                }
                (Decided::Own(answer), _) => return Poll::Ready(Waited::Own(answer)),
                (Decided::Wait(wait), _) => self.set(Self::Shed(wait)),
            }
        }
        match self.project() {
            WaitProjection::Early { .. } => unreachable!("its wait has just ended"),
            WaitProjection::Shed(wait) => wait.poll(cx),
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
    fn go_on<S: Clone, A>(&self, awaited: Awaited<S, A>, http1: bool) -> (ShedDecision<S, A>, S) {
        let Awaited {
            decided,
            mut service,
            request,
            came,
        } = awaited;
        let gates = &*self.0;
        let head = RequestHead::at(&request, gates.shedder.deadlines(), came);
        let decided = match decided {
            Ok(()) => self.shed(&mut service, request, head, clock::now(), http1),
            Err(refusal) => {
                let manner = Manner::of(http1);
                Decided::Own(gates.refuse(refusal, request.headers(), &head, manner))
            }
        };
        (decided, service)
    }
}
