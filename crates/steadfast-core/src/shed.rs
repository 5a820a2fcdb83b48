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
pub mod limit;
pub(crate) mod limiter;
mod memory;
mod moment;
mod permit;
mod pressure;
mod request;
pub(crate) mod reservation;
mod reserved;
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

use std::time::{Duration, Instant};

pub use gate::Decision;
use inflight::hold_time::HoldTime;
use memory::MemoryGuard;
pub use memory::MemorySnapshot;
use moment::Moments;
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
        inflight::{
            running::Running,
            tokens::{LIMIT_MAX, Tokens},
        },
        limit::{Change, Limit},
        limiter::{Counts, LimitDriver},
        reservation::Reserve,
        runtime_lag::LagLoop,
        tenants::TenantShares,
        wait_queue::WaitQueue,
    },
    sync::{
        atomic::{AtomicBool, AtomicU32, Ordering},
        stripe::{self, Counter},
    },
};

/// The gate. Its state belongs in a [`Local`](crate::Local), so that counting costs no shared line.
#[derive(Debug)]
pub struct ShedGate {
    tokens: Tokens,
    driver: LimitDriver,
    observe: AtomicBool,
    peak: AtomicU32,
    running: Running,
    lag: LagLoop,
    streams: StreamPool,
    reserve: Reserve,
    memory: MemoryGuard,
    held_max: Duration,
    admitted: Counter,
    refused: Counter,
    would_refuse: Counter,
    held_nanos: Counter,
    settled: Counter,
    hold_time: HoldTime,
    moments: Moments,
    queue: Option<WaitQueue>,
    /// Boxed, because most gates have none.
    tenants: Option<Box<TenantShares>>,
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
        let driver = LimitDriver::new(settings.make(seed));
        Ok(Self {
            tokens: Tokens::new(driver.cap().unwrap_or(LIMIT_MAX)),
            driver,
            observe: AtomicBool::new(settings.mode == ShedMode::Observe),
            peak: AtomicU32::new(0),
            running: Running::new(now),
            lag: LagLoop::new(settings.lag_mode(), now),
            streams: StreamPool::new(settings.streams_max),
            reserve: Reserve::new(now),
            memory: MemoryGuard::new(settings.memory_mode()),
            held_max: settings.held_max,
            admitted: Counter::new(),
            refused: Counter::new(),
            would_refuse: Counter::new(),
            held_nanos: Counter::new(),
            settled: Counter::new(),
            hold_time: HoldTime::new(now),
            moments: Moments::new(),
            queue: settings.queue.map(|queue| WaitQueue::new(queue, now)),
            tenants: (settings.tenants).then(|| Box::new(TenantShares::new(now))),
        })
    }

    /// Fixes the limit from now on; values outside 1 to 1,000,000 are brought inside.
    /// Lowering it cuts nobody: fewer are admitted until enough have ended.
    pub fn set_limit(&self, limit: u32) {
        self.set_algorithm(fixed(limit));
    }

    /// Puts an algorithm in charge of the limit from now on.
    pub fn set_algorithm(&self, limit: Box<dyn Limit>) {
        self.driver.replace(limit, self.counts());
        self.offer(stripe::current(), None);
    }

    /// Takes the changes of the limit since the last call, oldest first.
    #[must_use]
    pub fn take_changes(&self) -> Vec<Change> {
        self.driver.take_changes()
    }

    /// Starts or stops to refuse.
    pub fn set_mode(&self, mode: ShedMode) {
        self.observe
            .store(mode == ShedMode::Observe, Ordering::Relaxed);
    }

    /// Returns how many requests run now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.tokens.in_flight()
    }

    fn counts(&self) -> Counts<'_> {
        Counts {
            tokens: &self.tokens,
            admitted: &self.admitted,
            refused: &self.refused,
        }
    }
}

impl AsRef<Self> for ShedGate {
    fn as_ref(&self) -> &Self {
        self
    }
}
