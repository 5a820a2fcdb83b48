//! Load shedding as a layer: a request runs if there is room, and is told why not if there is not.
//!
//! A request flows through [`ShedService::call`], which asks the core's gate before
//! anything of the request is read. Admitted, it takes a permit that its response body
//! carries to the end; refused, it is answered by the explain room. The layer's error type
//! stays the inner service's, so under axum no `HandleErrorLayer` is needed.
//!
//! Laws kept: the decision is in `call` and never in `poll_ready` (axum's routes are always
//! ready, and a polled semaphore can look full because tokio's coop budget is spent); the
//! state is in the layer's [`Shedder`], so every route, method and connection shares it.
//!
//! ```
//! use steadfast::{Explain, Shed, ShedLayer};
//!
//! let layer = ShedLayer::new(Shed::fixed(64), Explain::default())?;
//! let shedder = layer.shedder();
//! let app: axum::Router = axum::Router::new().layer(layer);
//! assert_eq!(shedder.snapshot().limit, 64);
//! # Ok::<(), steadfast::ConfigError>(())
//! ```

use std::{
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Full;
use pin_project::pin_project;
use steadfast_core::{
    ConfigError, Decision, Local, Outcome, ShedGate, ShedMode, ShedSettings, ShedSnapshot,
};
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    body::{GateBody, Held, HeldBody},
    clock,
    explain::Explain,
    head::RequestHead,
};

/// The limit that observe mode compares with when nobody chose one: high enough that only
/// a service in trouble reaches it, low enough that one in trouble does.
pub const OBSERVED_LIMIT_DEFAULT: u32 = 512;

/// The settings of load shedding.
#[derive(Clone, Debug)]
#[must_use]
pub struct Shed(ShedSettings);

impl Default for Shed {
    /// Observes against [`OBSERVED_LIMIT_DEFAULT`] and refuses nothing.
    fn default() -> Self {
        Self::fixed(OBSERVED_LIMIT_DEFAULT).observe()
    }
}

impl Shed {
    /// At most `limit` requests run at once, without a queue; the rest are refused at once.
    /// Allowed is 1 to 1,000,000.
    pub const fn fixed(limit: u32) -> Self {
        Self(ShedSettings::fixed(limit))
    }

    /// Refuses nothing and counts what would have been refused.
    pub fn observe(self) -> Self {
        Self(self.0.mode(ShedMode::Observe))
    }

    /// Sets after how long a held permit is shown as evidence of a handler that hangs.
    /// Default 10 s.
    pub fn held_max(self, held_max: Duration) -> Self {
        Self(self.0.held_max(held_max))
    }

    /// Lays a configuration over the settings: a limit is enforced unless a mode says
    /// otherwise, and a mode alone leaves the limit as it is.
    #[cfg(feature = "config")]
    pub(crate) fn configured(
        self,
        limit: Option<u32>,
        mode: Option<ShedMode>,
        held_max: Option<Duration>,
    ) -> Self {
        let mut settings = self.0;
        if let Some(limit) = limit {
            settings = settings.limit(limit).mode(ShedMode::Enforce);
        }
        if let Some(mode) = mode {
            settings = settings.mode(mode);
        }
        if let Some(held_max) = held_max {
            settings = settings.held_max(held_max);
        }
        Self(settings)
    }

    pub(crate) const fn settings(&self) -> &ShedSettings {
        &self.0
    }
}

/// The operator's end of load shedding: read it, change it while it runs. Clones share.
#[derive(Clone, Debug)]
pub struct Shedder(Local<ShedGate>);

impl Shedder {
    /// Makes a gate.
    ///
    /// # Errors
    /// Every fault of the settings.
    pub fn new(shed: &Shed) -> Result<Self, ConfigError> {
        Ok(Self(Local::new(ShedGate::new(&shed.0, clock::now())?)))
    }

    pub(crate) fn gate(&self) -> &ShedGate {
        &self.0
    }

    /// Returns limit, requests in flight, totals and the request that runs longest.
    #[must_use]
    pub fn snapshot(&self) -> ShedSnapshot {
        self.0.snapshot(clock::now())
    }

    /// Returns how many requests run now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight()
    }

    /// Changes the limit; values outside 1 to 1,000,000 are brought inside. Running
    /// requests are never cut.
    pub fn set_limit(&self, limit: u32) {
        self.0.set_limit(limit);
    }

    /// Starts or stops to refuse.
    pub fn set_mode(&self, mode: ShedMode) {
        self.0.set_mode(mode);
    }
}

/// Refuses requests when as many run as may. Apply it anywhere in a tower stack.
#[derive(Clone, Debug)]
pub struct ShedLayer {
    shedder: Shedder,
    explain: Explain,
}

impl ShedLayer {
    /// Makes a layer with a gate of its own.
    ///
    /// # Errors
    /// Every fault of the settings.
    #[allow(
        clippy::needless_pass_by_value,
        reason = "settings are made in place, as `Shed::fixed(64)`"
    )]
    pub fn new(shed: Shed, explain: Explain) -> Result<Self, ConfigError> {
        Ok(Self::with(Shedder::new(&shed)?, explain))
    }

    /// Makes a layer around a gate that others share.
    #[must_use]
    pub const fn with(shedder: Shedder, explain: Explain) -> Self {
        Self { shedder, explain }
    }

    /// Returns the operator's end.
    #[must_use]
    pub fn shedder(&self) -> Shedder {
        self.shedder.clone()
    }
}

impl<S> Layer<S> for ShedLayer {
    type Service = ShedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        ShedService {
            inner,
            gate: self.shedder.0.clone(),
            explain: self.explain.clone(),
        }
    }
}

/// See [`ShedLayer`].
#[derive(Clone, Debug)]
pub struct ShedService<S> {
    inner: S,
    gate: Local<ShedGate>,
    explain: Explain,
}

impl<S, A, B> Service<Request<A>> for ShedService<S>
where
    S: Service<Request<A>, Response = Response<B>>,
    B: Body<Data = Bytes>,
{
    type Response = Response<GateBody<HeldBody<B>>>;
    type Error = S::Error;
    type Future = ShedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        let state = match ShedGate::admit(&self.gate, request.uri().path(), clock::now()) {
            Decision::Admit(permit) => State::Running {
                // The permit is made first: if `call` panics, its drop gives it back.
                permit: Some(Held::new(permit)),
                inner: self.inner.call(request),
            },
            Decision::Refuse(refusal) => State::Refused(Some(
                self.explain.answer(refusal, &RequestHead::of(&request)),
            )),
            _ => unreachable!("this gate either admits or refuses"),
        };
        ShedFuture { state }
    }
}

/// See [`ShedLayer`].
#[pin_project]
#[derive(Debug)]
pub struct ShedFuture<F> {
    #[pin]
    state: State<F>,
}

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F> {
    Refused(Option<Response<Full<Bytes>>>),
    Running {
        permit: Option<Held>,
        #[pin]
        inner: F,
    },
}

impl<F, B, E> Future for ShedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body<Data = Bytes>,
{
    type Output = Result<Response<GateBody<HeldBody<B>>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Refused(response) => {
                let response = response
                    .take()
                    .expect("a future is not polled after it is ready");
                Poll::Ready(Ok(response.map(GateBody::by_gate)))
            }
            StateProjection::Running { permit, inner } => {
                let answered = ready!(inner.poll(cx));
                let mut permit = permit
                    .take()
                    .expect("a future is not polled after it is ready");
                Poll::Ready(match answered {
                    Ok(response) => {
                        Ok(response.map(|body| GateBody::inside(HeldBody::new(body, permit))))
                    }
                    Err(error) => {
                        permit.settle(Outcome::Failed);
                        Err(error)
                    }
                })
            }
        }
    }
}
