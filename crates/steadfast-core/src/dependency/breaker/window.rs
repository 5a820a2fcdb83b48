//! What happened in the last few seconds, counted so that the past really leaves.
//!
//! A ring of time buckets for each stripe. A bucket is two atomic words, and each word
//! carries the number of its time bucket (the *epoch*) beside its two counts, so a reader
//! tells a live bucket from a leftover without anybody having swept it. An idle hour
//! costs nothing, and ten million old successes cannot outvote today's failures, as they
//! do where counters are only reset by a change of state.
//!
//! Why buckets and not a moving average: a total outage in one tight burst has almost no
//! weight in an average weighted by the time between arrivals, and here it has all of it
//! (linkerd2-proxy chose buckets for the same reason). Why not a log of calls: summing it
//! grows with the traffic (25 us a call was measured with 50,000 records).
//!
//! # Hazards
//! - The window reaches back between `buckets - 1` and `buckets` bucket widths.
//! - A call that is recorded while its bucket rolls to a new epoch can be counted in the
//!   newer bucket: at most one call for each thread and roll.
//! - A bucket counts up to 262,143 calls for each stripe and then counts no further, so
//!   the ratio stays what it was until the next bucket.
//! - An epoch has 28 bits. With buckets of 100 ms a leftover looks live again after 310
//!   days in which nothing at all was recorded in its bucket.
//!
//! This file uses atomics. No count guards other memory, so every access is relaxed; who
//! needs "my record, then everybody's counts" puts a fence between them
//! ([`Window::counts_after_record`]).

use crate::{
    dependency::breaker::period::Period,
    sync::{
        atomic::{
            AtomicU64,
            Ordering::{Relaxed, SeqCst},
            fence,
        },
        stripe::Padded,
    },
};

/// A window of time buckets over stripes.
#[derive(Debug)]
pub(crate) struct Window {
    lines: Box<[Line]>,
    lines_per_stripe: usize,
    stripe_mask: usize,
    slot_mask: u64,
    buckets: u64,
    bucket: Period,
}

/// How one call is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sample {
    /// Whether it belongs to the calls that ratios are taken of.
    pub(crate) call: bool,
    /// Whether it failed; only for a `call`.
    pub(crate) failed: bool,
    /// Whether it was slow; only for a `call`.
    pub(crate) slow: bool,
    /// Whether the caller left before the answer, counted as a call or not.
    pub(crate) abandoned: bool,
}

/// What a window holds at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct WindowCounts {
    /// Calls that were judged; ratios are taken of these.
    pub calls: u32,
    /// Calls that failed.
    pub failed: u32,
    /// Calls that were slow, failed or not.
    pub slow: u32,
    /// Calls whose caller left before the answer, judged or not.
    pub abandoned: u32,
}

impl Window {
    /// Makes a window of `buckets` buckets of `bucket_ms` each, for `stripes` stripes,
    /// rounded up to a power of two so that a stripe is found without a division.
    pub(crate) fn new(bucket_ms: u64, buckets: usize, stripes: usize) -> Self {
        let slots = buckets.max(1).next_power_of_two();
        let stripes = stripes.max(1).next_power_of_two();
        let lines_per_stripe = slots.div_ceil(LINE_SLOTS);
        Self {
            lines: (0..lines_per_stripe * stripes)
                .map(|_| Line::default())
                .collect(),
            lines_per_stripe,
            stripe_mask: stripes - 1,
            slot_mask: slots as u64 - 1,
            buckets: buckets.max(1) as u64,
            bucket: Period::new(bucket_ms),
        }
    }

    /// Counts one call: one load and one add, unless the bucket is new.
    pub(crate) fn record(&self, stripe: usize, sample: Sample, now_ms: u64) {
        let epoch = self.epoch(now_ms);
        let slot = self.slot(stripe & self.stripe_mask, epoch);
        let calls = u64::from(sample.call) | u64::from(sample.failed) << COUNT_BITS;
        if calls != 0 {
            add(&slot.calls, epoch, calls);
        }
        let marks = u64::from(sample.slow) | u64::from(sample.abandoned) << COUNT_BITS;
        if marks != 0 {
            add(&slot.marks, epoch, marks);
        }
    }

    /// Counts one call that succeeded in good time.
    #[inline]
    pub(crate) fn record_success(&self, stripe: usize, now_ms: u64) {
        let epoch = self.epoch(now_ms);
        add(&self.slot(stripe & self.stripe_mask, epoch).calls, epoch, 1);
    }

    /// Sums the buckets that are live at `now_ms`.
    pub(crate) fn counts(&self, now_ms: u64) -> WindowCounts {
        self.counts_of(self.buckets, now_ms)
    }

    /// Sums the youngest `buckets` of those that are live at `now_ms`.
    pub(crate) fn counts_of(&self, buckets: u64, now_ms: u64) -> WindowCounts {
        let buckets = buckets.min(self.buckets);
        let epoch = self.epoch(now_ms);
        let mut sum = WindowCounts::default();
        for slot in self.lines.iter().flat_map(|line| &line.0) {
            // Relaxed: a count is a number about the past and guards nothing.
            let (calls, failed) = self.live(slot.calls.load(Relaxed), epoch, buckets);
            let (slow, abandoned) = self.live(slot.marks.load(Relaxed), epoch, buckets);
            sum.calls += calls;
            sum.failed += failed;
            sum.slow += slow;
            sum.abandoned += abandoned;
        }
        sum
    }

    /// Sums like [`Window::counts`], for a caller that has just recorded.
    ///
    /// Of two threads that recorded on different stripes at the same time, at least one
    /// sees both records, so the pair that crosses a threshold is never overlooked.
    pub(crate) fn counts_after_record(&self, now_ms: u64) -> WindowCounts {
        // SeqCst fence: its partner is the same fence in the other recording thread.
        // Without the pair, each could read the other's stripe as it was before.
        fence(SeqCst);
        self.counts(now_ms)
    }

    /// Forgets every count. A record that runs beside it may survive.
    pub(crate) fn clear(&self) {
        for slot in self.lines.iter().flat_map(|line| &line.0) {
            // The epoch stays, so an add that has already looked at it lands in its own
            // bucket. Relaxed: see the head of the file.
            slot.calls.fetch_and(EPOCH_MASK << EPOCH_SHIFT, Relaxed);
            slot.marks.fetch_and(EPOCH_MASK << EPOCH_SHIFT, Relaxed);
        }
    }

    fn epoch(&self, now_ms: u64) -> u64 {
        self.bucket.of(now_ms)
    }

    fn slot(&self, stripe: usize, epoch: u64) -> &Slot {
        let slot = (epoch & self.slot_mask) as usize;
        &self.lines[stripe * self.lines_per_stripe + slot / LINE_SLOTS].0[slot % LINE_SLOTS]
    }

    /// Returns a word's two counts, zero if its bucket has left the window. A bucket ahead
    /// of the reader counts: another thread read the clock a moment later.
    fn live(&self, word: u64, epoch: u64, buckets: u64) -> (u32, u32) {
        let age = age(word, epoch);
        if age < buckets || ahead(age) <= self.buckets {
            (
                (word & COUNT_MAX) as u32,
                (word >> COUNT_BITS & COUNT_MAX) as u32,
            )
        } else {
            (0, 0)
        }
    }
}

/// Adds to a word of this epoch; makes a word of an older epoch one of this epoch.
fn add(word: &AtomicU64, epoch: u64, delta: u64) {
    // Relaxed throughout: see the head of the file.
    let mut seen = word.load(Relaxed);
    loop {
        let age = age(seen, epoch);
        if age == 0 {
            // The low count is at least as high as the other one in a word of calls; in a
            // word of marks either can be the higher.
            let full = COUNT_MAX - RACING_ADDS_MAX;
            if seen & COUNT_MAX < full && seen >> COUNT_BITS & COUNT_MAX < full {
                word.fetch_add(delta, Relaxed);
            }
            return;
        }
        if ahead(age) <= LATE_EPOCHS_MAX {
            // The bucket was taken over by a newer epoch: this call left the window while
            // it was on its way here.
            return;
        }
        let fresh = (epoch & EPOCH_MASK) << EPOCH_SHIFT | delta;
        match word.compare_exchange(seen, fresh, Relaxed, Relaxed) {
            Ok(_) => return,
            Err(other) => seen = other,
        }
    }
}

/// How many epochs the word lies behind, in the arithmetic of 28 bits.
fn age(word: u64, epoch: u64) -> u64 {
    epoch.wrapping_sub(word >> EPOCH_SHIFT) & EPOCH_MASK
}

/// How many epochs the word lies ahead, if `age` is seen as a negative number.
fn ahead(age: u64) -> u64 {
    age.wrapping_neg() & EPOCH_MASK
}

/// As many slots as fill what [`Padded`] keeps apart.
type Line = Padded<[Slot; LINE_SLOTS]>;

#[derive(Debug, Default)]
struct Slot {
    /// epoch 28 | failed 18 | calls 18.
    calls: AtomicU64,
    /// epoch 28 | abandoned 18 | slow 18.
    marks: AtomicU64,
}

#[cfg(not(loom))]
const LINE_SLOTS: usize = 8;
/// Loom looks at every access, and padding is nothing it could look at.
#[cfg(loom)]
const LINE_SLOTS: usize = 1;
const COUNT_BITS: u32 = 18;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_SHIFT: u32 = 2 * COUNT_BITS;
const EPOCH_MASK: u64 = (1 << (64 - EPOCH_SHIFT)) - 1;
/// Threads that can be between looking at a count and adding to it. More would carry
/// into the neighbouring field; no machine runs that many on one stripe.
const RACING_ADDS_MAX: u64 = 4096;
/// How far a word can be ahead of a caller before it is a leftover of long ago. A caller
/// is late by scheduling only, so a few windows are plenty.
const LATE_EPOCHS_MAX: u64 = 1024;

#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;
