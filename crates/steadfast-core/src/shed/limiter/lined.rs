//! How many of those in flight stand in line, on average.
//!
//! While the runtime is late an admitted request stands in line for the processors before it
//! begins, and a limit is about those that have begun: what is found out about it comes from
//! them. If those in line took its places, so many fewer would run at once, and what they wait
//! for would be served by half. So as many places as stand in line are kept for them beside the
//! limit, which an algorithm adds to its cap within its bounds ([`super::Limit::kept`]). On
//! average, because who joins begins only later: with the number of the moment a flood would find
//! room whenever one has begun, and all that joined until the next did would begin at once.
//!
//! It cannot run away: those in line are what begins a second times the wait in line (Little's
//! law), and what begins is bounded by what the backend serves; where the processors serve less
//! than the limit lets begin, the line itself is bounded (`shed/runtime_lag`). Where that only
//! observes nothing bounds the line, all who are admitted would end up there, and no places are
//! kept for them.

use std::time::{Duration, Instant};

/// Over how long: some times what a line is aimed at to take, and short against what changes.
const OVER: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LinedMean {
    mean: f64,
    at: Option<Instant>,
}

impl LinedMean {
    /// Takes how many stand in line now.
    pub(super) fn see(&mut self, lined: u32, now: Instant) {
        let at = self.at.replace(now).unwrap_or(now);
        let past = now.saturating_duration_since(at).as_secs_f64();
        let weight = past / (past + OVER.as_secs_f64());
        self.mean += weight * (f64::from(lined) - self.mean);
    }

    /// So many places more than the limit are there for them.
    pub(super) fn places(self) -> u32 {
        self.mean.round() as u32
    }
}
