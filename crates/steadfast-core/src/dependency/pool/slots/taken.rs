//! The places of the pool, from the turn to the end of the hold.

use std::{
    panic::Location,
    task::Waker,
    time::{Duration, Instant},
};

use super::{Slots, WakeList};

/// Fewest measured holds from which a mean is told; fewer say little about the next.
const HOLDS_MIN: u64 = 8;

/// The share of one hold in the moving mean: the last sixteen or so count.
const HOLD_WEIGHT: f64 = 1.0 / 16.0;

/// Which place of the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in super::super) struct Slot(pub(super) u32);

/// What is done in a place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Stage {
    /// It is promised to one who has not taken it yet.
    Promised,
    /// An idle connection is tested.
    Testing,
    /// A new connection is opened.
    Opening,
    /// There is a connection that answered.
    Lent,
}

/// One place of the pool that somebody has.
#[derive(Debug)]
pub(in super::super) struct Taken {
    pub(in super::super) place: &'static Location<'static>,
    /// Since when it is at its stage.
    pub(in super::super) since: Instant,
    pub(super) stage: Stage,
    /// Whether the hold says how long requests hold a connection.
    is_measured: bool,
    /// Until when its holder has said that it will have it.
    expected: Option<Instant>,
    /// Whether its connection is on its way back: nobody hears of it what the server says.
    pub(super) is_releasing: bool,
    /// Whether the driver's pool had lent all that it may have when it was asked in this place.
    waits_in_driver: bool,
    /// Whether its work is to end, because it has long been silent.
    pub(super) is_evicted: bool,
    /// Who wants to know what is found out about the server.
    pub(super) waker: Option<Waker>,
}

impl Taken {
    /// Whether it is held for longer than `limit`, and than was said.
    pub(in super::super) fn is_long(&self, limit: Duration, now: Instant) -> bool {
        let is_over = self.expected.is_none_or(|until| now >= until);
        is_over && now.saturating_duration_since(self.since) >= limit
    }

    /// Whether its holder has said how long it will have it.
    pub(super) const fn is_expected(&self) -> bool {
        self.expected.is_some()
    }

    /// Returns since when a connection is opened in it.
    pub(super) fn opens_since(&self) -> Option<Instant> {
        (self.stage == Stage::Opening && !self.is_evicted).then_some(self.since)
    }
}

impl Slots {
    /// Takes a place, if one is free.
    pub(super) fn fill(
        &mut self,
        stage: Stage,
        place: &'static Location<'static>,
        since: Instant,
    ) -> Option<Slot> {
        let slot = match self.free.pop() {
            Some(slot) => slot,
            None if self.all.len() < self.size as usize => {
                self.all.push(None);
                Slot(u32::try_from(self.all.len() - 1).ok()?)
            }
            None => return None,
        };
        self.put(slot, stage, place, since);
        Some(slot)
    }

    pub(super) fn put(
        &mut self,
        slot: Slot,
        stage: Stage,
        place: &'static Location<'static>,
        since: Instant,
    ) {
        self.all[slot.0 as usize] = Some(Taken {
            place,
            since,
            stage,
            is_measured: true,
            expected: None,
            is_releasing: false,
            waits_in_driver: false,
            is_evicted: false,
            waker: None,
        });
        self.counts.peak = self.counts.peak.max(self.taken());
    }

    pub(super) fn held(&mut self, slot: Slot) -> Option<&mut Taken> {
        self.all[slot.0 as usize].as_mut()
    }

    /// Says that the place's connection answers. It is held from now on.
    pub(in super::super) fn lend(&mut self, slot: Slot, now: Instant, wakes: &mut WakeList) {
        let Some(held) = &mut self.all[slot.0 as usize] else {
            return;
        };
        let opens_since = held.opens_since();
        if held.stage == Stage::Testing {
            self.patience
                .tested(now.saturating_duration_since(held.since));
        }
        self.lent += u32::from(held.stage != Stage::Lent);
        held.stage = Stage::Lent;
        held.since = now;
        held.is_measured = true;
        held.expected = None;
        held.waits_in_driver = false;
        wakes.spend(held.waker.take());
        self.progress_at = now;
        match opens_since {
            Some(since) if self.shows_room(since) => self.opened(since, now, wakes),
            Some(_) => self.acquired(),
            None => self.tested(),
        }
        self.growth.serves(self.in_use());
    }

    /// Says that the hold of this place is not one of a request that uses its connection.
    pub(in super::super) fn without_measure(&mut self, slot: Slot) {
        if let Some(held) = self.held(slot) {
            held.is_measured = false;
        }
    }

    /// Says that the place is held until then on purpose.
    pub(in super::super) fn expect(&mut self, slot: Slot, until: Instant) {
        if let Some(held) = self.held(slot) {
            held.expected = Some(until);
            held.is_measured = false;
        }
    }

    /// Says that the driver's pool is asked in this place, having lent so many. Returns whether
    /// it has none left because somebody beside this gate has them.
    pub(in super::super) fn asks_driver(&mut self, slot: Slot, in_use: u32) -> bool {
        let is_full = in_use >= self.size;
        if let Some(held) = self.held(slot) {
            held.waits_in_driver = is_full;
        }
        self.note_in_use(in_use);
        is_full && self.elsewhere > 0
    }

    /// Notes that the driver's pool has lent so many: if that is all, those that are in no
    /// place of this gate are held by somebody who has not asked it.
    pub(in super::super) fn note_in_use(&mut self, in_use: u32) {
        let is_own = |held: &&Taken| held.stage != Stage::Promised && !held.waits_in_driver;
        let own = self.all.iter().flatten().filter(is_own).count();
        let own = u32::try_from(own).unwrap_or(u32::MAX);
        self.elsewhere = if in_use >= self.size {
            in_use.saturating_sub(own)
        } else {
            0
        };
    }

    /// Returns how many connections are in use: those in places of this gate, and those that
    /// somebody has who has not asked it, as far as is known.
    pub(in super::super) fn used(&self) -> u32 {
        self.lent.saturating_add(self.elsewhere).min(self.size)
    }

    /// Says that the place's connection is on its way back.
    pub(in super::super) fn begin_release(&mut self, slot: Slot) {
        if let Some(held) = self.held(slot) {
            held.is_releasing = true;
        }
    }

    /// Gives a place back with its connection, to the first who waits if anybody does. A hold
    /// is measured if there is a time, and if there was a connection.
    pub(in super::super) fn free(
        &mut self,
        slot: Slot,
        now: Option<Instant>,
        wakes: &mut WakeList,
    ) {
        if self.empty(slot, now, wakes) && !self.promise(slot, now, wakes) {
            self.free.push(slot);
        }
    }

    /// Gives a place back in which there is no connection, because none could be had. Nobody
    /// is promised that: whoever may try for itself is told.
    pub(in super::super) fn fell_through(
        &mut self,
        slot: Slot,
        now: Instant,
        wakes: &mut WakeList,
    ) {
        if !self.empty(slot, Some(now), wakes) {
            return;
        }
        self.free.push(slot);
        if self.may_open(0, now) {
            wakes.add(self.next_waker());
        }
    }

    /// Empties a place; `false` if it is empty.
    fn empty(&mut self, slot: Slot, now: Option<Instant>, wakes: &mut WakeList) -> bool {
        let Some(held) = self.all[slot.0 as usize].take() else {
            return false;
        };
        if held.stage == Stage::Lent {
            self.lent -= 1;
            if let Some(now) = now {
                self.progress_at = now;
                if held.is_measured {
                    self.measure(now.saturating_duration_since(held.since), now);
                }
            }
        }
        wakes.spend(held.waker);
        true
    }

    fn measure(&mut self, hold: Duration, now: Instant) {
        let secs = hold.as_secs_f64();
        self.holds += 1;
        if self.holds == 1 {
            self.hold_secs = secs;
        } else {
            self.hold_secs += (secs - self.hold_secs) * HOLD_WEIGHT;
        }
        self.patience.held(hold);
        self.recent.held(hold, now);
    }

    /// Returns for how long no connection has come back or answered that should have: holds
    /// of which it was said how long they will be are not waited for.
    pub(in super::super) fn quiet(&self, now: Instant) -> Duration {
        let due = |held: &Taken| held.expected.unwrap_or(held.since);
        let overdue = self
            .holders()
            .map(|held| now.saturating_duration_since(due(held)));
        let longest = overdue.max().unwrap_or(Duration::MAX);
        now.saturating_duration_since(self.progress_at).min(longest)
    }

    /// Returns the moving mean of how long a connection is held.
    pub(in super::super) fn mean_hold(&self) -> Option<Duration> {
        (self.holds >= HOLDS_MIN).then(|| Duration::from_secs_f64(self.hold_secs))
    }

    pub(in super::super) const fn size(&self) -> u32 {
        self.size
    }

    /// Whether a place is free.
    pub(super) fn has_room(&self) -> bool {
        self.taken() < self.size
    }

    /// Returns how many places hold a connection that answered.
    pub(in super::super) const fn lent(&self) -> u32 {
        self.lent
    }

    /// Returns how many places are taken, with a connection or not yet.
    pub(in super::super) fn taken(&self) -> u32 {
        u32::try_from(self.all.len() - self.free.len()).unwrap_or(u32::MAX)
    }

    /// Returns those who hold a connection.
    pub(in super::super) fn holders(&self) -> impl Iterator<Item = &Taken> {
        let held = self.all.iter().flatten();
        held.filter(|held| held.stage == Stage::Lent)
    }
}
