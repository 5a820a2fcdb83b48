//! What was refused, when and why: bounded, and never in a request's way.
//!
//! Refusals flow in from the one room that renders them; state changes flow in from
//! whoever caused them; the operator page, metrics and `why503` read. The ledger keeps
//! *incidents* (an unbroken run of refusals with one cause and one source: first and last
//! moment, count, evidence at its start), the most recent single refusals, so that an id
//! from a client's complaint can be looked up, and the most recent state changes.
//!
//! A request never waits here. Each stripe has its own lock, which only its own threads
//! and readers take; a refusal that finds it taken is counted as dropped instead, and so is
//! one of which enough are kept ([`sample`]). The totals by cause are exact all the same: they
//! are counters beside the locks.
//!
//! An incident is one however many stripes it was counted on, and begins once: the runs of
//! all stripes share its [`Clock`], and of those who find that it has stopped one sets it
//! going. The list of clocks is behind a lock that readers never take; a stripe takes it for
//! the first refusal of each cause and source, and keeps the clock.

mod changes;
mod clock;
mod entry;
mod sample;

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
            self.dropped.add_at(stripe, 1);
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

    /// Returns how many refusals were counted and answered, but not kept singly: enough were,
    /// or somebody was reading the page that it belonged on.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped.sum()
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

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{refusal::evidence::Evidence, testing::origin};
    use proptest::prelude::*;

    const SOURCES: [Name; 2] = [Name::from_static("shed"), Name::from_static("lifecycle")];

    fn recorded(number: u128, source: usize, at: Instant) -> Recorded {
        let evidence = Evidence::Draining {
            since: Duration::ZERO,
        };
        let request = RequestNote {
            line: "GET /".into(),
            request_id: Some(format!("r{}", number % 10).into()),
            trace_id: None,
        };
        Recorded {
            id: RefusalId(number),
            refusal: Refusal::new(SOURCES[source].clone(), evidence, Duration::ZERO, at),
            retry_after: Duration::from_secs(1),
            answered: Answered::Refusal,
            request,
        }
    }

    impl Ledger {
        fn takes(&self, stripe: usize, recorded: Recorded) -> bool {
            let refusal = recorded.refusal.clone();
            self.record_at(stripe, refusal, "/", |_| recorded)
        }
    }

    #[test]
    fn an_incident_is_an_unbroken_run_whichever_stripes_it_was_counted_on() {
        let start = origin();
        let ledger = Ledger::new();
        let begins: Vec<_> = [(0, 0), (9, 1), (17, 0), (40, 1), (41, 0)]
            .into_iter()
            .map(|(second, stripe)| {
                let at = start + Duration::from_secs(second);
                ledger.takes(stripe, recorded(second.into(), 0, at))
            })
            .collect();
        assert_eq!(begins, [true, false, false, true, false]);
        let incidents = ledger.view().incidents;
        let seen: Vec<_> = incidents
            .iter()
            .map(|incident| {
                (
                    incident.first - start,
                    incident.last - start,
                    incident.count,
                )
            })
            .map(|(first, last, count)| (first.as_secs(), last.as_secs(), count))
            .collect();
        assert_eq!(seen, [(40, 41, 2), (0, 17, 3)]);
    }

    #[test]
    fn an_incident_has_one_line_whatever_is_busy_when_it_goes_on_elsewhere() {
        let start = origin();
        let ledger = Ledger::new();
        for second in 0..=30 {
            let at = start + Duration::from_secs(second);
            let begins = ledger.takes(0, recorded(second.into(), 0, at));
            assert_eq!(begins, second == 0);
        }
        // As a reader does, or a refusal on that stripe.
        let _busy = lock(&ledger.stripes[0].0);
        let at = start + Duration::from_secs(31);
        assert!(!ledger.takes(1, recorded(31, 0, at)), "said twice");
    }

    #[test]
    fn incidents_that_begin_together_have_a_line_each() {
        let ledger = Ledger::new();
        let (said, hears) = std::sync::mpsc::channel();
        std::thread::scope(|scope| {
            // As if one of another source were about to begin.
            let other = lock(&ledger.clocks);
            let ledger = &ledger;
            scope.spawn(move || said.send(ledger.takes(1, recorded(1, 0, origin()))));
            // Long enough for whoever does not wait to have lost it.
            let early = hears.recv_timeout(Duration::from_millis(50)).ok();
            drop(other);
            let begins = early.or_else(|| hears.recv().ok());
            assert_eq!(begins, Some(true), "never said");
        });
    }

    #[test]
    fn sources_without_room_begin_nothing_and_are_counted() {
        let ledger = Ledger::new();
        let named = |number: usize| {
            let mut of = recorded(number as u128, 0, origin());
            let name = Name::new(format!("source-{number}")).expect("well formed");
            let evidence = of.refusal.evidence().clone();
            of.refusal = Refusal::new(name, evidence, Duration::ZERO, origin());
            of
        };
        let begins = |stripe, number| ledger.takes(stripe, named(number));
        assert!((0..SOURCES_MAX).all(|number| begins(0, number)));
        assert!(!begins(0, SOURCES_MAX) && !begins(1, SOURCES_MAX + 1));
        assert!(!begins(1, 0), "it goes on, on another stripe");
        assert_eq!(ledger.count(Cause::Draining), SOURCES_MAX as u64 + 3);
    }

    #[test]
    fn a_refusal_is_found_by_any_of_its_ids() {
        let now = origin();
        let ledger = Ledger::new();
        for number in [1, 11, 2] {
            ledger.takes(0, recorded(number, 0, now));
        }
        assert_eq!(ledger.find("00000000-0000-0000-0000-00000000000b").len(), 1);
        assert_eq!(ledger.find("r1").len(), 2, "request ids repeat");
        assert_eq!(ledger.find("none").len(), 0);
        assert_eq!(ledger.find("00000000-0000-0000-0000-00000000000B").len(), 1);
        for odd in [
            "00000000-0000-0000-0000-0000000000b",
            "00000000-0000-00000000-0000-0000000b",
            "00000000-0000-0000-0000-+0000000000b",
        ] {
            assert_eq!(RefusalId::parse(odd), None, "{odd}");
        }
    }

    #[test]
    fn in_a_storm_all_are_counted_and_a_sample_is_kept() {
        let ledger = Ledger::new();
        for number in 0..10_000 {
            ledger.takes(3, recorded(number, 0, origin()));
        }
        let view = ledger.view();
        assert_eq!(ledger.count(Cause::Draining), 10_000);
        assert_eq!(view.incidents[0].count, 10_000);
        assert_eq!(view.recent.len() as u64 + ledger.dropped(), 10_000);
        assert!(
            view.recent.len() < RECENT_PER_STRIPE,
            "one route, one cause"
        );
    }

    #[test]
    fn a_refusal_never_waits_for_a_reader() {
        let ledger = Ledger::new();
        let page = lock(&ledger.stripes[0].0);
        assert!(!ledger.takes(0, recorded(1, 0, origin())));
        drop(page);
        assert_eq!((ledger.dropped(), ledger.count(Cause::Draining)), (1, 1));
    }

    proptest! {
        /// Goal: whatever comes, every buffer keeps its bound, totals are exact, and the
        /// incidents account for each refusal.
        #[test]
        fn everything_is_bounded_and_nothing_is_miscounted(
            refusals in proptest::collection::vec((0_usize..STRIPES, 0_usize..2, 0_u64..30), 0..400),
        ) {
            let ledger = Ledger::new();
            let mut now = origin();
            for (number, (stripe, source, gap)) in refusals.iter().enumerate() {
                now += Duration::from_secs(*gap / 20 * gap);
                ledger.takes(*stripe, recorded(number as u128, *source, now));
            }
            let view = ledger.view();
            prop_assert!(view.recent.len() <= STRIPES * RECENT_PER_STRIPE);
            prop_assert_eq!(ledger.count(Cause::Draining), refusals.len() as u64);
            prop_assert_eq!(ledger.totals().iter().map(|total| total.count).sum::<u64>(), refusals.len() as u64);
            if view.incidents.len() < RUNS_PER_STRIPE {
                prop_assert_eq!(view.incidents.iter().map(|i| i.count).sum::<u64>(), refusals.len() as u64);
            }
            for pair in view.incidents.windows(2) {
                if pair[0].source == pair[1].source {
                    prop_assert!(pair[0].first - pair[1].last > INCIDENT_GAP);
                }
            }
        }
    }
}
