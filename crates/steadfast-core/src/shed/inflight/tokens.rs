//! Atomics. The in-flight count: a limit that is exact, and striped while there is room.
//!
//! Each running request holds one *token*; there are exactly `limit` of them. Tokens
//! that nobody holds lie in a common pool or in a stripe's purse. A thread takes from and
//! returns to its own purse, which no other thread writes while there is room; only when
//! the purse is empty does it fetch a handful from the pool, and only when the pool is
//! empty too does it look into the purses of others. So the count costs one uncontended
//! atomic far from the limit and is exact at it: a token is in one place at a time, so
//! never more than `limit` requests run, and a request is refused only after every place
//! was found empty.
//!
//! **Kept places.** Some of the limit can be kept for those who go first. Then only
//! `limit - kept` tokens go round, and whoever goes first may *borrow* when they are out:
//! the pool goes negative, down to what is kept from its class, and the next returns pay
//! that debt before anybody finds a token again. So in flight never exceeds the limit, a
//! class takes its last place at `limit` less what is kept from it, and while nothing is
//! kept nothing here is different.
//!
//! **A limit that falls.** The pool pays for it, into debt if need be, and every token that
//! is put or found while there is a debt goes there first. So a request that begins to ask
//! after the limit fell finds what the new limit leaves, however many were on their way.
//!
//! The one race that is left: a token on its way from a purse to the pool is in neither.
//! A request that searches in that instant can be refused although a token was about to
//! be free; it searches twice to make that rarer, and it never admits one too many.

mod bounds;
#[cfg(all(test, loom))]
mod loom_tests;
#[cfg(all(test, not(loom)))]
mod tests;

use bounds::Bounds;

use crate::{
    request::priority::Priority,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering},
        between_store_and_load, lock,
        stripe::{Padded, STRIPES},
    },
};

/// Largest limit. Far above what one process can hold open, far below overflow.
pub const LIMIT_MAX: u32 = 1_000_000;

/// Most tokens fetched from the pool at once: enough that a busy thread seldom goes
/// there, few enough that a quiet thread does not sit on many.
const FETCH_MAX: i64 = 32;

/// Counts who is in flight against a limit.
#[derive(Debug)]
pub(crate) struct Tokens {
    /// See [`Bounds`].
    bounds: AtomicU64,
    /// What was published last, held by whoever changes it. Read from here and not from the
    /// words: loom forgets who else has read a word once the same thread has, and then misses
    /// what a store to it does to them.
    changing: Mutex<(Bounds, Keep)>,
    /// What is kept from each class: see [`Keep`].
    keep: AtomicU64,
    /// Whether somebody waits for a token. Beside the limit, because both are read by all
    /// and seldom written.
    wanted: AtomicBool,
    /// Tokens that no stripe has. Negative after the limit was lowered, and where somebody
    /// borrowed: a debt that the next returns pay.
    pool: Padded<AtomicI64>,
    stripes: [Padded<Purse>; STRIPES],
}

#[derive(Debug, Default)]
struct Purse {
    /// Tokens that lie here, never negative.
    tokens: AtomicI64,
    /// Requests admitted beyond the limit on this stripe, less those that ended here; one
    /// stripe may be negative, the sum is not.
    over: AtomicI64,
}

/// Whether a request runs within the limit or beyond it (observe mode admits all).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Token {
    Within,
    Beyond,
}

/// How many places of the limit are kept from each class; more from those who go later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Keep([u32; Priority::ALL.len()]);

impl Keep {
    /// Nothing is kept from the critical ones, and from a class no less than from one that
    /// goes before it.
    pub(crate) fn new(from: [u32; Priority::ALL.len()]) -> Self {
        let mut most = 0;
        Self(from.map(|places| {
            most = most.max(places).min(LIMIT_MAX);
            most
        }))
        .without_critical()
    }

    fn without_critical(mut self) -> Self {
        self.0[Priority::Critical.index()] = 0;
        self
    }

    /// How many are kept from a class.
    pub(crate) const fn from(self, class: Priority) -> u32 {
        self.0[class.index()]
    }

    /// The most that is kept from any.
    pub(crate) fn most(self) -> u32 {
        self.0.into_iter().max().unwrap_or(0)
    }

    /// Three times 20 bits: [`LIMIT_MAX`] has 20, and the first is zero.
    fn to_word(self) -> u64 {
        let later = self.0[1..].iter().rev();
        later.fold(0, |word, places| word << 20 | u64::from(*places))
    }

    fn from_word(word: u64) -> Self {
        let part = |at: u32| (word >> (20 * at) & 0xf_ffff) as u32;
        Self([0, part(0), part(1), part(2)])
    }
}

impl Tokens {
    pub(crate) fn new(limit: u32) -> Self {
        let bounds = Bounds::new(limit, 0);
        Self {
            bounds: AtomicU64::new(bounds.to_word()),
            changing: Mutex::new((bounds, Keep::default())),
            keep: AtomicU64::new(0),
            wanted: AtomicBool::new(false),
            pool: Padded(AtomicI64::new(bounds.common())),
            stripes: std::array::from_fn(|_| Padded(Purse::default())),
        }
    }

    /// Takes a token if there is one.
    pub(crate) fn take(&self, stripe: usize) -> Option<Token> {
        if self.take_from(stripe) || self.fetch(stripe) {
            return Some(Token::Within);
        }
        // Twice: see the module's last paragraph.
        (self.search(stripe) || self.fetch(stripe) || self.search(stripe)).then_some(Token::Within)
    }

    /// Takes a token, or a place that is kept for the class, if there is one.
    #[inline]
    pub(crate) fn take_as(&self, class: Priority, stripe: usize) -> Option<Token> {
        self.take(stripe).or_else(|| self.borrow(class))
    }

    /// Takes a token for somebody who waits. To be called after [`Tokens::want`].
    ///
    /// `None` means that there was none, or that whoever has put one back since will see
    /// that it is wanted.
    pub(crate) fn claim(&self, class: Priority, stripe: usize) -> Option<Token> {
        between_store_and_load();
        self.take_as(class, stripe)
    }

    /// Takes a place that is kept from others. To be called when no token was found.
    ///
    /// Whoever may not borrow sees so without a lock. Whoever may, looks again with the lock
    /// that the bounds change under: a bound that falls between the look and the taking would
    /// let one more run than may.
    #[cold]
    fn borrow(&self, class: Priority) -> Option<Token> {
        let pool = &self.pool.0;
        // For the order see `is_wanted`.
        if pool.load(Ordering::SeqCst) <= -self.bounds().debt_max(class, self.keep()) {
            return None;
        }
        let changing = lock(&self.changing);
        let debt_max = changing.0.debt_max(class, changing.1);
        let mut there = pool.load(Ordering::SeqCst);
        while there > -debt_max {
            // Acquire pairs with the release in `give_back`.
            match pool.compare_exchange_weak(there, there - 1, Ordering::Acquire, Ordering::Relaxed)
            {
                Ok(_) => return Some(Token::Within),
                Err(now) => there = now,
            }
        }
        None
    }

    /// Says whether tokens are wanted. Only with the queue's lock held.
    pub(crate) fn want(&self, wanted: bool) {
        if self.wanted.load(Ordering::Relaxed) != wanted {
            self.wanted.store(wanted, Ordering::SeqCst);
        }
    }

    /// Whether somebody waits for a token. Whoever has put tokens anywhere, or moved
    /// them, asks this afterwards, and hands over if the answer is yes.
    ///
    /// Putting a token, this load, the store in `want` and the first load of each place in
    /// `take` are all sequentially consistent. In their one order either the store comes
    /// before this load, which then sees it; or this load, and with it the token that was
    /// put before it, comes before the store and so before the look for a token.
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

    /// Takes no token and counts the request all the same.
    pub(crate) fn take_beyond(&self, stripe: usize) -> Token {
        // Relaxed: a count that publishes nothing.
        self.stripes[stripe].0.over.fetch_add(1, Ordering::Relaxed);
        Token::Beyond
    }

    /// Gives back what `take` or `take_beyond` gave, on the stripe of whoever returns it.
    pub(crate) fn give_back(&self, stripe: usize, token: Token) {
        let purse = &self.stripes[stripe].0;
        if token == Token::Beyond {
            purse.over.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        // The release in it pairs with the acquire of `take_one`: what the old request did
        // is done before the next one that runs on its token. For the rest see
        // `is_wanted`.
        if self.pool.0.load(Ordering::Relaxed) < 0 {
            self.pool.0.fetch_add(1, Ordering::SeqCst);
            return;
        }
        let lying = purse.tokens.fetch_add(1, Ordering::SeqCst) + 1;
        let batch = self.batch(i64::from(self.limit()));
        if lying > 2 * batch {
            self.move_to_pool(&purse.tokens, batch);
        }
    }

    /// Changes the limit. Raising gives the new tokens to the pool; lowering takes them
    /// from the pool, whose debt the running requests pay as they end: nobody is cut.
    pub(crate) fn set_limit(&self, limit: u32) {
        self.set_limit_sparing(limit, 0);
    }

    /// The same, with `spared` more places for those from whom nothing is kept.
    pub(crate) fn set_limit_sparing(&self, limit: u32, spared: u32) {
        let limit = limit.clamp(1, LIMIT_MAX);
        let all = limit.saturating_add(spared);
        self.change(|_, keep| {
            (
                Bounds::new(all, keep.most().saturating_add(all - limit)),
                keep,
            )
        });
    }

    /// Changes what is kept from each class, in the same way. At most all but one place is.
    pub(crate) fn set_keep(&self, keep: Keep) {
        self.change(|bounds, before| {
            let spared = bounds.kept.saturating_sub(before.most());
            let kept = keep.most().saturating_add(spared);
            (Bounds::new(bounds.limit, kept), keep)
        });
    }

    /// What is kept may only be seen once the pool has paid for it, or somebody would
    /// borrow beyond the limit; and no longer once the pool has it back. The lock makes the
    /// two steps one for whoever else changes something.
    fn change(&self, to: impl FnOnce(Bounds, Keep) -> (Bounds, Keep)) {
        let mut changing = lock(&self.changing);
        let (before, kept) = *changing;
        let (after, keep) = to(before, kept);
        if (after, keep) == (before, kept) {
            return;
        }
        *changing = (after, keep);
        let more = after.common() - before.common();
        if more < 0 {
            self.pool.0.fetch_add(more, Ordering::SeqCst);
        }
        self.keep.store(keep.to_word(), Ordering::Relaxed);
        // Release: whoever sees the new bounds sees what the pool paid for them.
        self.bounds.store(after.to_word(), Ordering::Release);
        if more > 0 {
            self.pool.0.fetch_add(more, Ordering::SeqCst);
        }
        if more < 0 {
            for purse in &self.stripes {
                let idle = purse.0.tokens.swap(0, Ordering::AcqRel);
                self.pool.0.fetch_add(idle, Ordering::SeqCst);
            }
        }
    }

    #[inline]
    fn bounds(&self) -> Bounds {
        // Acquire pairs with the release in `change`.
        Bounds::from_word(self.bounds.load(Ordering::Acquire))
    }

    pub(crate) fn limit(&self) -> u32 {
        self.bounds().limit
    }

    /// The limit, and how much of it is kept from a class: less than all of it, because both
    /// are of one moment.
    pub(crate) fn limit_and_kept(&self, class: Priority) -> (u32, u32) {
        let (bounds, keep) = (self.bounds(), self.keep());
        let kept = bounds.kept_from(keep.from(class), keep.most());
        (bounds.limit, kept)
    }

    /// What is kept from each class, as far as the limit leaves it.
    pub(crate) fn kept(&self) -> Keep {
        let (bounds, keep) = (self.bounds(), self.keep());
        Keep(keep.0.map(|places| bounds.kept_from(places, keep.most())))
    }

    fn keep(&self) -> Keep {
        Keep::from_word(self.keep.load(Ordering::Relaxed))
    }

    /// Returns how many requests run now. Exact when nothing moves; while tokens move
    /// it can be off by those on their way.
    pub(crate) fn in_flight(&self) -> u32 {
        let mut free = self.pool.0.load(Ordering::Acquire);
        let mut over = 0;
        for purse in &self.stripes {
            free += purse.0.tokens.load(Ordering::Acquire);
            over += purse.0.over.load(Ordering::Relaxed);
        }
        let running = self.bounds().common() - free + over;
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
                            .tokens
                            .fetch_add(handful - 1, Ordering::SeqCst);
                    }
                    return true;
                }
                Err(now) => there = now,
            }
        }
        false
    }

    /// Takes one token from any purse, this thread's own first.
    ///
    /// While requests are refused all purses are empty, so a look at each comes before the
    /// attempts to take. For its order see `is_wanted`.
    fn search(&self, stripe: usize) -> bool {
        let lies = |purse: &Padded<Purse>| purse.0.tokens.load(Ordering::SeqCst) > 0;
        if !self.stripes.iter().any(lies) {
            return false;
        }
        (0..STRIPES).any(|step| self.take_from((stripe + step) % STRIPES))
    }

    /// Takes one token from a purse.
    ///
    /// One that was put there while the pool went into debt pays for that debt first: whoever
    /// put it had looked at the pool before the limit fell, and taken as it lies it would let
    /// one more run than may.
    #[inline]
    fn take_from(&self, stripe: usize) -> bool {
        while take_one(&self.stripes[stripe].0.tokens) {
            if self.pool.0.load(Ordering::SeqCst) >= 0 {
                return true;
            }
            self.pool.0.fetch_add(1, Ordering::SeqCst);
        }
        false
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
