//! Atomics. Which limit a request meets: the one for all, or that of the backend which it will
//! most likely wait for.
//!
//! Two routes that wait for different backends want two limits. Under one, a slow report at ten
//! times its load takes the places of a quick page, and nobody can say how many may run: what
//! suits the one starves the other. So whoever serves says of a sample of requests which
//! dependency they spent most of their time with ([`ShedGate::spent`]), the evidence is kept by
//! route ([`routes`]), and routes of which it is clear meet a [`Lane`] of their backend. All
//! others meet the common one.
//!
//! ```text
//! a sample of ends ─▶ spent ─▶ evidence by route ─▶ published words
//!                                                        │ read by
//!                        admit ─▶ of(path) ──────────────┴─▶ the common lane, or a backend's
//! ```
//!
//! Laws kept here:
//! - Evidence first. Two limits for one backend would only divide it, and take each other's
//!   experiments for their own; so nothing is parted before two backends were told apart, and
//!   a service with one backend stays as it was. The threads that poll requests are a backend
//!   ([`RUNTIME`]) of those that compute, told apart by itself from whatever waits.
//! - A request belongs to one lane from its admission to its end; only later ones go elsewhere.
//! - Until routes are parted a request reads one word that never changes; after that it hashes
//!   its path and reads two or three more. It writes none of them.
//! - What the process itself can do is no lane's business: lag, memory and streams are asked
//!   once, before any.

mod directory;
#[cfg(all(test, loom))]
mod loom_tests;
mod routes;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use super::{ShedGate, ShedSettings, lane::Lane};
use crate::{
    name::Name,
    request::shape::hash,
    shed::{
        limit::{Change, Snapshot},
        reservation::ReserveSnapshot,
        wait_queue::QueueSnapshot,
    },
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU8, Ordering},
        lock, try_lock,
    },
};
use directory::Directory;
use routes::{Moved, Routes};

/// Backends that can have a limit of their own. A service has a handful; each costs some 50 KiB.
pub const BACKENDS_MAX: usize = 8;

/// One request in so many is asked what it spends its time with while there is no limit.
pub const SPENT_ONE_IN: u32 = 16;

/// When a backend or a route is seen for the first time, everybody is asked for so long, and until
/// so many have been told of: a flood in which a process starts, or of what nobody asked for
/// before, leaves no time for a sample, and once its queues have grown nothing can be seen of
/// them any more.
const ALL_FOR: Duration = Duration::from_secs(2);
const ALL_MIN: u32 = 4096;

/// For a new route no more than once in so long, because some services have new paths all the
/// time.
const ALL_REST: Duration = Duration::from_secs(60);

/// Backends that are remembered as seen.
const SEEN_MAX: usize = 4 * BACKENDS_MAX;

/// Changes kept until somebody collects them. A route changes twice a minute at most.
const CHANGES_KEPT: usize = 32;

/// The number of a lane; a lane that has one exists, for as long as its gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LaneId(u8);

impl LaneId {
    pub(crate) const COMMON: Self = Self(0);
}

/// The limit of requests that wait for one dependency.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendSnapshot {
    /// The dependency that they spend most of their time with, or the
    /// [runtime](crate::plumbing::RUNTIME).
    pub backend: Name,
    /// Their routes: paths with a star for what looks like an id.
    pub routes: Vec<String>,
    /// How many of them may run; `None` while the algorithm sees no reason to limit.
    pub limit: Option<u32>,
    /// How many of them run.
    pub in_flight: u32,
    /// How many were admitted since the start.
    pub admitted: u64,
    /// How many were refused at this limit since the start.
    pub refused: u64,
    /// How many observe mode would have refused.
    pub would_refuse: u64,
    /// Mean time that one of them holds its place, over the last look's interval.
    pub mean_held: Option<Duration>,
    /// Where the algorithm behind this limit stands.
    pub algorithm: Snapshot,
    /// Places of this limit that are kept for those who go first.
    pub reserve: ReserveSnapshot,
    /// Those who wait for a place of it, if the gate has a queue.
    pub queue: Option<QueueSnapshot>,
}

/// What became of a limit for one backend.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BackendChange {
    /// The dependency.
    pub backend: Name,
    /// What became of it.
    pub news: BackendNews,
}

/// See [`BackendChange`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum BackendNews {
    /// A route meets this limit from now on, or the common one again.
    Route {
        /// When.
        at: Instant,
        /// The route: a path with a star for what looks like an id.
        route: String,
        /// Whether it meets this limit.
        apart: bool,
    },
    /// The limit has changed.
    Limit(Change),
}

#[derive(Debug)]
struct Backend {
    name: Name,
    lane: Lane,
}

/// Who is asked what a request spends its time with. Relaxed wherever it is read or written: who
/// is asked a moment too long or too short is a sample more or less.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asks {
    /// There is one limit for all.
    Nobody,
    /// A sample, and everybody while there is a limit.
    Some,
    /// Everybody.
    All,
}

/// All limits of a gate.
#[derive(Debug)]
pub(super) struct Lanes {
    common: Lane,
    backends: Directory<Box<Backend>>,
    /// Who is asked: see [`Asks`].
    asks: AtomicU8,
    /// Whether anybody has named a dependency, or computed. Until then that a request met none
    /// says nothing, and no lock is taken for it.
    named: AtomicBool,
    evidence: Mutex<Evidence>,
    settings: ShedSettings,
    seed: u64,
}

#[derive(Debug)]
struct Evidence {
    routes: Routes,
    /// Backends that were named so far.
    seen: Vec<Name>,
    /// Since when everybody is asked, and how many were told of since then.
    all: Option<(Instant, u32)>,
    /// When that began last.
    all_at: Option<Instant>,
    changes: VecDeque<BackendChange>,
}

impl Lanes {
    pub(super) fn new(settings: &ShedSettings, seed: u64, now: Instant) -> Self {
        Self {
            common: Lane::new(settings, seed, now),
            backends: Directory::new(),
            asks: AtomicU8::new(match settings.is_by_backend() {
                true => Asks::Some as u8,
                false => Asks::Nobody as u8,
            }),
            named: AtomicBool::new(false),
            evidence: Mutex::new(Evidence {
                routes: Routes::new(),
                seen: Vec::new(),
                all: None,
                all_at: None,
                changes: VecDeque::new(),
            }),
            settings: settings.clone(),
            seed,
        }
    }

    pub(super) fn common(&self) -> &Lane {
        &self.common
    }

    /// Returns which lane a request on this path meets.
    #[inline]
    pub(super) fn of(&self, path: &str) -> LaneId {
        if self.backends.is_parted() {
            self.backends.find(hash(path))
        } else {
            LaneId::COMMON
        }
    }

    #[inline]
    pub(super) fn at(&self, id: LaneId) -> &Lane {
        match self.backends.lane(id) {
            None => &self.common,
            Some(backend) => &backend.lane,
        }
    }

    /// The dependency that those in a lane wait for.
    pub(super) fn name(&self, id: LaneId) -> Option<&Name> {
        self.backends.lane(id).map(|backend| &backend.name)
    }

    /// Every lane, the common one first.
    pub(super) fn all(&self) -> impl Iterator<Item = &Lane> {
        let backends = self.each().map(|backend| &backend.lane);
        std::iter::once(&self.common).chain(backends)
    }

    fn each(&self) -> impl Iterator<Item = &Backend> {
        self.backends.lanes().map(|backend| &**backend)
    }

    #[inline]
    fn asks(&self) -> Asks {
        match self.asks.load(Ordering::Relaxed) {
            0 => Asks::Nobody,
            1 => Asks::Some,
            _ => Asks::All,
        }
    }

    fn set_asks(&self, asks: Asks) {
        self.asks.store(asks as u8, Ordering::Relaxed);
    }

    /// Makes one limit for all again, for good.
    pub(super) fn join(&self) {
        let mut evidence = lock(&self.evidence);
        // With the lock, because whoever tells something of a request publishes with it.
        self.set_asks(Asks::Nobody);
        self.backends.join();
        evidence.routes = Routes::new();
    }

    #[cold]
    fn spent(&self, path: &str, with: Option<&Name>, now: Instant) {
        // A sample that is missed is made up by the next.
        let Some(mut evidence) = try_lock(&self.evidence) else {
            return;
        };
        if with.is_some() && !self.named.load(Ordering::Relaxed) {
            // Relaxed: a sample that does not see it yet is one that is missed.
            self.named.store(true, Ordering::Relaxed);
        }
        let evidence = &mut *evidence;
        let asks = self.asks();
        if asks == Asks::Nobody {
            return;
        }
        let wanted = evidence.asks(path, with, now);
        if asks != wanted {
            self.set_asks(wanted);
        }
        let Some(moved) = evidence.routes.saw(path, with, now) else {
            return;
        };
        let was_parted = self.backends.is_parted();
        self.publish(&evidence.routes, now);
        let moved = match (was_parted, self.backends.is_parted()) {
            (true, _) => vec![moved],
            (false, true) => evidence.routes.all_apart(),
            (false, false) => Vec::new(),
        };
        let has_lane = |moved: &Moved| self.each().any(|backend| backend.name == moved.backend);
        moved.into_iter().filter(has_lane).for_each(|moved| {
            evidence.keep(BackendChange {
                backend: moved.backend,
                news: BackendNews::Route {
                    at: now,
                    route: moved.route,
                    apart: moved.apart,
                },
            });
        });
    }

    /// Makes the lanes that are missing, and says which route meets which.
    fn publish(&self, routes: &Routes, now: Instant) {
        if !self.backends.is_parted() && !routes.are_to_part() {
            return;
        }
        let found = routes.apart().filter_map(|(hash, name)| {
            let id = self.find_or_make(name, now)?;
            Some((hash, id))
        });
        self.backends.replace(found);
    }

    fn find_or_make(&self, name: &Name, now: Instant) -> Option<LaneId> {
        let make = |LaneId(id): LaneId| {
            let seed = self.seed ^ u64::from(id).wrapping_mul(SEED_STEP);
            let lane = Lane::new(&self.settings, seed, now);
            let name = name.clone();
            Box::new(Backend { name, lane })
        };
        self.backends
            .find_or_make(|backend| backend.name == *name, make)
    }

    pub(super) fn snapshots(&self, now: Instant) -> Vec<BackendSnapshot> {
        if !self.backends.is_parted() {
            return Vec::new();
        }
        let evidence = lock(&self.evidence);
        let snapshot = |Backend { name, lane }: &Backend| BackendSnapshot {
            backend: name.clone(),
            routes: evidence.routes.names_of(name),
            limit: lane.limit(),
            in_flight: lane.tokens.in_flight(),
            admitted: lane.admitted.sum(),
            refused: lane.refused.sum(),
            would_refuse: lane.would_refuse.sum(),
            mean_held: lane.mean_held(now),
            algorithm: lane.driver.snapshot(),
            reserve: lane.reserve.snapshot(&lane.tokens),
            queue: lane.queue_snapshot(now),
        };
        self.each().map(snapshot).collect()
    }
}

impl Evidence {
    /// Says who is to be asked after this one.
    fn asks(&mut self, path: &str, with: Option<&Name>, now: Instant) -> Asks {
        let is_new = |name: &&Name| self.seen.len() < SEEN_MAX && !self.seen.contains(name);
        let new = with.filter(is_new).cloned();
        let rests = |at: Instant| now.saturating_duration_since(at) < ALL_REST;
        let begins = new.is_some()
            || with.is_some() && !self.all_at.is_some_and(rests) && !self.routes.knows(path);
        self.seen.extend(new);
        if begins {
            (self.all, self.all_at) = (Some((now, 0)), Some(now));
        }
        if let Some((since, told)) = &mut self.all {
            *told += 1;
            if *told >= ALL_MIN && now.saturating_duration_since(*since) >= ALL_FOR {
                self.all = None;
            }
        }
        match self.all {
            Some(_) => Asks::All,
            None => Asks::Some,
        }
    }

    fn keep(&mut self, change: BackendChange) {
        if self.changes.len() == CHANGES_KEPT {
            self.changes.pop_front();
        }
        self.changes.push_back(change);
    }
}

impl ShedGate {
    /// Whether the gate wants to hear what a request spends its time with: see
    /// [`ShedGate::spent`]. As a rule one in [`SPENT_ONE_IN`] is enough, and `drawn` says whether it
    /// is the one. All are asked for some seconds after a backend or a route was seen for the
    /// first time; and those who share a limit while there is one, because of a route that is refused few
    /// are admitted.
    #[inline]
    #[must_use]
    pub fn asks_what_is_spent(&self, drawn: bool) -> bool {
        match self.lanes.asks() {
            Asks::Nobody => false,
            Asks::Some => drawn || self.lanes.common().limit().is_some(),
            Asks::All => true,
        }
    }

    /// Says that a request on this path, which has been answered, spent at least half of its
    /// time with a dependency: it waited for it, or held one of its connections; or with the
    /// [runtime](crate::plumbing::RUNTIME), because it computed. `None` says that there was
    /// nothing of the kind.
    #[inline]
    pub fn spent(&self, path: &str, with: Option<&Name>, now: Instant) {
        let says = with.is_some() || self.lanes.named.load(Ordering::Relaxed);
        if says && self.lanes.asks() != Asks::Nobody {
            self.lanes.spent(path, with, now);
        }
    }

    /// Takes what became of the limits for one backend since the last call, oldest first for
    /// each.
    #[must_use]
    pub fn take_backend_changes(&self) -> Vec<BackendChange> {
        let mut changes: Vec<_> = lock(&self.lanes.evidence).changes.drain(..).collect();
        for Backend { name, lane } in self.lanes.each() {
            changes.extend(lane.driver.take_changes().into_iter().map(|change| {
                let (backend, news) = (name.clone(), BackendNews::Limit(change));
                BackendChange { backend, news }
            }));
        }
        changes
    }
}

/// Keeps the experiments of several lanes from falling into step: 2^64 over the golden ratio.
const SEED_STEP: u64 = 0x9e37_79b9_7f4a_7c15;
