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
//! | how many may run | [`ShedGate`], [`Ask`], [`ShedPermit`], [`ShedTicket`], [`Decision`], [`Outcome`] |
//! | whether a dependency may be called | [`Breaker`], [`Trip`], [`BreakerPermit`], [`BreakerRefusal`], [`BreakerSnapshot`] |
//! | until when an answer is worth something | [`Deadline`], [`deadline`] |
//! | who goes first | [`Priority`], [`RouteTable`], [`RouteClass`] |
//! | who gets a connection of a pool | [`PoolGate`], [`PoolTicket`], [`PoolLease`], [`PoolSnapshot`], [`PoolAdvice`] |
//! | where the process is in its life | [`Lifecycle`], [`Phase`] |
//! | one truth about a dependency | [`DependencyState`], [`DependencyView`], [`DependencyReason`], [`CallPermit`], [`PoolGauge`] |
//! | what its check says | [`Check`], [`CheckState`], [`Health`], [`Requirement`] |
//! | whether the instance should get traffic | [`verdict()`], [`Verdict`], [`Reason`] |
//! | what was refused | [`Ledger`], [`Incident`], [`Recorded`], [`StateChange`] |
//! | how counting stays cheap | [`Local`], [`Counter`], [`stripe`] |
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
pub use dependency::breaker::window::WindowCounts;
pub use dependency::breaker::{
    Breaker, BreakerDoubt, BreakerMode, BreakerPermit, BreakerReason, BreakerRefusal,
    BreakerSnapshot, BreakerState, BreakerTransition, CallFailure, CallOutcome, CheckDepth,
    STRIPES_MAX, Trip, TripRules,
};
pub use dependency::check::failure::Failure;
pub use dependency::check::settings::{CheckSettings, Requirement};
pub use dependency::check::state::{CheckState, CheckView, Health, HealthChange};
pub use dependency::check::{
    Check, CheckOutcome, CheckRun, CheckStatus, FailureClass, NUMBERS_MAX, Number,
};
pub use dependency::pool::{
    CONNECT_MAX_DEFAULT, CONNECT_SLOW_MAX_DEFAULT, HELD_LONG_DEFAULT, HELD_SHOWN_MAX, KNOCK_AFTER,
    KnockTurn, NONE_BACK_MAX, PATIENCE_MIN, POOL_SIZE_MAX, PoolAdvice, PoolCatch, PoolDriver,
    PoolEnd, PoolEntry, PoolError, PoolFit, PoolFleet, PoolFuture, PoolGate, PoolHeld, PoolLease,
    PoolMeaning, PoolPursuit, PoolRest, PoolReturn, PoolSettings, PoolSilence, PoolSnapshot,
    PoolStep, PoolTicket, PoolTrouble, RETURN_MAX, STUCK_AFTER_DEFAULT, WAIT_MAX_DEFAULT,
    WAITERS_DEFAULT, WAITERS_MAX,
};
pub use dependency::{
    CallCounts, CallKind, CallPermit, CallTimedOut, CheckRecord, DependencyListener,
    DependencyNotice, DependencyReason, DependencyState, DependencyView, KEYS_MAX, LISTENERS_MAX,
    LastError, POOLS_MAX, PoolGauge, PoolPressure, PoolReading, READ_ONLY_AGREED, ReadOnlyView,
    SKIPS_MAX, SessionsRefusedView, ToldBefore, WRITE_PROBE_INTERVAL, WRITE_PROBE_LEASE,
};
pub use ledger::{
    Answered, CHANGES_KEPT, INCIDENT_GAP, Incident, Ledger, LedgerView, RECENT_PER_STRIPE,
    RUNS_PER_STRIPE, Recorded, RefusalId, RequestNote, SOURCES_MAX, StateChange, Total,
};
pub use lifecycle::{
    Declarer, LeavingNotes, Lifecycle, LifecycleView, Maintenance, MaintenanceEnd, Moved, Phase,
    REASON_LEN_MAX, START_WAITING_MAX, Start, StartTicket,
};
pub use name::{NAME_LEN_MAX, Name, NameError};
pub use readiness::{
    Reason, STALLED_AFTER, Signals, Standing, UNREADY_BUDGET_DEFAULT, Verdict, first_round_is_over,
    start_is_complete, verdict,
};
pub use redact::{MESSAGE_LEN_MAX, inert, redact};
pub use refusal::cause::{Cause, Rule};
pub use refusal::evidence::{
    DependencyDown, Evidence, Overloaded, PoolBorrower, PoolExhausted, Pressure, Queued, Value,
};
pub use refusal::inside::{REFUSALS_INSIDE_MAX, RefusedInside};
pub use refusal::{RETRY_AFTER_MAX, RETRY_AFTER_MIN, Refusal, RetryHint};
pub use request::deadline;
pub use request::deadline::Deadline;
pub use request::priority::Priority;
pub use request::routes::{
    PATTERN_LEN_MAX, ROUTES_MAX, RouteClass, RouteTable, Streams, WhenDraining,
};
pub use shed::cgroup::{
    CpuTotals, MEMORY_HARD, MEMORY_SOFT, Memory, MemoryLevel, ResourceChange, ResourceSample,
    ResourceSnapshot, Resources, SAMPLE_AGE_MAX, group_path, stalled_total,
};
pub use shed::inflight::running::{Held, PLACES, ROUTE_LEN_MAX};
pub use shed::inflight::tokens::LIMIT_MAX;
pub use shed::limit;
pub use shed::reservation::{ReserveChange, ReserveSnapshot, Reserved};
pub use shed::runtime_lag::{
    LAG_MAX, LagChange, LagMode, LagPhase, LagSnapshot, Lagging, PROOF, WAIT_TARGET,
};
pub use shed::wait_queue::{
    QUEUE_LEN_DEFAULT_MAX, QUEUE_LEN_MAX, QUEUE_WAIT_MAX, QueueSettings, QueueSnapshot, Waits,
};
pub use shed::{
    Ask, Decision, HELD_MAX_DEFAULT, MemorySnapshot, Outcome, STREAMS_MAX_DEFAULT, ShedGate,
    ShedMode, ShedPermit, ShedSettings, ShedSnapshot, ShedTicket, StreamPermit, StreamsSnapshot,
};
pub use sync::local::{Local, SHARDS_PER_THREAD};
pub use sync::pulse::{BEAT, Pulse};
pub use sync::stripe;
pub use sync::stripe::Counter;
