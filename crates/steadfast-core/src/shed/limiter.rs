//! Atomics. The caller's side of the [`Limit`] seam: who flies the limit while requests pass.
//!
//! The algorithm sits behind a lock that a request never waits for. What it wants
//! (a cap, a sampling, a window) is published in one word; a request reads that word,
//! counts itself on its stripe, and only when the word asks for it tries the lock: taken,
//! the sample is skipped. The end of a request that carries a tag waits for the lock,
//! because the algorithm counts on hearing of it; the lock is held for arithmetic only.

mod lined;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use lined::LinedMean;

use crate::{
    shed::{
        inflight::tokens::{LIMIT_MAX, Tokens},
        limit::{
            Admitted, Change, Directive, Ended, Ending, Limit, Sampling, Snapshot, Tag, Window,
        },
    },
    sync::{
        Mutex,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
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
    /// Those of its permits that stand in line.
    lined: LinedMean,
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
    /// How many of them stand in line: those have not begun, so they say nothing of how many may
    /// run.
    pub(crate) lined: &'a AtomicI64,
    /// Whether the line is bounded by itself.
    pub(crate) line_is_bounded: bool,
    pub(crate) admitted: &'a Counter,
    pub(crate) refused: &'a Counter,
}

impl Counts<'_> {
    /// How many are in flight and do not stand in line, of which one begins now.
    fn begun(self) -> u32 {
        // Relaxed: two counts of the same moment, give or take a request.
        self.tokens.in_flight().saturating_sub(self.lined()).max(1)
    }

    fn lined(self) -> u32 {
        u32::try_from(self.lined.load(Ordering::Relaxed)).unwrap_or(0)
    }
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
                lined: LinedMean::default(),
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

    /// Hears of an arrival; one that was admitted may be measured. Costs one load where nothing
    /// is asked for.
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
        let places = inner.lined.places();
        let lined = if counts.line_is_bounded {
            counts.lined()
        } else {
            0
        };
        inner.lined.see(lined, now);
        if inner.lined.places() != places {
            inner.tell_kept();
        }
        let mut sample = Sampled::NONE;
        if sampled {
            let begun = counts.begun();
            let tag = inner.limit.admitted(Admitted::new(now, begun));
            sample = Sampled {
                tag,
                in_flight: begun,
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
        inner.tell_kept();
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
        let old = std::mem::replace(&mut inner.limit, limit);
        inner.generation = inner.generation.wrapping_add(1);
        inner.tell_kept();
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
    fn tell_kept(&mut self) {
        let lined = self.lined.places();
        self.limit.kept(self.kept.saturating_add(lined));
    }

    fn keep(&mut self, change: Option<Change>) {
        let Some(change) = change else { return };
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
