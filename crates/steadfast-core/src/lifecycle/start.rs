//! Requests that come before the first round of checks is over, and how long they wait.
//!
//! A process that has just begun does not know yet whether it can serve, and knows it a
//! moment later. Whoever comes in between (a balancer without active checks, a client of
//! the old instance, a test that starts and asks) is served by waiting and harmed by a
//! refusal. So a request waits until the round is over, and then does what the round says:
//! it passes, or is refused. It waits for [`Start::wait_max`] at most and never past its
//! deadline, and the room is bounded; who finds it full is refused at once.
//!
//! A [`StartTicket`] is a place in that room. Everybody in it is woken at once when the
//! lifecycle changes. Dropped, a ticket gives its place back.

use std::{
    collections::BTreeMap,
    sync::Arc,
    task::{Poll, Waker},
    time::{Duration, Instant},
};

use super::{Lifecycle, SOURCE};
use crate::{
    refusal::{Refusal, evidence::Evidence},
    request::deadline::Deadline,
    shed::Decision,
    sync::lock,
};

/// Most requests that wait for the first round of checks: as many as tokio lets the kernel
/// keep in a listener's queue (1,024), where they would wait if nobody accepted yet.
pub const START_WAITING_MAX: usize = 1024;

/// How the process starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub struct Start {
    /// For how long requests are held back at most while the first round of checks has not
    /// passed.
    pub hold: Duration,
    /// How long one request waits at most for the first round to be over.
    pub wait_max: Duration,
}

impl Default for Start {
    fn default() -> Self {
        Self {
            hold: Self::HOLD_DEFAULT,
            wait_max: Self::WAIT_MAX_DEFAULT,
        }
    }
}

impl Start {
    /// How long requests are held back at most while the first round of checks has not
    /// passed, unless configured. Thirty seconds is what a process manager waits for a
    /// start before it worries.
    pub const HOLD_DEFAULT: Duration = Duration::from_secs(30);

    /// How long one request waits at most for the first round to be over, unless
    /// configured: a round takes a check's timeout (1 s) at most, and a person takes two
    /// seconds for slow, not for broken.
    pub const WAIT_MAX_DEFAULT: Duration = Duration::from_secs(2);

    /// Sets for how long requests are held back at most while the first round of checks has
    /// not passed. Zero serves from the first moment.
    pub const fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// Sets how long one request waits at most for the first round to be over. Zero refuses
    /// at once.
    pub const fn wait_max(mut self, wait_max: Duration) -> Self {
        self.wait_max = wait_max;
        self
    }
}

/// A start that has not come to its end.
#[derive(Debug)]
pub(super) struct Starting {
    began: Instant,
    hold_until: Instant,
    wait_max: Duration,
    /// Whether every check that the start waits for has answered once.
    round_is_over: bool,
    /// When the round is over that a client should wait for.
    next_round: Option<Instant>,
}

impl Starting {
    pub(super) fn new(start: Start, now: Instant) -> Self {
        Self {
            began: now,
            hold_until: now + start.hold,
            wait_max: start.wait_max,
            round_is_over: false,
            next_round: None,
        }
    }

    pub(super) fn holds(&self, now: Instant) -> bool {
        now < self.hold_until
    }

    pub(super) fn refusal(&self, waiting: usize, now: Instant) -> Refusal {
        let hold_left = self.hold_until.saturating_duration_since(now);
        let evidence = Evidence::Starting {
            since: now.saturating_duration_since(self.began),
            hold_left,
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
        };
        let round = self.next_round;
        let round = round.map_or(hold_left, |at| at.saturating_duration_since(now));
        Refusal::new(SOURCE, evidence, round.min(hold_left), now)
    }
}

/// Those who wait, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct StartQueue {
    /// `None` is one who has not been polled since it came or was woken.
    places: BTreeMap<u64, Option<Waker>>,
    next: u64,
}

impl StartQueue {
    pub(super) fn len(&self) -> usize {
        self.places.len()
    }

    fn enter(&mut self) -> Option<u64> {
        if self.places.len() >= START_WAITING_MAX {
            return None;
        }
        let place = self.next;
        self.next += 1;
        self.places.insert(place, None);
        Some(place)
    }

    /// Takes everybody's waker, to be woken once the lock is free. They keep their places
    /// until they have looked.
    pub(super) fn wakers(&mut self) -> Vec<Waker> {
        self.places.values_mut().filter_map(Option::take).collect()
    }
}

/// A request's place among those who wait for the first round of checks.
#[derive(Debug)]
#[must_use = "a ticket that is dropped gives its place back"]
pub struct StartTicket {
    life: Arc<Lifecycle>,
    place: u64,
    until: Instant,
}

impl StartTicket {
    /// Returns the moment at which it must be asked again at the latest.
    #[must_use]
    pub const fn until(&self) -> Instant {
        self.until
    }

    /// Asks what became of the request. While it waits, `waker` is woken when that may have
    /// been decided; only the latest waker counts.
    pub fn poll(&mut self, waker: &Waker, now: Instant) -> Poll<Result<(), Refusal>> {
        // What a waker does when it is cloned or dropped is not ours to run under the lock.
        let mut kept = Some(waker.clone());
        let mut inner = lock(&self.life.inner);
        if now < self.until && inner.may_wait(now) {
            if let Some(place) = inner.waiting.places.get_mut(&self.place) {
                std::mem::swap(place, &mut kept);
            }
            drop(inner);
            return Poll::Pending;
        }
        let refusal = inner.refusal(now);
        drop(inner);
        Poll::Ready(refusal.map_or(Ok(()), Err))
    }
}

impl Drop for StartTicket {
    fn drop(&mut self) {
        let gone = lock(&self.life.inner).waiting.places.remove(&self.place);
        drop(gone);
    }
}

impl Lifecycle {
    /// Lets a request pass, lets it wait for the first round of checks, or refuses it.
    ///
    /// Whoever cannot wait asks [`Lifecycle::admit`].
    pub fn ask(
        self: &Arc<Self>,
        deadline: Option<Deadline>,
        now: Instant,
    ) -> Decision<(), StartTicket> {
        if self.is_open() {
            return Decision::Admit(());
        }
        // One look under one lock: what opens in between must not be missed.
        let mut inner = lock(&self.inner);
        let Some(refusal) = self.look(&inner, now) else {
            return Decision::Admit(());
        };
        let until = inner
            .waits_until(deadline, now)
            .filter(|until| now < *until);
        let ticket = until.and_then(|until| Some((until, inner.waiting.enter()?)));
        drop(inner);
        match ticket {
            Some((until, place)) => Decision::Wait(StartTicket {
                life: Arc::clone(self),
                place,
                until,
            }),
            None => Decision::Refuse(refusal),
        }
    }

    /// Says when the next round of checks ends, which is what a client waits for while
    /// the process starts.
    pub fn next_round(&self, moment: Instant) {
        if let Some(starting) = &mut lock(&self.inner).starting {
            starting.next_round = Some(moment);
        }
    }

    /// Says that every check has answered once, and one of them badly: who waits is told
    /// now, and who comes now is told at once.
    pub fn first_round_failed(&self, now: Instant) {
        let is_news = |starting: &Starting| !starting.round_is_over;
        if !lock(&self.inner).starting.as_ref().is_some_and(is_news) {
            return;
        }
        self.change(now, |inner| {
            if let Some(starting) = &mut inner.starting {
                starting.round_is_over = true;
            }
        });
    }

    /// Says that the checks have passed. While the process leaves, that is all there is to
    /// say; otherwise [`Lifecycle::advance`] to [`super::Phase::Ready`] says it too.
    pub fn start_passed(&self, now: Instant) {
        if lock(&self.inner).starting.is_some() {
            self.change(now, |inner| inner.starting = None);
        }
    }
}

impl super::Inner {
    /// Whether what keeps requests out is a first round that goes on.
    fn may_wait(&self, now: Instant) -> bool {
        let starting = self.starting.as_ref();
        !self.is_over(now)
            && self.maintenance(now).is_none()
            && starting.is_some_and(|it| it.holds(now) && !it.round_is_over)
    }

    /// Returns until when a request that comes now may wait.
    fn waits_until(&self, deadline: Option<Deadline>, now: Instant) -> Option<Instant> {
        let starting = self.starting.as_ref().filter(|_| self.may_wait(now))?;
        let longest = (now + starting.wait_max).min(starting.hold_until);
        Some(deadline.map_or(longest, |deadline| longest.min(deadline.instant())))
    }
}
