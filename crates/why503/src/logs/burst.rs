//! The worst run of failures, and what was different when it began.

use serde::Serialize;

use super::{
    shown::{grouped, inert},
    tally::{Sheet, Tally},
    time,
    timeline::{Bucket, Timeline},
};

/// An unbroken run of failures.
#[derive(Debug, Serialize)]
pub(crate) struct Burst {
    pub(crate) start: String,
    pub(crate) end: String,
    pub(crate) seconds: i64,
    pub(crate) failed: u64,
    /// What changed at its start.
    pub(crate) changes: Vec<String>,
}

struct Run {
    start: i64,
    end: i64,
    failed: u64,
}

/// Finds the run with the most failures.
pub(crate) fn find(tally: &Tally, sheet: &Sheet) -> Option<Burst> {
    let run = worst(&sheet.timeline)?;
    Some(Burst {
        start: time::written(run.start),
        end: time::written(run.end),
        seconds: run.end - run.start + 1,
        failed: run.failed,
        changes: changes(tally, sheet, &run),
    })
}

fn worst(timeline: &Timeline) -> Option<Run> {
    let gap = GAP.max(2 * timeline.width());
    let mut best: Option<Run> = None;
    let mut current: Option<Run> = None;
    let failing = timeline
        .buckets()
        .filter_map(|(_, bucket)| Some((bucket, bucket.first_failed?, bucket.last_failed?)));
    for (bucket, first, last) in failing {
        match &mut current {
            Some(run) if first - run.end <= gap => {
                run.end = last;
                run.failed += bucket.failures();
            }
            _ => {
                best = larger(best, current.take());
                current = Some(Run {
                    start: first,
                    end: last,
                    failed: bucket.failures(),
                });
            }
        }
    }
    larger(best, current)
}

fn larger(best: Option<Run>, other: Option<Run>) -> Option<Run> {
    match (best, other) {
        (Some(best), Some(other)) if other.failed > best.failed => Some(other),
        (None, other) => other,
        (best, _) => best,
    }
}

fn changes(tally: &Tally, sheet: &Sheet, run: &Run) -> Vec<String> {
    let mut changes = rates(&sheet.timeline, run, tally.first);
    let near = tally.changes.iter().filter(|it| {
        it.at
            .is_some_and(|at| (run.start - BEFORE..=run.start + AFTER).contains(&at))
    });
    for noted in near.take(SENTENCES_MAX) {
        let at = noted.at.map(time::written).unwrap_or_default();
        changes.push(format!("{at}: {}", inert(&noted.text)));
    }
    changes.extend(backends(tally, run));
    changes
}

/// The load and the time it took, before and after.
fn rates(timeline: &Timeline, run: &Run, log_begins: Option<i64>) -> Vec<String> {
    let span = (run.end - run.start).clamp(SPAN_MIN, SPAN_MAX);
    let sum = |from: i64, to: i64| {
        let inside = timeline.buckets().filter(|it| (from..to).contains(&it.0));
        inside.fold(Bucket::default(), |mut sum, (_, bucket)| {
            sum.requests += bucket.requests;
            sum.millis += bucket.millis;
            sum.timed += bucket.timed;
            sum
        })
    };
    let start = run.start - run.start.rem_euclid(timeline.width());
    let begins = log_begins.unwrap_or(start).max(start - span);
    if begins >= start {
        return vec!["the logs begin with it".into()];
    }
    let (before, after) = (sum(begins, start), sum(start, start + span));
    if before.requests == 0 {
        return vec!["no request is logged before it".into()];
    }
    let mut changes = Vec::new();
    let (old, new) = (
        per(before.requests, start - begins),
        per(after.requests, span.min(run.end - start + 1)),
    );
    if new > old * NOTABLE || new * NOTABLE < old {
        changes.push(format!(
            "requests per second: {old:.1} before, {new:.1} from then on"
        ));
    }
    let mean = |it: &Bucket| (it.timed > 0).then(|| it.millis / per(it.timed, 1));
    if let (Some(old), Some(new)) = (mean(&before), mean(&after))
        && new > old * NOTABLE
        && new - old > 5.0
    {
        changes.push(format!(
            "mean time of what was served: {old:.0} ms before, {new:.0} ms from then on"
        ));
    }
    changes
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn per(count: u64, seconds: i64) -> f64 {
    count as f64 / seconds.max(1) as f64
}

/// Backends that answered until then and not since, and those that are new.
fn backends(tally: &Tally, run: &Run) -> Vec<String> {
    let mut lost = Vec::new();
    let mut new = Vec::new();
    for (name, life) in &tally.backends {
        let went_on =
            run.end > run.start + AFTER || tally.last.is_some_and(|it| it > run.start + AFTER);
        let ended = life
            .well
            .filter(|at| (run.start - BEFORE..=run.start + AFTER).contains(at));
        if let Some(at) = ended.filter(|_| went_on) {
            lost.push((at, name, life.requests));
        }
        let established = tally.first.is_some_and(|first| life.first - first > BEFORE);
        if established && (run.start - BEFORE..=run.start + AFTER).contains(&life.first) {
            new.push((life.first, name, life.requests));
        }
    }
    lost.sort();
    new.sort();
    let lost = lost.into_iter().take(NAMES_MAX).map(|(at, name, _)| {
        format!(
            "{}: {} answered well for the last time",
            time::written(at),
            inert(name)
        )
    });
    let new = new.into_iter().take(NAMES_MAX).map(|(at, name, requests)| {
        let requests = grouped(requests);
        format!(
            "{}: {} appears, {requests} requests in all",
            time::written(at),
            inert(name)
        )
    });
    lost.chain(new).collect()
}

/// Runs with less between them are one.
const GAP: i64 = 60;
/// A cause is at most this much older than its effect, as far as a log shows.
const BEFORE: i64 = 120;
/// Checks notice this much later.
const AFTER: i64 = 15;
/// A shorter stretch says nothing about load, a longer one nothing about the start.
const SPAN_MIN: i64 = 60;
const SPAN_MAX: i64 = 600;
/// A change that is more than noise.
const NOTABLE: f64 = 1.5;
const SENTENCES_MAX: usize = 8;
const NAMES_MAX: usize = 5;
