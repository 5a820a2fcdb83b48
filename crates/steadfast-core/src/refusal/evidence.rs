//! The numbers at the moment of a decision, typed for each cause.
//!
//! A refusal that says "overloaded" is a slogan; one that says "16 of 16 in flight, the
//! oldest for 31 s on /report" is a diagnosis. Evidence is made by the gate, when it
//! decides, and goes to the ledger; a client sees it only with full disclosure.

use std::{sync::Arc, time::Duration};

use crate::{
    dependency::{DependencyReason, check::FailureClass},
    name::Name,
    refusal::cause::{Cause, Rule},
    shed::{
        cgroup::Memory,
        inflight::{running::RunningRequest, tokens::LIMIT_MAX},
        reservation::Reserved,
        runtime_lag::Lagging,
        tenants::TenantShare,
    },
};

/// Why, with the numbers that decided. Its variant is the [`Cause`].
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Evidence {
    /// See [`Cause::Application`].
    Application,
    /// See [`Cause::DependencyDown`].
    DependencyDown(DependencyDown),
    /// See [`Cause::Draining`].
    Draining {
        /// Since when the process has been leaving.
        since: Duration,
    },
    /// See [`Cause::Maintenance`].
    Maintenance {
        /// Why, in the words of whoever declared it.
        reason: Box<str>,
        /// For how long it has lasted.
        since: Duration,
        /// When it ends by itself, if it does.
        left: Option<Duration>,
    },
    /// See [`Cause::Overloaded`].
    Overloaded(Overloaded),
    /// See [`Cause::PoolExhausted`].
    PoolExhausted(PoolExhausted),
    /// See [`Cause::Starting`].
    Starting {
        /// For how long the process has been starting.
        since: Duration,
        /// How much longer requests are held back at most.
        hold_left: Duration,
        /// How many waited for the first round of checks at that moment.
        waiting: u32,
    },
}

/// The numbers behind an overload refusal.
///
/// Complete: gates and tests of those who render make it.
#[derive(Clone, Debug, PartialEq)]
pub struct Overloaded {
    /// Which rule decided.
    pub rule: Rule,
    /// How many requests were running.
    pub in_flight: u32,
    /// How many may run; [`LIMIT_MAX`] while nothing limits them.
    pub limit: u32,
    /// Who had been running longest, if that is longer than the bound for a held permit:
    /// "at capacity" is then most likely "some handlers hang".
    pub stuck: Option<RunningRequest>,
    /// The wait queue, if the gate has one.
    pub queue: Option<Queued>,
    /// What pressed, for a rule that is not about the number of requests in flight.
    pub pressure: Option<Pressure>,
    /// The dependency that the request was expected to wait for, if the limit was that of those
    /// who wait for it; the [runtime](crate::plumbing::RUNTIME) for those who compute.
    pub backend: Option<Name>,
}

/// The numbers of the wait queue behind an overload refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Queued {
    /// How many were waiting, this request among them if it was.
    pub len: u32,
    /// How many may wait.
    pub max: u32,
    /// How long this request had waited.
    pub waited: Duration,
    /// How long it would have waited, as far as could be told when it came; zero if it did wait.
    pub expected: Duration,
    /// How long its caller still listened, if it said so.
    pub deadline_left: Option<Duration>,
}

/// What pressed when a request was refused for another reason than the number in flight.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Pressure {
    /// The runtime was late.
    Lag(Lagging),
    /// Memory was close to its limit.
    Memory(Memory),
    /// The places that were left are kept for those who go first.
    Reserved(Reserved),
    /// The tenant asked for more than its share, and the places that were left are kept for others.
    Share(TenantShare),
    /// As many streams were open as may be.
    Streams {
        /// Streams that were open.
        open: u32,
        /// How many may be.
        max: u32,
    },
}

impl Pressure {
    fn each<'a>(&'a self, show: &mut impl FnMut(&'static str, Value<'a>)) {
        match self {
            Self::Streams { open, max } => {
                show("streams_open", Value::Count((*open).into()));
                show("streams_max", Value::Count((*max).into()));
            }
            Self::Memory(memory) => {
                show("memory_used_bytes", Value::Count(memory.used));
                show("memory_limit_bytes", Value::Count(memory.limit));
            }
            Self::Reserved(reserved) => {
                show("priority", Value::Text(reserved.priority.code()));
                show("kept_from_it", Value::Count(reserved.kept.into()));
            }
            Self::Share(share) => {
                let places = |places: f64| Value::Count(places.round().max(0.0) as u64);
                show("tenant", Value::Text(&share.tenant));
                show("tenant_asks", places(share.asks));
                show("tenant_has", places(share.has));
                show("fair_share", places(share.fair));
                show("kept_from_it", Value::Count(share.kept.into()));
                show("tenants", Value::Count(share.tenants.into()));
            }
            Self::Lag(lagging) => {
                show("runtime_lag", Value::Time(lagging.lag));
                show("waiting", Value::Count(lagging.waiting.into()));
                show("room", Value::Count(lagging.room.into()));
                if !lagging.waited.is_zero() {
                    show("waited", Value::Time(lagging.waited));
                }
                show("priority", Value::Text(lagging.priority.code()));
            }
        }
    }
}

/// What is known about a dependency that is down.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct DependencyDown {
    /// Which dependency.
    pub dependency: Name,
    /// Which part of it, if it has a breaker for each host, shard or tenant.
    pub key: Option<Arc<str>>,
    /// For how long.
    pub since: Duration,
    /// What kind of failure.
    pub class: FailureClass,
    /// The last error, redacted.
    pub last_error: Arc<str>,
    /// Which rule keeps calls away, with its numbers; the same that readiness gives.
    pub reason: Option<DependencyReason>,
    /// When somebody next looks whether it is back: a probe or the check. `None` if that
    /// is open, as when a person keeps it away.
    pub next_probe: Option<Duration>,
}

impl DependencyDown {
    /// Describes what somebody beside the dependency's own state has found out: an error
    /// that a driver returned. `last_error` should be redacted.
    #[must_use]
    pub fn new(
        dependency: Name,
        since: Duration,
        class: FailureClass,
        last_error: impl Into<Arc<str>>,
    ) -> Self {
        Self {
            dependency,
            key: None,
            since,
            class,
            last_error: last_error.into(),
            reason: None,
            next_probe: None,
        }
    }
}

/// What is known about a pool that has nothing to give.
///
/// Complete: gates and tests of those who render make it.
#[derive(Clone, Debug, PartialEq)]
pub struct PoolExhausted {
    /// Whose pool.
    pub dependency: Name,
    /// Connections lent out.
    pub in_use: u32,
    /// Most connections the pool may have.
    pub max: u32,
    /// Requests that wait for one.
    pub waiting: u32,
    /// How long the request waited.
    pub waited: Duration,
    /// All busy, stuck, or refused by the server.
    pub class: FailureClass,
    /// How long a connection is held on average, if enough holds have been measured.
    pub mean_hold: Option<Duration>,
    /// Who has held one for longest.
    pub longest: Option<PoolBorrower>,
    /// What the server said, if it refused; redacted.
    pub last_error: Option<Box<str>>,
}

/// Who holds a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PoolBorrower {
    /// The line of code that borrowed it: `src/store.rs:142`.
    pub place: Box<str>,
    /// For how long it has been held.
    pub held: Duration,
}

/// A value in a list of evidence.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Value<'a> {
    /// A count.
    Count(u64),
    /// A length of time; shown in milliseconds.
    Time(Duration),
    /// A word or a sentence.
    Text(&'a str),
    /// A rule of a dependency with its numbers; shown as a sentence.
    Reason(&'a DependencyReason),
}

impl Evidence {
    /// Returns the cause that this is evidence for.
    #[must_use]
    pub const fn cause(&self) -> Cause {
        match self {
            Self::Application => Cause::Application,
            Self::DependencyDown(_) => Cause::DependencyDown,
            Self::Draining { .. } => Cause::Draining,
            Self::Maintenance { .. } => Cause::Maintenance,
            Self::Overloaded(_) => Cause::Overloaded,
            Self::PoolExhausted(_) => Cause::PoolExhausted,
            Self::Starting { .. } => Cause::Starting,
        }
    }

    /// Returns the rule that decided, for an overload.
    #[must_use]
    pub const fn rule(&self) -> Option<Rule> {
        match self {
            Self::Overloaded(overloaded) => Some(overloaded.rule),
            _ => None,
        }
    }

    /// Hands every name and value to `show`, in a fixed order. A [`Value::Time`]'s name
    /// has no unit; whoever writes it adds one.
    pub fn each<'a>(&'a self, mut show: impl FnMut(&'static str, Value<'a>)) {
        match self {
            Self::Application => {}
            Self::DependencyDown(down) => {
                show("dependency", Value::Text(down.dependency.as_str()));
                if let Some(key) = &down.key {
                    show("key", Value::Text(key));
                }
                show("since", Value::Time(down.since));
                show("class", Value::Text(down.class.code()));
                show("last_error", Value::Text(&down.last_error));
                if let Some(reason) = &down.reason {
                    show("rule", Value::Text(reason.code()));
                    show("reason", Value::Reason(reason));
                }
                if let Some(next) = down.next_probe {
                    show("next_probe", Value::Time(next));
                }
            }
            Self::Draining { since } => show("since", Value::Time(*since)),
            Self::Maintenance {
                reason,
                since,
                left,
            } => {
                show("reason", Value::Text(reason));
                show("since", Value::Time(*since));
                if let Some(left) = left {
                    show("left", Value::Time(*left));
                }
            }
            Self::Overloaded(overloaded) => {
                show("in_flight", Value::Count(overloaded.in_flight.into()));
                if overloaded.limit < LIMIT_MAX {
                    show("limit", Value::Count(overloaded.limit.into()));
                    if let Some(backend) = &overloaded.backend {
                        show("backend", Value::Text(backend.as_str()));
                    }
                }
                if let Some(pressure) = &overloaded.pressure {
                    pressure.each(&mut show);
                }
                if let Some(queue) = &overloaded.queue {
                    show("queue_len", Value::Count(queue.len.into()));
                    show("queue_max", Value::Count(queue.max.into()));
                    show("waited", Value::Time(queue.waited));
                    if !queue.expected.is_zero() {
                        show("expected_wait", Value::Time(queue.expected));
                    }
                    if let Some(left) = queue.deadline_left {
                        show("deadline_left", Value::Time(left));
                    }
                }
                if let Some(held) = &overloaded.stuck {
                    show("oldest_age", Value::Time(held.age));
                    show("oldest_route", Value::Text(&held.route));
                }
            }
            Self::PoolExhausted(pool) => {
                show("dependency", Value::Text(pool.dependency.as_str()));
                show("in_use", Value::Count(pool.in_use.into()));
                show("max", Value::Count(pool.max.into()));
                show("waiting", Value::Count(pool.waiting.into()));
                show("waited", Value::Time(pool.waited));
                show("class", Value::Text(pool.class.code()));
                if let Some(hold) = pool.mean_hold {
                    show("mean_hold", Value::Time(hold));
                }
                if let Some(longest) = &pool.longest {
                    show("longest_held", Value::Time(longest.held));
                    show("longest_place", Value::Text(&longest.place));
                }
                if let Some(error) = &pool.last_error {
                    show("last_error", Value::Text(error));
                }
            }
            Self::Starting {
                since,
                hold_left,
                waiting,
            } => {
                show("since", Value::Time(*since));
                show("hold_left", Value::Time(*hold_left));
                show("waiting", Value::Count((*waiting).into()));
            }
        }
    }
}
