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
mod gate;
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

pub use acquire::PoolAcquire;
pub use advice::{PoolAdvice, PoolFit, PoolFleet};
pub use detached::PoolDetached;
pub use driver::{
    PROBE_AFTER, PoolAcquired, PoolDriver, PoolEnd, PoolError, PoolFuture, PoolMeaning, PoolStep,
};
pub use gate::{PoolEntry, PoolGate};
pub use lease::{PoolLease, PoolSilence};
pub use release::{PoolRelease, RELEASE_MAX};
pub use server_probe::{FAIR_MAX, ServerProbeTurn};
pub use settings::{
    CONNECT_MAX_DEFAULT, CONNECT_SLOW_MAX_DEFAULT, HELD_LONG_DEFAULT, NONE_BACK_MAX, PATIENCE_MIN,
    POOL_SIZE_MAX, PoolSettings, STUCK_AFTER_DEFAULT, WAIT_MAX_DEFAULT, WAITERS_DEFAULT,
    WAITERS_MAX,
};
pub use snapshot::{HELD_SHOWN_MAX, PoolHeld, PoolSnapshot, PoolTrouble};
pub use ticket::PoolTicket;
