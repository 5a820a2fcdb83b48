//! Who has which place and who waits for one: plain arithmetic, under the gate's lock.
//!
//! A place that comes free belongs at once to the first who waits, so nobody who comes
//! later can overtake. Whoever has been given one and leaves before taking it hands it on.

use std::{
    collections::BTreeMap,
    panic::Location,
    task::Waker,
    time::{Duration, Instant},
};

use super::recent::Recent;
use crate::{Failure, FailureClass};

/// Fewest measured holds from which a wait is predicted; fewer say little about the next.
const HOLDS_MIN: u64 = 8;

/// The share of one hold in the moving mean: the last sixteen or so count.
const HOLD_WEIGHT: f64 = 1.0 / 16.0;

/// How long a connect failure explains why there is no connection, unless it is seen again.
/// While requests fail, it is seen again within one connect of each.
const TROUBLE_FRESH: Duration = Duration::from_secs(10);

/// Which place of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Slot(u32);

/// Who waits. A later one has a larger number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct WaiterId(u64);

/// One place of the pool that somebody has.
#[derive(Debug)]
pub(super) struct Held {
    pub(super) place: &'static Location<'static>,
    /// Since when; from the moment the connection answered, once it has.
    pub(super) since: Instant,
    /// Whether there is a connection that answered.
    pub(super) is_lent: bool,
    /// Whether the hold says how long requests hold a connection.
    is_measured: bool,
    /// Until when its holder has said that it will have it.
    expected: Option<Instant>,
    /// Who wants to know when it turns out that the server cannot be reached.
    waker: Option<Waker>,
}

impl Held {
    /// Whether it is held for longer than `limit`, and than was said.
    pub(super) fn is_long(&self, limit: Duration, now: Instant) -> bool {
        let is_over = self.expected.is_none_or(|until| now >= until);
        is_over && now.saturating_duration_since(self.since) >= limit
    }
}

#[derive(Debug)]
struct Waiter {
    place: &'static Location<'static>,
    since: Instant,
    waker: Option<Waker>,
}

/// That the server has given no connection since it last did.
#[derive(Clone, Debug)]
pub(super) struct Trouble {
    pub(super) since: Instant,
    seen_at: Instant,
    pub(super) failure: Failure,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) acquired: u64,
    pub(super) refused: u64,
    pub(super) cancelled: u64,
    pub(super) connects_failed: u64,
    /// What those have waited who wait no more.
    pub(super) waited: Duration,
    pub(super) peak: u32,
}

#[derive(Debug)]
pub(super) struct Book {
    size: u32,
    /// As long as the most places that were ever taken at once, at most `size`.
    slots: Vec<Option<Held>>,
    free: Vec<Slot>,
    lent: u32,
    queue: BTreeMap<WaiterId, Waiter>,
    granted: BTreeMap<WaiterId, Slot>,
    next_waiter: u64,
    hold_secs: f64,
    holds: u64,
    /// When a connection last came back or answered.
    progress_at: Instant,
    trouble: Option<Trouble>,
    /// How many failures have been noted; a lease compares it with what it saw first.
    pub(super) failures: u64,
    pub(super) is_knocking: bool,
    pub(super) counts: Counts,
    pub(super) recent: Recent,
}

impl Book {
    pub(super) fn new(size: u32, now: Instant) -> Self {
        Self {
            size,
            slots: Vec::new(),
            free: Vec::new(),
            lent: 0,
            queue: BTreeMap::new(),
            granted: BTreeMap::new(),
            next_waiter: 0,
            hold_secs: 0.0,
            holds: 0,
            progress_at: now,
            trouble: None,
            failures: 0,
            is_knocking: false,
            counts: Counts::default(),
            recent: Recent::new(now),
        }
    }

    /// Takes a place if one is free.
    pub(super) fn take(&mut self, place: &'static Location<'static>, now: Instant) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.slots.len() < self.size as usize => {
                self.slots.push(None);
                Slot(u32::try_from(self.slots.len() - 1).ok()?)
            }
            None => return None,
        };
        self.fill(slot, place, now);
        Some(slot)
    }

    fn fill(&mut self, slot: Slot, place: &'static Location<'static>, since: Instant) {
        self.slots[slot.0 as usize] = Some(Held {
            place,
            since,
            is_lent: false,
            is_measured: true,
            expected: None,
            waker: None,
        });
        self.counts.peak = self.counts.peak.max(self.taken());
    }

    /// Says that the place's connection answers. It is held from now on.
    pub(super) fn lend(&mut self, slot: Slot, now: Instant) {
        if let Some(held) = &mut self.slots[slot.0 as usize] {
            self.lent += u32::from(!held.is_lent);
            *held = Held {
                place: held.place,
                since: now,
                is_lent: true,
                is_measured: true,
                expected: None,
                waker: None,
            };
        }
        self.progress_at = now;
        // An idle connection that answers does not show that the server would give one more.
        let is_refused =
            |trouble: &Trouble| trouble.failure.class() == FailureClass::RefusedByServer;
        if !self.trouble.as_ref().is_some_and(is_refused) {
            self.trouble = None;
        }
    }

    /// Says that the hold of this place is not one of a request that uses its connection.
    pub(super) fn without_measure(&mut self, slot: Slot) {
        if let Some(held) = &mut self.slots[slot.0 as usize] {
            held.is_measured = false;
        }
    }

    /// Says that the place is held until then on purpose.
    pub(super) fn expect(&mut self, slot: Slot, until: Instant) {
        if let Some(held) = &mut self.slots[slot.0 as usize] {
            held.expected = Some(until);
            held.is_measured = false;
        }
    }

    /// Returns for how long no connection has come back or answered that should have: holds
    /// of which it was said how long they will be are not waited for.
    pub(super) fn quiet(&self, now: Instant) -> Duration {
        let due = |held: &Held| held.expected.unwrap_or(held.since);
        let overdue = self
            .holders()
            .map(|held| now.saturating_duration_since(due(held)));
        let longest = overdue.max().unwrap_or(Duration::MAX);
        now.saturating_duration_since(self.progress_at).min(longest)
    }

    /// Gives a place back, to the first who waits if anybody does; returns whom to wake.
    /// A hold is measured if there is a time, and if there was a connection.
    pub(super) fn free(&mut self, slot: Slot, now: Option<Instant>) -> Option<Waker> {
        let held = self.slots[slot.0 as usize].take()?;
        if held.is_lent {
            self.lent -= 1;
            if let Some(now) = now {
                self.progress_at = now;
                if held.is_measured {
                    self.held(now.saturating_duration_since(held.since), now);
                }
            }
        }
        match self.queue.pop_first() {
            Some((id, waiter)) => {
                self.fill(slot, waiter.place, waiter.since);
                self.granted.insert(id, slot);
                waiter.waker
            }
            None => {
                self.free.push(slot);
                None
            }
        }
    }

    fn held(&mut self, hold: Duration, now: Instant) {
        let secs = hold.as_secs_f64();
        self.holds += 1;
        if self.holds == 1 {
            self.hold_secs = secs;
        } else {
            self.hold_secs += (secs - self.hold_secs) * HOLD_WEIGHT;
        }
        self.recent.held(hold, now);
    }

    /// Lines up behind all who wait.
    pub(super) fn queue(&mut self, place: &'static Location<'static>, now: Instant) -> WaiterId {
        let id = WaiterId(self.next_waiter);
        self.next_waiter += 1;
        let waker = None;
        let since = now;
        self.queue.insert(
            id,
            Waiter {
                place,
                since,
                waker,
            },
        );
        id
    }

    /// Takes the place that a waiter has been given.
    pub(super) fn claim(&mut self, id: WaiterId, now: Instant) -> Option<Slot> {
        let slot = self.granted.remove(&id)?;
        if let Some(held) = &mut self.slots[slot.0 as usize] {
            self.counts.waited += now.saturating_duration_since(held.since);
            held.since = now;
        }
        self.counts.acquired += 1;
        Some(slot)
    }

    /// Says whom to wake when the waiter has its turn.
    pub(super) fn wake_at_turn(&mut self, id: WaiterId, waker: &Waker) {
        if let Some(waiter) = self.queue.get_mut(&id) {
            renew(&mut waiter.waker, waker);
        }
    }

    /// Takes a waiter out, wherever it is; returns whom to wake instead.
    pub(super) fn leave(&mut self, id: WaiterId, now: Option<Instant>) -> Option<Waker> {
        let since = if let Some(waiter) = self.queue.remove(&id) {
            waiter.since
        } else {
            let slot = self.granted.remove(&id)?;
            let since = self.slots[slot.0 as usize].as_ref().map(|held| held.since);
            let next = self.free(slot, None);
            if let (Some(since), Some(now)) = (since, now) {
                self.counts.waited += now.saturating_duration_since(since);
            }
            return next;
        };
        if let Some(now) = now {
            self.counts.waited += now.saturating_duration_since(since);
        }
        None
    }

    /// Notes that no connection could be opened; returns whom to wake.
    pub(super) fn failed(&mut self, failure: Failure, now: Instant) -> Vec<Waker> {
        self.counts.connects_failed += 1;
        self.failures += 1;
        let since = self.trouble(now).map_or(now, |trouble| trouble.since);
        self.trouble = Some(Trouble {
            since,
            seen_at: now,
            failure,
        });
        self.connecting_wakers()
    }

    /// Notes that the server opened a connection.
    pub(super) fn worked(&mut self) {
        self.trouble = None;
    }

    /// Returns why no connection can be opened, if that was seen lately.
    pub(super) fn trouble(&self, now: Instant) -> Option<&Trouble> {
        let is_fresh =
            |trouble: &&Trouble| now.saturating_duration_since(trouble.seen_at) <= TROUBLE_FRESH;
        self.trouble.as_ref().filter(is_fresh)
    }

    /// Returns the failure that was noted after `seen` and holds still.
    pub(super) fn trouble_since(&self, seen: u64) -> Option<&Failure> {
        let trouble = self.trouble.as_ref()?;
        (self.failures > seen).then_some(&trouble.failure)
    }

    pub(super) fn wake_at_trouble(&mut self, slot: Slot, waker: &Waker) {
        if let Some(held) = &mut self.slots[slot.0 as usize] {
            renew(&mut held.waker, waker);
        }
    }

    pub(super) fn connecting_wakers(&mut self) -> Vec<Waker> {
        let held = self.slots.iter_mut().flatten();
        held.filter_map(|held| held.waker.take()).collect()
    }

    /// Returns in what time the next who lines up is expected to have its turn; `None` while
    /// too few holds have been measured, or if all that are held are so on purpose.
    pub(super) fn turn_in(&self) -> Option<Duration> {
        let mean = self.mean_hold()?;
        let declared = self.holders().filter(|held| held.expected.is_some());
        let moving = self.size as usize - declared.count();
        (moving > 0).then(|| mean.mul_f64(f64::from(self.waiting() + 1) / moving as f64))
    }

    /// Returns the moving mean of how long a connection is held.
    pub(super) fn mean_hold(&self) -> Option<Duration> {
        (self.holds >= HOLDS_MIN).then(|| Duration::from_secs_f64(self.hold_secs))
    }

    pub(super) fn size(&self) -> u32 {
        self.size
    }

    pub(super) fn waiting(&self) -> u32 {
        u32::try_from(self.queue.len()).unwrap_or(u32::MAX)
    }

    /// Returns how many places hold a connection that answered.
    pub(super) fn lent(&self) -> u32 {
        self.lent
    }

    /// Returns how many places are taken, with a connection or not yet.
    pub(super) fn taken(&self) -> u32 {
        u32::try_from(self.slots.len() - self.free.len()).unwrap_or(u32::MAX)
    }

    /// Returns those who hold a connection.
    pub(super) fn holders(&self) -> impl Iterator<Item = &Held> {
        self.slots.iter().flatten().filter(|held| held.is_lent)
    }

    /// Returns what those have waited by now who wait still.
    pub(super) fn waiting_for(&self, now: Instant) -> Duration {
        let waiters = self.queue.values();
        waiters
            .map(|waiter| now.saturating_duration_since(waiter.since))
            .sum()
    }
}

fn renew(place: &mut Option<Waker>, waker: &Waker) {
    match place {
        Some(known) => known.clone_from(waker),
        None => *place = Some(waker.clone()),
    }
}
