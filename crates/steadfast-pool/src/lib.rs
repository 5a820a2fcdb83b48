//! What the guards and checks of all connection pools share: core and tokio, and no driver.
//!
//! An application names the adapter of its driver (`steadfast-sqlx`,
//! `steadfast-deadpool-redis`) and not this crate. Who writes an adapter for another driver
//! finds here what is alike in all of them:
//! - [`Drive`] takes a [`PoolAcquire`] along: one timer, and a task for the attempt that outlives
//!   its request; [`Timed`] does the same for any [`PoolStep`].
//! - [`attach`] makes the gate of a pool, and shows its numbers with the dependency.
//! - [`reach`] says whether a server that is silent accepts a connection, and what it sends unasked.
//! - [`io_failure`] says what an error on the way to a server means.
//! - [`fresh`] says when a check asks for a new session, and [`Patience`] when silence is held
//!   against a server.
//! - The seam itself: [`PoolDriver`] is what an adapter implements, [`PoolGate`] what decides,
//!   and the rest of the `Pool…` types what passes between the two.
//! - [`Probe`](probe::Probe) keeps a check's own session and asks it, after the pool's own
//!   connection has answered [`first`]; [`counts`] remembers what earlier readings have shown.
//! - [`PoolGuardBuilder`] takes the settings, [`Gated`] is what every guard has, [`permit`]
//!   judges what is asked on a session that is lent, and [`CommandError`] is the error of one
//!   who gets no answer.
//!
//! An adapter adds how its driver connects, asks and classifies, and its types.
//!
//! ```
//! use std::{sync::Arc, time::Instant};
//! use steadfast_core::{DependencyState, Name, Trip};
//! use steadfast_pool::PoolSettings;
//!
//! let rules = Trip::default().build()?;
//! let now = steadfast_pool::clock::now();
//! let state = Arc::new(DependencyState::new(Name::new("orders-db")?, rules, 1, now));
//! let gate = steadfast_pool::attach(&state, &PoolSettings::new(8), || 3)?;
//! assert_eq!(state.view(now).pool.map(|pool| (pool.max, pool.idle)), Some((8, 3)));
//! assert_eq!(gate.snapshot(now).in_use, 0);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
pub mod clock;
mod command_error;
pub mod counts;
mod drive;
mod first;
pub mod fresh;
mod gated;
mod gauge;
mod io_error;
mod patience;
mod permit;
pub mod probe;
pub mod reach;

pub use builder::{Located, PoolGuardBuilder, PoolKind};
pub use command_error::{CommandError, Explained};
pub use drive::{Drive, Timed};
pub use first::{First, first};
pub use gated::Gated;
pub use gauge::attach;
pub use io_error::io_failure;
pub use patience::{FAIR_MAX, Patience};
pub use permit::permit;
pub use steadfast_core::plumbing::{
    PoolAcquire, PoolAcquired, PoolAdvice, PoolDetached, PoolDriver, PoolEnd, PoolEntry, PoolError,
    PoolFit, PoolFleet, PoolFuture, PoolGate, PoolHeld, PoolLease, PoolMeaning, PoolReading,
    PoolRelease, PoolSettings, PoolSilence, PoolSnapshot, PoolStep, PoolTicket, PoolTrouble,
};
