//! Atomics. The lag loop: protects handlers that keep the processor busy, which no count of
//! requests in flight can see.
//!
//! A handler that computes does not yield, so no more of them run at once than the runtime
//! has threads, and whatever else has come waits *in front of* every middleware: in sockets
//! that nobody reads and tasks that nobody polls. There the queue is invisible and without
//! bound, each request in it is served long after its client has gone, and probes wait
//! behind it.
//!
//! The remedy is to let requests *stand in line* once: when the runtime is seen to be late,
//! an admitted request gives way before its handler is polled for the first time. The
//! runtime then looks at everything that has come before it begins anything new, so the
//! queue moves from the sockets to the gate. There it has a length and each request in it a
//! waiting time, and probes are answered at once. Standing in line costs a request one more
//! poll and refuses nobody, so a runtime that was late for any other reason (one long poll,
//! a pause of the process) harms nothing. Only if the line *stands*, and no request finds
//! it short for half a second, are those refused for whom there is no room in it:
//! background requests first, critical ones last, and of one class the route that asks for more
//! than its share. See `control` for when, and how many, and `costs` for how much each counts.
//!
//! Who looks: the runtime's heartbeat, ten times a second, and requests themselves, because
//! the heartbeat waits behind the same queue.
//!
//! Laws kept: a calm request reads two words that seldom change and writes none; one that
//! stands in line counts on its stripe, and in two words that all threads write, of its route
//! and of its limit; a look takes the lock only if nobody has it.

mod control;
mod costs;
mod joining;
#[cfg(all(test, loom))]
mod loom_tests;
mod place;
mod published;
mod report;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

pub use control::{LAG_MAX, LagPhase, PROOF, WAIT_TARGET};
use control::{LagControl, Seen};
use costs::{Costs, Ended};
pub(crate) use place::{Line, Timed};
use published::Published;
pub use report::{LagChange, LagMode, LagSnapshot, Lagging};

use crate::sync::{
    Mutex,
    atomic::{AtomicI64, AtomicU8, AtomicU32, AtomicU64, Ordering},
    lock,
    origin::{Origin, nanos},
    pulse::BEAT,
    stripe::{Counter, Padded, STRIPES},
    try_lock,
};

/// Between two looks that requests make. Short against everything that is decided, long
/// against what a look costs.
const LOOK: Duration = Duration::from_millis(20);

/// How long requests in line begin to run before the thread looks at its sockets again.
/// Everything in line is polled once for it, so it must be long against a poll.
const ROUND: Duration = Duration::from_millis(5);

/// Longest that other work of the runtime goes before the line: a request that computed for
/// longer, in many polls or in one, has kept it waiting before.
const OTHERS_MAX: Duration = Duration::from_millis(100);

/// A class counts as refused for this long after one of it was.
const FLOOR_OVER: Duration = Duration::from_secs(1);

/// Changes of phase kept until somebody collects them.
const CHANGES_KEPT: usize = 16;

/// Nobody beats: never late.
const NEVER: u64 = u64::MAX;

#[derive(Debug)]
pub(crate) struct LagLoop {
    origin: Origin,
    mode: AtomicU8,
    /// Nanoseconds from the origin after which a request makes a look.
    due: AtomicU64,
    /// Whether requests stand in line, and for how many there is room: see [`Published`].
    published: AtomicU64,
    /// Nanoseconds from the origin to the last beat.
    beat: AtomicU64,
    last_lag: AtomicU64,
    stripes: [Padded<Stripe>; STRIPES],
    costs: Costs,
    /// Threads that run requests, at least one.
    workers: AtomicU32,
    refused: Counter,
    would_refuse: Counter,
    /// When each class was last refused, in nanoseconds from the origin; 0 is never.
    last_refused: [AtomicU64; 4],
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Stripe {
    waiting: AtomicI64,
    /// What they count, in the unit of [`costs`], and those of them that are critical.
    standing: AtomicI64,
    critical: AtomicI64,
    started: AtomicU64,
    /// Requests that left without a turn.
    left: AtomicU64,
    /// Requests that stood in line and have ended, and what they have cost, in nanoseconds.
    ended: AtomicU64,
    ended_nanos: AtomicU64,
    /// The round that requests begin to run in. No two stripes ever have the same, because who
    /// gave way on one thread may be polled next by another.
    round: AtomicU32,
    /// Nanoseconds from the origin until which more may begin in this round.
    round_until: AtomicU64,
    /// Nanoseconds from the origin until which other work of the runtime goes first.
    others_until: AtomicU64,
    /// When the oldest of those who gave way in this round joined, in nanoseconds from the
    /// origin.
    oldest: AtomicU64,
    /// Nanoseconds; `u64::MAX` if nobody's turn came since the last look.
    shortest: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    control: LagControl,
    /// Totals at the last look.
    arrived: u64,
    refused: u64,
    started: u64,
    left: u64,
    ended: Ended,
    changes: VecDeque<LagChange>,
}

impl LagLoop {
    pub(crate) fn new(mode: LagMode, origin: Instant) -> Self {
        let stripe = |index| {
            Padded(Stripe {
                waiting: AtomicI64::new(0),
                standing: AtomicI64::new(0),
                critical: AtomicI64::new(0),
                started: AtomicU64::new(0),
                left: AtomicU64::new(0),
                ended: AtomicU64::new(0),
                ended_nanos: AtomicU64::new(0),
                round: AtomicU32::new(index as u32),
                round_until: AtomicU64::new(0),
                others_until: AtomicU64::new(0),
                oldest: AtomicU64::new(u64::MAX),
                shortest: AtomicU64::new(u64::MAX),
            })
        };
        Self {
            origin: Origin::new(origin),
            mode: AtomicU8::new(mode as u8),
            due: AtomicU64::new(NEVER),
            published: AtomicU64::new(Published::CALM.to_word()),
            beat: AtomicU64::new(0),
            last_lag: AtomicU64::new(0),
            stripes: std::array::from_fn(stripe),
            costs: Costs::new(),
            workers: AtomicU32::new(1),
            refused: Counter::new(),
            would_refuse: Counter::new(),
            last_refused: std::array::from_fn(|_| AtomicU64::new(0)),
            inner: Mutex::new(Inner {
                control: LagControl::new(1),
                arrived: 0,
                refused: 0,
                started: 0,
                left: 0,
                ended: Ended::default(),
                changes: VecDeque::new(),
            }),
        }
    }

    /// Says how many threads run requests.
    pub(crate) fn set_workers(&self, workers: u32) {
        let mut inner = lock(&self.inner);
        inner.control = LagControl::new(workers);
        self.workers.store(workers.max(1), Ordering::Relaxed);
        self.costs.forget();
        self.published
            .store(Published::CALM.to_word(), Ordering::Relaxed);
    }

    pub(crate) fn mode(&self) -> LagMode {
        match self.mode.load(Ordering::Relaxed) {
            0 => LagMode::Enforce,
            1 => LagMode::Observe,
            _ => LagMode::Off,
        }
    }

    /// Whether those are refused for whom there is no room in the line.
    #[inline]
    pub(crate) fn bounds_the_line(&self) -> bool {
        self.mode() == LagMode::Enforce
    }

    pub(crate) fn set_mode(&self, mode: LagMode) {
        // With the lock, because a look that is under way publishes what it decided with it:
        // after this it would line requests up for ever, since nothing looks again.
        let mut inner = lock(&self.inner);
        // Relaxed, as everywhere in this file: each word means something by itself, and one
        // that is a moment old is a request lined up or refused a moment later.
        self.mode.store(mode as u8, Ordering::Relaxed);
        if mode == LagMode::Off {
            inner.control.reset();
            self.costs.forget();
            self.due.store(NEVER, Ordering::Relaxed);
            self.published
                .store(Published::CALM.to_word(), Ordering::Relaxed);
        }
    }

    /// The heartbeat of the runtime: it ran `lag` later than it should have.
    pub(crate) fn beat(&self, arrived: u64, lag: Duration, now: Instant) {
        if self.mode() == LagMode::Off {
            return;
        }
        // 0 is never.
        self.beat.store(self.nanos(now).max(1), Ordering::Relaxed);
        self.last_lag.store(nanos(lag), Ordering::Relaxed);
        self.look(lock(&self.inner), arrived, lag, now);
    }

    #[cold]
    fn look_late(&self, arrived: impl FnOnce() -> u64, now: Instant) {
        if let Some(inner) = try_lock(&self.inner) {
            self.look(inner, arrived(), self.present_lag(now), now);
        }
    }

    /// Looks at what happened since the last look, and publishes what follows.
    fn look(
        &self,
        mut inner: impl std::ops::DerefMut<Target = Inner>,
        arrived: u64,
        lag: Duration,
        now: Instant,
    ) {
        if self.mode() == LagMode::Off {
            // It was switched off after whoever looks had decided to.
            return;
        }
        let started = self.sum(|stripe| &stripe.started);
        let left = self.sum(|stripe| &stripe.left);
        let refused = self.refused.sum().wrapping_add(self.would_refuse.sum());
        let shortest = self
            .stripes
            .iter()
            .map(|stripe| stripe.0.shortest.swap(u64::MAX, Ordering::Relaxed))
            .min()
            .filter(|shortest| *shortest != u64::MAX);
        let waiting = self.waiting();
        let since = |total: u64, before: u64| {
            u32::try_from(total.saturating_sub(before)).unwrap_or(u32::MAX)
        };
        let seen = Seen {
            now,
            lag,
            arrived: since(arrived, inner.arrived),
            refused: since(refused, inner.refused),
            started: since(started, inner.started),
            shortest: shortest.map(Duration::from_nanos),
            waiting,
            left: since(left, inner.left),
        };
        (inner.arrived, inner.refused) = (arrived, refused);
        (inner.started, inner.left) = (started, left);
        let from = inner.control.phase();
        inner.control.look(seen);
        let to = inner.control.phase();
        let ended = (
            self.sum(|stripe| &stripe.ended),
            self.sum(|stripe| &stripe.ended_nanos),
        );
        match to {
            LagPhase::Calm => inner.ended = Ended::since(ended),
            LagPhase::Lined | LagPhase::Refusing => self.costs.look(&mut inner.ended, ended, now),
        }
        if from != to {
            if to == LagPhase::Calm {
                self.costs.forget();
            }
            if inner.changes.len() == CHANGES_KEPT {
                inner.changes.pop_front();
            }
            let wait = inner.control.wait();
            inner.changes.push_back(LagChange {
                at: now,
                from,
                to,
                lag,
                wait,
                waiting,
            });
        }
        let published = Published {
            lined: to != LagPhase::Calm,
            room: inner.control.room(),
            full_wait_ms: u16::try_from(inner.control.full_wait().as_millis()).unwrap_or(u16::MAX),
        };
        let published = if published.lined {
            published
        } else {
            Published::CALM
        };
        self.published.store(published.to_word(), Ordering::Relaxed);
        let next = if published.lined {
            self.nanos(now).saturating_add(nanos(LOOK))
        } else {
            let beat = self.beat.load(Ordering::Relaxed);
            // While calm the beat looks; requests do only if it is late.
            beat.saturating_add(nanos(BEAT + LAG_MAX))
                .max(self.nanos(now).saturating_add(nanos(LOOK)))
        };
        self.due.store(next, Ordering::Relaxed);
    }

    /// How late the runtime was at the last beat, or is if that is longer.
    pub(crate) fn lag(&self, now: Instant) -> Duration {
        let last = Duration::from_nanos(self.last_lag.load(Ordering::Relaxed));
        last.max(self.present_lag(now))
    }

    /// How late the next beat is already.
    fn present_lag(&self, now: Instant) -> Duration {
        match self.beat.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            beat => Duration::from_nanos(self.nanos(now).saturating_sub(beat)).saturating_sub(BEAT),
        }
    }

    fn waiting(&self) -> u32 {
        u32::try_from(self.total(|stripe| &stripe.waiting)).unwrap_or(u32::MAX)
    }

    fn total(&self, of: impl Fn(&Stripe) -> &AtomicI64) -> u64 {
        let cells = self.stripes.iter();
        let sum: i64 = cells
            .map(|stripe| of(&stripe.0).load(Ordering::Relaxed))
            .sum();
        u64::try_from(sum).unwrap_or(0)
    }

    fn sum(&self, of: impl Fn(&Stripe) -> &AtomicU64) -> u64 {
        let cells = self.stripes.iter();
        cells.fold(0, |sum, stripe| {
            sum.wrapping_add(of(&stripe.0).load(Ordering::Relaxed))
        })
    }

    #[inline]
    fn nanos(&self, now: Instant) -> u64 {
        self.origin.nanos(now)
    }
}
