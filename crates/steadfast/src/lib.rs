#![doc = include_str!("../README.md")]

mod access;
mod body;
mod breaker;
pub mod causes;
pub mod check;
mod classify;
mod clock;
#[cfg(feature = "config")]
mod config;
mod deadlines;
mod dependency;
mod drain;
mod duration;
mod environment;
mod error;
pub mod explain;
mod front;
mod guard;
mod head;
mod metering;
mod ready;
mod serve;
mod shed;
mod signals;
#[cfg(feature = "test-util")]
pub mod test_util;

#[cfg(feature = "ws")]
pub mod ws;

pub use access::TOKEN_LEN_MIN;
pub use body::GateBody;
pub use breaker::{
    BodyBreakerFuture, BodyBreakerLayer, BodyBreakerService, BreakerFuture, BreakerLayer,
    BreakerService, CallBody, DependencyGate, DependencyGateFuture, DependencyGateService,
    classifier,
};
pub use classify::HeadView;
#[cfg(feature = "config")]
pub use config::GuardConfig;
pub use deadlines::Deadlines;
pub use dependency::{
    CallError, CallTimedOut, Dependency, DependencyBuilder, DependencyCall, Keyed, KeyedSettings,
    Permit,
};
pub use drain::{
    Drain, DrainFuture, DrainLayer, DrainPermit, DrainService, DrainToken, UntilLeaving,
};
pub use environment::Budget;
pub use error::Error;
pub use explain::{
    Disclosure, Explain, ExplainFuture, ExplainLayer, ExplainService, ExplainSettings,
};
pub use guard::{
    AxumFuture, AxumGuard, Control, Guard, GuardBody, GuardBuilder, GuardFuture, GuardLayer,
    GuardService, Guarded, GuardedFuture, Probes, Running,
};
pub use head::RequestHead;
pub use serve::{Connections, Handshake};
pub use shed::{
    OBSERVED_LIMIT_DEFAULT, Shed, ShedBody, ShedFuture, ShedLayer, ShedService, Shedder,
    StreamPermit,
};
pub use steadfast_core::limit;
pub use steadfast_core::{
    Advice, Closed, Cut, DrainReport, HookEnd, HookReport, HookStage, LameDuckEnd, Stuck,
};
pub use steadfast_core::{
    BreakerMode, BreakerReason, BreakerSnapshot, BreakerState, CallFailure, CallKind, CallOutcome,
    Cause, Check, CheckOutcome, CheckRun, CheckStatus, ConfigError, Deadline, DependencyDown,
    DependencyReason, DependencyState, DependencyView, Evidence, FailureClass, Health, Incident,
    LagChange, LagMode, LagPhase, LagSnapshot, Ledger, Lifecycle, Name, Overloaded, Phase,
    PoolExhausted, Pressure, Priority, QueueSettings as Queue, QueueSnapshot, Queued, ReadOnlyView,
    Reason, Refusal, Requirement, RetryHint, RouteClass, Rule, ShedMode, ShedSnapshot, Standing,
    Streams, StreamsSnapshot, Trip, Verdict, WhenDraining,
};
