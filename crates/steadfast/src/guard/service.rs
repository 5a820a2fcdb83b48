//! The guard around any tower service: the front, the gates and the explain room in one
//! service.
//!
//! It asks the same gates as [`crate::DrainLayer`], [`crate::ShedLayer`] and
//! [`crate::ExplainLayer`], in the same order, and has no power that they lack. It is not a
//! stack of them because a stack clones a handle for each layer and moves the request's
//! future through each: one service has one handle and one future.

mod future;

use std::{
    sync::{Arc, Once},
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{Request, Response, Version};
use http_body::Body;
use steadfast_core::{Decision, Lifecycle, Local, ShedGate, plumbing::RefusedInside};
use tower_layer::Layer;
use tower_service::Service;

use super::body::GuardBody;
use crate::{
    clock,
    drain::{LeavingHeaders, Room, note_request},
    gate::{early::Early, shed::Shedder},
    guard::{hints::Cors, watch::Watch},
    probe::paths::Front,
    refusal::Explain,
    request::{body::Held, head::RequestHead},
};

pub use future::GuardFuture;

/// Everything a request needs, behind one handle.
#[derive(Debug)]
pub(super) struct Gates {
    front: Front,
    life: Arc<Lifecycle>,
    shedder: Shedder,
    explain: Explain,
    room: Local<Room>,
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
        self.front.0.control.heads().saw(took, now);
    }

    fn leaving_headers(&self, http1: bool) -> LeavingHeaders {
        LeavingHeaders {
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
        room: Local<Room>,
        watch: Option<Watch>,
        envoy: bool,
    ) -> Self {
        let cors = Cors::new(Arc::clone(front.0.control.around()));
        Self(Local::new(Gates {
            front,
            life,
            shedder,
            explain,
            room,
            cors,
            watch,
            envoy,
            twice: Once::new(),
        }))
    }

    pub(super) fn envoy(&self) -> bool {
        self.0.envoy
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

impl<S> GuardService<S> {
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

impl<S, A, B> Service<Request<A>> for GuardService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    A: Body,
    B: Body<Data = Bytes>,
{
    type Response = Response<GuardBody<B>>;
    type Error = S::Error;
    type Future = GuardFuture<S::Future, S, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    #[inline]
    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let gates = &*self.gates;
        if RefusedInside::scope() == gates.scope() {
            return self.step_aside(request);
        }
        let path = request.uri().path();
        let http1 = request.version() <= Version::HTTP_11;
        if gates.front.wants(path) {
            return GuardFuture::own(gates.front.answer(request), &self.gates, http1);
        }
        if let Some(watch) = &gates.watch {
            watch.passes(&gates.front.0.control, &request);
        }
        let now = clock::now();
        note_request(&gates.life, &mut request, now);
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
                target: crate::log::APPLICATION,
                "an application is protected twice by the same guard; the inner one steps aside"
            );
        });
        let held = Held::exempt(self.gates.clone());
        GuardFuture::aside(held, self.inner.call(request))
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
            Decision::Wait(ticket) => {
                let early = Early::new(ticket, &mut self.inner, request, now);
                GuardFuture::early(early, self.gates.clone(), http1)
            }
            Decision::Refuse(refusal) => {
                gates.cors.refuses(request.headers());
                GuardFuture::said(gates.explain.answer(refusal, &head), gates, http1)
            }
            _ => GuardFuture::shed(&self.gates, &mut self.inner, request, head, now, http1),
        }
    }
}
