//! Who has which place and who waits for one: plain arithmetic, under the gate's lock.
//!
//! A place that comes free with its connection belongs at once to the first who waits, so
//! nobody who comes later can overtake. Whoever has been given one and leaves before taking
//! it hands it on. Who waits for a *new* connection waits in the queue too, in the order in
//! which everybody came: whichever comes first serves whoever came first, unless that one is
//! about to have its own, by all that connects and tests have taken.
//!
//! No code of others runs here: a waker is cloned before the lock is taken, and called or
//! dropped when it has been given back ([`WakeList`]), because the last waker of a task may drop
//! a future that holds a place.

mod server;
mod taken;

use std::{
    collections::BTreeMap,
    panic::Location,
    task::Waker,
    time::{Duration, Instant},
};

use super::{PoolSettings, growth::Growth, pace::Pace, patience::Patience, recent::Recent};

use self::server::Server;
pub(super) use self::taken::{Slot, Stage, Taken};

/// How often one who waits looks at the driver's pool while a place is free and no new
/// connection may be opened: whoever uses the pool without asking the gate gives connections
/// back without telling it.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// How many times as long as it has at least a wait must be predicted to be, before one is not
/// let wait: the last turns may have been slow by chance, or on a processor that had no time.
const HOPELESS_TIMES: f64 = 1.5;

/// Who asks. A later one has a larger number, and keeps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct AskerId(u64);

#[derive(Debug)]
struct Waiter {
    place: &'static Location<'static>,
    since: Instant,
    /// Whether it has a place of its own, in which a connection is new or late.
    is_served: bool,
    /// Since when a connection is opened for it.
    opens_since: Option<Instant>,
    waker: Option<Waker>,
}

#[derive(Debug)]
struct Promise {
    slot: Slot,
    waiter: Waiter,
}

/// What one who asks may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Take the idle connection.
    Take(Slot),
    /// Open a new one, and wait for any meanwhile.
    Open(Slot),
    /// Wait, and look again then, if not sooner.
    Wait(Option<Instant>),
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

/// Whom to wake, and which wakers to drop, once the lock has been given back.
#[derive(Debug, Default)]
#[must_use = "who is not woken waits for ever"]
pub(super) struct WakeList {
    wake: Vec<Waker>,
    spent: Vec<Waker>,
}

impl WakeList {
    /// WakeList them. Not under the lock.
    pub(super) fn wake(self) {
        self.wake.into_iter().for_each(Waker::wake);
    }

    fn add(&mut self, waker: Option<Waker>) {
        self.wake.extend(waker);
    }

    fn spend(&mut self, waker: Option<Waker>) {
        self.spent.extend(waker);
    }
}

#[derive(Debug)]
pub(super) struct Slots {
    size: u32,
    connect_max: Duration,
    stuck_after: Duration,
    /// As long as the most places that were ever taken at once, at most `size`.
    all: Vec<Option<Taken>>,
    free: Vec<Slot>,
    lent: u32,
    /// How many of the driver's connections somebody has who has not asked this gate, when that
    /// was looked at last.
    elsewhere: u32,
    queue: BTreeMap<AskerId, Waiter>,
    /// How many of the queue have a place of their own.
    served: u32,
    promised: BTreeMap<AskerId, Promise>,
    next_asker: u64,
    hold_secs: f64,
    holds: u64,
    /// When a connection last came back or answered.
    progress_at: Instant,
    server: Server,
    pub(super) is_probing: bool,
    pub(super) growth: Growth,
    pace: Pace,
    pub(super) patience: Patience,
    pub(super) counts: Counts,
    pub(super) recent: Recent,
}

impl Slots {
    pub(super) fn new(settings: &PoolSettings, now: Instant) -> Self {
        Self {
            size: settings.size,
            connect_max: settings.connect_max,
            stuck_after: settings.stuck_after,
            all: Vec::new(),
            free: Vec::new(),
            lent: 0,
            elsewhere: 0,
            queue: BTreeMap::new(),
            served: 0,
            promised: BTreeMap::new(),
            next_asker: 0,
            hold_secs: 0.0,
            holds: 0,
            progress_at: now,
            server: Server::default(),
            is_probing: false,
            growth: Growth::default(),
            pace: Pace::default(),
            patience: Patience::new(settings),
            counts: Counts::default(),
            recent: Recent::new(now),
        }
    }

    /// Gives the next who asks its number.
    pub(super) fn number(&mut self) -> AskerId {
        let id = AskerId(self.next_asker);
        self.next_asker += 1;
        id
    }

    /// Says what one who has come just now may do, if so many connections lie idle. One who
    /// opens a connection stands in the queue too; one who can only wait does not yet.
    pub(super) fn come(
        &mut self,
        id: AskerId,
        place: &'static Location<'static>,
        idle: u32,
        now: Instant,
        wakes: &mut WakeList,
    ) -> Turn {
        self.hand_out(idle, now, wakes);
        if self.next_for_idle(Some(now)).is_none() && self.spare(idle) > 0 {
            if let Some(slot) = self.fill(Stage::Testing, place, now) {
                self.counts.acquired += 1;
                return Turn::Take(slot);
            }
        }
        if self.may_open(1, now) {
            if self.waiting() > 0 {
                // Whoever has waited opens it.
                wakes.add(self.next_waker());
            } else if let Some(slot) = self.fill(Stage::Opening, place, now) {
                self.counts.acquired += 1;
                self.line_up(id, place, true, now);
                self.opens_for(id, now);
                return Turn::Open(slot);
            }
        }
        wakes.add(self.evict_for_one(now));
        Turn::Wait(None)
    }

    /// Lines up in the order in which everybody came; `is_served` says that there is a place
    /// already.
    pub(super) fn line_up(
        &mut self,
        id: AskerId,
        place: &'static Location<'static>,
        is_served: bool,
        now: Instant,
    ) {
        let waiter = Waiter {
            place,
            since: now,
            is_served,
            opens_since: None,
            waker: None,
        };
        self.insert(id, waiter, now);
    }

    fn insert(&mut self, id: AskerId, waiter: Waiter, now: Instant) {
        if !waiter.is_served && self.waiting() == 0 {
            self.pace.begin(now);
        }
        self.served += u32::from(waiter.is_served);
        let before = self.queue.insert(id, waiter);
        debug_assert!(before.is_none(), "each lines up once");
    }

    fn remove(&mut self, id: AskerId) -> Option<Waiter> {
        let waiter = self.queue.remove(&id)?;
        self.served -= u32::from(waiter.is_served);
        if self.waiting() == 0 {
            self.pace.end();
        }
        Some(waiter)
    }

    /// Says whether one who stands in the queue has a place of its own now.
    pub(super) fn set_served(&mut self, id: AskerId, is_served: bool, now: Instant) {
        if let Some(promise) = self.promised.get_mut(&id) {
            promise.waiter.is_served = is_served;
            promise.waiter.opens_since = None;
            promise.waiter.since = now;
        } else if let Some(mut waiter) = self.remove(id) {
            waiter.is_served = is_served;
            waiter.since = now;
            if !is_served {
                waiter.opens_since = None;
            }
            self.insert(id, waiter, now);
        }
    }

    /// Says what one of the queue may do now, if so many connections lie idle; if it can only
    /// wait, `waker` is called when that may have changed. One who has waited for as long as it
    /// may, and `is_patient` no more, begins nothing that takes long.
    pub(super) fn look(
        &mut self,
        id: AskerId,
        idle: u32,
        is_patient: bool,
        waker: Waker,
        now: Instant,
        wakes: &mut WakeList,
    ) -> Turn {
        self.hand_out(idle, now, wakes);
        if let Some(promise) = self.promised.remove(&id) {
            if idle > 0 {
                wakes.spend(Some(waker));
                return Turn::Take(self.keep(promise, now));
            }
            // Its connection was closed, or somebody who did not ask has taken it.
            self.insert(id, promise.waiter, now);
            self.fell_through(promise.slot, now, wakes);
        }
        let opens = is_patient.then(|| self.open_for(id, now)).flatten();
        if let Some(slot) = opens {
            wakes.spend(Some(waker));
            if self.may_open(0, now) {
                wakes.add(self.next_waker());
            }
            return Turn::Open(slot);
        }
        let Some(waiter) = self.queue.get_mut(&id) else {
            wakes.spend(Some(waker));
            return Turn::Wait(None);
        };
        wakes.spend(waiter.waker.replace(waker));
        let soon = self.queue.get(&id).and_then(|it| self.served_at(it, now));
        let again = (self.has_room() && self.is_next(id)).then(|| now + LOOK_EVERY);
        Turn::Wait(again.or(soon))
    }

    /// Notes that a connection is opened for one of the queue from now on.
    fn opens_for(&mut self, id: AskerId, now: Instant) {
        if let Some(waiter) = self.queue.get_mut(&id) {
            waiter.opens_since = Some(now);
        }
    }

    /// Returns who is next for an idle connection: the first who is not about to have its own.
    fn next_for_idle(&self, now: Option<Instant>) -> Option<AskerId> {
        let mut queue = self.queue.iter();
        let next = match now {
            Some(now) => queue.find(|(_, waiter)| self.served_at(waiter, now).is_none()),
            None => queue.next(),
        };
        next.map(|(&id, _)| id)
    }

    /// Returns when one is expected to have the connection that is opened for it, if that is
    /// sooner than an idle one could be tested: the test would go on with nobody to use what it
    /// tests, and keep it from somebody who waits.
    fn served_at(&self, waiter: &Waiter, now: Instant) -> Option<Instant> {
        let at = waiter.opens_since? + self.patience.usual_connect()?;
        (now < at && at <= now + self.patience.usual_test()).then_some(at)
    }

    /// Takes the place that was promised, to test the connection that came with it.
    fn keep(&mut self, promise: Promise, now: Instant) -> Slot {
        let Promise { slot, waiter } = promise;
        self.put(slot, Stage::Testing, waiter.place, now);
        self.had_turn(&waiter, now);
        slot
    }

    /// Gives the first who has no place one to open a connection in, if it may.
    fn open_for(&mut self, id: AskerId, now: Instant) -> Option<Slot> {
        if !self.may_open(0, now) || !self.is_next(id) {
            return None;
        }
        let mut waiter = self.remove(id)?;
        let slot = self.fill(Stage::Opening, waiter.place, now);
        if slot.is_some() {
            self.had_turn(&waiter, now);
            waiter.is_served = true;
            waiter.opens_since = Some(now);
        }
        self.insert(id, waiter, now);
        slot
    }

    fn had_turn(&mut self, waiter: &Waiter, now: Instant) {
        if !waiter.is_served {
            self.counts.acquired += 1;
            self.counts.waited += now.saturating_duration_since(waiter.since);
        }
    }

    /// Takes one out of the queue, wherever it is; `has_connection` says that it has been
    /// served. What one has waited whose time is unknown is not counted. Returns whether it
    /// had no place of its own.
    pub(super) fn leave(
        &mut self,
        id: AskerId,
        has_connection: bool,
        now: Option<Instant>,
        wakes: &mut WakeList,
    ) -> bool {
        let waiter = if let Some(promise) = self.promised.remove(&id) {
            self.free(promise.slot, None, wakes);
            Some(promise.waiter)
        } else {
            if has_connection {
                self.pace.turn();
            }
            let was_next = self.has_room() && self.is_next(id);
            let waiter = self.remove(id);
            if was_next {
                wakes.add(self.next_waker());
            }
            waiter
        };
        let Some(waiter) = waiter else { return false };
        if let (Some(now), false) = (now, waiter.is_served) {
            self.counts.waited += now.saturating_duration_since(waiter.since);
        }
        wakes.spend(waiter.waker);
        !waiter.is_served
    }

    /// Promises a place to the first of the queue; `false` if nobody waits.
    fn promise(&mut self, slot: Slot, now: Option<Instant>, wakes: &mut WakeList) -> bool {
        let Some(id) = self.next_for_idle(now) else {
            return false;
        };
        let was_next = self.has_room() && self.is_next(id);
        self.pace.turn();
        let Some(mut waiter) = self.remove(id) else {
            return false;
        };
        wakes.add(waiter.waker.take());
        if was_next {
            wakes.add(self.next_waker());
        }
        let since = now.unwrap_or(waiter.since);
        self.put(slot, Stage::Promised, waiter.place, since);
        self.promised.insert(id, Promise { slot, waiter });
        true
    }

    /// Promises free places to those who wait, as far as connections lie idle.
    fn hand_out(&mut self, idle: u32, now: Instant, wakes: &mut WakeList) {
        while self.has_room() && self.spare(idle) > 0 {
            let next = self.next_for_idle(Some(now));
            let Some(place) = next.and_then(|id| self.queue.get(&id)).map(|it| it.place) else {
                return;
            };
            let Some(slot) = self.fill(Stage::Promised, place, now) else {
                return;
            };
            self.promise(slot, Some(now), wakes);
        }
    }

    /// Returns how many idle connections are promised to nobody.
    fn spare(&self, idle: u32) -> u32 {
        let promised = u32::try_from(self.promised.len()).unwrap_or(u32::MAX);
        idle.saturating_sub(promised)
    }

    /// Whether it is the first of those who have no place.
    fn is_next(&self, id: AskerId) -> bool {
        let mut next = self.queue.iter().filter(|(_, waiter)| !waiter.is_served);
        next.next().is_some_and(|(&next, _)| next == id)
    }

    fn next_waker(&mut self) -> Option<Waker> {
        let mut next = self.queue.values_mut().filter(|it| !it.is_served);
        next.next()?.waker.take()
    }

    /// Returns in what time the next who lines up is expected to have its turn.
    pub(super) fn turn_in(&self, now: Instant) -> Option<Duration> {
        let waiting = self.waiting();
        self.pace.expected(waiting, now).or_else(|| {
            let mean = self.mean_hold()?;
            let declared = self.holders().filter(|held| held.is_expected());
            let moving = self.size as usize - declared.count();
            (moving > 0).then(|| mean.mul_f64(f64::from(waiting + 1) / moving as f64))
        })
    }

    /// Whether one who lines up now cannot have its turn within `left`, as far as the turns of
    /// the present queue show, and by far. Connections that are being opened will make it faster.
    pub(super) fn is_hopeless(&mut self, left: Duration, now: Instant) -> bool {
        let before = self.waiting();
        let least = self.pace.at_least(before, self.size, now);
        let limit = left.mul_f64(HOPELESS_TIMES);
        least.is_some_and(|least| least > limit) && self.opening(now) == 0
    }

    /// Returns how many wait and have no place.
    pub(super) fn waiting(&self) -> u32 {
        let all = u32::try_from(self.queue.len()).unwrap_or(u32::MAX);
        all.saturating_sub(self.served)
    }

    /// Returns what those have waited by now who wait still.
    pub(super) fn waiting_for(&self, now: Instant) -> Duration {
        let waiters = self.queue.values().filter(|waiter| !waiter.is_served);
        waiters
            .map(|waiter| now.saturating_duration_since(waiter.since))
            .sum()
    }
}
