//! A request's place in the line: it joins, gives way, has its turn or leaves.

use std::time::{Duration, Instant};

use super::{
    LagLoop, Lagging, OTHERS_MAX, Published, ROUND,
    control::{LAG_MAX, room_for, wait_max},
    costs::{AVERAGE, RouteId},
    joining::of_its_kind,
};
use crate::{
    request::priority::Priority,
    sync::{atomic::Ordering, origin::nanos, stripe::STRIPES},
};

/// A request's place in the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Line {
    /// It runs at once.
    Out,
    /// It is about to give way.
    Joining(Joined),
    /// It has given way, for the last time in this round of the thread that polled it;
    /// `again` says that it let an older one go first in the same round.
    Waiting {
        joined: Joined,
        round: u32,
        again: bool,
    },
}

/// How a request is counted in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Joined {
    pub(super) stripe: u8,
    pub(super) route: RouteId,
    /// What it counts: see [`Costs::of`].
    pub(super) cost: u32,
    /// How long the line takes for what its own route had there before it and for itself, in
    /// microseconds.
    takes: u32,
}

#[cfg(all(test, not(loom)))]
impl Joined {
    /// One that counts so much for a route.
    pub(super) const fn for_test(route: RouteId, cost: u32) -> Self {
        Self {
            stripe: 0,
            route,
            cost,
            takes: 0,
        }
    }
}

/// A request that stood in line, of which it is told what it has cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timed {
    stripe: u8,
    route: RouteId,
}

impl Line {
    const fn joined(self) -> Option<Joined> {
        match self {
            Self::Out => None,
            Self::Joining(joined) | Self::Waiting { joined, .. } => Some(joined),
        }
    }

    /// Of a request whose work is to be told.
    #[inline]
    pub(crate) fn timed(self) -> Option<Timed> {
        let timed = |Joined { stripe, route, .. }| Timed { stripe, route };
        self.joined().map(timed)
    }
}

impl LagLoop {
    /// Lets an admitted request stand in line, if requests do.
    #[inline]
    pub(crate) fn stand(&self, stripe: usize, priority: Priority, path: &str) -> Line {
        let word = self.published.load(Ordering::Relaxed);
        if word == Published::CALM.to_word() {
            return Line::Out;
        }
        self.join(stripe, priority, path, Published::from_word(word))
    }

    #[cold]
    fn join(&self, stripe: usize, priority: Priority, path: &str, published: Published) -> Line {
        let route = self.costs.route(path);
        let cost = self.costs.of(route);
        let work = self.costs.standing(route).saturating_add(cost.into());
        // So many requests of average cost take so long. Before anybody is refused nothing says
        // how fast the line is but that cost, which each thread works off by itself.
        let (requests, micros) = match published.room {
            Some(room) => (room.max(1), u64::from(published.full_wait_ms) * 1000),
            None => {
                let workers = self.workers.load(Ordering::Relaxed);
                (workers, self.costs.average_micros())
            }
        };
        let takes = work.saturating_mul(micros) / (u64::from(requests) * u64::from(AVERAGE));
        let joined = Joined {
            stripe: stripe as u8,
            route,
            cost,
            takes: u32::try_from(takes).unwrap_or(u32::MAX),
        };
        self.count(joined, priority, 1);
        Line::Joining(joined)
    }

    /// Whether requests stand in line.
    #[cfg(test)]
    pub(super) fn stands(&self) -> bool {
        self.published.load(Ordering::Relaxed) != Published::CALM.to_word()
    }

    /// Whether a request in line has to give way once more. `stripe` is that of the thread
    /// that polls it, `since` when it joined. Who is done first in a fair queue goes first: what
    /// its own route had in line before it, and what it takes itself, make it count as younger. A
    /// critical request counts as older than others.
    ///
    /// Those who gave way come back together, and run one after the other they would keep
    /// the thread from its sockets for as long as they take in all. So time is dealt in
    /// rounds: the oldest one begins a round, others follow while it is young and they fit into
    /// what is left of it, and the rest gives way again. A runtime may wake them in any order
    /// (tokio wakes the last first), so each notes its age when it gives way, and one that is not
    /// the oldest lets others go first once; the oldest may have left.
    ///
    /// A runtime comes back to the line although much else is ready (tokio after 61 tasks), and
    /// where requests compute for as long as hundreds of refusals take, what has begun and who is
    /// refused would wait ever longer. So while there is other work, that goes first for as long
    /// as those from the line have computed here: each has half of the time, if it needs that.
    /// `ready` says how many ready tasks none of the runtime's threads has taken. All who stand
    /// in line may be among those, since a thread that has hundreds in its own queue hands them
    /// on; others there are for certain only if there are more of them.
    pub(crate) fn gives_way(
        &self,
        line: &mut Line,
        stripe: usize,
        (priority, since): (Priority, Instant),
        ready: impl FnOnce() -> usize,
        now: Instant,
    ) -> bool {
        let Some(joined) = line.joined() else {
            return false;
        };
        let cells = &self.stripes[stripe].0;
        let current = cells.round.load(Ordering::Relaxed);
        let takes = Duration::from_micros(joined.takes.into());
        let age = self.nanos(since).saturating_add(nanos(takes));
        let age = match priority {
            // Half its moment: before everybody who waits for less than half of all time.
            Priority::Critical => age / 2,
            _ => age,
        };
        let now = self.nanos(now);
        let mut waited_again = false;
        match *line {
            Line::Out | Line::Joining(_) => {}
            // Nobody has begun on this thread since it looked at everything else.
            Line::Waiting { round, again, .. } if round == current => {
                let others = cells.others_until.load(Ordering::Relaxed);
                if now < others && self.is_less_than(ready()) {
                    waited_again = again;
                } else if again || age <= cells.oldest.load(Ordering::Relaxed) {
                    let until = now.saturating_add(nanos(ROUND));
                    cells.round_until.store(until, Ordering::Relaxed);
                    cells.oldest.store(u64::MAX, Ordering::Relaxed);
                    let next = current.wrapping_add(STRIPES as u32);
                    cells.round.store(next, Ordering::Relaxed);
                    return false;
                } else {
                    waited_again = true;
                }
            }
            Line::Waiting { .. } => {
                let ends = now.saturating_add(self.costs.nanos(joined.route));
                if ends < cells.round_until.load(Ordering::Relaxed) {
                    return false;
                }
            }
        }
        cells.oldest.fetch_min(age, Ordering::Relaxed);
        *line = Line::Waiting {
            joined,
            round: current,
            again: waited_again,
        };
        true
    }

    /// Whether fewer stand in line than so many. Cheap while there are none.
    fn is_less_than(&self, ready: usize) -> bool {
        ready > 0 && (self.waiting() as usize) < ready
    }

    /// A request's turn has come.
    pub(crate) fn turn(
        &self,
        line: Line,
        priority: Priority,
        since: Instant,
        arrived: impl FnOnce() -> u64,
        now: Instant,
    ) -> Result<(), Lagging> {
        let Some(joined) = line.joined() else {
            return Ok(());
        };
        let waited = now.saturating_duration_since(since);
        let stripe = usize::from(joined.stripe);
        let cells = &self.stripes[stripe].0;
        self.count(joined, priority, -1);
        cells.shortest.fetch_min(nanos(waited), Ordering::Relaxed);
        if self.nanos(now) > self.due.load(Ordering::Relaxed) {
            self.look_late(arrived, now);
        }
        let published = Published::from_word(self.published.load(Ordering::Relaxed));
        if let Some(room) = published.room {
            let full_wait = Duration::from_millis(published.full_wait_ms.into());
            if waited > wait_max(priority, full_wait.max(LAG_MAX)) {
                let standing = self.total(|stripe| &stripe.standing);
                let room = u64::from(room_for(priority, room)) * u64::from(AVERAGE);
                let full = of_its_kind(joined.cost, standing, room);
                self.refuse(stripe, priority, full, waited, now)?;
            }
        }
        // What was refused is no work that the processors did.
        cells.started.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A request leaves the line without a turn.
    pub(crate) fn leave(&self, line: Line, priority: Priority) {
        if let Some(joined) = line.joined() {
            self.count(joined, priority, -1);
            let cells = &self.stripes[usize::from(joined.stripe)].0;
            cells.left.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A request that stood in line has computed for so long in all, at last on the thread of `on`.
    pub(crate) fn computed(
        &self,
        Timed { stripe, route }: Timed,
        computed: Duration,
        on: usize,
        now: Instant,
    ) {
        if self.published.load(Ordering::Relaxed) == Published::CALM.to_word() {
            // Its cell may be another route's when there is a line again.
            return;
        }
        let cost = self.costs.learn(route, computed);
        let others_until = &self.stripes[on].0.others_until;
        let now = self.nanos(now);
        let until = others_until.load(Ordering::Relaxed).max(now);
        // Where several threads share a stripe, each adds what it computes.
        let workers = self.workers.load(Ordering::Relaxed) as usize;
        let shared = workers.div_ceil(STRIPES).max(1) as u64;
        let until = until.saturating_add(nanos(computed) / shared);
        let latest = now.saturating_add(nanos(OTHERS_MAX));
        others_until.store(until.min(latest), Ordering::Relaxed);
        let cells = &self.stripes[usize::from(stripe)].0;
        cells.ended.fetch_add(1, Ordering::Relaxed);
        cells.ended_nanos.fetch_add(cost, Ordering::Relaxed);
    }

    fn count(&self, joined: Joined, priority: Priority, by: i64) {
        let cells = &self.stripes[usize::from(joined.stripe)].0;
        let cost = i64::from(joined.cost) * by;
        cells.waiting.fetch_add(by, Ordering::Relaxed);
        cells.standing.fetch_add(cost, Ordering::Relaxed);
        if priority == Priority::Critical {
            cells.critical.fetch_add(cost, Ordering::Relaxed);
        }
        self.costs.count(joined, by);
    }
}
