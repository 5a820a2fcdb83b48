//! Atomics. The in-flight count: a limit that is exact, and striped while there is room.
//!
//! Each running request holds one *credit*; there are exactly `limit` of them. Credits
//! that nobody holds lie in a common pool or in a stripe's purse. A thread takes from and
//! returns to its own purse, which no other thread writes while there is room; only when
//! the purse is empty does it fetch a handful from the pool, and only when the pool is
//! empty too does it look into the purses of others. So the count costs one uncontended
//! atomic far from the limit and is exact at it: a credit is in one place at a time, so
//! never more than `limit` requests run, and a request is refused only after every place
//! was found empty.
//!
//! The one race that is left: a credit on its way from a purse to the pool is in neither.
//! A request that searches in that instant can be refused although a credit was about to
//! be free; it searches twice to make that rarer, and it never admits one too many.

use crate::{
    stripe::{Padded, STRIPES},
    sync::{
        atomic::{AtomicBool, AtomicI64, Ordering},
        between_store_and_load,
    },
};

/// Largest limit. Far above what one process can hold open, far below overflow.
pub const LIMIT_MAX: u32 = 1_000_000;

/// Most credits fetched from the pool at once: enough that a busy thread seldom goes
/// there, few enough that a quiet thread does not sit on many.
const FETCH_MAX: i64 = 32;

/// Counts who is in flight against a limit.
#[derive(Debug)]
pub(crate) struct Credits {
    limit: AtomicI64,
    /// Whether somebody waits for a credit. Beside the limit, because both are read by all
    /// and seldom written.
    wanted: AtomicBool,
    /// Credits that no stripe has. Negative after the limit was lowered: a debt that the
    /// next returns pay.
    pool: Padded<AtomicI64>,
    stripes: [Padded<Purse>; STRIPES],
}

#[derive(Debug, Default)]
struct Purse {
    /// Credits that lie here, never negative.
    credits: AtomicI64,
    /// Requests admitted beyond the limit on this stripe, less those that ended here; one
    /// stripe may be negative, the sum is not.
    over: AtomicI64,
}

/// Whether a request runs within the limit or beyond it (observe mode admits all).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Credit {
    Within,
    Beyond,
}

impl Credits {
    pub(crate) fn new(limit: u32) -> Self {
        let limit = i64::from(limit.clamp(1, LIMIT_MAX));
        Self {
            limit: AtomicI64::new(limit),
            wanted: AtomicBool::new(false),
            pool: Padded(AtomicI64::new(limit)),
            stripes: std::array::from_fn(|_| Padded(Purse::default())),
        }
    }

    /// Takes a credit if there is one.
    pub(crate) fn take(&self, stripe: usize) -> Option<Credit> {
        if take_one(&self.stripes[stripe].0.credits) || self.fetch(stripe) {
            return Some(Credit::Within);
        }
        // Twice: see the module's last paragraph.
        (self.search(stripe) || self.fetch(stripe) || self.search(stripe)).then_some(Credit::Within)
    }

    /// Takes a credit for somebody who waits. To be called after [`Credits::want`].
    ///
    /// `None` means that there was none, or that whoever has put one back since will see
    /// that it is wanted.
    pub(crate) fn claim(&self, stripe: usize) -> Option<Credit> {
        between_store_and_load();
        self.take(stripe)
    }

    /// Says whether credits are wanted. Only with the queue's lock held.
    pub(crate) fn want(&self, wanted: bool) {
        if self.wanted.load(Ordering::Relaxed) != wanted {
            self.wanted.store(wanted, Ordering::SeqCst);
        }
    }

    /// Whether somebody waits for a credit. Whoever has put credits anywhere, or moved
    /// them, asks this afterwards, and hands over if the answer is yes.
    ///
    /// Putting a credit, this load, the store in `want` and the first load of each place in
    /// `take` are all sequentially consistent. In their one order either the store comes
    /// before this load, which then sees it; or this load, and with it the credit that was
    /// put before it, comes before the store and so before the look for a credit.
    #[inline]
    pub(crate) fn is_wanted(&self) -> bool {
        between_store_and_load();
        self.wanted.load(Ordering::SeqCst)
    }

    /// The same for whoever only wants to know whether to go to the end of the queue: it
    /// may be a moment old.
    #[inline]
    pub(crate) fn seems_wanted(&self) -> bool {
        self.wanted.load(Ordering::Relaxed)
    }

    /// Takes no credit and counts the request all the same.
    pub(crate) fn take_beyond(&self, stripe: usize) -> Credit {
        // Relaxed: a count that publishes nothing.
        self.stripes[stripe].0.over.fetch_add(1, Ordering::Relaxed);
        Credit::Beyond
    }

    /// Gives back what `take` or `take_beyond` gave, on the stripe of whoever returns it.
    pub(crate) fn give_back(&self, stripe: usize, credit: Credit) {
        let purse = &self.stripes[stripe].0;
        if credit == Credit::Beyond {
            purse.over.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // The release in it pairs with the acquire of `take_one`: what the old request did
        // is done before the next one that runs on its credit. For the rest see
        // `is_wanted`.
        if self.pool.0.load(Ordering::Relaxed) < 0 {
            self.pool.0.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let lying = purse.credits.fetch_add(1, Ordering::SeqCst) + 1;
        let batch = self.batch(self.limit.load(Ordering::Relaxed));
        if lying > 2 * batch {
            self.move_to_pool(&purse.credits, batch);
        }
    }

    /// Changes the limit. Raising gives the new credits to the pool; lowering takes them
    /// from the pool, whose debt the running requests pay as they end: nobody is cut.
    pub(crate) fn set_limit(&self, limit: u32) {
        let limit = i64::from(limit.clamp(1, LIMIT_MAX));
        // AcqRel: two callers see each other's change, so the differences add up.
        let before = self.limit.swap(limit, Ordering::AcqRel);
        self.pool.0.fetch_add(limit - before, Ordering::SeqCst);
        if limit < before {
            for purse in &self.stripes {
                let idle = purse.0.credits.swap(0, Ordering::AcqRel);
                self.pool.0.fetch_add(idle, Ordering::SeqCst);
            }
        }
    }

    pub(crate) fn limit(&self) -> u32 {
        u32::try_from(self.limit.load(Ordering::Relaxed)).unwrap_or(LIMIT_MAX)
    }

    /// Returns how many requests run now. Exact when nothing moves; while credits move
    /// it can be off by those on their way.
    pub(crate) fn in_flight(&self) -> u32 {
        let mut free = self.pool.0.load(Ordering::Acquire);
        let mut over = 0;
        for purse in &self.stripes {
            free += purse.0.credits.load(Ordering::Acquire);
            over += purse.0.over.load(Ordering::Relaxed);
        }
        let running = self.limit.load(Ordering::Relaxed) - free + over;
        u32::try_from(running.max(0)).unwrap_or(u32::MAX)
    }

    /// A handful: an even share of a quarter of what is there, at least one.
    fn batch(&self, of: i64) -> i64 {
        (of / (4 * STRIPES as i64)).clamp(1, FETCH_MAX)
    }

    /// Takes a handful from the pool: one to use, the rest for this stripe's purse.
    fn fetch(&self, stripe: usize) -> bool {
        let pool = &self.pool.0;
        let mut there = pool.load(Ordering::SeqCst);
        while there > 0 {
            let handful = self.batch(there);
            // Acquire pairs with the release in `give_back` and `move_to_pool`.
            match pool.compare_exchange_weak(
                there,
                there - handful,
                Ordering::Acquire,
                Ordering::Relaxed,
            ) {
                Ok(_) => {
                    if handful > 1 {
                        self.stripes[stripe]
                            .0
                            .credits
                            .fetch_add(handful - 1, Ordering::SeqCst);
                    }
                    return true;
                }
                Err(now) => there = now,
            }
        }
        false
    }

    /// Takes one credit from any purse, this thread's own first.
    fn search(&self, stripe: usize) -> bool {
        (0..STRIPES).any(|step| take_one(&self.stripes[(stripe + step) % STRIPES].0.credits))
    }

    fn move_to_pool(&self, purse: &AtomicI64, batch: i64) {
        let lying = purse.load(Ordering::Relaxed);
        // A failed exchange means that somebody else used the purse: then it is not idle.
        if lying >= batch
            && purse
                .compare_exchange(lying, lying - batch, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
        {
            self.pool.0.fetch_add(batch, Ordering::SeqCst);
        }
    }
}

fn take_one(purse: &AtomicI64) -> bool {
    // For the order see `is_wanted`.
    let mut lying = purse.load(Ordering::SeqCst);
    while lying > 0 {
        // Acquire pairs with the release in `give_back`.
        match purse.compare_exchange_weak(lying, lying - 1, Ordering::Acquire, Ordering::Relaxed) {
            Ok(_) => return true,
            Err(now) => lying = now,
        }
    }
    false
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Goal: whatever the order of takes, returns and changes of the limit, the count is
        /// that of a plain integer, and a take succeeds exactly when the integer is below the limit.
        #[test]
        fn one_thread_behaves_like_a_plain_count(
            start in 1_u32..40,
            steps in proptest::collection::vec((0_u8..4, 0_usize..STRIPES, 1_u32..60), 0..400),
        ) {
            let credits = Credits::new(start);
            let (mut limit, mut held) = (start, Vec::new());
            for (step, stripe, value) in steps {
                match step {
                    0 | 1 => {
                        let within = held.iter().filter(|credit| **credit == Credit::Within).count();
                        let taken = credits.take(stripe);
                        prop_assert_eq!(taken.is_some(), (within as u32) < limit);
                        held.push(taken.unwrap_or_else(|| credits.take_beyond(stripe)));
                    }
                    2 => if let Some(credit) = held.pop() { credits.give_back(stripe, credit) },
                    _ => { limit = value; credits.set_limit(limit); }
                }
                prop_assert_eq!(credits.in_flight() as usize, held.len());
            }
            while let Some(credit) = held.pop() { credits.give_back(0, credit) }
            prop_assert_eq!(credits.in_flight(), 0);
        }
    }

    #[test]
    fn threads_never_hold_more_than_the_limit_and_return_all() {
        use std::sync::atomic::{AtomicU32, Ordering};
        let credits = Credits::new(5);
        let (running, peak) = (AtomicU32::new(0), AtomicU32::new(0));
        std::thread::scope(|scope| {
            for stripe in 0..8 {
                let (credits, running, peak) = (&credits, &running, &peak);
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if let Some(credit) = credits.take(stripe) {
                            let now = running.fetch_add(1, Ordering::AcqRel) + 1;
                            peak.fetch_max(now, Ordering::AcqRel);
                            running.fetch_sub(1, Ordering::AcqRel);
                            credits.give_back((stripe + 1) % STRIPES, credit);
                        }
                    }
                });
            }
        });
        assert!(peak.into_inner() <= 5);
        assert_eq!(credits.in_flight(), 0);
        assert_eq!((0..5).filter(|_| credits.take(0).is_some()).count(), 5);
        assert_eq!(credits.take(0), None);
    }
}

#[cfg(all(test, loom))]
mod loom_tests {
    use super::*;
    use loom::{sync::Arc, thread};

    #[test]
    fn loom_two_takers_of_the_last_credit_get_one() {
        loom::model(|| {
            let credits = Arc::new(Credits::new(1));
            let other = Arc::clone(&credits);
            let taken = thread::spawn(move || other.take(1).is_some());
            let here = credits.take(0).is_some();
            let there = taken.join().expect("joined");
            assert!(here ^ there);
            assert_eq!(credits.in_flight(), 1);
        });
    }

    #[test]
    fn loom_a_credit_given_back_on_another_stripe_is_not_lost() {
        loom::model(|| {
            let credits = Arc::new(Credits::new(1));
            let held = credits.take(0).expect("the first");
            let other = Arc::clone(&credits);
            let returned = thread::spawn(move || other.give_back(1, held));
            let second = credits.take(0);
            returned.join().expect("joined");
            if let Some(second) = second {
                credits.give_back(0, second);
            }
            assert_eq!(credits.in_flight(), 0);
            assert!(credits.take(0).is_some());
        });
    }

    #[test]
    fn loom_lowering_the_limit_neither_leaks_nor_mints_credits() {
        loom::model(|| {
            let credits = Arc::new(Credits::new(2));
            let held = credits.take(0).expect("the first");
            let other = Arc::clone(&credits);
            let lowered = thread::spawn(move || other.set_limit(1));
            credits.give_back(0, held);
            lowered.join().expect("joined");
            assert_eq!(credits.in_flight(), 0);
            assert!(credits.take(0).is_some());
            assert!(credits.take(0).is_none());
        });
    }
}
