//! One limit with everything that belongs to it: its count, the algorithm that finds it, who
//! waits for a place, what is kept for whom, and the totals.
//!
//! A gate has one lane for all requests, and one more for each backend that some of them were
//! seen to wait for: see [`super::lanes`]. A permit belongs to the lane that gave it, whatever
//! becomes of its route.

use std::time::{Duration, Instant};

use super::ShedSettings;
use crate::{
    shed::{
        inflight::{
            hold_time::HoldTime,
            tokens::{LIMIT_MAX, Token, Tokens},
        },
        limiter::{Counts, LimitDriver},
        moment::Moments,
        reservation::{Reserve, Totals},
        runtime_lag::LagLoop,
        tenants::{Look, TenantShares},
        wait_queue::{QueueSnapshot, WaitQueue},
    },
    sync::{
        atomic::{AtomicI64, Ordering},
        origin::nanos,
        stripe::{Counter, Padded},
    },
};

#[derive(Debug)]
pub(super) struct Lane {
    pub(super) tokens: Tokens,
    pub(super) driver: LimitDriver,
    pub(super) reserve: Reserve,
    pub(super) admitted: Counter,
    pub(super) refused: Counter,
    pub(super) would_refuse: Counter,
    /// How many of those in flight stand in line while the runtime is late.
    lined: Padded<AtomicI64>,
    pub(in crate::shed) held_nanos: Counter,
    pub(in crate::shed) settled: Counter,
    pub(in crate::shed) hold_time: HoldTime,
    pub(super) moments: Moments,
    pub(super) queue: Option<WaitQueue>,
    /// Boxed, because most gates have none.
    pub(super) tenants: Option<Box<TenantShares>>,
}

impl Lane {
    pub(super) fn new(settings: &ShedSettings, seed: u64, now: Instant) -> Self {
        let driver = LimitDriver::new(settings.make(seed));
        Self {
            tokens: Tokens::new(driver.cap().unwrap_or(LIMIT_MAX)),
            driver,
            reserve: Reserve::new(now),
            admitted: Counter::new(),
            refused: Counter::new(),
            would_refuse: Counter::new(),
            lined: Padded(AtomicI64::new(0)),
            held_nanos: Counter::new(),
            settled: Counter::new(),
            hold_time: HoldTime::new(now),
            moments: Moments::new(),
            queue: settings.queue.map(|queue| WaitQueue::new(queue, now)),
            tenants: (settings.tenants).then(|| Box::new(TenantShares::new(now))),
        }
    }

    /// What its limit's windows are made of.
    #[inline]
    pub(super) fn counts(&self, lag: &LagLoop) -> Counts<'_> {
        Counts {
            tokens: &self.tokens,
            lined: &self.lined,
            line_is_bounded: lag.bounds_the_line(),
            admitted: &self.admitted,
            refused: &self.refused,
        }
    }

    /// Counts those who join the line, or leave it.
    pub(super) fn line_up(&self, by: i64) {
        // Relaxed: a count that publishes nothing. One word for all threads, because nobody
        // writes it before the runtime is late.
        self.lined.fetch_add(by, Ordering::Relaxed);
    }

    /// Whether half of those in flight or more stand in line. What the others take then is mostly
    /// the runtime's doing too, and says nothing of how many may run.
    #[inline]
    pub(super) fn lines_most(&self) -> bool {
        let lined = self.lined.load(Ordering::Relaxed);
        lined > 0 && lined * 2 >= i64::from(self.tokens.in_flight())
    }

    /// Everything that came to it and was not refused for another reason than its limit.
    pub(super) fn arrived(&self) -> u64 {
        self.admitted.sum().wrapping_add(self.refused.sum())
    }

    /// The limit, while there is one.
    pub(super) fn limit(&self) -> Option<u32> {
        Some(self.tokens.limit()).filter(|limit| *limit < LIMIT_MAX)
    }

    /// Takes a heartbeat: looks at what is kept for whom.
    pub(super) fn beat(&self, stripe: usize, now: Instant) {
        if self.reserve.beat(&self.tokens, self.totals(false), now) {
            self.keep_changed(stripe, now);
        }
        self.look_at_tenants(stripe, now);
    }

    /// Hears that the process itself was late.
    pub(super) fn late(&self, lag: Duration, stripe: usize, now: Instant) {
        self.driver.late(lag, &self.tokens, now);
        // It may have raised the limit.
        self.offer(stripe, Some(now));
    }

    /// Takes note that somebody found no place, and says whether there may be one now. `met`
    /// says whether as many ran as may.
    pub(super) fn look_at_reserve(
        &self,
        stripe: usize,
        met: impl FnOnce() -> bool,
        now: Instant,
    ) -> bool {
        let totals = || self.totals(met());
        let changed = self.reserve.look_if_due(&self.tokens, totals, now);
        if changed {
            self.keep_changed(stripe, now);
        }
        changed
    }

    fn keep_changed(&self, stripe: usize, now: Instant) {
        let shares = self.tenants.as_deref().map_or(0, TenantShares::beside);
        let kept = self.reserve.beside().saturating_add(shares);
        self.driver.kept(kept, &self.tokens);
        self.offer(stripe, Some(now));
    }

    fn totals(&self, met: bool) -> Totals {
        Totals {
            served: self.admitted.sum(),
            refused: self.refused.sum(),
            met,
            queued: self.queue.is_some(),
        }
    }

    /// Takes note that the limit was met.
    pub(super) fn met(&self, now: Instant) {
        if let Some(shares) = &self.tenants {
            shares.met(now);
        }
    }

    /// Looks who asks for how much, if it is time.
    #[inline]
    pub(super) fn look_at_tenants(&self, stripe: usize, now: Instant) {
        let Some(shares) = &self.tenants else { return };
        let look = || Look {
            limit: self.tokens.limit(),
            in_flight: self.tokens.in_flight(),
            hold: self.mean_held(now),
        };
        if shares.look_if_due(look, now) {
            self.keep_changed(stripe, now);
        }
    }

    /// Gives a token back, and hands it to whoever waits.
    #[inline]
    pub(super) fn give_back(&self, stripe: usize, token: Token, now: Option<Instant>) {
        self.tokens.give_back(stripe, token);
        self.offer(stripe, now);
    }

    /// Hands over what may have become free.
    #[inline]
    pub(super) fn offer(&self, stripe: usize, now: Option<Instant>) {
        if self.tokens.is_wanted() {
            self.hand_over(stripe, now);
        }
    }

    #[cold]
    fn hand_over(&self, stripe: usize, now: Option<Instant>) {
        if let Some(queue) = &self.queue {
            queue.hand_over(&self.tokens, stripe, now);
        }
    }

    /// Remembers how long a place was taken, for the retry hint.
    pub(super) fn note_held(&self, stripe: usize, since: Instant, now: Instant) {
        let held = nanos(now.saturating_duration_since(since));
        self.held_nanos.add_at(stripe, held);
        self.settled.add_at(stripe, 1);
    }

    pub(super) fn queue_snapshot(&self, now: Instant) -> Option<QueueSnapshot> {
        let look = |queue: &WaitQueue| queue.snapshot(self.tokens.limit(), now);
        self.queue.as_ref().map(look)
    }
}
