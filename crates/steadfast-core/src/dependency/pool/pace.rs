//! How fast the queue moves: turns a second, counted while somebody waits.
//!
//! The wait of one who lines up is who waits before it x hold / places. Hold / places is the
//! time between two turns, so that is what is measured: it says the same as a mean hold, and
//! is right where a mean is not. One hold of seconds among many of milliseconds is one turn
//! that did not come, instead of a mean that speaks of seconds; places that are held on
//! purpose, or still being opened, give no turns.
//!
//! Only turns of the present queue count. Holds of an earlier load, which may have been a
//! nightly job's, say nothing about this one's, and a burst that finds the pool idle has not
//! been measured at all.

use std::time::{Duration, Instant};

/// Fewest turns from which a wait is predicted; fewer say little about the next.
const TURNS_MIN: u32 = 8;

/// The turns of one stretch for each place, and beside that: connections that were lent
/// together come back together, so a stretch holds several such rounds.
const TURNS_EACH: u32 = 4;
const TURNS_BASE: u32 = 16;

#[derive(Clone, Copy, Debug)]
struct Stretch {
    since: Instant,
    turns: u32,
}

/// The turns of the present queue; of the last two stretches, once they are more than that.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Pace {
    older: Option<Stretch>,
    newer: Option<Stretch>,
}

impl Pace {
    /// Says that somebody waits, where nobody did.
    pub(super) fn begin(&mut self, now: Instant) {
        let newer = Some(Stretch {
            since: now,
            turns: 0,
        });
        *self = Self { older: None, newer };
    }

    /// Says that nobody waits any more.
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// Counts a turn.
    pub(super) fn turn(&mut self) {
        if let Some(newer) = &mut self.newer {
            newer.turns = newer.turns.saturating_add(1);
        }
    }

    /// Returns in what time one with so many before it is expected to have its turn: `None`
    /// until enough turns have been counted.
    pub(super) fn expected(&self, before: u32, now: Instant) -> Option<Duration> {
        let (turns, elapsed) = self.counted(now)?;
        Some(elapsed.mul_f64(f64::from(before + 1) / f64::from(turns)))
    }

    /// Returns the shortest time in which that may well be: a refusal needs evidence that
    /// waiting would fail. A count is uncertain by its root, twice that is unlikely, and one
    /// round of returns may be just about due.
    pub(super) fn at_least(&mut self, before: u32, places: u32, now: Instant) -> Option<Duration> {
        let (turns, elapsed) = self.counted(now)?;
        let full = places.saturating_mul(TURNS_EACH).saturating_add(TURNS_BASE);
        if self.newer.is_some_and(|newer| newer.turns >= full) {
            self.older = self.newer.replace(Stretch {
                since: now,
                turns: 0,
            });
        }
        let turns = f64::from(turns);
        let most = turns + f64::from(places) + 2.0 * turns.sqrt();
        Some(elapsed.mul_f64(f64::from(before + 1) / most))
    }

    fn counted(&self, now: Instant) -> Option<(u32, Duration)> {
        let newer = self.newer?;
        let since = self.older.map_or(newer.since, |older| older.since);
        let older = self.older.map_or(0, |older| older.turns);
        let turns = older.saturating_add(newer.turns);
        (turns >= TURNS_MIN).then(|| (turns, now.saturating_duration_since(since)))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    const MS: Duration = Duration::from_millis(1);

    /// A queue that has had so many turns, one after each length.
    fn after(turns: u32, each: Duration) -> (Pace, Instant) {
        let mut now = origin();
        let mut pace = Pace::default();
        pace.begin(now);
        for _ in 0..turns {
            now += each;
            pace.turn();
        }
        (pace, now)
    }

    #[test]
    fn nothing_is_predicted_before_it_is_measured() {
        let (mut pace, now) = after(7, MS);
        assert_eq!(pace.expected(100, now), None);
        pace.turn();
        assert!(pace.expected(100, now).is_some());
        pace.end();
        assert_eq!(pace.at_least(100, 1, now), None);
        pace.begin(now);
        assert_eq!(pace.at_least(100, 1, now), None, "it is another queue");
    }

    #[test]
    fn a_wait_is_those_before_it_over_the_turns_a_second() {
        let (mut pace, now) = after(100, 10 * MS);
        assert_eq!(pace.expected(99, now), Some(1_000 * MS));
        // 100 turns, 10 that may be due, and 20 for chance.
        let least = pace.at_least(99, 10, now).expect("it is measured");
        assert_eq!(least.as_millis(), 769);
    }

    #[test]
    fn a_stretch_that_is_long_over_does_not_count() {
        let (mut pace, mut now) = after(1_000, MS);
        for _ in 0..2 {
            let _ = pace.at_least(0, 1, now);
            for _ in 0..20 {
                now += 100 * MS;
                pace.turn();
            }
        }
        let _ = pace.at_least(0, 1, now);
        // Of two stretches of 20, at 100 ms for each turn.
        assert_eq!(pace.expected(9, now), Some(1_000 * MS));
    }
}
