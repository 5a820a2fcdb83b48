#![doc = include_str!("../README.md")]

mod background;
mod clock;
mod dependency;
mod drain;
mod duration;
mod gate;
mod guard;
mod instance;
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
pub use axum::body::Body;
pub use background::environment::Budget;
pub use dependency::{
    BodyBreakerFuture, BodyBreakerLayer, BodyBreakerService, BreakerFuture, BreakerLayer,
    BreakerService, CallBody, CallError, CallTimedOut, Dependency, DependencyBuilder,
    DependencyCall, DependencyGate, DependencyGateFuture, DependencyGateService, Error, Keyed,
    KeyedSettings, Permit, check, classifier,
};
pub use drain::{
    Advice, Closed, Cut, Drain, DrainPermit, DrainReport, DrainToken, HookEnd, HookReport,
    HookStage, LameDuckEnd, Stuck, UntilLeaving,
};
pub use gate::{
    drain::{DrainFuture, DrainLayer, DrainService},
    shed::{
        OBSERVED_LIMIT_DEFAULT, Shed, ShedBody, ShedFuture, ShedLayer, ShedService, Shedder,
        StreamPermit,
    },
};
#[cfg(feature = "config")]
pub use guard::config::GuardConfig;
pub use guard::{
    AnyFuture, AnyService, AxumFuture, AxumGuard, Guard, GuardBody, GuardBuilder, GuardFuture,
    GuardLayer, GuardService, Guarded, GuardedFuture, Running, Server,
};
pub use instance::Control;
pub use probe::{Probes, TOKEN_LEN_MIN};
pub use refusal::{
    Disclosure, Explain, ExplainFuture, ExplainLayer, ExplainService, ExplainSettings, causes,
};
pub use request::{body::GateBody, class::HeadView, deadlines::Deadlines, head::RequestHead};
#[cfg(feature = "tls")]
pub use serve::Tls;
pub use serve::{Connections, Handshake};
pub use steadfast_core::limit;
pub use steadfast_core::{
    Answered, BreakerMode, BreakerReason, BreakerSnapshot, BreakerState, CallFailure, CallKind,
    CallOutcome, Cause, Check, CheckOutcome, CheckRun, CheckStatus, ConfigError, Deadline,
    DependencyDown, DependencyReason, DependencyState, DependencyView, Evidence, FailureClass,
    Health, Incident, LagChange, LagMode, LagPhase, LagSnapshot, Ledger, Lifecycle, Name,
    Overloaded, Phase, PoolExhausted, Pressure, Priority, QueueSettings as Queue, QueueSnapshot,
    Queued, ReadOnlyView, Reason, Refusal, Requirement, RetryHint, RouteClass, Rule,
    START_WAITING_MAX, ShedMode, ShedSnapshot, Standing, Start, StartTicket, Streams,
    StreamsSnapshot, Trip, Verdict, WhenDraining,
};
