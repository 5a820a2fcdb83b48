//! The gate of the process's life: requests are refused while it starts, while maintenance
//! is on, and once a drain has used up its grace.
//!
//! A request flows through [`DrainService::call`], which reads one word of the core's
//! [`Lifecycle`]. While the process drains, answers over HTTP/1 carry `connection: close`,
//! so that keep-alive connections end after the answer they are waiting for and not
//! before; HTTP/2 has no such header, its connections are told by the server itself.
//!
//! Law kept: leaving never refuses what it can still serve. During lame duck and until the
//! grace is over, requests that arrive are served.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{Lifecycle, Local};
use tower_layer::Layer;
use tower_service::Service;

use crate::{body::GateBody, clock, explain::Explain, head::RequestHead};

/// How long each step of a drain may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Drain {
    pub(crate) lame_duck_max: Duration,
    pub(crate) grace: Duration,
}

impl Default for Drain {
    /// 10 s and 15 s: with the runtime's own end they fit in the 30 s that Kubernetes and
    /// most process managers grant.
    fn default() -> Self {
        Self {
            lame_duck_max: Duration::from_secs(10),
            grace: Duration::from_secs(15),
        }
    }
}

impl Drain {
    /// Longest step. What takes longer is not a restart any more.
    pub(crate) const LENGTH_MAX: Duration = Duration::from_secs(3600);

    /// Sets for how long readiness says no while everything is still served, so that
    /// balancers go elsewhere first. Zero skips it. Default 10 s.
    pub const fn lame_duck_max(mut self, length: Duration) -> Self {
        self.lame_duck_max = length;
        self
    }

    /// Sets for how long running requests may take to finish. Default 15 s.
    pub const fn grace(mut self, length: Duration) -> Self {
        self.grace = length;
        self
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if self.lame_duck_max > Self::LENGTH_MAX {
            faults.push(format!(
                "drain: lame_duck_max {:?}; allowed is 0s to 1h",
                self.lame_duck_max
            ));
        }
        if self.grace.is_zero() || self.grace > Self::LENGTH_MAX {
            faults.push(format!(
                "drain: grace {:?}; allowed is above 0s to 1h",
                self.grace
            ));
        }
        faults
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
    envoy: bool,
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
            }),
        }
    }
}

impl DrainLayer {
    /// Also sets `x-envoy-immediate-health-check-fail` on every answer while leaving.
    #[must_use]
    pub fn envoy(self) -> Self {
        let Gate { life, explain, .. } = &*self.gate;
        let (life, explain) = (Arc::clone(life), explain.clone());
        Self {
            gate: Local::new(Gate {
                life,
                explain,
                envoy: true,
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

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let life = &self.gate.life;
        let http1 = request.version() <= http::Version::HTTP_11;
        let state = match life
            .is_open()
            .then_some(())
            .map_or_else(|| life.admit(clock::now()), Ok)
        {
            Ok(()) => State::Running(self.inner.call(request)),
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

/// How a process that leaves says so on its answers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Farewell {
    /// Also in Envoy's words.
    pub(crate) envoy: bool,
    /// Whether the connection has a header that can end it.
    pub(crate) http1: bool,
}

impl Farewell {
    /// Tells an Envoy in front to send nothing more, and, once the process drains, an
    /// HTTP/1 client that the connection ends here.
    #[inline]
    pub(crate) fn say<B>(self, life: &Lifecycle, response: &mut Response<B>) {
        if !life.is_leaving() {
            return;
        }
        let headers = response.headers_mut();
        if self.envoy {
            headers.insert(ENVOY_FAIL, HeaderValue::from_static("true"));
        }
        // An upgrade's own `connection: upgrade` must stay.
        let upgrade = response.status() == StatusCode::SWITCHING_PROTOCOLS;
        if self.http1 && life.is_closing() && !upgrade {
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
    }
}

/// On any answer, it takes the instance out of an Envoy's rotation at once.
const ENVOY_FAIL: HeaderName = HeaderName::from_static("x-envoy-immediate-health-check-fail");
