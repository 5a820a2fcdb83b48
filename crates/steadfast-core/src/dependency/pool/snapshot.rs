//! What the pool's gate counts, for metrics and people.

use std::time::{Duration, Instant};

use super::{PoolGate, gate::place};
use crate::{Failure, sync::lock};

/// Most holders that a snapshot names: enough for a screen, and the longest are first.
pub const HELD_SHOWN_MAX: usize = 8;

/// One connection in use.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolHeld {
    /// The line of code that borrowed it: `src/store.rs:142`.
    pub place: Box<str>,
    /// For how long it has been held.
    pub held: Duration,
    /// Whether that is longer than [`PoolSettings::held_long`](super::PoolSettings::held_long),
    /// and than its holder has said.
    pub is_long: bool,
}

/// That no connection could be opened since one last was.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolTrouble {
    /// The last failure.
    pub failure: Failure,
    /// For how long.
    pub since: Duration,
}

/// The numbers of a pool at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct PoolSnapshot {
    /// Most connections that the pool may have.
    pub size: u32,
    /// Connections lent out.
    pub in_use: u32,
    /// Places in which a connection is tested or opened.
    pub connecting: u32,
    /// Requests that wait for a turn. Who waits for a new connection has had one.
    pub waiting: u32,
    /// Most that may wait, whatever they wait for.
    pub waiters_max: u32,
    /// Most places that were ever taken at once.
    pub peak_in_use: u32,
    /// Turns given.
    pub acquired: u64,
    /// Requests refused, at once or after a wait.
    pub refused: u64,
    /// Requests that left the queue by themselves.
    pub cancelled: u64,
    /// Connections that could not be opened.
    pub connects_failed: u64,
    /// What requests have waited for a turn in all, those that still wait included. Its rise
    /// a second is the mean length of the queue.
    pub waited: Duration,
    /// How long a connection is held on average, once enough holds have been measured.
    pub mean_hold: Option<Duration>,
    /// How many connections have been held for too long: work that nobody waits for any
    /// more, or a connection that was lost.
    pub held_long: u32,
    /// Who holds connections, the longest first, at most [`HELD_SHOWN_MAX`].
    pub held: Vec<PoolHeld>,
    /// How many connections the server has room for, if it has said that it has no more, and
    /// has given none since.
    pub room: Option<u32>,
    /// In what time one more is asked for, if that is wanted then.
    pub growth_retry_in: Option<Duration>,
    /// Why no connection can be opened at present.
    pub trouble: Option<PoolTrouble>,
}

impl PoolGate {
    /// Returns the numbers.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> PoolSnapshot {
        let slots = lock(&self.slots);
        let long = self.settings.held_long;
        let mut holders: Vec<_> = slots
            .holders()
            .map(|holder| PoolHeld {
                place: place(holder.place),
                held: now.saturating_duration_since(holder.since),
                is_long: holder.is_long(long, now),
            })
            .collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.held));
        let held_long = holders.iter().filter(|holder| holder.is_long).count();
        holders.truncate(HELD_SHOWN_MAX);
        PoolSnapshot {
            size: slots.size(),
            in_use: slots.lent(),
            connecting: slots.taken() - slots.lent(),
            waiting: slots.waiting(),
            waiters_max: self.settings.waiters_max,
            peak_in_use: slots.counts.peak,
            acquired: slots.counts.acquired,
            refused: slots.counts.refused,
            cancelled: slots.counts.cancelled,
            connects_failed: slots.counts.connects_failed,
            waited: slots.counts.waited + slots.waiting_for(now),
            mean_hold: slots.mean_hold(),
            held_long: u32::try_from(held_long).unwrap_or(u32::MAX),
            held: holders,
            room: slots.growth.room(),
            growth_retry_in: slots.growth.retry_in(now),
            trouble: slots.trouble(now).map(|trouble| PoolTrouble {
                failure: trouble.failure.clone(),
                since: now.saturating_duration_since(trouble.since),
            }),
        }
    }
}
