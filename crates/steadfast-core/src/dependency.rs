//! One truth about one thing that the service needs.
//!
//! Two sides tell about a dependency, and they stay apart. *Passive* evidence is what
//! traffic saw: the breaker, the pools, the last error of a call. *Active* evidence is
//! what the background check saw. Alone, each lies: a check of a port passes while the
//! work behind it fails, a breaker without traffic never learns that the outage is over,
//! and a check with an expired password takes out a service whose every call succeeds.
//! Here they meet in one value, and breaker, pool guard, readiness, refusals and the
//! operator's view read the same [`DependencyView`].
//!
//! What the two sides do to each other:
//! - A check that fails (after its hysteresis) opens the breaker, unless calls succeed.
//! - A check that passes lets an open breaker probe before its wait is over, if it is
//!   *news*: a check that had passed all along proves nothing by passing again.
//! - A shallow check never closes a breaker that calls opened. What a check alone opened,
//!   the check may close; so may a deep one.
//! - A check that has passed for long while nobody called, and not while calls failed, lets
//!   calls in again; they decide ([`Breaker::check_vouches`]).
//! - Calls that succeed vouch for the dependency, and the check may be left out for a
//!   while ([`DependencyState::traffic_vouches`]), but not for ever ([`SKIPS_MAX`]).
//! - A server that takes no writes is no outage: reads go on, and
//!   [`DependencyState::admit_write`] refuses the writes.
//! - A server that refuses new sessions while old ones serve warns, in its own words,
//!   before the last of them is gone.
//! - A dependency that nobody calls through its breaker is judged by its check alone. The
//!   breaker is made by the first call.
//!
//! Adapters know this crate alone, so this is also what a pool guard is attached to:
//! see [`PoolGauge`] and [`DependencyState::attach_pool`].
//!
//! ```
//! use std::{sync::Arc, time::{Duration, Instant}};
//! use steadfast_core::{CallOutcome, DependencyState, FailureClass, Health, Name, Trip};
//!
//! # let mut now = Instant::now();
//! let rules = Trip::default().consecutive_failures(3).consecutive_spread(Duration::ZERO);
//! let payments = Arc::new(DependencyState::new(Name::new("payments")?, rules.build()?, 4, now));
//! for _ in 0..3 {
//!     let permit = DependencyState::try_acquire(&payments, now, 0, 42)?;
//!     payments.note_failure(FailureClass::Unreachable, &"connection refused", now);
//!     permit.settle(CallOutcome::Failure(FailureClass::Unreachable.into()), now);
//! }
//! let view = payments.view(now);
//! assert_eq!(view.health(now), Health::Failing);
//! assert_eq!(view.reason(now).unwrap().to_string(), "3 calls in a row failed within 0ns");
//! assert!(payments.refusal(now).is_some());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Hazards
//! - [`DependencyState::tick`] must be called now and then, as [`Breaker::tick`]; the guard
//!   does. Without it the calls themselves still move the breaker.
//! - A permit of this crate that is dropped only releases what it holds; whoever has a
//!   clock settles it as [`CallOutcome::Abandoned`].
//!
//! This file uses atomics: a setting, and one flag that spares gates the lock.

mod active;
pub(crate) mod breaker;
mod calls;
pub(crate) mod check;
mod explanation;
mod keys;
mod listener;
mod passive;
pub(crate) mod pool;
mod pools;
mod prepared;
mod read_only;
mod reason;
mod sessions;
mod timed_out;
mod told;
mod view;

use std::{
    fmt,
    sync::{Arc, OnceLock, Weak},
    time::{Duration, Instant},
};

pub use active::{CheckRecord, SKIPS_MAX};
pub use calls::{CallCounts, CallKind};
pub use keys::KEYS_MAX;
pub use listener::{DependencyListener, DependencyNotice};
pub use passive::CallPermit;
pub use pools::{PoolGauge, PoolPressure, PoolReading};
pub use read_only::{
    AGREED as READ_ONLY_AGREED, PROBE_INTERVAL as WRITE_PROBE_INTERVAL,
    PROBE_LEASE as WRITE_PROBE_LEASE, ReadOnlyView,
};
pub use reason::DependencyReason;
pub use sessions::SessionsRefusedView;
pub use timed_out::CallTimedOut;
pub use told::ToldBefore;
pub use view::{DependencyView, LastError};

use crate::{
    dependency::{
        breaker::{Breaker, BreakerMode, Trip, TripRules},
        check::{
            failure::Failure,
            settings::{CheckSettings, Requirement},
        },
        pool::PoolHeld,
    },
    name::Name,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
        lock,
    },
};

/// The state of one dependency. Shared by reference; every method takes `&self`.
pub struct DependencyState {
    name: Name,
    key: Option<keys::Key>,
    keys: Mutex<Vec<Weak<Self>>>,
    stripes: usize,
    /// Made by the first call, so that settings can come from a file until then and a
    /// dependency that nobody calls is judged by its check alone.
    breaker: OnceLock<Breaker>,
    calls: calls::Calls,
    active: Mutex<active::Active>,
    /// The longest call in milliseconds; zero is no bound.
    call_timeout_ms: AtomicU64,
    /// Whether the check was failing when it last ran: a gate looks here first.
    check_fails: AtomicBool,
    errors: Mutex<view::LastErrors>,
    prepared: prepared::Prepared,
    read_only: read_only::ReadOnly,
    sessions: sessions::Sessions,
    pools: [OnceLock<Arc<dyn PoolGauge>>; POOLS_MAX],
    listeners: Mutex<Vec<Arc<dyn DependencyListener>>>,
    retries: Mutex<listener::Retries>,
}

impl DependencyState {
    /// Makes a dependency of which nothing is known, without a check.
    ///
    /// `stripes` is how many threads may count without sharing a cache line; see
    /// [`Breaker::new`].
    #[must_use]
    pub fn new(name: Name, rules: TripRules, stripes: usize, now: Instant) -> Self {
        let starts_forced = rules.mode() != BreakerMode::Auto;
        let state = Self {
            name,
            key: None,
            keys: Mutex::new(Vec::new()),
            stripes,
            breaker: OnceLock::new(),
            calls: calls::Calls::default(),
            active: Mutex::new(active::Active::new(rules)),
            call_timeout_ms: AtomicU64::new(0),
            check_fails: AtomicBool::new(false),
            errors: Mutex::new(view::LastErrors::default()),
            prepared: prepared::Prepared::default(),
            read_only: read_only::ReadOnly::new(now),
            sessions: sessions::Sessions::default(),
            pools: std::array::from_fn(|_| OnceLock::new()),
            listeners: Mutex::new(Vec::new()),
            retries: Mutex::default(),
        };
        if starts_forced {
            // A mode that is set by hand holds before the first call too.
            state.breaker_at(now);
        }
        state
    }

    /// Returns the name.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Returns what a failing check means for the instance.
    #[must_use]
    pub fn requirement(&self) -> Requirement {
        lock(&self.active).requirement()
    }

    /// Returns how the check runs, `None` if there is none.
    #[must_use]
    pub fn check_settings(&self) -> Option<CheckSettings> {
        lock(&self.active).settings()
    }

    /// Returns the breaker, `None` while no call has been tried through it.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.breaker.get()
    }

    /// Returns the settings of the breaker.
    pub fn trip(&self) -> Trip {
        match self.breaker.get() {
            Some(breaker) => breaker.rules().settings().clone(),
            None => lock(&self.active).rules.settings().clone(),
        }
    }

    /// Returns how long a call may take, `None` for as long as it likes. Whoever makes the
    /// call cuts it.
    #[must_use]
    #[inline]
    pub fn call_timeout(&self) -> Option<Duration> {
        // Relaxed: the number alone is the message.
        match self.call_timeout_ms.load(Relaxed) {
            0 => None,
            ms => Some(Duration::from_millis(ms)),
        }
    }

    /// Sets how long later calls may take, in whole milliseconds, those to its keys too.
    pub fn set_call_timeout(&self, limit: Option<Duration>) {
        let ms = limit.map_or(0, |limit| limit.as_millis().clamp(1, u64::MAX.into()));
        self.call_timeout_ms
            .store(u64::try_from(ms).unwrap_or(u64::MAX), Relaxed);
        for key in self.living_keys() {
            key.set_call_timeout(limit);
        }
    }

    /// Gives the breaker other rules. Returns `false` and changes nothing once a call has
    /// been tried, to one of its keys or otherwise, because what has been counted was
    /// counted by the old ones.
    #[must_use]
    pub fn set_rules(&self, rules: &TripRules, now: Instant) -> bool {
        if self.was_called() {
            return false;
        }
        let mut active = lock(&self.active);
        if self.breaker.get().is_some() {
            return false;
        }
        let starts_forced = rules.mode() != BreakerMode::Auto;
        active.rules = rules.clone();
        drop(active);
        if starts_forced {
            self.breaker_at(now);
        }
        // Of those that came meanwhile, each took the new rules or is known by now.
        for key in self.living_keys() {
            let _ = key.set_rules(rules, now);
        }
        true
    }

    /// Whether a call has been tried, to one of its keys or otherwise, so that the rules are
    /// what they are.
    #[must_use]
    pub fn was_called(&self) -> bool {
        let keys = self.living_keys();
        self.breaker.get().is_some() || keys.iter().any(|key| key.breaker.get().is_some())
    }

    /// Returns who decides on calls.
    #[must_use]
    pub fn mode(&self) -> BreakerMode {
        match self.breaker.get() {
            Some(breaker) => breaker.mode(),
            None => lock(&self.active).rules.mode(),
        }
    }

    /// Sets who decides on calls, those to its keys too: the rules, or a person.
    pub fn set_mode(&self, mode: BreakerMode, now: Instant) {
        if let Some(moved) = self.breaker_at(now).set_mode(mode, now) {
            self.tell(&moved);
        }
        for key in self.living_keys() {
            key.set_mode(mode, now);
        }
    }

    /// Takes the step of the breaker that time asks for. Call it every
    /// [`TripRules::tick_interval`]. `random` is uniform over `u64`.
    pub fn tick(&self, now: Instant, random: u64) {
        if let Some(moved) = self.breaker.get().and_then(|it| it.tick(now, random)) {
            self.tell(&moved);
        }
        for key in self.living_keys() {
            key.tick(now, random);
        }
    }

    /// Returns how often to call [`DependencyState::tick`].
    #[must_use]
    pub fn tick_interval(&self) -> Duration {
        match self.breaker.get() {
            Some(breaker) => breaker.rules().tick_interval(),
            None => lock(&self.active).rules.tick_interval(),
        }
    }

    /// Attaches a pool whose gauges are shown with the dependency. Returns `false` if
    /// there are [`POOLS_MAX`] already.
    pub fn attach_pool(&self, pool: Arc<dyn PoolGauge>) -> bool {
        let mut pool = Some(pool);
        self.pools.iter().any(|slot| {
            slot.get_or_init(|| pool.take().expect("taken by the first free slot"));
            pool.is_none()
        })
    }

    /// Reads the pool under the most pressure, the first of equals; `None` if none is
    /// attached.
    #[must_use]
    pub fn pool(&self, now: Instant) -> Option<PoolReading> {
        self.pool_readings(now).reduce(|worst, next| {
            if next.pressure > worst.pressure {
                next
            } else {
                worst
            }
        })
    }

    /// Reads the gauges of every attached pool.
    pub fn pool_readings(&self, now: Instant) -> impl Iterator<Item = PoolReading> + '_ {
        self.pools
            .iter()
            .map_while(OnceLock::get)
            .map(move |pool| pool.reading(now))
    }

    /// Names who holds connections of the attached pools, pool by pool, the longest first.
    #[must_use]
    pub fn pool_holders(&self, now: Instant) -> Vec<PoolHeld> {
        let pools = self.pools.iter().map_while(OnceLock::get);
        pools.flat_map(|pool| pool.holders(now)).collect()
    }

    /// Whether calls fail or wait, or no connection can be had, while the breaker is closed: the
    /// moment to ask the check, which may know better.
    #[must_use]
    pub fn is_doubted(&self, now: Instant) -> bool {
        let breaker = self.breaker.get();
        breaker.is_some_and(|it| it.doubt(now).is_some()) || self.pool_trouble(now).is_some()
    }

    /// Returns why no connection of an attached pool can be had, of the first that has such
    /// trouble.
    #[must_use]
    pub fn pool_trouble(&self, now: Instant) -> Option<Failure> {
        let mut pools = self.pools.iter().map_while(OnceLock::get);
        pools.find_map(|pool| pool.trouble(now))
    }

    /// Returns the last such trouble of the attached pools, and when it was seen.
    fn last_pool_trouble(&self) -> Option<(Failure, Instant)> {
        let pools = self.pools.iter().map_while(OnceLock::get);
        pools
            .filter_map(|pool| pool.last_trouble())
            .max_by_key(|(_, at)| *at)
    }

    /// Returns how the calls ended since the start.
    #[must_use]
    pub fn calls(&self) -> CallCounts {
        self.calls.sum()
    }

    /// Returns the breaker, and makes it if there is none yet.
    #[inline]
    fn breaker_at(&self, now: Instant) -> &Breaker {
        match self.breaker.get() {
            Some(breaker) => breaker,
            None => self.make_breaker(now),
        }
    }

    #[cold]
    fn make_breaker(&self, now: Instant) -> &Breaker {
        let active = lock(&self.active);
        let breaker = self
            .breaker
            .get_or_init(|| Breaker::new(active.rules.clone(), self.stripes, now));
        // The first call of a dependency whose check fails is refused like any later one.
        let failing = active.failing_class(now);
        drop(active);
        if let Some(moved) = failing.and_then(|class| breaker.check_failed(class, None, now, 0)) {
            self.tell(&moved);
        }
        breaker
    }
}

impl AsRef<Self> for DependencyState {
    fn as_ref(&self) -> &Self {
        self
    }
}

impl fmt::Debug for DependencyState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DependencyState")
            .field("name", &self.name)
            .field("breaker", &self.breaker.get())
            .finish_non_exhaustive()
    }
}

/// Most pools of one dependency: a primary, a replica and two to spare.
pub const POOLS_MAX: usize = 4;

/// Most listeners of one dependency. Each guard that knows it is one.
pub const LISTENERS_MAX: usize = 16;

#[cfg(all(test, not(loom)))]
mod tests;
