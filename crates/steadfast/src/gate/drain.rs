//! The gate of the process's life as a layer: requests wait for the first round of checks,
//! and are refused while it has not passed, while maintenance is on, and once a drain has
//! used up its grace.
//!
//! A request flows through [`Decide::decide`], which reads one word of the core's
//! [`Lifecycle`]. While the process starts, it may wait there, for [`Start::wait_max`] at
//! most and never past its deadline: the first round of checks is a moment, and who waits
//! through it is served. A lifecycle that nobody started lets everybody pass.
//!
//! Law kept: leaving never refuses what it can still serve. During lame duck and until the
//! grace is over, requests that arrive are served.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
#[cfg(doc)]
use steadfast_core::plumbing::Start;
use steadfast_core::{Decision, Lifecycle, Local, Refusal, plumbing::StartTicket};
use tower_layer::Layer;

use super::{
    early::{Awaited, Early},
    frame::{Decide, Decided, Framed, Gate, Waited},
};
use crate::drain::{DrainState, DrainToken, LeavingHeaders, note_request};
use crate::{
    clock,
    refusal::Explain,
    request::{
        body::{GateBody, OwnBody},
        deadlines::Deadlines,
        head::RequestHead,
    },
};

/// Which paths are the guard's own, whose answers are no gate's to refuse.
#[derive(Clone)]
pub(crate) struct IsOwnPath(pub(crate) Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for IsOwnPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("IsOwnPath")
    }
}

/// Refuses requests while the process starts, is under maintenance or has drained.
#[derive(Clone, Debug)]
pub struct DrainLayer {
    gate: Local<DrainGate>,
}

#[derive(Debug)]
struct DrainGate {
    life: Arc<Lifecycle>,
    explain: Explain,
    deadlines: Deadlines,
    envoy: bool,
    drain: Option<Local<DrainState>>,
    own_paths: Option<IsOwnPath>,
}

impl DrainGate {
    /// Tells a handler how to hear of the drain.
    fn equip<A>(&self, request: &mut Request<A>) {
        if let Some(drain) = &self.drain {
            // One that is there already knows how its route leaves.
            let extensions = request.extensions_mut();
            extensions.get_or_insert_with(|| DrainToken::new(drain.clone()));
        }
    }

    fn explain(&self, refusal: Refusal, head: &RequestHead, http1: bool) -> Response<OwnBody> {
        let mut answer = self.explain.answer(refusal, head).map(OwnBody::Text);
        self.say_leaving(&mut answer, http1);
        answer
    }

    fn say_leaving<B>(&self, answer: &mut Response<B>, http1: bool) {
        let leaving_headers = LeavingHeaders {
            envoy: self.envoy,
            http1,
        };
        leaving_headers.say(&self.life, answer);
    }

    /// Changes a setting before there is a service.
    fn with(this: &Local<Self>, change: impl FnOnce(&mut Self)) -> Local<Self> {
        let mut gate = Self {
            life: Arc::clone(&this.life),
            explain: this.explain.clone(),
            deadlines: this.deadlines.clone(),
            envoy: this.envoy,
            drain: this.drain.clone(),
            own_paths: this.own_paths.clone(),
        };
        change(&mut gate);
        Local::new(gate)
    }
}

impl DrainLayer {
    /// Makes a layer that follows this lifecycle.
    #[must_use]
    pub fn new(life: Arc<Lifecycle>, explain: Explain) -> Self {
        Self::made(life, explain, Deadlines::default(), None)
    }

    /// The layer of a guard: handlers find their [`DrainToken`].
    pub(crate) fn of_guard(
        life: Arc<Lifecycle>,
        explain: Explain,
        deadlines: Deadlines,
        drain: Local<DrainState>,
    ) -> Self {
        Self::made(life, explain, deadlines, Some(drain))
    }

    fn made(
        life: Arc<Lifecycle>,
        explain: Explain,
        deadlines: Deadlines,
        drain: Option<Local<DrainState>>,
    ) -> Self {
        Self {
            gate: Local::new(DrainGate {
                life,
                explain,
                deadlines,
                envoy: false,
                drain,
                own_paths: None,
            }),
        }
    }

    /// Lets pass what is for the guard itself, so that the layer can be put on either side of
    /// it.
    pub(crate) fn passing(self, own_paths: IsOwnPath) -> Self {
        let gate = DrainGate::with(&self.gate, |gate| gate.own_paths = Some(own_paths));
        Self { gate }
    }

    /// Sets which headers say how long a caller still listens, which bounds its wait for the
    /// first round of checks. Those of gRPC and Envoy do by themselves.
    #[must_use]
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        let gate = DrainGate::with(&self.gate, |gate| gate.deadlines = deadlines);
        Self { gate }
    }

    /// Also sets `x-envoy-immediate-health-check-fail` on every answer while leaving.
    #[must_use]
    pub fn envoy(self) -> Self {
        let gate = DrainGate::with(&self.gate, |gate| gate.envoy = true);
        Self { gate }
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = DrainService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Framed::new(inner, self.clone())
    }
}

/// See [`DrainLayer`].
pub type DrainService<S> = Framed<S, DrainLayer>;

/// What an answer needs to say that the process leaves.
pub(crate) struct Kept {
    gate: Local<DrainGate>,
    http1: bool,
}

impl Gate for DrainLayer {
    type Body<B>
        = GateBody<B>
    where
        B: Body<Data = Bytes>;
}

impl<S: Clone, A> Decide<S, A> for DrainLayer {
    type Kept = Kept;
    type Ticket = Ticket;
    type Wait = DrainWait<S, A>;

    fn decide(&self, request: &mut Request<A>) -> Decided<Kept, Ticket> {
        let gate = &*self.gate;
        let http1 = request.version() <= http::Version::HTTP_11;
        let own = gate.own_paths.as_ref();
        if !own.is_some_and(|own| (own.0)(request.uri().path())) {
            if gate.life.is_leaving() {
                note_request(&gate.life, request, clock::now());
            }
            if !gate.life.is_open() {
                return self.ask(request, http1);
            }
            gate.equip(request);
        }
        Decided::Run(self.keep(http1))
    }

    fn wait(&self, ticket: Ticket, ready: &mut S, request: Request<A>) -> DrainWait<S, A> {
        DrainWait {
            early: Early::new(ticket.start, ready, request, ticket.came),
            kept: Some(self.keep(ticket.http1)),
        }
    }

    fn finish<B>(kept: &mut Kept, response: Response<B>) -> Response<GateBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        let mut response = response.map(GateBody::inside);
        kept.gate.say_leaving(&mut response, kept.http1);
        response
    }

    fn own<B>(body: OwnBody) -> GateBody<B>
    where
        B: Body<Data = Bytes>,
    {
        GateBody::own(body)
    }
}

impl DrainLayer {
    fn keep(&self, http1: bool) -> Kept {
        Kept {
            gate: self.gate.clone(),
            http1,
        }
    }

    /// Decides where not every request passes.
    #[cold]
    fn ask<A>(&self, request: &mut Request<A>, http1: bool) -> Decided<Kept, Ticket> {
        let gate = &*self.gate;
        let came = clock::now();
        let head = RequestHead::at(request, &gate.deadlines, came);
        match gate.life.ask(head.deadline, came) {
            Decision::Wait(start) => Decided::Wait(Ticket { start, came, http1 }),
            Decision::Refuse(refusal) => Decided::Own(gate.explain(refusal, &head, http1)),
            _ => {
                gate.equip(request);
                Decided::Run(self.keep(http1))
            }
        }
    }
}

/// What a request waits with for the first round of checks.
pub(crate) struct Ticket {
    start: StartTicket,
    came: Instant,
    http1: bool,
}

/// A request that waits for the first round of checks.
pub(crate) struct DrainWait<S, A> {
    early: Pin<Box<Early<S, A>>>,
    /// `None` once the wait is over.
    kept: Option<Kept>,
}

impl<S, A> Future for DrainWait<S, A> {
    type Output = Waited<S, A, Kept>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.early.as_mut().poll(cx).map(|awaited| {
            let kept = self.kept.take();
            let kept = kept.expect("a future is not polled after it is ready");
            let Awaited {
                decided,
                service,
                mut request,
                ..
            } = awaited;
            match decided {
                Ok(()) => {
                    kept.gate.equip(&mut request);
                    Waited::Run(kept, service, request)
                }
                Err(refusal) => {
                    let head = RequestHead::of(&request);
                    Waited::Own(kept.gate.explain(refusal, &head, kept.http1))
                }
            }
        })
    }
}
