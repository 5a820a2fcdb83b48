//! What a dependency shows of its pool.

use std::time::Instant;

use super::{PoolGate, PoolHeld, slots::Slots};
use crate::{Failure, PoolGauge, PoolPressure, PoolReading, sync::try_lock};

/// How often a reading tries to get at the slots. A probe reads gauges, and must not wait
/// for a lock; their lock is held for arithmetic only, so the next try nearly always has it.
const TRIES_MAX: u32 = 32;

impl PoolGate {
    /// Looks into the slots without waiting for their lock.
    fn try_look<T>(&self, look: impl Fn(&Slots) -> T) -> Option<T> {
        for _ in 0..TRIES_MAX {
            if let Some(slots) = try_lock(&self.slots) {
                return Some(look(&slots));
            }
            std::hint::spin_loop();
        }
        None
    }

    fn read(&self, slots: &Slots, now: Instant) -> PoolReading {
        let held = |since| now.saturating_duration_since(since);
        let longest = slots.holders().map(|holder| held(holder.since)).max();
        let long = self.settings.held_long;
        let leaked = slots.holders().filter(|holder| holder.is_long(long, now));
        let leaked = u32::try_from(leaked.count()).unwrap_or(u32::MAX);
        let mut reading = PoolReading::new(slots.size(), slots.lent(), 0, slots.waiting());
        reading.room = slots.growth.room();
        reading.pressure = if slots.lent() < reading.room.unwrap_or(slots.size()) {
            PoolPressure::None
        } else if slots.quiet(now) >= self.settings.stuck_after {
            PoolPressure::Stuck
        } else {
            PoolPressure::Saturated
        };
        reading.waited_total = slots.counts.waited + slots.waiting_for(now);
        reading.longest_held = longest;
        reading.leaked = leaked;
        reading
    }
}

impl PoolGauge for PoolGate {
    fn reading(&self, now: Instant) -> PoolReading {
        let reading = self.try_look(|slots| self.read(slots, now));
        let last = try_lock(&self.last_reading);
        match (reading, last) {
            (Some(reading), last) => {
                if let Some(mut last) = last {
                    *last = reading;
                }
                reading
            }
            // Somebody holds it, and was taken off the processor: what was last read is as good.
            (None, Some(last)) => *last,
            (None, None) => PoolReading::new(self.settings.size, 0, 0, 0),
        }
    }

    fn trouble(&self, now: Instant) -> Option<Failure> {
        self.try_look(|slots| {
            let holds = !slots.works(now) || slots.is_silent(now);
            let trouble = slots.trouble(now).filter(|_| holds)?;
            Some(trouble.failure.clone())
        })?
    }

    fn last_trouble(&self) -> Option<(Failure, Instant)> {
        self.try_look(Slots::last_seen)?
    }

    fn holders(&self, now: Instant) -> Vec<PoolHeld> {
        self.snapshot(now).held
    }
}
