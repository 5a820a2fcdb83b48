//! What refusals tell clients and operators about time: how long a permit is held, and who
//! holds one for too long.

use std::time::{Duration, Instant};

use super::ShedGate;
use crate::{held::Held, sync::lock};

/// How old the numbers behind a retry hint may be. Reading them visits every stripe, which
/// a refusal must not pay for each time; a tenth of the shortest hint is exact enough.
const PACE_AGE_MAX: Duration = Duration::from_millis(100);

/// What was measured at the last look.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    at: Option<Instant>,
    held_nanos: u64,
    settled: u64,
    pub(super) mean_held: Option<Duration>,
    pub(super) stuck: Option<Held>,
}

impl ShedGate {
    /// Returns what was measured, looking again if the last look is too old.
    pub(super) fn pace(&self, now: Instant) -> Pace {
        let mut pace = lock(&self.pace);
        let fresh = pace
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < PACE_AGE_MAX);
        if !fresh {
            let (held_nanos, settled) = (self.held_nanos.sum(), self.settled.sum());
            let ended = settled.wrapping_sub(pace.settled);
            if let Some(mean) = held_nanos.wrapping_sub(pace.held_nanos).checked_div(ended) {
                pace.mean_held = Some(Duration::from_nanos(mean));
                (pace.held_nanos, pace.settled) = (held_nanos, settled);
            }
            pace.stuck = self
                .held
                .oldest(now)
                .filter(|held| held.age >= self.held_max);
            pace.at = Some(now);
        }
        pace.clone()
    }
}
