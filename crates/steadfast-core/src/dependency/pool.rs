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
//!        │     ▲                   └─▶ failed: the reason is noted, the place is free again
//!        ├─▶ ticket (bounded, first come first served, until the deadline)
//!        └─▶ refusal: the queue is full, or the turn would come too late
//! ```
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
//! use steadfast_core::{Evidence, Name, PoolEntry, PoolGate, PoolSettings};
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

mod advice;
mod book;
mod diagnosis;
mod homecoming;
mod inquiry;
mod knock;
mod lease;
#[cfg(all(test, loom))]
mod loom_tests;
mod pursuit;
mod reading;
mod recent;
mod refuse;
mod settings;
mod snapshot;
#[cfg(all(test, not(loom)))]
mod tests;
mod ticket;
mod work;

use std::{fmt, panic::Location, sync::Arc, time::Instant};

use self::book::Book;
use crate::{
    ConfigError, Deadline, Failure, Name, PoolReading, Refusal,
    sync::{Mutex, lock},
};

pub use advice::{PoolAdvice, PoolFit, PoolFleet};
pub use homecoming::{PoolReturn, RETURN_MAX};
pub use knock::KnockTurn;
pub use lease::{PoolLease, PoolSilence};
pub use pursuit::{
    KNOCK_AFTER, PoolCatch, PoolDriver, PoolEnd, PoolError, PoolFuture, PoolMeaning, PoolPursuit,
    PoolStep,
};
pub use settings::{
    CONNECT_MAX_DEFAULT, HELD_LONG_DEFAULT, POOL_SIZE_MAX, PoolSettings, STUCK_AFTER_DEFAULT,
    WAIT_MAX_DEFAULT, WAITERS_MAX, WAITERS_PER_CONNECTION,
};
pub use snapshot::{HELD_SHOWN_MAX, PoolHeld, PoolSnapshot, PoolTrouble};
pub use ticket::PoolTicket;
pub use work::PoolRest;

/// The gate in front of a connection pool.
pub struct PoolGate {
    name: Name,
    settings: PoolSettings,
    book: Mutex<Book>,
    last_reading: Mutex<PoolReading>,
}

/// What becomes of a request that wants a connection.
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
            book: Mutex::new(Book::new(settings.size, now)),
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
    /// or [`PoolSettings::wait_max`], whichever is earlier; but it is refused at once if as
    /// many wait as may, or if its turn is not expected within that time (waiters before it
    /// x mean hold / size, once enough holds have been measured).
    pub fn enter(
        self: &Arc<Self>,
        deadline: Option<Deadline>,
        place: &'static Location<'static>,
        now: Instant,
    ) -> PoolEntry {
        let until = self.wait_until(deadline, now);
        let mut book = lock(&self.book);
        book.recent.arrived(now);
        if let Some(slot) = book.take(place, now) {
            book.counts.acquired += 1;
            let seen = book.failures;
            drop(book);
            return PoolEntry::Lend(PoolLease::new(Arc::clone(self), slot, seen));
        }
        let turn_in = book.turn_in();
        let too_late = turn_in.is_some_and(|turn| turn > until.remaining(now));
        if book.waiting() >= self.settings.waiters_max || too_late || until.remaining(now).is_zero()
        {
            let refusal = self.refuse_waiting(&mut book, now, now);
            return PoolEntry::Refuse(refusal);
        }
        let id = book.queue(place, now);
        drop(book);
        PoolEntry::Wait(PoolTicket::new(Arc::clone(self), id, until, now))
    }

    /// Notes that a connection could not be opened, and lets those know who wait for one.
    pub fn connect_failed(&self, failure: Failure, now: Instant) {
        let wakers = lock(&self.book).failed(failure, now);
        wakers.into_iter().for_each(std::task::Waker::wake);
    }

    /// Notes that the server opened a connection.
    pub fn connect_worked(&self) {
        lock(&self.book).worked();
    }

    /// Whether no connection could be opened lately, and none was since.
    #[must_use]
    pub fn has_trouble(&self, now: Instant) -> bool {
        lock(&self.book).trouble(now).is_some()
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
        let book = lock(&self.book);
        f.debug_struct("PoolGate")
            .field("name", &self.name)
            .field("size", &self.settings.size)
            .field("in_use", &book.lent())
            .field("waiting", &book.waiting())
            .finish_non_exhaustive()
    }
}
