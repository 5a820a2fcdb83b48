//! The gate of the process's life as a layer: requests wait for the first round of checks,
//! and are refused while it has not passed, while maintenance is on, and once a drain has
//! used up its grace.
//!
//! A request flows through [`DrainService::call`], which reads one word of the core's
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
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
#[cfg(doc)]
use steadfast_core::plumbing::Start;
use steadfast_core::{Decision, Lifecycle, Local};
use tower_layer::Layer;
use tower_service::Service;

use crate::drain::{DrainToken, LeavingHeaders, Room, note_request};
use crate::{
    clock,
    gate::early::{Awaited, Early},
    refusal::Explain,
    request::{body::GateBody, deadlines::Deadlines, head::RequestHead},
};

/// Which paths are the guard's own, whose answers are no gate's to refuse.
#[derive(Clone)]
pub(crate) struct OwnPaths(pub(crate) Arc<dyn Fn(&str) -> bool + Send + Sync>);

impl fmt::Debug for OwnPaths {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OwnPaths")
    }
}

/// Refuses requests while the process starts, is under maintenance or has drained.
#[derive(Clone, Debug)]
pub struct DrainLayer {
    gate: Local<Gate>,
}

#[derive(Debug)]
struct Gate {
    life: Arc<Lifecycle>,
    explain: Explain,
    deadlines: Deadlines,
    envoy: bool,
    room: Option<Local<Room>>,
    own_paths: Option<OwnPaths>,
}

impl Gate {
    /// Tells a handler how to hear of the drain.
    fn equip<A>(&self, request: &mut Request<A>) {
        if let Some(room) = &self.room {
            // One that is there already knows how its route leaves.
            let extensions = request.extensions_mut();
            extensions.get_or_insert_with(|| DrainToken::new(room.clone()));
        }
    }

    /// Changes a setting before there is a service.
    fn with(this: &Local<Self>, change: impl FnOnce(&mut Self)) -> Local<Self> {
        let mut gate = Self {
            life: Arc::clone(&this.life),
            explain: this.explain.clone(),
            deadlines: this.deadlines.clone(),
            envoy: this.envoy,
            room: this.room.clone(),
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
        room: Local<Room>,
    ) -> Self {
        Self::made(life, explain, deadlines, Some(room))
    }

    fn made(
        life: Arc<Lifecycle>,
        explain: Explain,
        deadlines: Deadlines,
        room: Option<Local<Room>>,
    ) -> Self {
        Self {
            gate: Local::new(Gate {
                life,
                explain,
                deadlines,
                envoy: false,
                room,
                own_paths: None,
            }),
        }
    }

    /// Lets pass what is for the guard itself, so that the layer can be put on either side of
    /// it.
    pub(crate) fn passing(self, own_paths: OwnPaths) -> Self {
        let gate = Gate::with(&self.gate, |gate| gate.own_paths = Some(own_paths));
        Self { gate }
    }

    /// Sets which headers say how long a caller still listens, which bounds its wait for the
    /// first round of checks. Those of gRPC and Envoy do by themselves.
    #[must_use]
    pub fn deadlines(self, deadlines: Deadlines) -> Self {
        let gate = Gate::with(&self.gate, |gate| gate.deadlines = deadlines);
        Self { gate }
    }

    /// Also sets `x-envoy-immediate-health-check-fail` on every answer while leaving.
    #[must_use]
    pub fn envoy(self) -> Self {
        let gate = Gate::with(&self.gate, |gate| gate.envoy = true);
        Self { gate }
    }
}

impl<S> Layer<S> for DrainLayer {
    type Service = DrainService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        DrainService {
            inner,
            gate: self.gate.clone(),
        }
    }
}

/// See [`DrainLayer`].
#[derive(Clone, Debug)]
pub struct DrainService<S> {
    inner: S,
    gate: Local<Gate>,
}

impl<S> DrainService<S> {
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

impl<S, A, B> Service<Request<A>> for DrainService<S>
where
    S: Service<Request<A>, Response = Response<B>> + Clone,
    B: Body<Data = Bytes>,
{
    type Response = Response<GateBody<B>>;
    type Error = S::Error;
    type Future = DrainFuture<S::Future, S, A>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let gate = &*self.gate;
        let http1 = request.version() <= http::Version::HTTP_11;
        let own = gate.own_paths.as_ref();
        let state = if own.is_some_and(|own| (own.0)(request.uri().path())) {
            State::Running(self.inner.call(request))
        } else {
            if gate.life.is_leaving() {
                note_request(&gate.life, &mut request, clock::now());
            }
            if gate.life.is_open() {
                gate.equip(&mut request);
                State::Running(self.inner.call(request))
            } else {
                self.ask(request)
            }
        };
        DrainFuture {
            state,
            gate: self.gate.clone(),
            http1,
        }
    }
}

impl<S> DrainService<S> {
    /// Decides where not every request passes.
    #[cold]
    fn ask<A>(&mut self, mut request: Request<A>) -> State<S::Future, S, A>
    where
        S: Service<Request<A>> + Clone,
    {
        let gate = &*self.gate;
        let now = clock::now();
        let head = RequestHead::at(&request, &gate.deadlines, now);
        match gate.life.ask(head.deadline, now) {
            Decision::Wait(ticket) => {
                State::Early(Early::new(ticket, &mut self.inner, request, now))
            }
            Decision::Refuse(refusal) => State::Refused(Some(gate.explain.answer(refusal, &head))),
            _ => {
                gate.equip(&mut request);
                State::Running(self.inner.call(request))
            }
        }
    }
}

/// See [`DrainLayer`].
#[pin_project]
#[derive(Debug)]
pub struct DrainFuture<F, S, A> {
    #[pin]
    state: State<F, S, A>,
    gate: Local<Gate>,
    http1: bool,
}

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F, S, A> {
    Early(Pin<Box<Early<S, A>>>),
    Refused(Option<Response<Full<Bytes>>>),
    Running(#[pin] F),
}

impl<F, S, A> State<F, S, A> {
    /// Begins a request that has waited, or refuses it.
    #[cold]
    fn begin(awaited: Awaited<S, A>, gate: &Gate) -> Self
    where
        S: Service<Request<A>, Future = F>,
    {
        let Awaited {
            decided,
            mut service,
            mut request,
            ..
        } = awaited;
        match decided {
            Ok(()) => {
                gate.equip(&mut request);
                Self::Running(service.call(request))
            }
            Err(refusal) => {
                let head = RequestHead::of(&request);
                Self::Refused(Some(gate.explain.answer(refusal, &head)))
            }
        }
    }
}

impl<F, S, A, B, E> Future for DrainFuture<F, S, A>
where
    S: Service<Request<A>, Future = F>,
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GateBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let StateProjection::Early(early) = this.state.as_mut().project() {
            let awaited = ready!(early.as_mut().poll(cx));
            let begun = State::begin(awaited, this.gate);
            this.state.set(begun);
        }
        let mut response = match this.state.project() {
            StateProjection::Early(_) => unreachable!("its wait has just ended"),
            StateProjection::Refused(response) => response
                .take()
                .expect("a future is not polled after it is ready")
                .map(GateBody::by_gate),
            StateProjection::Running(inner) => ready!(inner.poll(cx))?.map(GateBody::inside),
        };
        let leaving_headers = LeavingHeaders {
            envoy: this.gate.envoy,
            http1: *this.http1,
        };
        leaving_headers.say(&this.gate.life, &mut response);
        Poll::Ready(Ok(response))
    }
}
