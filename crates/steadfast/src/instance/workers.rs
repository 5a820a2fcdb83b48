//! Which worker thread of the main runtime does not come back from a task.
//!
//! A worker says when it parks and, every few dozen tasks, how long it has been busy. One of
//! which neither has changed between two looks, and which is not parked, is in the middle of
//! something: usually one long poll, which is what blocks a runtime. The numbers are tokio's
//! stable ones; they say which worker and for how long, and not which task.
//!
//! The looks are made from the probe listener's thread, which runs when no worker does, and
//! from the heartbeat, which sees one blocked worker among several.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use tokio::runtime::RuntimeMetrics;

/// Between two looks of the probe listener's thread. A poll that is shorter delays nobody
/// for long.
pub(crate) const LOOK: Duration = Duration::from_millis(200);

/// From when on a worker is called blocked: as long as five beats of the runtime's heart, and
/// far longer than any poll that gives way.
const BLOCKED_AFTER: Duration = Duration::from_millis(500);

/// A look that is older says nothing of now: both who looks have been gone for five of the
/// slower one's periods.
const LOOK_AGE_MAX: Duration = Duration::from_secs(1);

/// Workers that are looked at; more are only counted.
const WORKERS_MAX: usize = 256;

/// What was seen of the workers.
#[derive(Debug, Default)]
pub(crate) struct Workers(Mutex<Looks>);

#[derive(Debug, Default)]
struct Looks {
    each: Vec<Look>,
    tasks_alive: usize,
    tasks_queued: usize,
    count: usize,
    longest: Duration,
    /// When the last look was.
    at: Option<Instant>,
}

#[derive(Debug)]
struct Look {
    /// Parks and unparks, busy time: whatever changes says that a task has ended.
    marks: (u64, Duration),
    /// Since when they stand.
    since: Instant,
    parked: bool,
}

/// The workers at one moment.
#[derive(Debug, Default)]
pub(crate) struct WorkersView {
    pub(crate) count: usize,
    pub(crate) tasks_alive: usize,
    pub(crate) tasks_queued: usize,
    /// Which, and for how long; the longest first.
    pub(crate) blocked: Vec<(usize, Duration)>,
    pub(crate) longest: Duration,
}

impl Workers {
    /// Looks at each worker.
    pub(crate) fn look(&self, metrics: &RuntimeMetrics, now: Instant) {
        let mut looks = self.lock();
        looks.at = Some(now);
        looks.count = metrics.num_workers();
        looks.tasks_alive = metrics.num_alive_tasks();
        looks.tasks_queued = metrics.global_queue_depth();
        for worker in 0..looks.count.min(WORKERS_MAX) {
            let parks = metrics.worker_park_unpark_count(worker);
            let marks = (parks, metrics.worker_total_busy_duration(worker));
            looks.saw(worker, marks, parks % 2 == 1, now);
        }
    }

    /// Returns what is known now. A worker has stood for as long as it was seen to stand: up
    /// to the last look, and not a moment longer. Where nobody has looked for long, it is not
    /// known whether any stands.
    pub(crate) fn view(&self, now: Instant) -> WorkersView {
        let looks = self.lock();
        let fresh = looks
            .at
            .filter(|at| now.saturating_duration_since(*at) <= LOOK_AGE_MAX);
        let busy = looks
            .each
            .iter()
            .enumerate()
            .filter(|(_, look)| !look.parked);
        let stands = busy.filter_map(|(worker, look)| {
            Some((worker, fresh?.saturating_duration_since(look.since)))
        });
        let mut blocked: Vec<_> = stands.filter(|(_, time)| *time >= BLOCKED_AFTER).collect();
        blocked.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        WorkersView {
            count: looks.count,
            tasks_alive: looks.tasks_alive,
            tasks_queued: looks.tasks_queued,
            longest: blocked
                .first()
                .map_or(looks.longest, |it| it.1.max(looks.longest)),
            blocked,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Looks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Looks {
    fn saw(&mut self, worker: usize, marks: (u64, Duration), parked: bool, now: Instant) {
        let Some(look) = self.each.get_mut(worker) else {
            self.each.push(Look {
                marks,
                since: now,
                parked,
            });
            return;
        };
        look.parked = parked;
        if look.marks != marks {
            (look.marks, look.since) = (marks, now);
        } else if !parked {
            let stands = now.saturating_duration_since(look.since);
            self.longest = self.longest.max(stands);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_worker_whose_marks_stand_while_it_is_not_parked_is_blocked() {
        let workers = Workers::default();
        let start = clock::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        for (ms, parks, parked) in [
            (0, 7, true),
            (900, 7, true),
            (1000, 8, false),
            (1900, 8, false),
        ] {
            workers.saw(parks, parked, at(ms));
        }
        let seen = workers.view(at(2000));
        assert_eq!(seen.blocked, [(0, Duration::from_millis(900))]);
        workers.saw(9, true, at(2100));
        let seen = workers.view(at(2200));
        assert!(seen.blocked.is_empty(), "it is parked");
        assert_eq!(seen.longest, Duration::from_millis(900));
    }

    /// Goal: nothing is said of a worker at which nobody has looked since: it may have parked
    /// a moment after the look.
    #[test]
    fn what_was_seen_long_ago_is_not_said_of_now() {
        let workers = Workers::default();
        let start = clock::now();
        let at = |ms: u64| start + Duration::from_millis(ms);
        workers.saw(8, false, at(0));
        workers.saw(8, false, at(700));
        for (ms, blocked) in [
            (800, Some(700)),
            (1700, Some(700)),
            (1701, None),
            (60_000, None),
        ] {
            let seen = workers.view(at(ms));
            let expected = blocked.map(|ms| (0, Duration::from_millis(ms)));
            assert_eq!(seen.blocked.first().copied(), expected, "after {ms} ms");
            assert_eq!(seen.longest, Duration::from_millis(700));
        }
    }

    impl Workers {
        fn saw(&self, parks: u64, parked: bool, now: Instant) {
            let mut looks = self.lock();
            looks.at = Some(now);
            looks.saw(0, (parks, Duration::ZERO), parked, now);
        }
    }
}
