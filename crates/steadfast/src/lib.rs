//! Keeps an axum, hyper or tonic service from answering 503 when it need not, and says
//! exactly why when it must.
//!
//! [`Guard`] is the front door. It wraps a whole application once and asks two gates before
//! the body of a request is touched: whether the process may serve at all (it starts, is in
//! maintenance, or leaves), and whether there is a place for one more. Whatever refuses makes
//! a [`Refusal`] with a [`Cause`] and the numbers of that moment; one room renders it in the
//! client's terms and writes it into a bounded ledger.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use steadfast::{Dependency, Guard, Shed, check};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let payments = Dependency::builder("payments")
//!     .check(check::http_get("http://payments.internal/healthz")?)
//!     .build()?;
//! let guard = Guard::builder().shed(Shed::fixed(64)).dependency(&payments).build()?;
//! let app = Router::new().route("/", get(|| async { "hello" }));
//! let listener = tokio::net::TcpListener::bind("0.0.0.0:8000").await?;
//! let report = guard.serve(listener, guard.protect(app)).await?;
//! println!("{report}");
//! # Ok(())
//! # }
//! ```
//!
//! # Why this and not its neighbours
//!
//! - tower's `ConcurrencyLimit` and `LoadShed` make a limit for each route or connection under
//!   axum, end the permit at the head of the answer, and say nothing about why.
//! - Health libraries ask the dependency when the probe comes, so a slow database fails
//!   liveness and the probe adds to the load.
//! - `axum::serve` closes its listener at the signal, before any balancer knows of it.
//! - Circuit breakers know nothing of the check, and the check nothing of the calls: here a
//!   [`Dependency`] has one health from both.
//!
//! # Where to begin
//!
//! | to | look at |
//! |---|---|
//! | wrap an application, in any form | [`Guard::protect`], [`Guard::protect_service`], [`Guard::layer`] |
//! | bound what runs | [`Shed`], [`Priority`], [`RouteClass`] |
//! | call what may be down | [`Dependency::call`], [`Dependency::layer`], [`Dependency::gate`], [`Dependency::keyed`] |
//! | answer errors in handlers | [`Error`], [`explain::carry`], [`Refusal::find`] |
//! | leave in order | [`Drain`], [`DrainToken`], [`DrainReport`], [`Budget`] |
//! | be asked whether it is ready | [`Probes`], [`check`] |
//! | take one gate alone into a tower stack | [`ShedLayer`], [`DrainLayer`], [`ExplainLayer`] |
//! | know what a client reads | [`causes`] |
//!
//! # Features
//!
//! A feature only adds API.
//!
//! | feature | what it adds |
//! |---|---|
//! | `axum` (default) | the guard around a `Router`, and at any listener of `axum::serve`; without it, [`Guard::protect_service`] and [`Guard::layer`] guard hyper's, tower's and tonic's services |
//! | `config` (default) | `GuardConfig`: settings from TOML, any serde format and the environment |
//! | `metrics` (default) | the numbers once a second, through the facade of that name |
//! | `systemd` | readiness, watchdog and extended stop times for systemd |
//! | `ws` | WebSockets that say goodbye when the process leaves |
//! | `https` | [`check::http_get`] asks `https://` too |
//! | `tls` | TLS with rustls, and certificates that change without a restart |
//! | `test-util` | dependencies with set health, and assertions, for your own tests |
//!
//! # Hazards
//!
//! - Protect an application once, and outermost but for layers that must see refusals too
//!   (CORS, tracing). Protected twice, the inner guard steps aside and says so.
//! - Without [`Guard::start`], which [`Guard::serve`] calls, no check runs and `/ready/` says
//!   *not started*.
//! - Without `.shed(…)` the limit only observes.
//! - The guard never reads a request's body, so what is refused early is drained or closed by
//!   the server that runs it.

mod background;
mod clock;
mod dependency;
mod drain;
mod duration;
mod gate;
mod guard;
mod instance;
mod log;
mod meter;
mod probe;
mod refusal;
mod request;
mod serve;
#[cfg(feature = "test-util")]
pub mod test_util;
#[cfg(feature = "ws")]
pub mod ws;

/// The only room that turns a refusal into a response.
pub mod explain {
    pub use crate::refusal::{TYPE_BASE_DEFAULT, carry};
}

/// The body of requests that the guard hands to a service.
pub use axum_core::body::Body;
pub use background::environment::Budget;
pub use dependency::{
    BodyBreakerLayer, BodyBreakerService, BreakerFuture, BreakerLayer, BreakerService, CallBody,
    CallError, CallTimedOut, Dependency, DependencyBuilder, DependencyCall, Error, Keyed,
    KeyedSettings, Permit, check, classifier,
};
pub use drain::{
    Advice, Closed, Cut, Drain, DrainPermit, DrainReport, DrainToken, HookEnd, HookReport,
    HookStage, LameDuckEnd, Stuck, UntilLeaving,
};
pub use gate::{
    DependencyGate, DependencyGateService, DrainLayer, DrainService, ExplainLayer, ExplainService,
    Framed, FramedFuture, Gate, OBSERVED_LIMIT_DEFAULT, Shed, ShedBody, ShedLayer, ShedService,
    Shedder, StreamPermit,
};
#[cfg(feature = "config")]
pub use guard::config::GuardConfig;
pub use guard::{
    AnyFuture, AnyService, AxumFuture, AxumGuard, Guard, GuardBody, GuardBuilder, GuardLayer,
    GuardService, Guarded, GuardedFuture, Running, Server,
};
pub use instance::Control;
pub use probe::{Build, Probes, TOKEN_LEN_MIN};
pub use refusal::{Disclosure, EnvelopeFor, Explain, ExplainSettings, PageFor, causes};
pub use request::{
    body::GateBody, class::HeadView, deadlines::Deadlines, head::RequestHead, language::Language,
};
#[cfg(feature = "tls")]
pub use serve::Tls;
pub use serve::{Connections, Handshake, Listener, peer};
pub use steadfast_core::limit;
pub use steadfast_core::{
    CallFailure, CallKind, CallOutcome, Cause, Check, CheckOutcome, CheckRun, CheckStatus,
    ConfigError, Deadline, DependencyDown, DependencyState, Evidence, FailureClass, Health, Ledger,
    Lifecycle, Name, Overloaded, Phase, PoolExhausted, Priority, Refusal, Requirement, RetryHint,
    Rule, ShedMode, Trip, Verdict,
    plumbing::{
        Answered, BackendSnapshot, BreakerMode, BreakerReason, BreakerSnapshot, BreakerState,
        DependencyReason, DependencyView, Incident, LagChange, LagMode, LagPhase, LagSnapshot,
        PoolFleet, Pressure, QueueSettings as Queue, QueueSnapshot, Queued, ReadOnlyView, Reason,
        Recorded, RefusalId, RequestNote, RouteClass, START_WAITING_MAX, ShedSnapshot, Standing,
        Start, StartTicket, Streams, StreamsSnapshot, WhenDraining,
    },
};
/// The diagnosis that [`Control::diagnosis`] gives, in the words of its own crate.
pub use steadfast_diagnosis as diagnosis;
