//! What the lag loop says about itself and about whom it refused.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::{FLOOR_OVER, LagLoop, LagPhase};
use crate::{
    request::priority::Priority,
    sync::{atomic::Ordering, lock, origin::nanos},
};

/// Whether the lag loop refuses, only says what it would have refused, or does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LagMode {
    /// Refuses those for whom there is no room in the line.
    Enforce,
    /// Lines requests up, and only counts whom it would have refused.
    Observe,
    /// Does nothing.
    Off,
}

impl LagMode {
    /// Every word for a configuration.
    pub const WORDS: [(&'static str, Self); 3] = [
        ("enforce", Self::Enforce),
        ("observe", Self::Observe),
        ("off", Self::Off),
    ];

    /// Returns the stable word.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Observe => "observe",
            Self::Off => "off",
        }
    }
}

/// What the lag loop says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LagSnapshot {
    /// Whether it is obeyed.
    pub mode: LagMode,
    /// What it does.
    pub phase: LagPhase,
    /// How late the runtime was at the last beat, or is now if that is longer.
    pub lag: Duration,
    /// The shortest time that a request stood in line, at the last look.
    pub wait: Duration,
    /// Requests that stand in line now.
    pub waiting: u32,
    /// How many have room there that cost what one does on average; those of a route with less
    /// than its share may stand beside them. `None` is as many as come.
    pub room: Option<u32>,
    /// Requests that begin to run a second, as measured while more waited; 0 before that.
    pub capacity_per_sec: f64,
    /// The share of recent arrivals that it refused, `0.0..=1.0`.
    pub refused_ratio: f64,
    /// The least urgent class of which nobody was refused within the last second; `None` if
    /// there is none.
    pub floor: Option<Priority>,
    /// Requests that it refused since the start.
    pub refused: u64,
    /// Requests that observe mode would have refused.
    pub would_refuse: u64,
}

/// A change of phase.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LagChange {
    /// When.
    pub at: Instant,
    /// The phase before.
    pub from: LagPhase,
    /// The phase since.
    pub to: LagPhase,
    /// How late the runtime was.
    pub lag: Duration,
    /// The shortest time that a request stood in line.
    pub wait: Duration,
    /// How many stood in line.
    pub waiting: u32,
}

impl fmt::Display for LagChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "runtime {:.1?} late, {} in line, the luckiest waited {:.1?}",
            self.lag, self.waiting, self.wait
        )
    }
}

/// The numbers behind a refusal for lag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lagging {
    /// How late the runtime was.
    pub lag: Duration,
    /// What stood in line, counted in requests that cost what this one does.
    pub waiting: u32,
    /// How many such requests of this class and above have room there.
    pub room: u32,
    /// How long this request had stood in line; zero if it was not let into it.
    pub waited: Duration,
    /// The class of the request.
    pub priority: Priority,
}

impl LagLoop {
    pub(crate) fn take_changes(&self) -> Vec<LagChange> {
        lock(&self.inner).changes.drain(..).collect()
    }

    pub(crate) fn refused(&self) -> u64 {
        self.refused.sum()
    }

    pub(crate) fn snapshot(&self, now: Instant) -> LagSnapshot {
        let waiting = self.waiting();
        let inner = lock(&self.inner);
        let room = inner.control.room();
        let spared = |priority: &Priority| {
            let last = self.last_refused[priority.index()].load(Ordering::Relaxed);
            last == 0 || self.nanos(now).saturating_sub(last) > nanos(FLOOR_OVER)
        };
        LagSnapshot {
            mode: self.mode(),
            phase: inner.control.phase(),
            lag: self.lag(now),
            wait: inner.control.wait(),
            waiting,
            room,
            capacity_per_sec: inner.control.capacity(),
            refused_ratio: inner.control.refused_ratio(),
            floor: Priority::ALL.into_iter().rev().find(spared),
            refused: self.refused.sum(),
            would_refuse: self.would_refuse.sum(),
        }
    }
}
