//! What a dependency shows of its pool.

use std::time::Instant;

use super::{PoolGate, PoolHeld};
use crate::{PoolGauge, PoolPressure, PoolReading, sync::try_lock};

/// How often a reading tries to get at the book. A probe reads gauges, and must not wait
/// for a lock; the book is held for arithmetic only, so the next try nearly always has it.
const TRIES_MAX: u32 = 32;

impl PoolGauge for PoolGate {
    fn reading(&self, now: Instant) -> PoolReading {
        for _ in 0..TRIES_MAX {
            let Some(book) = try_lock(&self.book) else {
                std::hint::spin_loop();
                continue;
            };
            let held = |since| now.saturating_duration_since(since);
            let longest = book.holders().map(|holder| held(holder.since)).max();
            let long = self.settings.held_long;
            let leaked = book.holders().filter(|holder| holder.is_long(long, now));
            let leaked = u32::try_from(leaked.count()).unwrap_or(u32::MAX);
            let mut reading = PoolReading::new(book.size(), book.lent(), 0, book.waiting());
            reading.room = book.growth.room();
            reading.pressure = if book.lent() < reading.room.unwrap_or(book.size()) {
                PoolPressure::None
            } else if book.quiet(now) >= self.settings.stuck_after {
                PoolPressure::Stuck
            } else {
                PoolPressure::Saturated
            };
            reading.waited_total = book.counts.waited + book.waiting_for(now);
            reading.longest_held = longest;
            reading.leaked = leaked;
            drop(book);
            if let Some(mut last) = try_lock(&self.last_reading) {
                *last = reading;
            }
            return reading;
        }
        // Somebody holds it, and was taken off the processor: what was last read is as good.
        let last = try_lock(&self.last_reading);
        last.map_or_else(
            || PoolReading::new(self.settings.size, 0, 0, 0),
            |last| *last,
        )
    }

    fn holders(&self, now: Instant) -> Vec<PoolHeld> {
        self.snapshot(now).held
    }
}
