//! Atomics. The gate's side of what the surroundings leave the process: who is refused while
//! memory is close to its limit.
//!
//! Whoever reads the surroundings hands each sample over; a request reads one word of what
//! was decided, which seldom changes.

use std::time::Instant;

use super::{ShedGate, ShedMode, gate::SOURCE, pressure::HINT};
use crate::{
    refusal::{Refusal, cause::Rule, evidence::Pressure},
    request::priority::Priority,
    shed::cgroup::{
        Memory, MemoryLevel, ResourceChange, ResourceSample, ResourceSnapshot, Resources,
    },
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering},
        lock,
        stripe::Counter,
    },
};

#[derive(Debug)]
pub(super) struct MemoryGuard {
    level: AtomicU8,
    observe: AtomicBool,
    /// Bytes used, and allowed, when the level was decided.
    memory: [AtomicU64; 2],
    refused: Counter,
    would_refuse: Counter,
    resources: Mutex<Resources>,
}

/// What the memory guard says about itself.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct MemorySnapshot {
    /// Whether it refuses.
    pub mode: ShedMode,
    /// Memory, processor time and stalls, as far as they could be read.
    pub seen: ResourceSnapshot,
    /// Requests that it refused since the start.
    pub refused: u64,
    /// Requests that observe mode would have refused.
    pub would_refuse: u64,
}

impl MemoryGuard {
    pub(super) fn new(mode: ShedMode) -> Self {
        Self {
            level: AtomicU8::new(MemoryLevel::Fine as u8),
            observe: AtomicBool::new(mode == ShedMode::Observe),
            memory: [AtomicU64::new(0), AtomicU64::new(0)],
            refused: Counter::new(),
            would_refuse: Counter::new(),
            resources: Mutex::new(Resources::new()),
        }
    }

    fn mode(&self) -> ShedMode {
        if self.observe.load(Ordering::Relaxed) {
            ShedMode::Observe
        } else {
            ShedMode::Enforce
        }
    }

    pub(super) fn snapshot(&self) -> MemorySnapshot {
        MemorySnapshot {
            mode: self.mode(),
            seen: lock(&self.resources).snapshot(),
            refused: self.refused.sum(),
            would_refuse: self.would_refuse.sum(),
        }
    }
}

impl ShedGate {
    /// Refuses a request whom nobody waits for while memory is close to its limit.
    #[inline]
    pub(super) fn press_memory(
        &self,
        priority: Priority,
        stripe: usize,
        now: Instant,
    ) -> Result<(), Refusal> {
        // Relaxed, as everywhere here: a level that is a moment old is a request refused or
        // admitted a moment later.
        let word = self.memory.level.load(Ordering::Relaxed);
        if word == MemoryLevel::Fine as u8 {
            return Ok(());
        }
        self.press_memory_at(MemoryLevel::from_word(word), priority, stripe, now)
    }

    #[cold]
    fn press_memory_at(
        &self,
        level: MemoryLevel,
        priority: Priority,
        stripe: usize,
        now: Instant,
    ) -> Result<(), Refusal> {
        if !level.refuses(priority) {
            return Ok(());
        }
        if self.memory.mode() == ShedMode::Observe {
            self.memory.would_refuse.add_at(stripe, 1);
            return Ok(());
        }
        self.memory.refused.add_at(stripe, 1);
        let [used, limit] = self.memory.memory.each_ref();
        let memory = Memory {
            used: used.load(Ordering::Relaxed),
            limit: limit.load(Ordering::Relaxed),
        };
        Err(self.refuse_for(SOURCE, Rule::Memory, Pressure::Memory(memory), HINT, now))
    }

    /// Takes what was read of the surroundings, and when: the latest, however old. Once a
    /// second; without it nothing is known and nobody is refused for it.
    pub fn take_sample(
        &self,
        sample: Option<(Instant, ResourceSample)>,
        now: Instant,
    ) -> Option<ResourceChange> {
        let mut resources = lock(&self.memory.resources);
        let change = resources.look(sample, now);
        let seen = resources.snapshot();
        if let Some(memory) = seen.memory {
            self.memory.memory[0].store(memory.used, Ordering::Relaxed);
            self.memory.memory[1].store(memory.limit, Ordering::Relaxed);
        }
        self.memory.level.store(seen.level as u8, Ordering::Relaxed);
        change
    }

    /// Refuses while memory is close to its limit, or only counts who would have been.
    pub fn set_memory_mode(&self, mode: ShedMode) {
        let observe = mode == ShedMode::Observe;
        self.memory.observe.store(observe, Ordering::Relaxed);
    }
}
