//! Atomics. Which stripe of a striped counter a thread writes, and the counter itself.
//!
//! A request may write no cache line that every thread shares: with two threads on one
//! line an increment costs seven to ten times as much as alone. So each thread has a
//! stripe, everything that a request counts has one padded cell for each stripe, and only
//! readers (a probe, a metrics round, a refusal's evidence) pay for adding them up.

use std::cell::Cell;

use crate::sync::atomic::{AtomicU64, Ordering};

/// How many stripes there are. A power of two above the worker threads of the machines
/// that services run on; more would make every sum and every search for a free permit
/// longer, fewer would let two threads meet in one cell.
pub const STRIPES: usize = if cfg!(loom) { 2 } else { 16 };

/// Keeps its content on cache lines of its own.
///
/// 128 bytes and not 64: Intel's prefetcher fetches lines in pairs, and Apple's are 128.
#[derive(Debug, Default)]
#[repr(align(128))]
pub(crate) struct Padded<T>(pub(crate) T);

impl<T> std::ops::Deref for Padded<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        &self.0
    }
}

std::thread_local! {
    static STRIPE: Cell<usize> = const { Cell::new(usize::MAX) };
}

/// std's, also under loom: a static, and no part of any model.
static NEXT: std::sync::atomic::AtomicUsize = std::sync::atomic::AtomicUsize::new(0);

/// Returns this thread's stripe, below [`STRIPES`].
///
/// Threads are dealt out in the order in which they first count something, so the worker
/// threads of one runtime land in different stripes as long as there are enough.
#[must_use]
pub fn current() -> usize {
    // During a thread's destruction there is no cell any more; any stripe is correct.
    STRIPE
        .try_with(|cell| {
            let known = cell.get();
            if known != usize::MAX {
                return known;
            }
            // Relaxed: only the uniqueness of the number matters, nothing is published by it.
            let fresh = NEXT.fetch_add(1, Ordering::Relaxed) % STRIPES;
            cell.set(fresh);
            fresh
        })
        .unwrap_or(0)
}

/// A count that many threads add to and few read.
#[derive(Debug)]
pub struct Counter {
    cells: [Padded<AtomicU64>; STRIPES],
}

impl Default for Counter {
    fn default() -> Self {
        Self::new()
    }
}

impl Counter {
    /// Starts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self {
            cells: std::array::from_fn(|_| Padded(AtomicU64::new(0))),
        }
    }

    /// Adds `n` on this thread's stripe.
    pub fn add(&self, n: u64) {
        self.add_at(current(), n);
    }

    /// Adds `n` on a stripe the caller has already looked up.
    pub fn add_at(&self, stripe: usize, n: u64) {
        // Relaxed: a count publishes nothing but itself; each cell is exact on its own.
        self.cells[stripe].0.fetch_add(n, Ordering::Relaxed);
    }

    /// Returns what was added on one stripe, below [`STRIPES`].
    #[must_use]
    pub fn at(&self, stripe: usize) -> u64 {
        self.cells[stripe].0.load(Ordering::Relaxed)
    }

    /// Returns the sum. Additions under way may or may not be in it.
    #[must_use]
    pub fn sum(&self) -> u64 {
        self.cells.iter().fold(0, |sum, cell| {
            sum.wrapping_add(cell.0.load(Ordering::Relaxed))
        })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_counter_loses_nothing_between_threads() {
        let counter = Counter::new();
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| (0..10_000).for_each(|_| counter.add(1)));
            }
        });
        assert_eq!(counter.sum(), 80_000);
    }

    #[test]
    fn a_thread_keeps_its_stripe() {
        assert_eq!(current(), current());
        assert!(current() < STRIPES);
    }
}
