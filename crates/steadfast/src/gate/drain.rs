//! The gate of the process's life as a layer: requests are refused while it starts, while
//! maintenance is on, and once a drain has used up its grace.
//!
//! A request flows through [`DrainService::call`], which reads one word of the core's
//! [`Lifecycle`].
//!
//! Law kept: leaving never refuses what it can still serve. During lame duck and until the
//! grace is over, requests that arrive are served.

use std::{
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
use steadfast_core::{Lifecycle, Local};
use tower_layer::Layer;
use tower_service::Service;

use crate::drain::{DrainToken, Farewell, Room};
use crate::{
    clock,
    refusal::Explain,
    request::{body::GateBody, head::RequestHead},
};

/// Refuses requests while the process starts, is under maintenance or has drained.
#[derive(Clone, Debug)]
pub struct DrainLayer {
    gate: Local<Gate>,
}

#[derive(Debug)]
struct Gate {
    life: Arc<Lifecycle>,
    explain: Explain,
    envoy: bool,
    room: Option<Local<Room>>,
}

impl DrainLayer {
    /// Makes a layer that follows this lifecycle.
    #[must_use]
    pub fn new(life: Arc<Lifecycle>, explain: Explain) -> Self {
        Self {
            gate: Local::new(Gate {
                life,
                explain,
                envoy: false,
                room: None,
            }),
        }
    }

    /// The layer of a guard: handlers find their [`DrainToken`].
    pub(crate) fn of_guard(life: Arc<Lifecycle>, explain: Explain, room: Local<Room>) -> Self {
        Self {
            gate: Local::new(Gate {
                life,
                explain,
                envoy: false,
                room: Some(room),
            }),
        }
    }

    /// Also sets `x-envoy-immediate-health-check-fail` on every answer while leaving.
    #[must_use]
    pub fn envoy(self) -> Self {
        let gate = &*self.gate;
        Self {
            gate: Local::new(Gate {
                life: Arc::clone(&gate.life),
                explain: gate.explain.clone(),
                envoy: true,
                room: gate.room.clone(),
            }),
        }
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

impl<S, A, B> Service<Request<A>> for DrainService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<GateBody<B>>;
    type Error = S::Error;
    type Future = DrainFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<A>) -> Self::Future {
        let life = &self.gate.life;
        if life.is_leaving() {
            life.note_request(clock::now());
        }
        let http1 = request.version() <= http::Version::HTTP_11;
        let state = match life
            .is_open()
            .then_some(())
            .map_or_else(|| life.admit(clock::now()), Ok)
        {
            Ok(()) => {
                if let Some(room) = &self.gate.room {
                    let token = DrainToken::new(room.clone());
                    request.extensions_mut().insert(token);
                }
                State::Running(self.inner.call(request))
            }
            Err(refusal) => {
                let head = RequestHead::of(&request);
                State::Refused(Some(self.gate.explain.answer(refusal, &head)))
            }
        };
        DrainFuture {
            state,
            gate: self.gate.clone(),
            http1,
        }
    }
}

/// See [`DrainLayer`].
#[pin_project]
#[derive(Debug)]
pub struct DrainFuture<F> {
    #[pin]
    state: State<F>,
    gate: Local<Gate>,
    http1: bool,
}

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F> {
    Refused(Option<Response<Full<Bytes>>>),
    Running(#[pin] F),
}

impl<F, B, E> Future for DrainFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GateBody<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let mut response = match this.state.project() {
            StateProjection::Refused(response) => response
                .take()
                .expect("a future is not polled after it is ready")
                .map(GateBody::by_gate),
            StateProjection::Running(inner) => ready!(inner.poll(cx))?.map(GateBody::inside),
        };
        let farewell = Farewell {
            envoy: this.gate.envoy,
            http1: *this.http1,
        };
        farewell.say(&this.gate.life, &mut response);
        Poll::Ready(Ok(response))
    }
}
