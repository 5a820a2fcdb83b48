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
    Gates, GuardLayer,
    kept::{Kept, Manner},
};
use crate::{
    clock,
    gate::{
        early::{Awaited, Early},
        frame::{Decided, Turn},
        shed::{ShedWait, Shedding},
    },
    probe::asked::Asked,
    request::head::RequestHead,
};

/// See the module.
#[pin_project(project = WaitProjection)]
pub(crate) enum GuardWait<S, A> {
    /// The operator's page, which may read a form and hold an answer back.
    Page {
        asked: Pin<Box<Asked<A>>>,
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
    pub(super) fn of(decided: Decided<A, Kept, ShedWait<S, A, Gates>>) -> Decided<A, Kept, Self> {
        match decided {
            Decided::Run(kept, request) => Decided::Run(kept, request),
            Decided::Wait(wait) => Decided::Wait(Self::Shed(wait)),
            Decided::Own(answer) => Decided::Own(answer),
        }
    }
}

impl<S: Clone, A: Body> Future for GuardWait<S, A> {
    type Output = Turn<S, A, Kept>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if let WaitProjection::Early {
            early,
            layer,
            http1,
        } = self.as_mut().project()
        {
            let awaited = ready!(early.as_mut().poll(cx));
            match layer.go_on(awaited, *http1) {
                Ok(turn) => return Poll::Ready(turn),
                Err(wait) => self.set(Self::Shed(wait)),
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
                Poll::Ready(Turn::Own(gates.own(answer, *http1)))
            }
        }
    }
}

impl GuardLayer {
    /// Goes on with a request that came before the first round of checks was over. It may have
    /// to wait again, for a place.
    #[cold]
    fn go_on<S: Clone, A>(
        &self,
        awaited: Awaited<S, A>,
        http1: bool,
    ) -> Result<Turn<S, A, Kept>, ShedWait<S, A, Gates>> {
        let Awaited {
            decided,
            mut service,
            request,
            came,
        } = awaited;
        let gates = &*self.0;
        let head = RequestHead::at(&request, gates.shedder.deadlines(), came);
        if let Err(refusal) = decided {
            let answer = gates.refuse(refusal, request.headers(), &head, Manner::of(http1));
            return Ok(Turn::Own(answer));
        }
        match self.shed(&mut service, request, head, clock::now(), http1) {
            Decided::Run(kept, request) => Ok(Turn::Run(kept, service, request)),
            Decided::Wait(wait) => Err(wait),
            Decided::Own(answer) => Ok(Turn::Own(answer)),
        }
    }
}
