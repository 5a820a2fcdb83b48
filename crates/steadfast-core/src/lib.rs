//! The pure core of Steadfast: everything that decides, and nothing that waits.
//!
//! A service that answers 503 should do it as seldom as possible and say exactly why.
//! This crate holds the decisions behind that: it is std only, takes time as an argument,
//! spawns nothing, logs nothing, and allocates nothing when it lets a request pass. The
//! `steadfast` crate puts it behind tower and axum; adapters implement [`Check`]; a
//! simulator can drive the same types in virtual time.
//!
//! | concept | types |
//! |---|---|
//! | why a request was not served | [`Cause`], [`Rule`], [`Evidence`], [`Refusal`], [`RetryHint`] |
//! | how many may run | [`ShedGate`], [`Ask`], [`Decision`], [`ShedPermit`], [`ShedTicket`], [`Outcome`], [`limit`] |
//! | what a request brings | [`Deadline`], [`Priority`] |
//! | one truth about a dependency | [`DependencyState`], [`CallPermit`], [`CallOutcome`], [`Trip`], [`Health`] |
//! | the question asked about it | [`Check`], [`CheckRun`], [`CheckOutcome`], [`Failure`], [`FailureClass`] |
//! | where the process is in its life | [`Lifecycle`], [`Phase`] |
//! | whether the instance should get traffic | [`Requirement`], [`Verdict`] |
//! | what was refused | [`Ledger`] |
//! | how counting stays cheap | [`Local`] |
//!
//! These are what somebody needs who uses the decisions alone: for an adapter, a gate of his
//! own, a simulation. What the crates beside this one need besides lies in a module that is not
//! shown; `steadfast` shows each of its types that an application meets.
//!
//! ```
//! use std::time::Instant;
//! use steadfast_core::{Ask, Decision, Local, ShedGate, ShedSettings};
//!
//! let now = Instant::now();
//! let gate = Local::new(ShedGate::new(&ShedSettings::fixed(1), 7, now)?);
//! let Decision::Admit(permit) = ShedGate::admit(&gate, Ask::new("/work"), now) else { unreachable!() };
//! let Decision::Refuse(refusal) = ShedGate::admit(&gate, Ask::new("/work"), now) else { unreachable!() };
//! assert_eq!(refusal.to_string(), "overloaded (limit)");
//! drop(permit);
//! assert_eq!(gate.in_flight(), 0);
//! # Ok::<(), steadfast_core::ConfigError>(())
//! ```

mod config_error;
mod dependency;
mod ledger;
mod lifecycle;
mod name;
mod readiness;
mod redact;
mod refusal;
mod request;
mod shed;
mod sync;
#[cfg(test)]
mod testing;

pub use config_error::ConfigError;
pub use dependency::breaker::{CallFailure, CallOutcome, Trip};
pub use dependency::check::failure::Failure;
pub use dependency::check::settings::Requirement;
pub use dependency::check::state::Health;
pub use dependency::check::{Check, CheckOutcome, CheckRun, CheckStatus, FailureClass};
pub use dependency::{CallKind, CallPermit, DependencyState};
pub use ledger::Ledger;
pub use lifecycle::{Lifecycle, Phase};
pub use name::Name;
pub use readiness::Verdict;
pub use refusal::cause::{Cause, Rule};
pub use refusal::evidence::{DependencyDown, Evidence, Overloaded, PoolExhausted};
pub use refusal::{Refusal, RetryHint};
pub use request::deadline::Deadline;
pub use request::priority::Priority;
pub use shed::limit;
pub use shed::{Ask, Decision, Outcome, ShedGate, ShedMode, ShedPermit, ShedSettings, ShedTicket};
pub use sync::local::Local;

/// What the crates beside this one are made of: numbers for pages and metrics, the pieces of
/// breakers and pools, bounds. Applications find what they need of it in `steadfast`, or in the
/// crate of their driver, under its name there. It is kept like everything public: a change of it
/// is a change of `api.txt`.
#[doc(hidden)]
pub mod plumbing {
    pub use crate::dependency::breaker::window::WindowCounts;
    pub use crate::dependency::breaker::{
        Breaker, BreakerDoubt, BreakerMode, BreakerPermit, BreakerReason, BreakerRefusal,
        BreakerSnapshot, BreakerState, BreakerTransition, CheckDepth, STRIPES_MAX, TripRules,
    };
    pub use crate::dependency::check::settings::CheckSettings;
    pub use crate::dependency::check::state::{CheckState, CheckView, HealthChange};
    pub use crate::dependency::check::{NUMBERS_MAX, Number};
    pub use crate::dependency::pool::{
        CONNECT_MAX_DEFAULT, CONNECT_SLOW_MAX_DEFAULT, FAIR_MAX, HELD_LONG_DEFAULT, HELD_SHOWN_MAX,
        NONE_BACK_MAX, PATIENCE_MIN, POOL_SIZE_MAX, PROBE_AFTER, PoolAcquire, PoolAcquired,
        PoolAdvice, PoolDetached, PoolDriver, PoolEnd, PoolEntry, PoolError, PoolFit, PoolFleet,
        PoolFuture, PoolGate, PoolHeld, PoolLease, PoolMeaning, PoolRelease, PoolSettings,
        PoolSilence, PoolSnapshot, PoolStep, PoolTicket, PoolTrouble, RELEASE_MAX,
        STUCK_AFTER_DEFAULT, ServerProbeTurn, WAIT_MAX_DEFAULT, WAITERS_DEFAULT, WAITERS_MAX,
    };
    pub use crate::dependency::{
        CallCounts, CallTimedOut, CheckRecord, DependencyListener, DependencyNotice,
        DependencyReason, DependencyView, KEYS_MAX, LISTENERS_MAX, LastError, POOLS_MAX, PoolGauge,
        PoolPressure, PoolReading, READ_ONLY_AGREED, ReadOnlyView, SKIPS_MAX, SessionsRefusedView,
        ToldBefore, WRITE_PROBE_INTERVAL, WRITE_PROBE_LEASE,
    };
    pub use crate::ledger::{
        Answered, CHANGES_KEPT, INCIDENT_GAP, Incident, LedgerView, RECENT_PER_STRIPE,
        RUNS_PER_STRIPE, Recorded, RefusalId, RequestNote, SOURCES_MAX, StateChange, Total,
    };
    pub use crate::lifecycle::{
        Declarer, LeavingNotes, LifecycleView, Maintenance, MaintenanceEnd, Moved, REASON_LEN_MAX,
        START_WAITING_MAX, Start, StartTicket,
    };
    pub use crate::name::{NAME_LEN_MAX, NameError};
    pub use crate::readiness::{
        Reason, STALLED_AFTER, Signals, Standing, UNREADY_BUDGET_DEFAULT, first_round_is_over,
        start_is_complete, verdict,
    };
    pub use crate::redact::{MESSAGE_LEN_MAX, inert, redact};
    pub use crate::refusal::evidence::{PoolBorrower, Pressure, Queued, Value};
    pub use crate::refusal::inside::{REFUSALS_INSIDE_MAX, RefusedInside};
    pub use crate::refusal::{RETRY_AFTER_MAX, RETRY_AFTER_MIN};
    pub use crate::request::deadline;
    pub use crate::request::routes::{
        PATTERN_LEN_MAX, ROUTES_MAX, RouteClass, RouteTable, Streams, WhenDraining,
    };
    pub use crate::request::shape::shape;
    pub use crate::request::spent::{RUNTIME, SPENT_WITH_MAX, Spent, spent_by};
    pub use crate::shed::cgroup::{
        CpuTotals, MEMORY_HARD, MEMORY_SOFT, Memory, MemoryLevel, ResourceChange, ResourceSample,
        ResourceSnapshot, Resources, SAMPLE_AGE_MAX, group_path, stalled_total,
    };
    pub use crate::shed::inflight::running::{PLACES, ROUTE_LEN_MAX, RunningRequest};
    pub use crate::shed::inflight::tokens::LIMIT_MAX;
    pub use crate::shed::pacing::{PacingChange, PacingSnapshot};
    pub use crate::shed::reservation::{ReserveChange, ReserveSnapshot, Reserved};
    pub use crate::shed::runtime_lag::{
        LAG_MAX, LagChange, LagMode, LagPhase, LagSnapshot, Lagging, PROOF, WAIT_TARGET,
    };
    pub use crate::shed::tenants::{
        GREEDY_MAX, TENANT_ONE_IN, TENANTS_MAX, TENANTS_PER_STRIPE, Tenant, TenantChange,
        TenantShare, TenantSnapshot, TenantsSnapshot,
    };
    pub use crate::shed::wait_queue::{
        QUEUE_LEN_DEFAULT_MAX, QUEUE_LEN_MAX, QUEUE_WAIT_MAX, QueueSettings, QueueSnapshot, Waits,
    };
    pub use crate::shed::{
        BACKENDS_MAX, BackendChange, BackendNews, BackendSnapshot, HELD_MAX_DEFAULT,
        MemorySnapshot, SPENT_ONE_IN, STREAMS_MAX_DEFAULT, ShedSnapshot, StreamPermit,
        StreamsSnapshot,
    };
    pub use crate::sync::local::SHARDS_PER_THREAD;
    pub use crate::sync::pulse::{BEAT, Pulse};
    pub use crate::sync::stripe;
    pub use crate::sync::stripe::Counter;
}

use plumbing::*;
