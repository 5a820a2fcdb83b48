//! Atomics. The load-shedding gate: how many requests may run at once.
//!
//! A request flows through [`ShedGate::admit`] before anything of it is read. It gets a
//! [`ShedPermit`], a [`ShedTicket`] if the gate has a queue and waiting makes sense, or a
//! [`Refusal`](crate::Refusal) with the numbers that decided. The permit lives until
//! the response has been sent, and ends in exactly one [`ShedPermit::settle`]; dropping it
//! (a panic, a client that left) releases the place and teaches nothing.
//!
//! Laws kept here: admitting allocates nothing and writes no line that all threads share
//! while there is room ([`crate::Counter`] and the tokens are striped); never more than
//! the limit run; with nothing in flight the next request is always admitted, because the
//! limit is at least one and not all of it is ever kept for some.

pub(crate) mod cgroup;
mod gate;
pub(crate) mod inflight;
mod lane;
pub(crate) mod lanes;
pub mod limit;
pub(crate) mod limiter;
mod memory;
mod moment;
pub(crate) mod pacing;
mod permit;
mod pressure;
mod request;
pub(crate) mod reservation;
pub(crate) mod runtime_lag;
mod settings;
mod snapshot;
mod streams;
mod tenanted;
pub(crate) mod tenants;
#[cfg(all(test, not(loom)))]
mod tests;
mod ticket;
pub(crate) mod wait_queue;

use std::time::Instant;

pub use gate::Decision;
use inflight::hold_time::Hanging;
use lanes::Lanes;
pub use lanes::{BACKENDS_MAX, BackendChange, BackendNews, BackendSnapshot, SPENT_ONE_IN};
use memory::MemoryGuard;
pub use memory::MemorySnapshot;
pub use permit::{Outcome, ShedPermit};
pub use request::Ask;
use settings::fixed;
pub use settings::{HELD_MAX_DEFAULT, ShedMode, ShedSettings};
pub use snapshot::ShedSnapshot;
use streams::StreamPool;
pub use streams::{STREAMS_MAX_DEFAULT, StreamPermit, StreamsSnapshot};
pub use ticket::ShedTicket;

use crate::{
    config_error::ConfigError,
    shed::{
        inflight::running::Running,
        limit::{Change, Limit},
        pacing::Pacing,
        reservation::ReserveChange,
        runtime_lag::LagLoop,
    },
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        stripe,
    },
};

/// The gate. Its state belongs in a [`Local`](crate::Local), so that counting costs no shared line.
#[derive(Debug)]
pub struct ShedGate {
    lanes: Lanes,
    observe: AtomicBool,
    peak: AtomicU32,
    running: Running,
    lag: LagLoop,
    pacing: Pacing,
    streams: StreamPool,
    memory: MemoryGuard,
    hanging: Hanging,
}

impl ShedGate {
    /// Makes a gate. The seed only keeps the experiments of several instances from falling
    /// into step.
    ///
    /// # Errors
    /// Every fault of the settings: a limit outside 1 to 1,000,000, a zero `held_max`, a
    /// queue out of its bounds.
    pub fn new(settings: &ShedSettings, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        ConfigError::check(settings.faults())?;
        Ok(Self {
            lanes: Lanes::new(settings, seed, now),
            observe: AtomicBool::new(settings.mode == ShedMode::Observe),
            peak: AtomicU32::new(0),
            running: Running::new(now),
            lag: LagLoop::new(settings.lag_mode(), now),
            pacing: Pacing::new(),
            streams: StreamPool::new(settings.streams_max),
            memory: MemoryGuard::new(settings.memory_mode()),
            hanging: Hanging::new(settings.held_max, now),
        })
    }

    /// Fixes the limit from now on, one for all; values outside 1 to 1,000,000 are brought inside.
    /// Lowering it cuts nobody: fewer are admitted until enough have ended.
    pub fn set_limit(&self, limit: u32) {
        self.set_algorithm(fixed(limit));
    }

    /// Puts an algorithm in charge of the limit from now on, of one limit for all.
    pub fn set_algorithm(&self, limit: Box<dyn Limit>) {
        self.lanes.join();
        let lane = self.lanes.common();
        lane.driver.replace(limit, lane.counts(&self.lag));
        lane.offer(stripe::current(), None);
    }

    /// Takes the changes of the limit since the last call, oldest first; those of limits for one
    /// backend are in [`ShedGate::take_backend_changes`].
    #[must_use]
    pub fn take_changes(&self) -> Vec<Change> {
        self.lanes.common().driver.take_changes()
    }

    /// Takes what became of the places that are kept for those who go first since the last
    /// call, oldest first.
    #[must_use]
    pub fn take_reserve_changes(&self) -> Vec<ReserveChange> {
        let changes = self.lanes.all().map(|lane| lane.reserve.take_changes());
        changes.flatten().collect()
    }

    /// Starts or stops to refuse.
    pub fn set_mode(&self, mode: ShedMode) {
        self.observe
            .store(mode == ShedMode::Observe, Ordering::Relaxed);
    }

    /// Returns how many requests run now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        let running = self.lanes.all().map(|lane| lane.tokens.in_flight());
        running.fold(0, u32::saturating_add)
    }
}

impl AsRef<Self> for ShedGate {
    fn as_ref(&self) -> &Self {
        self
    }
}
