//! Atomics, by way of the tokens. The wait queue in front of a limit.
//!
//! A request that finds no token may take a place here ([`WaitQueue::enter`]), if there is
//! one and if waiting makes sense: its caller must still be listening when its turn has
//! come and it has been served. Whoever gives a token back and sees that somebody wants
//! one hands it over ([`WaitQueue::hand_over`]). The waiting request asks what became of it
//! ([`WaitQueue::ask`]) or leaves ([`WaitQueue::leave`]), and either frees its place.
//!
//! **Who goes first.** The higher class; within a class whoever came first, or, once the
//! queue has not been empty for the interval, whoever came last (see [`QueueSettings`]).
//! Empty is what is so for as long as the target: under twice the load a queue is empty for
//! an instant now and then, and would be taken for a burst again each time.
//! When the queue is full, whoever would go last by this order is refused, be it the one
//! who came last or one who waits already.
//!
//! **No one overtakes for ever.** While somebody waits, a newcomer takes no token that
//! lies about: it asks here, and those who go before it are served first. What is left is
//! the one that looked a moment before somebody began to wait; it delays a waiter by one
//! turn, once. Within a class the order of a lasting queue favours newcomers on purpose,
//! and the waits of the others end after 5 ms.
//!
//! **No wake-up is lost.** Whoever enters first says that tokens are wanted and then
//! looks for one; whoever puts a token back looks afterwards whether one is wanted. Each
//! of the two may miss the other, but not both ([`Tokens::is_wanted`] says why); and all
//! that is found out under the lock stays true under it. `loom_tests` explores this.
//!
//! Laws kept: while there is room nothing here is touched, and one word is read that is
//! written only when a queue begins or ends; memory is made at the start; a token that was
//! handed over comes back when its ticket is dropped.

mod line;
#[cfg(all(test, loom))]
mod loom_tests;
mod settings;
#[cfg(all(test, not(loom)))]
mod tests;
mod wake_list;

use std::{
    task::Waker,
    time::{Duration, Instant},
};

use line::{End, Fate, Line, Waiter};

pub(crate) use line::PlaceNo;
pub use settings::{QUEUE_LEN_DEFAULT_MAX, QUEUE_LEN_MAX, QUEUE_WAIT_MAX, QueueSettings};
use wake_list::WakeList;

use crate::{
    refusal::{cause::Rule, evidence::Queued},
    request::{deadline::Deadline, priority::Priority},
    shed::inflight::tokens::{Token, Tokens},
    sync::{Mutex, lock},
};

/// How much the mean of the waits follows each new one: about the last sixteen.
const MEAN_SHARE: u32 = 16;

/// Those who wait for a token.
#[derive(Debug)]
pub(crate) struct WaitQueue {
    settings: QueueSettings,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    line: Line,
    /// When the queue was last seen to have been empty for as long as the target.
    empty_at: Instant,
    /// When it became empty, if it is.
    emptied_at: Option<Instant>,
    /// The latest moment that anybody has named.
    clock: Instant,
    waits: Waits,
}

/// How long requests waited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Waits {
    /// Requests that ran after they had waited.
    pub served: u64,
    /// Requests that were refused after they had waited.
    pub refused: u64,
    /// Requests whose callers left while they waited.
    pub left: u64,
    /// How long they all waited together.
    pub total: Duration,
    /// The mean of the latest waits: each counts a sixteenth, the earlier ones the rest.
    pub mean: Duration,
    /// The wait that ended last.
    pub last: Duration,
}

/// What the wait queue says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueSnapshot {
    /// How many wait.
    pub len: u32,
    /// How many may wait at the present limit.
    pub max: u32,
    /// For how long it has not been empty for longer than the target: a burst, or, beyond the interval, an overload.
    pub standing: Duration,
    /// How long requests waited.
    pub waits: Waits,
}

/// What a request brings.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Asking {
    pub(crate) priority: Priority,
    pub(crate) deadline: Option<Deadline>,
}

/// What the gate knows about time: how long one request runs, and how often one ends.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tempo {
    pub(crate) limit: u32,
    /// How long a permit is held; zero before anything was measured.
    pub(crate) service: Duration,
}

impl Tempo {
    /// How long until `turns` permits have ended, by Little's law.
    fn wait(self, turns: u32) -> Duration {
        (self.service / self.limit.max(1)).saturating_mul(turns)
    }
}

/// What became of a request that found no token.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entered {
    /// There was one after all.
    Run(Token),
    /// It waits, until this moment at most.
    Wait(PlaceNo, Instant),
    Refuse(Rule, Queued),
}

/// What became of a request that waits.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum WaitState {
    Wait,
    Run(Token),
    /// Its turn came when its caller had left; the token goes back.
    TooLate(Token, Queued),
    Refuse(Rule, Queued),
}

impl WaitQueue {
    pub(crate) fn new(settings: QueueSettings, now: Instant) -> Self {
        // As many again for those whose fate is decided and who have not heard it yet.
        let line = Line::new(settings.places() * 2);
        Self {
            settings,
            inner: Mutex::new(Inner {
                line,
                empty_at: now,
                emptied_at: Some(now),
                clock: now,
                waits: Waits::default(),
            }),
        }
    }

    /// Gives a request that found no token a place, if waiting makes sense.
    pub(crate) fn enter(
        &self,
        asking: Asking,
        tempo: Tempo,
        tokens: &Tokens,
        stripe: usize,
        now: Instant,
    ) -> Entered {
        let mut woken = WakeList::new();
        let mut inner = lock(&self.inner);
        inner.see(self.settings, now);
        // Said before the look for a token: see the module's words on wake-ups.
        tokens.want(true);
        let newcomer = Some(asking.priority);
        let all = inner.serve(self.settings, tokens, stripe, newcomer, &mut woken);
        let entered = if inner.goes_first(self.settings, asking.priority) {
            tokens.claim(asking.priority, stripe).map(Entered::Run)
        } else {
            None
        };
        let entered =
            entered.unwrap_or_else(|| inner.place(self.settings, asking, tempo, &mut woken, now));
        inner.note(tokens);
        drop(inner);
        woken.wake();
        if !all {
            self.hand_over(tokens, stripe, Some(now));
        }
        entered
    }

    /// Gives free tokens to those who wait. `now` is unknown where a permit was dropped.
    pub(crate) fn hand_over(&self, tokens: &Tokens, stripe: usize, now: Option<Instant>) {
        loop {
            let mut woken = WakeList::new();
            let all = {
                let mut inner = lock(&self.inner);
                if let Some(now) = now {
                    inner.see(self.settings, now);
                }
                let all = inner.serve(self.settings, tokens, stripe, None, &mut woken);
                inner.note(tokens);
                all
            };
            // Outside the lock, because a waker may do anything.
            woken.wake();
            if all {
                return;
            }
        }
    }

    /// Tells a request what became of it. Unless it still waits, its place is free.
    pub(crate) fn ask(
        &self,
        place: PlaceNo,
        tokens: &Tokens,
        waker: &Waker,
        now: Instant,
    ) -> WaitState {
        let mut inner = lock(&self.inner);
        inner.see(self.settings, now);
        let waiter = inner.line.waiter_mut(place);
        let fate = match waiter.fate {
            Fate::Waiting if now < waiter.until => {
                let old = match &mut waiter.waker {
                    Some(old) if old.will_wake(waker) => None,
                    slot => slot.replace(waker.clone()),
                };
                drop(inner);
                // Outside the lock, as above.
                drop(old);
                return WaitState::Wait;
            }
            fate => fate,
        };
        let queued = inner.queued(self.settings, tokens.limit());
        let waiter = inner.line.leave(place);
        inner.note(tokens);
        let waited = now.saturating_duration_since(waiter.entered);
        inner.waits.ended(waited, matches!(fate, Fate::Granted(_)));
        drop(inner);
        let queued = Queued {
            waited,
            deadline_left: waiter.deadline.map(|deadline| deadline.remaining(now)),
            ..queued
        };
        match fate {
            Fate::Granted(token) if queued.deadline_left == Some(Duration::ZERO) => {
                WaitState::TooLate(token, queued)
            }
            Fate::Granted(token) => WaitState::Run(token),
            Fate::Displaced => WaitState::Refuse(Rule::QueueFull, queued),
            Fate::Waiting | Fate::Late => {
                let rule = if queued.deadline_left == Some(Duration::ZERO) {
                    Rule::Deadline
                } else {
                    Rule::QueueTimeout
                };
                WaitState::Refuse(rule, queued)
            }
        }
    }

    /// Lets a request go that does not want to know. Returns the token that had been
    /// handed to it: the caller gives it back.
    pub(crate) fn leave(&self, place: PlaceNo, tokens: &Tokens) -> Option<Token> {
        let mut inner = lock(&self.inner);
        let waiter = inner.line.leave(place);
        inner.waits.left += 1;
        inner.note(tokens);
        drop(inner);
        // The waker goes outside the lock, with its waiter.
        match waiter.fate {
            Fate::Granted(token) => Some(token),
            _ => None,
        }
    }

    /// Wakes all who wait, so that they look at what else has changed. They keep their places.
    pub(crate) fn wake_all(&self) {
        let wakers = lock(&self.inner).line.take_wakers();
        // Outside the lock, because a waker may do anything.
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Returns how many may wait.
    pub(crate) fn len_max(&self, limit: u32) -> u32 {
        self.settings.len_at(limit)
    }

    pub(crate) fn snapshot(&self, limit: u32, now: Instant) -> QueueSnapshot {
        let inner = lock(&self.inner);
        let standing = if inner.line.is_empty() {
            Duration::ZERO
        } else {
            now.saturating_duration_since(inner.empty_at)
        };
        QueueSnapshot {
            len: inner.line.len(),
            max: self.len_max(limit),
            standing,
            waits: inner.waits,
        }
    }
}

impl Inner {
    /// Takes note of the time, which never runs back here although threads race.
    fn see(&mut self, settings: QueueSettings, now: Instant) {
        self.clock = self.clock.max(now);
        let empty = self.emptied_at;
        if empty.is_some_and(|at| self.clock.saturating_duration_since(at) >= settings.target) {
            self.empty_at = self.clock;
        }
    }

    /// Takes note of whether anybody waits, and says it to those who give tokens back.
    fn note(&mut self, tokens: &Tokens) {
        let empty = self.line.is_empty();
        self.emptied_at = empty.then(|| self.emptied_at.unwrap_or(self.clock));
        tokens.want(!empty);
    }

    /// Whether the queue has lasted for so long that it is not a burst any more.
    fn stands(&self, settings: QueueSettings) -> bool {
        self.clock.saturating_duration_since(self.empty_at) > settings.interval
    }

    /// Which end of a class is served first.
    fn first_end(&self, settings: QueueSettings) -> End {
        if self.stands(settings) {
            End::Back
        } else {
            End::Front
        }
    }

    /// Whether a newcomer of this class goes before all who wait.
    fn goes_first(&self, settings: QueueSettings, newcomer: Priority) -> bool {
        let Some(first) = self.line.first(End::Front) else {
            return true;
        };
        let theirs = self.line.waiter(first).priority;
        newcomer < theirs || (newcomer == theirs && self.stands(settings))
    }

    /// Gives tokens to those who go before a `newcomer`, or to all. Returns whether
    /// everybody was looked at for whom there is a token; otherwise the list is full.
    fn serve(
        &mut self,
        settings: QueueSettings,
        tokens: &Tokens,
        stripe: usize,
        newcomer: Option<Priority>,
        woken: &mut WakeList,
    ) -> bool {
        let end = self.first_end(settings);
        while let Some(first) = self.line.first(end) {
            if newcomer.is_some_and(|newcomer| self.goes_first(settings, newcomer)) {
                return true;
            }
            if woken.is_full() {
                return false;
            }
            let waiter = self.line.waiter(first);
            let fate = if waiter.until <= self.clock {
                Fate::Late
            } else if let Some(token) = tokens.claim(waiter.priority, stripe) {
                Fate::Granted(token)
            } else {
                return true;
            };
            woken.push(self.line.decide(first, fate));
        }
        true
    }

    /// Gives a newcomer a place, or says why not.
    fn place(
        &mut self,
        settings: QueueSettings,
        asking: Asking,
        tempo: Tempo,
        woken: &mut WakeList,
        now: Instant,
    ) -> Entered {
        let standing = self.stands(settings);
        let ahead = Priority::ALL
            .into_iter()
            .filter(|class| *class < asking.priority || (*class == asking.priority && !standing));
        let ahead: u32 = ahead.map(|class| self.line.len_of(class)).sum();
        let queued = Queued {
            expected: tempo.wait(ahead + 1),
            deadline_left: asking.deadline.map(|deadline| deadline.remaining(now)),
            ..self.queued(settings, tempo.limit)
        };
        let needed = queued.expected + tempo.service;
        if queued.deadline_left.is_some_and(|left| left < needed) {
            return Entered::Refuse(Rule::Deadline, queued);
        }
        if queued.max == 0 {
            return Entered::Refuse(Rule::Limit, queued);
        }
        if queued.len >= queued.max && !self.displace(settings, asking.priority, woken) {
            return Entered::Refuse(Rule::QueueFull, queued);
        }
        let allowed = if standing {
            settings.target
        } else {
            settings.interval
        };
        let until = now + allowed;
        let until = asking
            .deadline
            .map_or(until, |deadline| until.min(deadline.instant()));
        let place = self.line.push(Waiter {
            fate: Fate::Waiting,
            priority: asking.priority,
            entered: now,
            until,
            deadline: asking.deadline,
            waker: None,
        });
        place.map_or(Entered::Refuse(Rule::QueueFull, queued), |place| {
            Entered::Wait(place, until)
        })
    }

    /// Makes whoever goes last leave for a newcomer that goes before. Returns whether there
    /// was one.
    fn displace(
        &mut self,
        settings: QueueSettings,
        newcomer: Priority,
        woken: &mut WakeList,
    ) -> bool {
        let standing = self.stands(settings);
        let end = if standing { End::Front } else { End::Back };
        let Some(last) = self.line.last(end) else {
            return false;
        };
        let theirs = self.line.waiter(last).priority;
        let before = newcomer < theirs || (newcomer == theirs && standing);
        // The displaced keeps its place until it has heard of it, so there must be another.
        if !before || !self.line.has_place() || woken.is_full() {
            return false;
        }
        woken.push(self.line.decide(last, Fate::Displaced));
        true
    }

    fn queued(&self, settings: QueueSettings, limit: u32) -> Queued {
        Queued {
            len: self.line.len(),
            max: settings.len_at(limit),
            waited: Duration::ZERO,
            expected: Duration::ZERO,
            deadline_left: None,
        }
    }
}

impl Waits {
    fn ended(&mut self, waited: Duration, served: bool) {
        if served {
            self.served += 1;
        } else {
            self.refused += 1;
        }
        self.total = self.total.saturating_add(waited);
        self.last = waited;
        let share = (self.served + self.refused).min(u64::from(MEAN_SHARE));
        let share = u32::try_from(share).unwrap_or(MEAN_SHARE);
        self.mean = (self.mean * (share - 1) + waited) / share;
    }
}
