//! Atomics. The caller's side of the [`Limit`] seam: who flies the limit while requests pass.
//!
//! The algorithm sits behind a lock that a request never waits for. What it wants
//! (a cap, a sampling, a window) is published in one word; a request reads that word,
//! counts itself on its stripe, and only when the word asks for it tries the lock: taken,
//! the sample is skipped. The end of a request that carries a tag waits for the lock,
//! because the algorithm counts on hearing of it; the lock is held for arithmetic only.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{
    shed::{
        inflight::tokens::{LIMIT_MAX, Tokens},
        limit::{
            Admitted, Change, Directive, Ended, Ending, Limit, Sampling, Snapshot, Tag, Window,
        },
    },
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
        lock,
        stripe::{Counter, Padded, STRIPES},
        try_lock,
    },
};

/// Changes of the limit kept until somebody collects them; the oldest goes first. Twice as
/// many as an algorithm makes in a second of its wildest search.
const CHANGES_KEPT: usize = 64;

/// Looks at a window this many times on the way to its end, since a stripe knows only its
/// own arrivals.
const LOOKS: u32 = 4;

/// An algorithm in charge of a limit.
#[derive(Debug)]
pub(crate) struct LimitDriver {
    /// The published directive.
    word: AtomicU64,
    arrivals: [Padded<AtomicU32>; STRIPES],
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    limit: Box<dyn Limit>,
    /// How many algorithms there were before this one: whose tag a permit carries.
    generation: u32,
    /// Totals at the end of the last window.
    admitted: u64,
    refused: u64,
    /// Places that are kept for those who go first.
    kept: u32,
    changes: VecDeque<Change>,
}

/// What a permit carries for the algorithm.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampled {
    tag: Tag,
    in_flight: u32,
    /// Of the algorithm that made the tag.
    generation: u32,
}

impl Sampled {
    pub(crate) const NONE: Self = Self {
        tag: Tag::NONE,
        in_flight: 0,
        generation: 0,
    };

    pub(crate) const fn is_sampled(self) -> bool {
        !self.tag.is_none()
    }
}

/// The counters of the gate that the algorithm's windows are made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts<'a> {
    pub(crate) tokens: &'a Tokens,
    pub(crate) admitted: &'a Counter,
    pub(crate) refused: &'a Counter,
}

impl LimitDriver {
    pub(crate) fn new(limit: Box<dyn Limit>) -> Self {
        Self {
            word: AtomicU64::new(limit.directive().to_word()),
            arrivals: std::array::from_fn(|_| Padded(AtomicU32::new(0))),
            inner: Mutex::new(Inner {
                limit,
                generation: 0,
                admitted: 0,
                refused: 0,
                kept: 0,
                changes: VecDeque::new(),
            }),
        }
    }

    /// Returns the cap that the algorithm starts with.
    pub(crate) fn cap(&self) -> Option<u32> {
        self.directive().cap
    }

    fn directive(&self) -> Directive {
        // Relaxed: the word is all there is to know; an old one is a sample more or less.
        Directive::from_word(self.word.load(Ordering::Relaxed))
    }

    /// Hears of an arrival that was admitted or refused. Costs one load where nothing is
    /// asked for.
    #[inline]
    pub(crate) fn arrived(
        &self,
        stripe: usize,
        admitted: bool,
        counts: Counts<'_>,
        now: Instant,
    ) -> Sampled {
        let directive = self.directive();
        if directive.sampling == Sampling::Nothing && directive.window == 0 {
            return Sampled::NONE;
        }
        // Relaxed: this thread's own count.
        let number = self.arrivals[stripe]
            .0
            .fetch_add(1, Ordering::Relaxed)
            .wrapping_add(1);
        let sampled = admitted
            && matches!(directive.sampling, Sampling::OneIn(n) if number % u32::from(n.max(1)) == 0);
        let looks =
            directive.window != 0 && number % (u32::from(directive.window) / LOOKS).max(1) == 0;
        if sampled || looks {
            self.listen(directive, sampled, counts, now)
        } else {
            Sampled::NONE
        }
    }

    fn listen(
        &self,
        directive: Directive,
        sampled: bool,
        counts: Counts<'_>,
        now: Instant,
    ) -> Sampled {
        let Some(mut inner) = try_lock(&self.inner) else {
            return Sampled::NONE;
        };
        let in_flight = counts.tokens.in_flight();
        let mut sample = Sampled::NONE;
        if sampled {
            let tag = inner.limit.admitted(Admitted::new(now, in_flight));
            sample = Sampled {
                tag,
                in_flight,
                generation: inner.generation,
            };
        }
        if directive.window != 0 {
            let (admitted, refused) = (counts.admitted.sum(), counts.refused.sum());
            let since = |total: u64, before: u64| {
                u32::try_from(total.wrapping_sub(before)).unwrap_or(u32::MAX)
            };
            let (new, away) = (
                since(admitted, inner.admitted),
                since(refused, inner.refused),
            );
            if new.saturating_add(away) >= u32::from(directive.window) {
                (inner.admitted, inner.refused) = (admitted, refused);
                let change = inner.limit.window(Window::new(now, new, away, in_flight));
                inner.keep(change);
            }
        }
        self.publish(&inner, counts.tokens);
        sample
    }

    /// Hears that a request has been answered, or will not be.
    pub(crate) fn answered(
        &self,
        sampled: Sampled,
        admitted_at: Instant,
        ending: Ending,
        tokens: &Tokens,
        now: Instant,
    ) {
        if sampled.tag.is_none() {
            return;
        }
        let mut inner = lock(&self.inner);
        if sampled.generation != inner.generation {
            return;
        }
        let ended = Ended::new(now, admitted_at, sampled.in_flight, sampled.tag, ending);
        let change = inner.limit.ended(ended);
        inner.keep(change);
        self.publish(&inner, tokens);
    }

    /// Tells the algorithm how many places of its cap are kept for those who go first.
    pub(crate) fn kept(&self, places: u32, tokens: &Tokens) {
        let mut inner = lock(&self.inner);
        inner.kept = places;
        inner.limit.kept(places);
        self.publish(&inner, tokens);
        self.enforce(&inner, tokens);
    }

    /// Tells the algorithm that the process runs late, which is rare.
    pub(crate) fn late(&self, lag: Duration, tokens: &Tokens, now: Instant) {
        let mut inner = lock(&self.inner);
        inner.limit.late(now, lag);
        self.publish(&inner, tokens);
    }

    /// Puts another algorithm in charge, which never hears of a tag that the old one made.
    pub(crate) fn replace(&self, limit: Box<dyn Limit>, counts: Counts<'_>) {
        let mut inner = lock(&self.inner);
        (inner.admitted, inner.refused) = (counts.admitted.sum(), counts.refused.sum());
        let kept = inner.kept;
        let old = std::mem::replace(&mut inner.limit, limit);
        inner.generation = inner.generation.wrapping_add(1);
        inner.limit.kept(kept);
        self.publish(&inner, counts.tokens);
        // Its end is foreign code, which may look at the gate: outside the lock.
        drop(inner);
        drop(old);
    }

    /// Returns where the algorithm stands.
    pub(crate) fn snapshot(&self) -> Snapshot {
        lock(&self.inner).limit.snapshot()
    }

    /// Takes the changes that were made since the last time, oldest first.
    pub(crate) fn take_changes(&self) -> Vec<Change> {
        lock(&self.inner).changes.drain(..).collect()
    }

    /// Publishes what the algorithm wants now. Called with the lock held, so that caps
    /// reach the tokens in the order in which they were decided.
    fn publish(&self, inner: &Inner, tokens: &Tokens) {
        let directive = inner.limit.directive();
        let word = directive.to_word();
        if self.word.swap(word, Ordering::Relaxed) != word {
            self.enforce(inner, tokens);
        }
    }

    fn enforce(&self, inner: &Inner, tokens: &Tokens) {
        let cap = self.cap().unwrap_or(LIMIT_MAX);
        let spared = if inner.kept > 0 {
            inner.limit.spared()
        } else {
            0
        };
        tokens.set_limit_sparing(cap, spared);
    }
}

impl Inner {
    fn keep(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{shed::limit::ChangeReason, testing::origin};

    /// What an algorithm was told.
    #[derive(Debug, Default)]
    struct Told {
        admitted: Vec<u32>,
        ended: Vec<(u32, u32)>,
        windows: Vec<(u32, u32, u32)>,
        kept: u32,
    }

    /// Asks for what the test wants, and marks what it samples with numbers.
    #[derive(Debug)]
    struct Asks {
        cap: u32,
        sampling: Sampling,
        window: u16,
        told: Arc<Mutex<Told>>,
    }

    impl Asks {
        fn told(&self) -> std::sync::MutexGuard<'_, Told> {
            self.told.lock().expect("no panic")
        }
    }

    impl Limit for Asks {
        fn directive(&self) -> Directive {
            Directive::new(Some(self.cap), self.sampling, self.window)
        }

        fn snapshot(&self) -> Snapshot {
            Snapshot::new(crate::shed::limit::LimitPhase::Held)
        }

        fn admitted(&mut self, admitted: Admitted) -> Tag {
            let mut told = self.told();
            told.admitted.push(admitted.in_flight);
            Tag::new(told.admitted.len() as u32)
        }

        fn ended(&mut self, ended: Ended) -> Option<Change> {
            self.told().ended.push((ended.tag.raw(), ended.in_flight));
            None
        }

        fn kept(&mut self, places: u32) {
            self.told().kept = places;
        }

        fn spared(&self) -> u32 {
            3
        }

        fn window(&mut self, window: Window) -> Option<Change> {
            let seen = (window.admitted, window.refused, window.in_flight);
            self.told().windows.push(seen);
            let to = self.cap + 1;
            let from = std::mem::replace(&mut self.cap, to);
            Some(Change::new(
                window.now,
                Some(from),
                Some(to),
                ChangeReason::Other("asked"),
            ))
        }
    }

    struct Rig {
        driver: LimitDriver,
        tokens: Tokens,
        admitted: Counter,
        refused: Counter,
        told: Arc<Mutex<Told>>,
        now: Instant,
    }

    impl Rig {
        fn new(sampling: Sampling, window: u16) -> Self {
            let told = Arc::default();
            let limit = Self::asks(sampling, window, &told);
            Self {
                driver: LimitDriver::new(limit),
                tokens: Tokens::new(8),
                admitted: Counter::new(),
                refused: Counter::new(),
                told,
                now: origin(),
            }
        }

        fn asks(sampling: Sampling, window: u16, told: &Arc<Mutex<Told>>) -> Box<dyn Limit> {
            Box::new(Asks {
                cap: 8,
                sampling,
                window,
                told: Arc::clone(told),
            })
        }

        fn counts(&self) -> Counts<'_> {
            Counts {
                tokens: &self.tokens,
                admitted: &self.admitted,
                refused: &self.refused,
            }
        }

        /// One comes, and is admitted or refused.
        fn arrives(&self, admitted: bool) -> Sampled {
            let count = if admitted {
                &self.admitted
            } else {
                &self.refused
            };
            count.add_at(0, 1);
            self.driver.arrived(0, admitted, self.counts(), self.now)
        }

        fn told(&self) -> std::sync::MutexGuard<'_, Told> {
            self.told.lock().expect("no panic")
        }
    }

    #[test]
    fn an_algorithm_hears_of_one_in_so_many_of_those_who_were_admitted_and_of_their_ends() {
        let rig = Rig::new(Sampling::OneIn(3), 0);
        let held = rig.tokens.take(0).expect("there is room");
        let sampled: Vec<_> = (0..9).map(|_| rig.arrives(true)).collect();
        let which: Vec<_> = sampled.iter().map(|it| it.is_sampled()).collect();
        let third = [false, false, true];
        assert_eq!(which, [third, third, third].concat());
        assert_eq!(rig.told().admitted, [1, 1, 1], "with how many in flight");
        for _ in 0..6 {
            assert!(!rig.arrives(false).is_sampled(), "a refusal is no sample");
        }
        rig.tokens.give_back(0, held);
        for sample in sampled {
            let ending = Ending::Completed;
            let (now, tokens) = (rig.now, &rig.tokens);
            rig.driver.answered(sample, now, ending, tokens, now);
        }
        let told = rig.told();
        assert_eq!(told.ended, [(1, 1), (2, 1), (3, 1)], "as it was admitted");
        assert!(told.windows.is_empty(), "it wants no windows");
    }

    #[test]
    fn an_algorithm_that_wants_to_hear_nothing_hears_nothing() {
        let rig = Rig::new(Sampling::Nothing, 0);
        for _ in 0..50 {
            assert!(!rig.arrives(true).is_sampled());
            rig.arrives(false);
        }
        let told = rig.told();
        assert!(told.admitted.is_empty() && told.windows.is_empty());
    }

    #[test]
    fn a_window_is_told_when_so_many_have_come_with_what_came_since_the_last() {
        let rig = Rig::new(Sampling::Nothing, 8);
        for _ in 0..6 {
            rig.arrives(true);
        }
        assert!(rig.told().windows.is_empty(), "six of eight");
        rig.arrives(false);
        rig.arrives(false);
        assert_eq!(rig.told().windows, [(6, 2, 0)]);
        assert_eq!(
            rig.driver.cap(),
            Some(9),
            "what it made of that is in force"
        );
        assert_eq!(rig.tokens.limit(), 9);
        for _ in 0..8 {
            rig.arrives(true);
        }
        assert_eq!(rig.told().windows, [(6, 2, 0), (8, 0, 0)]);
        let changes = rig.driver.take_changes();
        let moves: Vec<_> = changes.iter().map(|it| (it.from, it.to)).collect();
        assert_eq!(moves, [(Some(8), Some(9)), (Some(9), Some(10))]);
        assert!(rig.driver.take_changes().is_empty(), "they are taken once");
    }

    #[test]
    fn a_new_algorithm_begins_with_what_is_kept_and_with_what_comes_from_now_on() {
        let rig = Rig::new(Sampling::OneIn(1), 0);
        rig.driver.kept(2, &rig.tokens);
        assert_eq!(rig.told().kept, 2);
        let old = rig.arrives(true);
        for _ in 0..7 {
            rig.arrives(true);
        }
        let told = Arc::default();
        let new = Rig::asks(Sampling::OneIn(1), 8, &told);
        rig.driver.replace(new, rig.counts());
        let told = || told.lock().expect("no panic");
        assert_eq!(told().kept, 2);
        rig.driver
            .answered(old, rig.now, Ending::Completed, &rig.tokens, rig.now);
        assert!(told().ended.is_empty(), "the tag is the other's");
        for _ in 0..8 {
            rig.arrives(true);
        }
        assert_eq!(told().windows, [(8, 0, 0)], "those before are not its own");
    }

    #[test]
    fn what_a_dip_takes_is_spared_for_those_who_go_first_if_anybody_does() {
        let rig = Rig::new(Sampling::Nothing, 1);
        rig.arrives(true);
        assert_eq!(rig.tokens.limit(), 9, "nobody goes first");
        rig.driver.kept(2, &rig.tokens);
        assert_eq!(rig.tokens.limit(), 9 + 3);
        rig.driver.kept(0, &rig.tokens);
        assert_eq!(rig.tokens.limit(), 9);
    }

    #[test]
    fn of_changes_that_nobody_collects_the_last_are_kept() {
        let rig = Rig::new(Sampling::Nothing, 1);
        for _ in 0..CHANGES_KEPT + 5 {
            rig.arrives(true);
        }
        let changes = rig.driver.take_changes();
        assert_eq!(changes.len(), CHANGES_KEPT);
        let last = changes.last().map(|it| it.to);
        assert_eq!(last, Some(rig.driver.cap()));
    }
}
