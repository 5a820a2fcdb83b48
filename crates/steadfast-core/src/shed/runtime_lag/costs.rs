//! Atomics. What a request of each route costs the processors, and how much of the line is its
//! route's.
//!
//! A password check computes for a hundred times longer than a page that waits for a database.
//! If each of them counted as one in line, a flood of the first would take the second's room
//! with it, although the second hardly need the processors. So work stands in line, not
//! requests: each counts as what its route was seen to cost, of what a request costs on average.
//! Everybody may join while the line has room; beyond that a request may whose route has, with
//! it, no more than its share there: max-min fairness, as a fair queue of packets has it
//! (Demers, Keshav and Shenker, SIGCOMM 1989). So what one route asks too much of is refused to
//! that route. One request that is more than its route's share has to find the line with room,
//! like those of a flood.
//!
//! What a request costs is told by whoever polls it, of those that stood in line: so nobody is
//! timed before the runtime was late, and all is forgotten when it is well again. It is kept by
//! the shape of the path in a fixed number of cells; routes that find none share one. What is not
//! seen: work of a body after the head of its answer, and of tasks that a handler started.
//!
//! A client that makes up paths has as many routes as there are cells, and the share of each:
//! against that, say what goes first (priorities), or whose a request is.
//!
//! Law kept: what stands in line is bounded whatever comes. Of any `k` routes that stand there,
//! the one that joined last had no more than a `k`-th of the room, so all together less than five
//! times the room do (1 + 1/2 + ... + 1/64 of it), and one request.

use std::time::{Duration, Instant};

use super::place::Joined;
use crate::{
    request::shape::hash,
    sync::{
        atomic::{AtomicI64, AtomicU64, Ordering},
        origin::nanos,
    },
};

/// Cells.
const ROUTES: usize = if cfg!(loom) { 2 } else { 64 };

/// Cells that are looked at for a route; with none of them its own or free it shares the first.
const PROBES: usize = if cfg!(loom) { 2 } else { 8 };

/// Nobody's.
const FREE: u64 = 0;

/// What a request counts in line that costs as much as one does on average.
pub(super) const AVERAGE: u32 = 1024;

/// Most that one counts: a thousand of those.
const COST_MAX: u32 = AVERAGE * 1024;

/// What the runtime and the server do for each request beside its handler: reading its head,
/// writing the answer. Without it a handler of 2 us would count as a tenth of one of 20 us.
const BESIDE: Duration = Duration::from_micros(20);

/// The share of one request in what its route is known to cost, as a power of two.
const GAIN_SHIFT: u32 = 3;

/// The average is taken over at least so long and so many requests, so that one that costs much
/// does not make it, and is then followed halfway.
const AVERAGE_OVER: Duration = Duration::from_millis(200);
const AVERAGE_OF: u64 = 16;

/// See the module. Relaxed wherever something is read or written: each word means something by
/// itself, and a request more or less in line is one that is refused a moment sooner or later.
#[derive(Debug)]
pub(super) struct Costs {
    routes: [Route; ROUTES],
    /// What a request costs on average, in nanoseconds; 0 is not known yet.
    average: AtomicU64,
}

#[derive(Debug)]
struct Route {
    /// Whose it is: the hash of a path's shape, or [`FREE`].
    tag: AtomicU64,
    /// Nanoseconds; 0 is not known yet.
    cost: AtomicU64,
    /// What its requests in line count.
    standing: AtomicI64,
}

/// A cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RouteId(u8);

/// What has ended since the average was taken last.
#[derive(Debug, Default)]
pub(super) struct Ended {
    requests: u64,
    nanos: u64,
    at: Option<Instant>,
}

impl Ended {
    /// Nothing has ended since there were so many in all, which cost so much.
    pub(super) const fn since((requests, nanos): (u64, u64)) -> Self {
        Self {
            requests,
            nanos,
            at: None,
        }
    }
}

impl Costs {
    pub(super) fn new() -> Self {
        let route = |_| Route {
            tag: AtomicU64::new(FREE),
            cost: AtomicU64::new(0),
            standing: AtomicI64::new(0),
        };
        Self {
            routes: std::array::from_fn(route),
            average: AtomicU64::new(0),
        }
    }

    /// The cell of a route: its own, or one that is free and is its own from now on.
    pub(super) fn route(&self, path: &str) -> RouteId {
        let tag = hash(path).max(1);
        let found = self.find(tag, |cell| {
            cell.compare_exchange(FREE, tag, Ordering::Relaxed, Ordering::Relaxed)
                .map_or_else(|other| other, |_| tag)
        });
        found.unwrap_or(Self::first(tag))
    }

    /// The cell of a route that has joined the line before, its own or that which it shares.
    pub(super) fn known(&self, path: &str) -> Option<RouteId> {
        let tag = hash(path).max(1);
        let mut is_new = false;
        let found = self.find(tag, |_| {
            is_new = true;
            tag
        });
        (!is_new).then(|| found.unwrap_or(Self::first(tag)))
    }

    /// The first cell of this tag, or that `take` makes one of: given one that is free, it returns
    /// whose it is then.
    fn find(&self, tag: u64, mut take: impl FnMut(&AtomicU64) -> u64) -> Option<RouteId> {
        let first = usize::from(Self::first(tag).0);
        let mut cells = (0..PROBES).map(|step| (first + step) % ROUTES);
        let own = cells.find(|cell| {
            let cell = &self.routes[*cell].tag;
            let found = match cell.load(Ordering::Relaxed) {
                FREE => take(cell),
                other => other,
            };
            found == tag
        });
        own.map(|cell| RouteId(cell as u8))
    }

    /// Where the search for a route begins.
    const fn first(tag: u64) -> RouteId {
        RouteId(((tag >> 32) % ROUTES as u64) as u8)
    }

    /// Forgets all routes. Who stands in line for one leaves its cell as it should.
    pub(super) fn forget(&self) {
        for route in &self.routes {
            route.tag.store(FREE, Ordering::Relaxed);
            route.cost.store(0, Ordering::Relaxed);
        }
        self.average.store(0, Ordering::Relaxed);
    }

    /// What a request of this route counts in line: what one does on average, unless it costs
    /// twice as much or half of it, because what was measured is not better than that.
    pub(super) fn of(&self, route: RouteId) -> u32 {
        let average = self.average.load(Ordering::Relaxed);
        let cost = self.at(route).cost.load(Ordering::Relaxed);
        if average == 0 || cost == 0 {
            return AVERAGE;
        }
        if cost / 2 < average && average / 2 < cost {
            return AVERAGE;
        }
        let counts = u128::from(cost) * u128::from(AVERAGE) / u128::from(average);
        u32::try_from(counts).unwrap_or(u32::MAX).clamp(1, COST_MAX)
    }

    /// What a request costs on average, in microseconds; 0 if that is not known.
    pub(super) fn average_micros(&self) -> u64 {
        self.average.load(Ordering::Relaxed) / 1000
    }

    /// What one of this route costs, in nanoseconds; 0 if that is not known.
    pub(super) fn nanos(&self, route: RouteId) -> u64 {
        self.at(route).cost.load(Ordering::Relaxed)
    }

    /// What this route has in line.
    pub(super) fn standing(&self, route: RouteId) -> u64 {
        let standing = self.at(route).standing.load(Ordering::Relaxed);
        u64::try_from(standing).unwrap_or(0)
    }

    /// Whether a request of this route, or of one that never joined, may stand in line beyond the
    /// room there: with it, its route has no more than its share.
    pub(super) fn has_share(&self, route: Option<RouteId>, cost: u32, room: u64) -> bool {
        let standing = route.map_or(0, |route| self.standing(route));
        standing + u64::from(cost) <= self.share(route, room)
    }

    /// What a route may have of the room: an even part of it, and of what those with less leave
    /// of theirs.
    fn share(&self, route: Option<RouteId>, room: u64) -> u64 {
        let mut others = [0; ROUTES];
        let mut len = 0;
        for id in (0..ROUTES as u8).map(RouteId) {
            let standing = self.standing(id);
            if Some(id) != route && standing > 0 {
                others[len] = standing;
                len += 1;
            }
        }
        let others = &mut others[..len];
        others.sort_unstable();
        let mut left = room;
        for (less, standing) in others.iter().enumerate() {
            let even = left / (len - less + 1) as u64;
            if *standing >= even {
                return even;
            }
            left -= standing;
        }
        left
    }

    /// Counts what has joined the line, or left it.
    pub(super) fn count(&self, joined: Joined, by: i64) {
        let standing = &self.at(joined.route).standing;
        standing.fetch_add(i64::from(joined.cost) * by, Ordering::Relaxed);
    }

    /// Takes in what a request has cost; returns it with what was done for it beside.
    pub(super) fn learn(&self, route: RouteId, computed: Duration) -> u64 {
        let seen = nanos(computed.saturating_add(BESIDE));
        let cost = &self.at(route).cost;
        let known = cost.load(Ordering::Relaxed);
        let next = match known {
            0 => seen,
            known => known - (known >> GAIN_SHIFT) + (seen >> GAIN_SHIFT),
        };
        cost.store(next.max(1), Ordering::Relaxed);
        seen
    }

    /// Takes the average of what has ended, given all that ever did, if that is enough.
    pub(super) fn look(&self, since: &mut Ended, (requests, nanos): (u64, u64), now: Instant) {
        let at = *since.at.get_or_insert(now);
        let ended = requests.wrapping_sub(since.requests);
        let long = now.saturating_duration_since(at) >= AVERAGE_OVER;
        if !long || ended < AVERAGE_OF {
            return;
        }
        let seen = (nanos.wrapping_sub(since.nanos) / ended).max(1);
        let known = self.average.load(Ordering::Relaxed);
        let average = match known {
            0 => seen,
            known => known / 2 + seen / 2,
        };
        self.average.store(average.max(1), Ordering::Relaxed);
        *since = Ended {
            requests,
            nanos,
            at: Some(now),
        };
    }

    fn at(&self, RouteId(route): RouteId) -> &Route {
        &self.routes[usize::from(route)]
    }
}

#[cfg(all(test, not(loom)))]
mod tests;
