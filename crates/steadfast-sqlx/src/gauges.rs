//! What the pool and the server count, and what it means that it stays so.

use std::time::{Duration, Instant};

use sqlx::{Database, Pool};
use steadfast_core::CheckOutcome;

use crate::fresh::Fresh;

/// Fewest readings that make a state last; one or two are what any busy pool shows.
pub(crate) const READINGS_MIN: u32 = 3;

/// At how many readings in a row a pool has nothing left before it wants to grow.
const EMPTY_READINGS: u32 = 2;

/// The pool's own numbers at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gauges {
    pub(crate) size: u32,
    pub(crate) idle: u32,
    pub(crate) max: u32,
}

impl Gauges {
    pub(crate) fn read<DB: Database>(pool: &Pool<DB>) -> Self {
        let size = pool.size();
        // The two are not read in one step, so idle may have overtaken size.
        let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(size);
        let max = pool.options().get_max_connections();
        Self { size, idle, max }
    }

    /// Returns how many are handed out, or on their way to be opened.
    pub(crate) fn in_use(self) -> u32 {
        self.size - self.idle
    }

    /// Whether something is in use and nothing is left.
    pub(crate) fn is_empty(self) -> bool {
        self.size > 0 && self.idle == 0
    }

    /// Whether nothing is left and nothing may be opened.
    pub(crate) fn is_full(self) -> bool {
        self.is_empty() && self.size >= self.max
    }

    pub(crate) fn numbers(self, outcome: CheckOutcome) -> CheckOutcome {
        outcome
            .number("pool_size", self.size)
            .number("pool_idle", self.idle)
            .number("pool_max", self.max)
            .number("pool_in_use", self.in_use())
    }
}

/// What the server says about the pool's sessions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sessions {
    /// How many there are.
    pub(crate) count: u64,
    /// How long ago the last of them did anything.
    pub(crate) quiet_secs: f64,
    /// How long the one that has done nothing for longest has done nothing.
    pub(crate) longest_secs: f64,
    /// What that one is at, in the server's words.
    pub(crate) longest_state: String,
}

/// What earlier readings have shown.
#[derive(Debug, Default)]
pub(crate) struct History {
    empty_readings: u32,
    full_readings: u32,
    full_since: Option<Instant>,
    pub(crate) fresh: Fresh,
}

impl History {
    /// Takes a reading in.
    pub(crate) fn note(&mut self, gauges: Gauges, now: Instant) {
        let count = |seen: bool, so_far: u32| if seen { so_far.saturating_add(1) } else { 0 };
        self.empty_readings = count(gauges.is_empty(), self.empty_readings);
        self.full_readings = count(gauges.is_full(), self.full_readings);
        self.full_since = gauges.is_full().then(|| self.full_since.unwrap_or(now));
    }

    /// Whether the pool has had nothing left at more than one reading. One is what any busy
    /// pool shows.
    pub(crate) fn is_empty_again(&self) -> bool {
        self.empty_readings >= EMPTY_READINGS
    }

    /// Whether it is time to see if the server would give one more session: now and then,
    /// and when the pool begins to want one.
    ///
    /// sqlx counts a connection that it is still trying to open as part of the pool, so
    /// the gauges of a pool that cannot grow look like those of a pool in full use.
    pub(crate) fn wants_session(&self, now: Instant) -> bool {
        self.empty_readings == EMPTY_READINGS || self.fresh.is_due(now)
    }

    /// Returns for how long the pool has been full at every one of several readings.
    pub(crate) fn full_for(&self, now: Instant) -> Option<Duration> {
        self.full_since
            .filter(|_| self.full_readings >= READINGS_MIN)
            .map(|since| now.saturating_duration_since(since))
    }
}
