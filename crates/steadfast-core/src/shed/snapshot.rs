//! What the gate says about itself, for people and for metrics.

use std::time::{Duration, Instant};

use super::{MemorySnapshot, ShedGate, ShedMode, StreamsSnapshot};
use crate::{
    shed::{
        inflight::{running::RunningRequest, tokens::LIMIT_MAX},
        limit::Snapshot,
        reservation::ReserveSnapshot,
        runtime_lag::LagSnapshot,
        tenants::TenantsSnapshot,
        wait_queue::QueueSnapshot,
    },
    sync::atomic::Ordering,
};

/// What the gate says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShedSnapshot {
    /// How many requests may run; `None` while an algorithm sees no reason to limit.
    pub limit: Option<u32>,
    /// How many run.
    pub in_flight: u32,
    /// The most that ran at a look since the start; somebody looks ten times a second.
    pub peak: u32,
    /// Whether it refuses.
    pub mode: ShedMode,
    /// Requests admitted since the start.
    pub admitted: u64,
    /// Requests refused since the start.
    pub refused: u64,
    /// Requests that observe mode would have refused.
    pub would_refuse: u64,
    /// Mean time a permit is held, over the last look's interval.
    pub mean_held: Option<Duration>,
    /// The request that has been running longest.
    pub oldest: Option<RunningRequest>,
    /// Answers that are counted apart.
    pub streams: StreamsSnapshot,
    /// Places that are kept for those who go first.
    pub reserve: ReserveSnapshot,
    /// The memory guard, and what else was read of the surroundings.
    pub memory: MemorySnapshot,
    /// The lag loop.
    pub lag: LagSnapshot,
    /// Where the algorithm behind the limit stands.
    pub algorithm: Snapshot,
    /// Those who wait, if the gate has a queue.
    pub queue: Option<QueueSnapshot>,
    /// Who asks for how much, if the application says whose requests are.
    pub tenants: Option<TenantsSnapshot>,
}

impl ShedGate {
    /// Looks how many run, and returns the most that were ever seen.
    pub(super) fn note_peak(&self) -> u32 {
        let running = self.tokens.in_flight();
        // Relaxed: a number for people.
        self.peak.fetch_max(running, Ordering::Relaxed).max(running)
    }

    /// Whether it refuses.
    pub(super) fn mode(&self) -> ShedMode {
        if self.observe.load(Ordering::Relaxed) {
            ShedMode::Observe
        } else {
            ShedMode::Enforce
        }
    }

    /// Returns the requests that run, as far as they are written down; beyond some hundreds
    /// that is a sample. Visits every place: not for the request path.
    #[must_use]
    pub fn running(&self, now: Instant) -> Vec<RunningRequest> {
        self.running.all(now)
    }

    /// Returns what the gate says about itself. Visits every stripe: not for the request path.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> ShedSnapshot {
        ShedSnapshot {
            limit: Some(self.tokens.limit()).filter(|limit| *limit < LIMIT_MAX),
            in_flight: self.tokens.in_flight(),
            peak: self.note_peak(),
            algorithm: self.driver.snapshot(),
            streams: self.streams(),
            memory: self.memory.snapshot(),
            reserve: self.reserve.snapshot(&self.tokens),
            lag: self.lag.snapshot(now),
            mode: self.mode(),
            admitted: self.admitted.sum(),
            refused: self.refused.sum(),
            would_refuse: self.would_refuse.sum(),
            mean_held: self.mean_held(now),
            oldest: self.running.oldest(now),
            queue: self.queue_snapshot(now),
            tenants: (self.tenants.as_deref()).map(|shares| shares.snapshot(now)),
        }
    }
}
