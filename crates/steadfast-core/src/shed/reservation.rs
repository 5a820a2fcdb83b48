//! Atomics. The reserve: places at the limit that are kept for those who go first.
//!
//! A limit without it is first come, first served: at ten times the load a critical request
//! competes with all others for the next free place, and nine of ten are refused. So while
//! the limit is being met, the last places of it are kept: a class is admitted only while
//! fewer run than the limit less what is kept from it. [`crate::shed::inflight::tokens`] holds that bound,
//! exactly; here it is decided how many places that are (see [`control`]).
//!
//! Nobody loses anything by it who need not. Nothing is kept before the limit was met, or
//! once what is asked for would fit again, so a healthy service never notices. Nothing is
//! kept for a class that has not come for ten seconds, nor from one, so neither does a
//! service without classes. At most all places but one are kept, because with nothing in
//! flight whoever comes is admitted.
//!
//! Laws kept: a request that nobody classified counts nothing here and reads one word only
//! if it found no place; the lock is taken by one refusal in a tenth of a second and by the
//! heartbeat.

mod control;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

pub(super) use control::CONTENDED_FOR;
use control::{CLASSES, ReserveControl, Seen};

use crate::{
    request::priority::Priority,
    shed::inflight::tokens::{Keep, Tokens},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        lock,
        origin::Origin,
        stripe::Counter,
        try_lock,
    },
};

/// Between two looks while the limit is met.
const LOOK: Duration = Duration::from_millis(100);

/// Changes kept until somebody collects them. They are at least a second apart.
const CHANGES_KEPT: usize = 16;

/// How much of the limit is kept for those who go first.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct ReserveSnapshot {
    /// Places that are kept from each class, in the order of [`Priority::ALL`].
    pub kept: [u32; CLASSES],
    /// What those who go before each class ask for, over what a full limit serves, lately.
    pub ratio: [f64; CLASSES],
    /// Requests of each class that were refused for want of a place since the start.
    pub refused: [u64; CLASSES],
}

/// Places began to be kept, or are not any more.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ReserveChange {
    /// When.
    pub at: Instant,
    /// The most that was kept from any class before.
    pub from: u32,
    /// The most that is kept from any class now.
    pub to: u32,
    /// The limit.
    pub limit: u32,
    /// What those they are kept for ask for, over what a full limit serves.
    pub ratio: f64,
}

impl fmt::Display for ReserveChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.to == 0 {
            return f.write_str("what is asked for fits again");
        }
        write!(
            f,
            "the limit of {} is met, and those who go first ask for {:.0} % of it",
            self.limit,
            self.ratio * 100.0
        )
    }
}

/// The numbers behind a refusal by the reserve.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct Reserved {
    /// The class of the request.
    pub priority: Priority,
    /// Places that were kept from it.
    pub kept: u32,
}

#[derive(Debug)]
pub(crate) struct Reserve {
    origin: Origin,
    /// Requests that asked for a place, of those that somebody classified.
    arrived: [Counter; CLASSES],
    refused: [Counter; CLASSES],
    /// Nanoseconds from the origin before which no refusal looks; 0 lets the next one.
    due: AtomicU64,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    control: ReserveControl,
    /// Totals at the last look.
    arrived: [u64; CLASSES],
    refused: [u64; CLASSES],
    served: u64,
    changes: VecDeque<ReserveChange>,
}

/// What the gate knows and the reserve needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Totals {
    /// Requests that were admitted since the start.
    pub(crate) served: u64,
    /// Those that were refused at the limit.
    pub(crate) refused: u64,
    /// Whether one of them just was while as many ran as may.
    pub(crate) met: bool,
    /// Whether the gate has a queue.
    pub(crate) queued: bool,
}

impl Reserve {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            origin: Origin::new(now),
            arrived: std::array::from_fn(|_| Counter::new()),
            refused: std::array::from_fn(|_| Counter::new()),
            due: AtomicU64::new(0),
            inner: Mutex::new(Inner {
                control: ReserveControl::new(now),
                arrived: [0; CLASSES],
                refused: [0; CLASSES],
                served: 0,
                changes: VecDeque::new(),
            }),
        }
    }

    /// Counts a request that asks for a place. Those of the default class are what is left
    /// of all, so that a service without classes counts nothing.
    #[inline]
    pub(crate) fn arrived(&self, stripe: usize, class: Priority) {
        if class != Priority::Default {
            self.arrived[class.index()].add_at(stripe, 1);
        }
    }

    /// Counts a request that found none.
    pub(crate) fn refused(&self, stripe: usize, class: Priority) {
        self.refused[class.index()].add_at(stripe, 1);
    }

    /// Looks, if it is time, and says whether what is kept has changed.
    pub(crate) fn look_if_due(
        &self,
        tokens: &Tokens,
        totals: impl FnOnce() -> Totals,
        now: Instant,
    ) -> bool {
        // Relaxed: it only chooses who looks.
        if self.origin.nanos(now) < self.due.load(Ordering::Relaxed) {
            return false;
        }
        try_lock(&self.inner).is_some_and(|inner| self.look(inner, tokens, totals(), now))
    }

    /// The heartbeat: looks in any case, so that it is known what comes before the limit is
    /// met, and that it is not met any more.
    pub(crate) fn beat(&self, tokens: &Tokens, totals: Totals, now: Instant) -> bool {
        self.look(lock(&self.inner), tokens, totals, now)
    }

    fn look(
        &self,
        mut inner: impl std::ops::DerefMut<Target = Inner>,
        tokens: &Tokens,
        totals: Totals,
        now: Instant,
    ) -> bool {
        let inner = &mut *inner;
        let mut arrived = self.arrived.each_ref().map(Counter::sum);
        let refused = self.refused.each_ref().map(Counter::sum);
        let classified: u64 = arrived.iter().sum();
        let all = totals.served.wrapping_add(totals.refused);
        arrived[Priority::Default.index()] = all.saturating_sub(classified);
        let since =
            |now: u64, before: u64| u32::try_from(now.saturating_sub(before)).unwrap_or(u32::MAX);
        let limit = tokens.limit();
        let seen = Seen {
            arrived: std::array::from_fn(|class| since(arrived[class], inner.arrived[class])),
            refused: std::array::from_fn(|class| since(refused[class], inner.refused[class])),
            served: since(totals.served, inner.served),
            met: totals.met,
            in_flight: tokens.in_flight(),
            limit,
            queued: totals.queued,
        };
        // The default ones are a difference of sums that are read one after the other; it
        // must not run backwards.
        for (known, sum) in inner.arrived.iter_mut().zip(arrived) {
            *known = sum.max(*known);
        }
        (inner.refused, inner.served) = (refused, totals.served);
        inner.control.look(seen, now);
        let (before, after) = (tokens.kept(), Keep::new(inner.control.kept()));
        tokens.set_keep(after);
        inner.note(before.most(), after.most().min(limit - 1), limit, now);
        let due = if inner.control.is_contended() {
            self.origin.nanos(now + LOOK)
        } else {
            0
        };
        self.due.store(due, Ordering::Relaxed);
        before != tokens.kept()
    }

    /// How many places are kept beside those that others fill.
    pub(crate) fn beside(&self) -> u32 {
        lock(&self.inner).control.beside()
    }

    pub(crate) fn take_changes(&self) -> Vec<ReserveChange> {
        lock(&self.inner).changes.drain(..).collect()
    }

    pub(crate) fn snapshot(&self, tokens: &Tokens) -> ReserveSnapshot {
        let kept = tokens.kept();
        ReserveSnapshot {
            kept: Priority::ALL.map(|class| kept.from(class)),
            ratio: lock(&self.inner).control.ratio(),
            refused: self.refused.each_ref().map(Counter::sum),
        }
    }
}

impl Inner {
    /// Keeps a change from nothing or to nothing; how many places are kept varies all the
    /// time.
    fn note(&mut self, from: u32, to: u32, limit: u32, at: Instant) {
        if (from == 0) == (to == 0) {
            return;
        }
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        let ratio = self.control.ratio()[Priority::Background.index()];
        self.changes.push_back(ReserveChange {
            at,
            from,
            to,
            limit,
            ratio,
        });
    }
}
