//! What was refused, when and why: bounded, and never in a request's way.
//!
//! Refusals flow in from the one room that renders them; state changes flow in from
//! whoever caused them; the operator page, metrics and `why503` read. The ledger keeps
//! *incidents* (an unbroken run of refusals with one cause and one source: first and last
//! moment, count, evidence at its start), the most recent single refusals, so that an id
//! from a client's complaint can be looked up, and the most recent state changes.
//!
//! A request never waits here. Each stripe has its own lock, which only its own threads
//! and readers take; a refusal that finds it taken is counted as dropped instead. The
//! totals by cause are exact all the same: they are counters beside the locks. In a storm a
//! sample is kept singly ([`sample`]), and incidents count them all.
//!
//! An incident is one however many stripes it was counted on, and begins once: the runs of
//! all stripes share its [`Clock`], and of those who find that it has stopped one sets it
//! going. The list of clocks is behind a lock that readers never take; a stripe takes it for
//! the first refusal of each cause and source, and keeps the clock.

mod changes;
mod clock;
mod entry;
mod sample;
#[cfg(all(test, not(loom)))]
mod tests;

use std::{
    collections::VecDeque,
    sync::{Arc, OnceLock, TryLockError},
    time::{Duration, Instant},
};

pub use changes::CHANGES_KEPT;
use changes::Changes;
use clock::Clock;
pub use entry::{Answered, Incident, Recorded, RefusalId, RequestNote, StateChange, Total};
use sample::Sample;

use crate::{
    name::Name,
    refusal::{Refusal, cause::Cause},
    sync::{
        origin::Origin,
        stripe::{self, Counter, Padded, STRIPES},
    },
};

/// A run of refusals ends when none came for this long. Longer than the longest jittered
/// gap between retries of a lone client (1 s), short enough to tell two spikes apart.
pub const INCIDENT_GAP: Duration = Duration::from_secs(10);

/// Single refusals kept by each stripe; the oldest goes first.
pub const RECENT_PER_STRIPE: usize = 64;

/// Runs of refusals kept by each stripe; the oldest goes first.
pub const RUNS_PER_STRIPE: usize = 32;

/// Pairs of cause and source that each stripe tells apart; there are as many as gates and
/// dependencies. Refusals of further pairs are counted, and kept singly, but make no run.
pub const SOURCES_MAX: usize = 64;

/// Everything the ledger holds, newest first.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct LedgerView {
    /// Runs of refusals.
    pub incidents: Vec<Incident>,
    /// Single refusals.
    pub recent: Vec<Recorded>,
    /// State changes.
    pub changes: Vec<StateChange>,
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    stripes: Box<[Padded<std::sync::Mutex<Page>>]>,
    /// The first refusal, from which moments are counted.
    origin: OnceLock<Origin>,
    /// One for each cause and source that was ever refused by.
    clocks: std::sync::Mutex<Vec<(Cause, Name, Arc<Clock>)>>,
    changes: Changes,
    by_cause: [Counter; Cause::ALL.len()],
    dropped: Counter,
    passed_over: Counter,
}

#[derive(Debug, Default)]
struct Page {
    recent: VecDeque<Recorded>,
    sample: Sample,
    open: Vec<Run>,
    closed: VecDeque<Incident>,
    totals: Vec<Total>,
}

/// What one stripe saw of an incident, and the clock of all of it.
#[derive(Debug)]
struct Run {
    incident: Incident,
    /// Until when another refusal belongs to it: the gap after the last one.
    open_until: Instant,
    clock: Arc<Clock>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self::new()
    }
}

impl Ledger {
    /// An empty ledger.
    #[must_use]
    pub fn new() -> Self {
        Self {
            stripes: (0..STRIPES).map(|_| Padded::default()).collect(),
            origin: OnceLock::new(),
            clocks: std::sync::Mutex::default(),
            changes: Changes::default(),
            by_cause: std::array::from_fn(|_| Counter::new()),
            dropped: Counter::new(),
            passed_over: Counter::new(),
        }
    }

    /// Writes down one refusal. Returns `true` if it begins an incident, which is when
    /// one line in the log is due.
    ///
    /// `route` is the path that was asked for. All refusals are counted; `whole` is called for
    /// those that are kept singly, which is each one that begins an incident, and in each second
    /// the first 32 of a stripe and one for each further cause and route.
    pub fn record(
        &self,
        refusal: Refusal,
        route: &str,
        whole: impl FnOnce(Refusal) -> Recorded,
    ) -> bool {
        self.record_at(stripe::current(), refusal, route, whole)
    }

    fn record_at(
        &self,
        stripe: usize,
        refusal: Refusal,
        route: &str,
        whole: impl FnOnce(Refusal) -> Recorded,
    ) -> bool {
        let cause = refusal.cause();
        self.by_cause[cause.index()].add_at(stripe, 1);
        let Some(mut page) = try_lock(&self.stripes[stripe].0) else {
            self.dropped.add_at(stripe, 1);
            return false;
        };
        let origin = self.origin.get_or_init(|| Origin::new(refusal.at()));
        let nanos = origin.nanos(refusal.at());
        let begins = page.count(&refusal, nanos, |refusal| self.clock(refusal));
        let keeps = page.sample.keeps(nanos, cause, route);
        if keeps || begins {
            push_bounded(&mut page.recent, whole(refusal), RECENT_PER_STRIPE);
        } else {
            self.passed_over.add_at(stripe, 1);
        }
        begins
    }

    /// Returns the clock of an incident, `None` if there are as many as may be.
    fn clock(&self, refusal: &Refusal) -> Option<Arc<Clock>> {
        let (cause, source) = (refusal.cause(), refusal.refused_by());
        let mut clocks = lock(&self.clocks);
        if let Some((.., clock)) = clocks.iter().find(|(c, s, _)| *c == cause && s == source) {
            return Some(Arc::clone(clock));
        }
        if clocks.len() == SOURCES_MAX {
            return None;
        }
        let clock = Arc::new(Clock::new());
        clocks.push((cause, source.clone(), Arc::clone(&clock)));
        Some(clock)
    }

    /// Returns the incidents, newest first.
    #[must_use]
    pub fn incidents(&self) -> Vec<Incident> {
        let mut runs = Vec::new();
        for stripe in &self.stripes {
            let page = lock(&stripe.0);
            runs.extend(page.open.iter().map(|run| run.incident.clone()));
            runs.extend(page.closed.iter().cloned());
        }
        join_runs(runs)
    }

    /// Returns how many requests were refused for this cause.
    #[must_use]
    pub fn count(&self, cause: Cause) -> u64 {
        self.by_cause[cause.index()].sum()
    }

    /// Returns how many refusals were counted by cause and answered, but not written down:
    /// somebody was reading the page that they belonged on.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.sum()
    }

    /// Returns how many refusals were written down in their incident, but not kept singly,
    /// because enough of that second were.
    #[must_use]
    pub fn passed_over(&self) -> u64 {
        self.passed_over.sum()
    }

    /// Returns the refusals so far by cause, rule and source.
    #[must_use]
    pub fn totals(&self) -> Vec<Total> {
        let mut sums: Vec<Total> = Vec::new();
        for stripe in &self.stripes {
            for total in &lock(&stripe.0).totals {
                match sums.iter_mut().find(|sum| sum.is_like(total)) {
                    Some(sum) => sum.count += total.count,
                    None => sums.push(total.clone()),
                }
            }
        }
        sums
    }

    /// Returns everything, newest first.
    #[must_use]
    pub fn view(&self) -> LedgerView {
        let mut view = LedgerView::default();
        let mut runs = Vec::new();
        for stripe in &self.stripes {
            let page = lock(&stripe.0);
            view.recent.extend(page.recent.iter().cloned());
            runs.extend(page.open.iter().map(|run| run.incident.clone()));
            runs.extend(page.closed.iter().cloned());
        }
        view.recent
            .sort_by_key(|recorded| std::cmp::Reverse(recorded.refusal.at()));
        view.incidents = join_runs(runs);
        view.changes = self.changes.newest_first();
        view
    }

    /// Finds refusals by our id, the request's id or the trace id. A list, because
    /// request ids repeat.
    #[must_use]
    pub fn find(&self, id: &str) -> Vec<Recorded> {
        let mut found: Vec<Recorded> = Vec::new();
        for stripe in &self.stripes {
            let page = lock(&stripe.0);
            found.extend(
                page.recent
                    .iter()
                    .filter(|recorded| recorded.is_called(id))
                    .cloned(),
            );
        }
        found.sort_by_key(|recorded| std::cmp::Reverse(recorded.refusal.at()));
        found
    }
}

impl Page {
    /// Adds a refusal to its total and its run. Returns whether it begins an incident.
    fn count(
        &mut self,
        refusal: &Refusal,
        nanos: u64,
        clock: impl FnOnce(&Refusal) -> Option<Arc<Clock>>,
    ) -> bool {
        let (cause, rule, now) = (refusal.cause(), refusal.rule(), refusal.at());
        let has_room = self.totals.len() < SOURCES_MAX;
        let total = self.totals.iter_mut().find(|total| {
            total.cause == cause && total.rule == rule && total.source == *refusal.refused_by()
        });
        match total {
            Some(total) => total.count += 1,
            None if has_room => {
                self.totals.push(Total {
                    cause,
                    rule,
                    source: refusal.refused_by().clone(),
                    count: 1,
                });
            }
            None => {}
        }
        let fresh = || Incident {
            cause,
            rule,
            source: refusal.refused_by().clone(),
            first: now,
            last: now,
            count: 1,
            evidence: refusal.evidence().clone(),
        };
        if let Some(run) = self.open.iter_mut().find(|run| run.incident.is_of(refusal)) {
            let incident = &mut run.incident;
            if now <= run.open_until {
                incident.count += 1;
                incident.last = incident.last.max(now);
            } else {
                let old = std::mem::replace(incident, fresh());
                push_bounded(&mut self.closed, old, RUNS_PER_STRIPE);
            }
            run.open_until = run.incident.last + INCIDENT_GAP;
            return run.clock.goes_on(nanos);
        }
        let Some(clock) = clock(refusal) else {
            return false;
        };
        let begins = clock.goes_on(nanos);
        self.open.push(Run {
            incident: fresh(),
            open_until: now + INCIDENT_GAP,
            clock,
        });
        begins
    }
}

/// Joins the runs of all stripes: runs of one cause and source that overlap, or follow
/// each other within the gap, are one incident.
fn join_runs(mut runs: Vec<Incident>) -> Vec<Incident> {
    runs.sort_by_key(|run| run.first);
    let mut incidents: Vec<Incident> = Vec::new();
    for run in runs {
        let same = incidents
            .iter_mut()
            .rev()
            .find(|incident| incident.cause == run.cause && incident.source == run.source);
        match same {
            Some(incident) if incident.is_open(run.first) => {
                incident.count += run.count;
                incident.last = incident.last.max(run.last);
            }
            _ => incidents.push(run),
        }
    }
    incidents.sort_by_key(|incident| std::cmp::Reverse(incident.first));
    incidents
}

fn push_bounded<T>(ring: &mut VecDeque<T>, item: T, bound: usize) {
    if ring.len() == bound {
        ring.pop_front();
    }
    ring.push_back(item);
}

// std's locks also under loom: what matters between threads here is that nobody waits,
// and loom's mutex has no `try_lock` that can fail.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn try_lock<T>(mutex: &std::sync::Mutex<T>) -> Option<std::sync::MutexGuard<'_, T>> {
    match mutex.try_lock() {
        Ok(guard) => Some(guard),
        Err(TryLockError::Poisoned(poison)) => Some(poison.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
