//! Calls that have not come back, counted by when they started.
//!
//! A breaker that only sees completed calls does not see the dependency that hangs. This
//! counts starts and ends in cohorts: eight slots for each stripe, each a quarter of the
//! stall limit wide, so "how many calls are older than the limit" is a sum and nothing is
//! kept for each call. A slot that is needed again hands those still running to the
//! *older ones*, who are counted together with the time slot of the oldest.
//!
//! A call counts as stalled when it is older than the limit **and** nothing has been
//! answered since it started. So long calls beside healthy traffic are not stalled, and a
//! dependency that answers anything at all is not hung. A call whose answer has begun and
//! goes on, a stream, is counted apart and is never stalled.
//!
//! # Hazards
//! - Ages are known to a quarter of the limit; a call is never called stalled too early.
//! - Calls that started in the same quarter as the last answer are given the benefit of
//!   the doubt.
//!
//! This file uses atomics. Counts guard no other memory; every access is relaxed.

use crate::{
    dependency::breaker::period::Period,
    sync::{
        atomic::{AtomicU64, Ordering::Relaxed},
        stripe::Padded,
    },
};

#[derive(Debug)]
pub(super) struct PendingCalls {
    stripes: Box<[Padded<Stripe>]>,
    stripe_mask: usize,
    slot: Period,
}

/// Calls under way at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Pending {
    pub(super) calls: u32,
    /// Those of them that wait for an answer.
    pub(super) waiting: u32,
    /// Age of the oldest that has not been answered, to a quarter of the stall limit.
    pub(super) oldest_ms: Option<u64>,
    /// Age of the oldest of the stalled.
    pub(super) stalled_ms: u64,
    /// Calls older than the limit without any answer since they started.
    pub(super) stalled: u32,
}

impl PendingCalls {
    pub(super) fn new(limit_ms: u64, stripes: usize) -> Self {
        let stripes = stripes.max(1).next_power_of_two();
        Self {
            stripes: (0..stripes).map(|_| Padded::default()).collect(),
            stripe_mask: stripes - 1,
            slot: Period::new(limit_ms / SLOTS_PER_LIMIT),
        }
    }

    /// Counts a start. Returns whether it was the first of its time slot on this stripe:
    /// the moment to look for stalled calls where nothing ticks.
    pub(super) fn start(&self, stripe: usize, now_ms: u64) -> bool {
        let epoch = self.slot.of(now_ms);
        let stripe = self.stripe(stripe);
        let slot = stripe.slot(epoch);
        let mut seen = slot.load(Relaxed);
        loop {
            let (at, count) = split(seen);
            if at > epoch {
                // This thread is late and its slot belongs to a newer one.
                stripe.join_older(epoch, 1);
                return false;
            }
            let next = if at == epoch {
                join(epoch, count.saturating_add(1))
            } else {
                join(epoch, 1)
            };
            match slot.compare_exchange(seen, next, Relaxed, Relaxed) {
                Ok(_) if at == epoch => return false,
                Ok(_) => {
                    if count > 0 {
                        stripe.join_older(at, count);
                    }
                    return true;
                }
                Err(other) => seen = other,
            }
        }
    }

    /// Counts the end of a call that started at `started_ms` on `stripe`.
    pub(super) fn end(&self, stripe: usize, started_ms: u64) {
        let epoch = self.slot.of(started_ms);
        let stripe = self.stripe(stripe);
        let slot = stripe.slot(epoch);
        let mut seen = slot.load(Relaxed);
        loop {
            let (at, count) = split(seen);
            if at != epoch || count == 0 {
                stripe.leave_older();
                return;
            }
            match slot.compare_exchange(seen, join(epoch, count - 1), Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }

    /// Counts a call whose answer has begun and goes on: it is under way and cannot hang.
    pub(super) fn stream(&self, stripe: usize, now_ms: u64) {
        self.answered(stripe, now_ms);
        self.stripe(stripe).streams.fetch_add(1, Relaxed);
    }

    /// Counts the end of such a call.
    pub(super) fn end_stream(&self, stripe: usize) {
        self.stripe(stripe).streams.fetch_sub(1, Relaxed);
    }

    /// OutageRecord that the dependency answered something.
    pub(super) fn answered(&self, stripe: usize, now_ms: u64) {
        // One more than the moment, so that zero means never. A store that goes back by
        // the skew of two threads makes the rule later, never earlier than its limit.
        self.stripe(stripe).answered.store(now_ms + 1, Relaxed);
    }

    /// OutageRecord what an answer took. One word of each stripe keeps the longest of a period, and
    /// one that of the period before.
    #[inline]
    pub(super) fn took(&self, stripe: usize, took_ms: u64, now_ms: u64) {
        let stripe = self.stripe(stripe);
        let word = join(now_ms / ANSWERS_KEPT_MS, took_ms);
        // The longest of a newer period is the larger word.
        let longest = stripe.longest.load(Relaxed);
        if word <= longest {
            return;
        }
        if split(word).0 != split(longest).0 {
            stripe.longest_before.store(longest, Relaxed);
        }
        // A race loses one answer of many.
        stripe.longest.store(word, Relaxed);
    }

    /// Returns what the longest of the latest answers took: those of the last minute, and of
    /// up to one more. `None` if there was none.
    pub(super) fn longest_answer(&self, now_ms: u64) -> Option<u64> {
        let period = now_ms / ANSWERS_KEPT_MS;
        let words = self.stripes.iter().flat_map(|stripe| {
            let words = [&stripe.longest, &stripe.longest_before];
            words.map(|word| word.load(Relaxed))
        });
        let kept = words.filter(|word| *word != 0).map(split);
        let kept = kept.filter(|(of, _)| of.saturating_add(1) >= period);
        kept.map(|(_, took)| took).max()
    }

    /// Returns when the dependency last answered anything.
    pub(super) fn last_answer(&self) -> Option<u64> {
        self.stripes
            .iter()
            .map(|stripe| stripe.answered.load(Relaxed))
            .max()
            .and_then(|moment| moment.checked_sub(1))
    }

    pub(super) fn look(&self, now_ms: u64) -> Pending {
        let answered = self.last_answer().map(|moment| self.slot.of(moment));
        let mut seen = Pending::default();
        for stripe in &self.stripes {
            for slot in &stripe.slots {
                let (epoch, count) = split(slot.load(Relaxed));
                self.add(&mut seen, epoch, count, answered, now_ms);
            }
            let (epoch, biased) = split(stripe.older.load(Relaxed));
            let older = biased.saturating_sub(BIAS);
            self.add(&mut seen, epoch, older, answered, now_ms);
            let streams = stripe.streams.load(Relaxed);
            seen.calls = seen
                .calls
                .saturating_add(u32::try_from(streams).unwrap_or(u32::MAX));
        }
        seen
    }

    fn add(&self, seen: &mut Pending, epoch: u64, count: u64, answered: Option<u64>, now: u64) {
        if count == 0 {
            return;
        }
        let count = u32::try_from(count).unwrap_or(u32::MAX);
        seen.calls = seen.calls.saturating_add(count);
        seen.waiting = seen.waiting.saturating_add(count);
        let age = now.saturating_sub(epoch * self.slot.ms());
        seen.oldest_ms = Some(seen.oldest_ms.map_or(age, |oldest| oldest.max(age)));
        let is_old = self.slot.of(now) > epoch.saturating_add(SLOTS_PER_LIMIT);
        if is_old && answered.is_none_or(|last| epoch > last) {
            seen.stalled = seen.stalled.saturating_add(count);
            seen.stalled_ms = seen.stalled_ms.max(age);
        }
    }

    fn stripe(&self, stripe: usize) -> &Stripe {
        &self.stripes[stripe & self.stripe_mask]
    }
}

#[derive(Debug)]
struct Stripe {
    /// time slot 40 | calls 24.
    slots: [AtomicU64; SLOTS],
    /// time slot of the oldest 40 | calls + [`BIAS`] 24.
    older: AtomicU64,
    /// The moment of the last answer plus one; zero is never.
    answered: AtomicU64,
    /// Calls whose answer has begun and goes on. Its end comes to the same stripe.
    streams: AtomicU64,
    /// period 40 | milliseconds 24 of the longest answer in it; zero is none.
    longest: AtomicU64,
    /// The same of the period before.
    longest_before: AtomicU64,
}

impl Default for Stripe {
    fn default() -> Self {
        Self {
            slots: Default::default(),
            older: AtomicU64::new(join(0, BIAS)),
            answered: AtomicU64::new(0),
            streams: AtomicU64::new(0),
            longest: AtomicU64::new(0),
            longest_before: AtomicU64::new(0),
        }
    }
}

impl Stripe {
    fn slot(&self, epoch: u64) -> &AtomicU64 {
        &self.slots[(epoch % SLOTS as u64) as usize]
    }

    fn join_older(&self, epoch: u64, calls: u64) {
        self.change_older(|oldest, count| {
            let oldest = if count <= BIAS {
                epoch
            } else {
                oldest.min(epoch)
            };
            (oldest, count + calls)
        });
    }

    /// One of the older calls ends. It may be here before the hand-over that made it one has
    /// counted it, which is why the count has a bias to go below zero with.
    fn leave_older(&self) {
        self.change_older(|oldest, count| (oldest, count - 1));
    }

    fn change_older(&self, change: impl Fn(u64, u64) -> (u64, u64)) {
        let mut seen = self.older.load(Relaxed);
        loop {
            let (oldest, count) = split(seen);
            let (oldest, count) = change(oldest, count);
            let next = join(oldest, count.clamp(1, COUNT_MAX));
            match self.older.compare_exchange(seen, next, Relaxed, Relaxed) {
                Ok(_) => return,
                Err(other) => seen = other,
            }
        }
    }
}

const fn split(word: u64) -> (u64, u64) {
    (word >> COUNT_BITS, word & COUNT_MAX)
}

const fn join(epoch: u64, count: u64) -> u64 {
    let count = if count < COUNT_MAX { count } else { COUNT_MAX };
    epoch << COUNT_BITS | count
}

/// Four slots to the limit make an age good to a quarter, and eight slots keep a call out
/// of the older for at least one and three quarters of the limit.
const SLOTS_PER_LIMIT: u64 = 4;
/// See above. Loom gets fewer to look at.
#[cfg(not(loom))]
const SLOTS: usize = 8;
#[cfg(loom)]
const SLOTS: usize = 1;
/// For how long at least an answer says what is usual.
const ANSWERS_KEPT_MS: u64 = 60_000;
const COUNT_BITS: u32 = 24;
const COUNT_MAX: u64 = (1 << COUNT_BITS) - 1;
const BIAS: u64 = 1 << (COUNT_BITS - 1);

#[cfg(all(test, not(loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_call_is_stalled_after_the_limit_and_not_before() {
        let pending = PendingCalls::new(1_000, 1);
        pending.start(0, 10);
        assert_eq!(pending.look(1_010).stalled, 0);
        assert_eq!(pending.look(1_250).stalled, 1);
        assert_eq!(pending.look(9_999).stalled, 1);
        pending.end(0, 10);
        assert_eq!(pending.look(9_999), Pending::default());
    }

    #[test]
    fn an_answer_clears_every_call_that_started_before_it() {
        let pending = PendingCalls::new(1_000, 2);
        pending.start(0, 0);
        pending.answered(1, 600);
        pending.start(1, 700);
        pending.start(1, 750);
        let seen = pending.look(5_000);
        assert_eq!((seen.calls, seen.stalled), (3, 1));
        assert_eq!(seen.oldest_ms, Some(5_000));
    }

    #[test]
    fn older_calls_are_counted_until_they_end() {
        let pending = PendingCalls::new(1_000, 1);
        pending.start(0, 0);
        pending.start(0, 1);
        assert!(pending.start(0, 2_000));
        assert!(!pending.start(0, 2_001));
        let seen = pending.look(2_100);
        assert_eq!((seen.calls, seen.stalled), (4, 2));
        pending.end(0, 0);
        pending.end(0, 1);
        assert_eq!(pending.look(2_100).calls, 2);
        pending.end(0, 2_000);
        pending.end(0, 2_001);
        assert_eq!(pending.look(2_100), Pending::default());
    }

    proptest! {
        /// The reference keeps the start of every call that is under way.
        #[test]
        fn starts_and_ends_in_any_order_balance(
            steps in prop::collection::vec((0_u64..900, 0_usize..3, any::<bool>(), any::<prop::sample::Index>()), 1..200),
        ) {
            let pending = PendingCalls::new(1_000, 3);
            let mut list: Vec<(usize, u64)> = Vec::new();
            let mut now = 0;
            for (wait, stripe, ends, pick) in steps {
                now += wait;
                if ends && !list.is_empty() {
                    let (stripe, started) = list.swap_remove(pick.index(list.len()));
                    pending.end(stripe, started);
                } else {
                    pending.start(stripe, now);
                    list.push((stripe, now));
                }
                let seen = pending.look(now);
                prop_assert_eq!(seen.calls as usize, list.len());
                let old = list.iter().filter(|(_, at)| now - at >= 1_000).count();
                let surely = list.iter().filter(|(_, at)| now - at >= 1_250).count();
                // The older ones are as old as their oldest, and none is younger than 1.75 s.
                prop_assert!((surely..=old).contains(&(seen.stalled as usize)));
            }
        }
    }
}
