//! Failures in a row, in one word: `tag 12 | count 14 | first 38`.
//!
//! There are two such rows, because what may trip and what is said are two things: an answer
//! that asks to be left alone is no failure in a row, and is no success either.
//!
//! The tag is the generation, so a streak ends with the evidence it belongs to. A success
//! writes only where there is a streak to end, so a healthy service never writes here.
//!
//! This file uses atomics. The word guards nothing else: its value alone is the message.

use crate::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed},
};

use super::control_word::{MOMENT_MAX, TAG_BITS, tag};

/// The highest count a streak can reach.
pub(super) const STREAK_MAX: u32 = (1 << COUNT_BITS) - 1;

/// Both rows, on one cache line.
#[derive(Debug, Default)]
pub(super) struct Streaks {
    /// What may trip.
    pub(super) failures: Streak,
    /// Everything that was no success.
    pub(super) misses: Streak,
}

impl Streaks {
    /// Counts what was no success.
    #[inline]
    pub(super) fn miss(&self, generation: u32, now_ms: u64, is_current: impl Fn() -> bool) {
        // Loom explores the other row, which is the same code; two would be too many orders.
        if cfg!(not(loom)) {
            let _ = self.misses.fail(generation, now_ms, is_current);
        }
    }

    /// Ends the streaks of this generation, if there are any.
    #[inline]
    pub(super) fn succeed(&self, generation: u32) {
        self.failures.succeed(generation);
        if cfg!(not(loom)) {
            self.misses.succeed(generation);
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Streak(AtomicU64);

/// A streak, just after it grew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) failures: u32,
    pub(super) spread_ms: u64,
}

impl Streak {
    /// Counts a failure, and returns the streak with it; `None` if `is_current` says that
    /// the generation has passed.
    pub(super) fn fail(
        &self,
        generation: u32,
        now_ms: u64,
        is_current: impl Fn() -> bool,
    ) -> Option<Run> {
        let now_ms = now_ms.min(MOMENT_MAX);
        // Acquire: pairs with the release below, so that whoever sees a newer tag also
        // sees the newer control word in `is_current`.
        let mut seen = self.0.load(Acquire);
        loop {
            let (count, first) = if seen & TAG_MASK == tag(generation) {
                (
                    count(seen),
                    if count(seen) == 0 {
                        now_ms
                    } else {
                        first(seen)
                    },
                )
            } else if is_current() {
                (0, now_ms)
            } else {
                return None;
            };
            let count = (count + 1).min(STREAK_MAX);
            let next = tag(generation) | u64::from(count) << TAG_BITS | first << FIRST_SHIFT;
            // AcqRel: pairs with the same exchange in another failing thread.
            match self.0.compare_exchange(seen, next, AcqRel, Acquire) {
                Ok(_) => {
                    return Some(Run {
                        failures: count,
                        spread_ms: now_ms.saturating_sub(first),
                    });
                }
                Err(other) => seen = other,
            }
        }
    }

    /// Returns how many are in the streak of this generation, and when the first was.
    pub(super) fn read(&self, generation: u32) -> Option<(u32, u64)> {
        // Relaxed: the value alone is the message.
        let seen = self.0.load(Relaxed);
        let stands = seen & TAG_MASK == tag(generation) && count(seen) > 0;
        stands.then(|| (count(seen), first(seen)))
    }

    /// Ends the streak of this generation, if there is one.
    #[inline]
    fn succeed(&self, generation: u32) {
        // Relaxed: a success that has not yet heard of a failure is one that came first.
        let seen = self.0.load(Relaxed);
        if seen & TAG_MASK == tag(generation) && count(seen) != 0 {
            // A failure that got in between stays counted, so the result is not looked at.
            let _ = self
                .0
                .compare_exchange(seen, tag(generation), AcqRel, Relaxed);
        }
    }
}

const fn count(word: u64) -> u32 {
    (word >> TAG_BITS) as u32 & STREAK_MAX
}

const fn first(word: u64) -> u64 {
    word >> FIRST_SHIFT
}

const COUNT_BITS: u32 = 14;
const FIRST_SHIFT: u32 = TAG_BITS + COUNT_BITS;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_success_ends_a_streak_and_a_new_generation_begins_one() {
        let streak = Streak::default();
        let fail = |generation, now| {
            streak
                .fail(generation, now, || true)
                .map(|run| (run.failures, run.spread_ms))
        };
        assert_eq!(fail(1, 100), Some((1, 0)));
        assert_eq!(fail(1, 350), Some((2, 250)));
        streak.succeed(1);
        assert_eq!(fail(1, 400), Some((1, 0)));
        streak.succeed(2);
        assert_eq!(fail(1, 500), Some((2, 100)));
        assert_eq!(fail(2, 600), Some((1, 0)));
        assert_eq!(streak.fail(1, 700, || false), None);
    }
}
