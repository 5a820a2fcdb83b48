//! What the gate says about itself, for people and for metrics.

use std::time::{Duration, Instant};

use super::{BackendSnapshot, MemorySnapshot, ShedGate, ShedMode, StreamsSnapshot, lane::Lane};
use crate::{
    shed::{
        inflight::running::RunningRequest, limit::Snapshot, pacing::PacingSnapshot,
        reservation::ReserveSnapshot, runtime_lag::LagSnapshot, tenants::TenantsSnapshot,
        wait_queue::QueueSnapshot,
    },
    sync::{atomic::Ordering, stripe::Counter},
};

/// What the gate says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShedSnapshot {
    /// How many requests may run, of those that have no limit of their own; `None` while an
    /// algorithm sees no reason to limit.
    pub limit: Option<u32>,
    /// How many run, of all.
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
    /// Mean time a permit is held, over the last look's interval, of those that share the limit.
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
    /// Whether those who ask again at once are made to pause.
    pub pacing: PacingSnapshot,
    /// Where the algorithm behind the limit stands.
    pub algorithm: Snapshot,
    /// Those who wait, if the gate has a queue.
    pub queue: Option<QueueSnapshot>,
    /// Who asks for how much, if the application says whose requests are.
    pub tenants: Option<TenantsSnapshot>,
    /// The limits of requests that wait for one dependency, where they have some of their own.
    pub backends: Vec<BackendSnapshot>,
}

impl ShedSnapshot {
    /// Returns how many run of those that share the common limit.
    #[must_use]
    pub fn in_flight_of_common(&self) -> u32 {
        let apart = self.backends.iter().map(|backend| backend.in_flight);
        apart.fold(self.in_flight, u32::saturating_sub)
    }
}

impl ShedGate {
    /// Looks how many run, and returns the most that were ever seen.
    pub(super) fn note_peak(&self) -> u32 {
        let running = self.in_flight();
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
        let common = self.lanes.common();
        let total = |of: fn(&Lane) -> &Counter| {
            let lanes = self.lanes.all().map(of).map(Counter::sum);
            lanes.fold(0, u64::wrapping_add)
        };
        ShedSnapshot {
            limit: common.limit(),
            in_flight: self.in_flight(),
            peak: self.note_peak(),
            algorithm: common.driver.snapshot(),
            streams: self.streams(),
            memory: self.memory.snapshot(),
            reserve: common.reserve.snapshot(&common.tokens),
            lag: self.lag.snapshot(now),
            pacing: self.pacing.snapshot(),
            mode: self.mode(),
            admitted: total(|lane| &lane.admitted),
            refused: total(|lane| &lane.refused),
            would_refuse: total(|lane| &lane.would_refuse),
            mean_held: common.mean_held(now),
            oldest: self.running.oldest(now),
            queue: common.queue_snapshot(now),
            tenants: (common.tenants.as_deref()).map(|shares| shares.snapshot(now)),
            backends: self.lanes.snapshots(now),
        }
    }
}
