//! What a dependency shows of its pool.

use std::time::Instant;

use super::{PoolGate, PoolHeld, book::Book};
use crate::{Failure, PoolGauge, PoolPressure, PoolReading, sync::try_lock};

/// How often a reading tries to get at the book. A probe reads gauges, and must not wait
/// for a lock; the book is held for arithmetic only, so the next try nearly always has it.
const TRIES_MAX: u32 = 32;

impl PoolGate {
    /// Looks into the book without waiting for its lock.
    fn try_look<T>(&self, look: impl Fn(&Book) -> T) -> Option<T> {
        for _ in 0..TRIES_MAX {
            if let Some(book) = try_lock(&self.book) {
                return Some(look(&book));
            }
            std::hint::spin_loop();
        }
        None
    }

    fn read(&self, book: &Book, now: Instant) -> PoolReading {
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
        reading
    }
}

impl PoolGauge for PoolGate {
    fn reading(&self, now: Instant) -> PoolReading {
        let reading = self.try_look(|book| self.read(book, now));
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
        self.try_look(|book| {
            let holds = !book.works(now) || book.is_silent(now);
            let trouble = book.trouble(now).filter(|_| holds)?;
            Some(trouble.failure.clone())
        })?
    }

    fn holders(&self, now: Instant) -> Vec<PoolHeld> {
        self.snapshot(now).held
    }
}
