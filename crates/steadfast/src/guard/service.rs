//! The guard around any tower service: its own paths, the gates and the explain room in one
//! service.
//!
//! It asks the same gates as [`crate::DrainLayer`], [`crate::ShedLayer`] and
//! [`crate::ExplainLayer`], in the same order and in the same frame, and has no power that
//! they lack. It is not a stack of them because a stack clones a handle for each layer and
//! moves the request's future through each: one service has one handle and one future.

mod kept;
mod wait;

use std::{
    sync::{Arc, Once},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderMap, Method, Request, Response, Version};
use http_body::Body;
use steadfast_core::{
    Decision, Lifecycle, Local, Refusal, ShedGate,
    plumbing::{RefusedInside, WhenDraining},
};
use tower_layer::Layer;

use crate::{
    clock,
    drain::{DrainState, LeavingHeaders, note_request},
    gate::{
        frame::{Decide, Decided, Framed, Gate},
        shed::{self, Placed, ShedBody, Shedder, Shedding, Sheds},
    },
    guard::{hints::Cors, watch::Watch},
    probe::paths::OwnPaths,
    refusal::Explain,
    request::{
        body::{OwnBody, RequestPermit},
        head::RequestHead,
    },
};

use kept::{Kept, Manner};
use wait::{GuardWait, Ticket};

/// Everything a request needs, behind one handle.
#[derive(Debug)]
pub(crate) struct Gates {
    own_paths: OwnPaths,
    life: Arc<Lifecycle>,
    shedder: Shedder,
    explain: Explain,
    drain: Local<DrainState>,
    cors: Cors,
    /// Looks at some requests, where there is something to look for.
    watch: Option<Watch>,
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

    /// Measures how long an answer took to begin.
    #[cold]
    fn measure_head(&self, began: Instant) {
        let now = clock::now();
        let took = now.saturating_duration_since(began);
        self.own_paths.0.control.heads().saw(took, now);
    }

    /// Says on an answer that the process leaves, if it does.
    #[inline]
    fn say_leaving<B>(&self, answer: &mut Response<B>, http1: bool) {
        let leaving_headers = LeavingHeaders {
            envoy: self.envoy,
            http1,
        };
        leaving_headers.say(&self.life, answer);
    }

    /// Makes an answer of the guard's own.
    fn own(&self, mut answer: Response<OwnBody>, http1: bool) -> Response<OwnBody> {
        self.say_leaving(&mut answer, http1);
        answer
    }
}

impl AsRef<ShedGate> for Gates {
    fn as_ref(&self) -> &ShedGate {
        self.shedder.gate()
    }
}

impl Shedding for Gates {
    type Manner = Manner;
    type Kept = Kept;

    #[inline]
    fn shedder(&self) -> &Shedder {
        &self.shedder
    }

    #[inline]
    fn keep(permit: RequestPermit<Self>, head: RequestHead, manner: Manner) -> Kept {
        Kept::new(permit, head, manner)
    }

    fn refuse(
        &self,
        refusal: Refusal,
        headers: &HeaderMap,
        head: &RequestHead,
        manner: Manner,
    ) -> Response<OwnBody> {
        self.cors.refuses(headers);
        let answer = self.explain.answer(refusal, head);
        self.own(answer.map(OwnBody::Text), manner.http1)
    }

    fn still_open(&self) -> Result<(), Refusal> {
        match self.life.is_open() {
            true => Ok(()),
            false => self.life.admit(clock::now()),
        }
    }
}

/// The guard as a tower layer. See [`crate::Guard::layer`].
#[derive(Clone, Debug)]
pub struct GuardLayer(Local<Gates>);

impl GuardLayer {
    pub(super) fn new(
        own_paths: OwnPaths,
        life: Arc<Lifecycle>,
        shedder: Shedder,
        explain: Explain,
        drain: Local<DrainState>,
        watch: Option<Watch>,
        envoy: bool,
    ) -> Self {
        let cors = Cors::new(Arc::clone(own_paths.0.control.around()));
        Self(Local::new(Gates {
            own_paths,
            life,
            shedder,
            explain,
            drain,
            cors,
            watch,
            envoy,
            twice: Once::new(),
        }))
    }

    pub(super) fn envoy(&self) -> bool {
        self.0.envoy
    }

    pub(super) fn own_paths(&self) -> &OwnPaths {
        &self.0.own_paths
    }
}

impl<S> Layer<S> for GuardLayer {
    type Service = GuardService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        Framed::new(inner, self.clone())
    }
}

/// A service behind the guard's gates. Its error type is the inner service's.
pub type GuardService<S> = Framed<S, GuardLayer>;

/// The body of a guarded response: the guard's own words, or the application's body, which
/// holds its permit to the end.
pub type GuardBody<B> = ShedBody<B, GuardLayer>;

impl Sheds for GuardLayer {
    type Owner = Gates;
}

impl Gate for GuardLayer {
    type Body<B>
        = GuardBody<B>
    where
        B: Body<Data = Bytes>;
}

impl<S, A> Decide<S, A> for GuardLayer
where
    S: Clone,
    A: Body,
{
    type Kept = Kept;
    type Ticket = Ticket;
    type Wait = GuardWait<S, A>;

    #[inline]
    fn decide(&self, request: &mut Request<A>) -> Decided<Kept, Ticket> {
        let gates = &*self.0;
        if RefusedInside::scope() == gates.scope() {
            return self.step_aside(request);
        }
        let http1 = request.version() <= Version::HTTP_11;
        if gates.own_paths.wants(request.uri().path()) {
            return Decided::Wait(Ticket::OwnPath { http1 });
        }
        if let Some(watch) = &gates.watch {
            watch.passes(&gates.own_paths.0.control, request);
        }
        let now = clock::now();
        note_request(&gates.life, request, now);
        if !gates.life.is_open() {
            return self.ask(request, now, http1);
        }
        let head = RequestHead::at(request, gates.shedder.deadlines(), now);
        Ticket::of(self.shed(request, head, now, http1))
    }

    #[cold]
    fn wait(&self, ticket: Ticket, ready: &mut S, request: Request<A>) -> GuardWait<S, A> {
        GuardWait::new(self, ticket, ready, request)
    }

    #[inline]
    fn calling<R>(kept: &mut Kept, call: impl FnOnce() -> R) -> R {
        kept.calling(call)
    }

    #[inline]
    fn polling<R>(kept: &mut Kept, poll: impl FnOnce() -> R) -> R {
        kept.polling(poll)
    }

    #[inline]
    fn finish<B>(kept: &mut Kept, response: Response<B>) -> Response<GuardBody<B>>
    where
        B: Body<Data = Bytes>,
    {
        kept.finish(response)
    }

    fn failed(kept: &mut Kept) {
        kept.failed();
    }

    fn own<B>(body: OwnBody) -> GuardBody<B>
    where
        B: Body<Data = Bytes>,
    {
        GuardBody::own(body)
    }
}

impl GuardLayer {
    /// Hands a request on that this guard has let in already: somebody protects twice.
    #[cold]
    fn step_aside<A>(&self, request: &Request<A>) -> Decided<Kept, Ticket> {
        self.0.twice.call_once(|| {
            tracing::error!(
                target: crate::log::APPLICATION,
                "an application is protected twice by the same guard; the inner one steps aside"
            );
        });
        let permit = RequestPermit::exempt(self.0.clone());
        Decided::Run(Kept::aside(permit, RequestHead::of(request)))
    }

    /// Decides where not every request passes.
    #[cold]
    fn ask<A>(&self, request: &Request<A>, now: Instant, http1: bool) -> Decided<Kept, Ticket> {
        let gates = &*self.0;
        let head = RequestHead::at(request, gates.shedder.deadlines(), now);
        match gates.life.ask(head.deadline, now) {
            Decision::Wait(start) => Decided::Wait(Ticket::Early {
                start,
                came: now,
                http1,
            }),
            Decision::Refuse(refusal) => {
                Decided::Own(gates.refuse(refusal, request.headers(), &head, Manner::of(http1)))
            }
            _ => Ticket::of(self.shed(request, head, now, http1)),
        }
    }

    /// Asks the load-shedding gate.
    #[inline]
    fn shed<A>(
        &self,
        request: &Request<A>,
        head: RequestHead,
        now: Instant,
        http1: bool,
    ) -> Decided<Kept, Placed<Gates>> {
        let gates = &*self.0;
        let class = gates.shedder.classes().of(request);
        let mut manner = Manner::of(http1);
        manner.finishes = class.draining() == Some(WhenDraining::Finish);
        if class.is_exempt() {
            if *request.method() == Method::OPTIONS {
                gates.cors.preflight(request.headers());
            }
            let permit = RequestPermit::exempt(self.0.clone());
            return Decided::Run(Gates::keep(permit, head, manner));
        }
        shed::ask(&self.0, request, &class, head, now, manner)
    }
}
