//! The gate in front of a connection pool: who gets a connection, who waits, and who is
//! told at once that there is none.
//!
//! A pool that has nothing to give says one thing (`PoolTimedOut`) for at least four: all
//! connections are in use and working, all are in use and none comes back, no new one can
//! be opened, or the server gives no session. Each needs another answer from the person
//! who is woken up, and another verdict on the dependency: the first two say nothing about
//! the server, the last two do. A pool also lets any number of requests wait, for longer
//! than their clients listen, and does not say who holds what it cannot give.
//!
//! A [`PoolGate`] keeps the pool's places itself, so it knows all that:
//!
//! ```text
//! enter ─┬─▶ lease ── connecting ──┬─▶ connected ── give back: the hold is measured
//!        │     ▲          │        └─▶ failed: the reason is noted, the place is free again
//!        │     │          ▼ slow, or none to be had
//!        ├─▶ ticket (first come first served, until the deadline)
//!        └─▶ refusal: the turn would come too late
//! ```
//!
//! How many wait is bounded by what they wait for, and not by their number: whoever cannot
//! have its turn in time, as far as the turns of the present queue show, is refused at once.
//! Who waits for a new connection waits for one that comes back too, in the same queue, and
//! a connect that is slow goes on for whoever needs it then. While a connection works, one
//! that cannot be opened is no verdict on the server: the pool is as large as the server
//! lets it be, which the gate remembers, and asks for more now and then.
//!
//! An adapter takes a [`PoolLease`] before it asks the driver's pool, which then need not
//! let anybody wait: with a lease there is an idle connection to test, or room to open one.
//! So an abandoned request leaves the queue without having touched a connection.
//!
//! It takes one short lock for each connection that is lent and given back. That is a line
//! which all threads share; the driver's pool behind it has several, and the round trip to a
//! server that follows costs far more.
//!
//! ```
//! use std::{panic::Location, time::{Duration, Instant}};
//! use steadfast_core::{Evidence, Name, plumbing::{PoolEntry, PoolGate, PoolSettings}};
//!
//! let now = Instant::now();
//! let settings = PoolSettings::new(1).waiters_max(0);
//! let gate = PoolGate::new(Name::new("orders-db")?, &settings, now)?;
//! let PoolEntry::Lend(mut lease) = gate.enter(None, Location::caller(), now) else { unreachable!() };
//! lease.connected(now);
//! let PoolEntry::Refuse(refusal) = gate.enter(None, Location::caller(), now) else { unreachable!() };
//! let Evidence::PoolExhausted(pool) = refusal.evidence() else { unreachable!() };
//! assert_eq!((pool.in_use, pool.max), (1, 1));
//! lease.give_back(now + Duration::from_millis(20));
//! assert_eq!(gate.snapshot(now).in_use, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod acquire;
mod advice;
mod attempt;
mod detached;
mod diagnosis;
mod driver;
mod growth;
mod lease;
#[cfg(all(test, loom))]
mod loom_tests;
mod pace;
mod patience;
mod reading;
mod recent;
mod refuse;
mod release;
mod restart;
mod server_probe;
mod settings;
mod slots;
mod snapshot;
#[cfg(all(test, not(loom)))]
mod tests;
mod ticket;

use std::{
    fmt,
    panic::Location,
    sync::Arc,
    time::{Duration, Instant},
};

use self::slots::{Slots, Wakes};
use crate::{
    ConfigError, Deadline, Failure, Name, PoolReading, Refusal,
    sync::{Mutex, lock},
};

pub use acquire::PoolAcquire;
pub use advice::{PoolAdvice, PoolFit, PoolFleet};
pub use detached::PoolDetached;
pub use driver::{
    PROBE_AFTER, PoolAcquired, PoolDriver, PoolEnd, PoolError, PoolFuture, PoolMeaning, PoolStep,
};
pub use lease::{PoolLease, PoolSilence};
pub use release::{PoolRelease, RELEASE_MAX};
pub use server_probe::ServerProbeTurn;
pub use settings::{
    CONNECT_MAX_DEFAULT, CONNECT_SLOW_MAX_DEFAULT, HELD_LONG_DEFAULT, NONE_BACK_MAX, PATIENCE_MIN,
    POOL_SIZE_MAX, PoolSettings, STUCK_AFTER_DEFAULT, WAIT_MAX_DEFAULT, WAITERS_DEFAULT,
    WAITERS_MAX,
};
pub use snapshot::{HELD_SHOWN_MAX, PoolHeld, PoolSnapshot, PoolTrouble};
pub use ticket::PoolTicket;

/// The gate in front of a connection pool.
pub struct PoolGate {
    name: Name,
    settings: PoolSettings,
    slots: Mutex<Slots>,
    last_reading: Mutex<PoolReading>,
}

/// What becomes of a request that wants a connection.
///
/// Complete: whoever asks has to handle each.
#[derive(Debug)]
#[must_use]
pub enum PoolEntry {
    /// There is a place in the pool for it.
    Lend(PoolLease),
    /// It waits for one.
    Wait(PoolTicket),
    /// It will get none in time.
    Refuse(Refusal),
}

impl PoolGate {
    /// Makes the gate of the pool of the dependency with this name.
    ///
    /// # Errors
    /// Every setting that is out of its range.
    pub fn new(
        name: Name,
        settings: &PoolSettings,
        now: Instant,
    ) -> Result<Arc<Self>, ConfigError> {
        let about = |fault| format!("pool of {name}: {fault}");
        ConfigError::check(settings.faults().into_iter().map(about).collect())?;
        Ok(Arc::new(Self {
            name,
            settings: settings.clone(),
            slots: Mutex::new(Slots::new(settings, now)),
            last_reading: Mutex::new(PoolReading::new(settings.size, 0, 0, 0)),
        }))
    }

    /// Returns the name of the dependency.
    #[must_use]
    pub const fn name(&self) -> &Name {
        &self.name
    }

    /// Returns the settings.
    pub const fn settings(&self) -> &PoolSettings {
        &self.settings
    }

    /// Asks for a place in the pool, on behalf of whoever is at `place`.
    ///
    /// With a free place the answer is a lease. Otherwise the caller waits until `deadline`
    /// or [`PoolSettings::wait_max`], whichever is earlier; but it is refused at once if its
    /// turn cannot come within that time, as far as the turns of the present queue show, or
    /// if as many wait as may.
    pub fn enter(
        self: &Arc<Self>,
        deadline: Option<Deadline>,
        place: &'static Location<'static>,
        now: Instant,
    ) -> PoolEntry {
        match self.admit(u32::MAX, deadline, place, now) {
            Ok((_, Some(start))) => PoolEntry::Lend(start.lease),
            Ok((ticket, None)) => PoolEntry::Wait(ticket),
            Err(refusal) => PoolEntry::Refuse(refusal),
        }
    }

    /// Notes that the server gives no connection, and lets those know who wait for one.
    pub fn connect_failed(&self, failure: Failure, now: Instant) {
        let mut wakes = Wakes::default();
        lock(&self.slots).troubled(failure, now, now, &mut wakes);
        wakes.ring();
    }

    /// Notes that no connection could be opened for one who asked at `asked_at`, while so many
    /// lay idle.
    fn note_failed(&self, failure: &Failure, asked_at: Instant, idle: u32, now: Instant) {
        let mut wakes = Wakes::default();
        lock(&self.slots).failed(failure.clone(), asked_at, idle, now, &mut wakes);
        wakes.ring();
    }

    /// Notes that the server opened a connection for one who asked at `asked_at`.
    pub fn connect_worked(&self, asked_at: Instant, now: Instant) {
        let mut wakes = Wakes::default();
        lock(&self.slots).answered(asked_at, now, &mut wakes);
        wakes.ring();
    }

    /// Returns how long a connect may be silent, as far as is known.
    fn connect_patience(&self) -> Duration {
        lock(&self.slots).connect_patience()
    }

    /// Whether connections are lent and come back.
    fn works(&self, now: Instant) -> bool {
        lock(&self.slots).works(now)
    }

    /// Returns how many connections serve, if so many lie idle: none, unless one is in use or
    /// has been lately.
    fn serving(&self, idle: u32, now: Instant) -> u32 {
        let slots = lock(&self.slots);
        if slots.works(now) || slots.quiet(now) < self.settings.connect_max {
            slots.lent().saturating_add(idle).min(slots.size())
        } else {
            0
        }
    }

    /// Whether connections are lent, or on their way back.
    fn has_lent(&self) -> bool {
        lock(&self.slots).lent() > 0
    }

    /// Notes how many connections the driver's pool has lent.
    fn note_in_use(&self, in_use: u32) {
        lock(&self.slots).note_in_use(in_use);
    }

    /// Returns how many connections are being opened, and not for too long.
    fn opening(&self, now: Instant) -> u32 {
        lock(&self.slots).opening(now)
    }

    /// Whether no connection could be opened lately, and none was since.
    #[must_use]
    pub fn has_trouble(&self, now: Instant) -> bool {
        lock(&self.slots).trouble(now).is_some()
    }

    /// Returns the earlier of the request's deadline and the longest wait.
    #[must_use]
    pub fn wait_until(&self, deadline: Option<Deadline>, now: Instant) -> Deadline {
        let own = Deadline::at(now + self.settings.wait_max);
        deadline.map_or(own, |deadline| deadline.min(own))
    }
}

/// Writes a line of code as people do.
fn place(location: &Location<'_>) -> Box<str> {
    format!("{}:{}", location.file(), location.line()).into()
}

impl fmt::Debug for PoolGate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = lock(&self.slots);
        f.debug_struct("PoolGate")
            .field("name", &self.name)
            .field("size", &self.settings.size)
            .field("in_use", &slots.lent())
            .field("waiting", &slots.waiting())
            .finish_non_exhaustive()
    }
}
