//! From answers to a row: what was served, how fast, and whether it is worse than without.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::situations::Situation;
use crate::stack::Answer;

/// The guarded one may be so much slower than the bare one, or by so many milliseconds.
const P99_RATIO_MAX: f64 = 1.1;
const P99_MORE_MAX_MS: f64 = 5.0;

/// What one application did in one run.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) answers: Vec<Answer>,
    /// What else is worth a number: `connections`, say.
    pub(super) notes: Vec<(&'static str, Value)>,
}

impl From<Vec<Answer>> for Seen {
    fn from(answers: Vec<Answer>) -> Self {
        Self {
            answers,
            notes: Vec::new(),
        }
    }
}

/// The figures of one application in one run.
#[derive(Clone, Debug)]
struct Figures {
    asked: usize,
    served: usize,
    /// Failed, and said why.
    explained: usize,
    /// Failed without a reason: a bare 500, or no answer.
    unexplained: usize,
    /// Those among them to whom nothing was said at all before they left.
    unanswered: usize,
    /// Of those served, sorted.
    latencies_ms: Vec<f64>,
    /// When each of those was, from the first question on, sorted.
    served_at_ms: Vec<f64>,
    failed_p99_ms: Option<f64>,
    causes: BTreeMap<String, usize>,
}

impl Figures {
    fn of(seen: &Seen) -> Self {
        let served: Vec<&Answer> = seen.answers.iter().filter(|it| it.is_served()).collect();
        let failed: Vec<&Answer> = seen.answers.iter().filter(|it| !it.is_served()).collect();
        let explained = failed.iter().filter(|it| it.is_explained()).count();
        let unanswered = failed.iter().filter(|it| it.is_unanswered());
        let mut causes = BTreeMap::new();
        for answer in &failed {
            *causes.entry(answer.cause()).or_insert(0) += 1;
        }
        Self {
            asked: seen.answers.len(),
            served: served.len(),
            explained,
            unexplained: failed.len() - explained,
            unanswered: unanswered.filter(|it| !it.is_explained()).count(),
            latencies_ms: sorted_ms(&served),
            served_at_ms: served_at_ms(&seen.answers),
            failed_p99_ms: p99(&sorted_ms(&failed)),
            causes,
        }
    }

    fn p99_ms(&self) -> Option<f64> {
        p99(&self.latencies_ms)
    }

    /// From the first question on, the time until so many were served.
    fn served_ms(&self, count: usize) -> Option<f64> {
        self.served_at_ms.get(count.checked_sub(1)?).copied()
    }
}

fn served_at_ms(answers: &[Answer]) -> Vec<f64> {
    let began = answers.iter().map(|it| it.asked_at).min();
    let at = |it: &Answer| {
        let since = began.map_or(Duration::ZERO, |began| it.asked_at.duration_since(began));
        (since + it.took).as_secs_f64() * 1000.0
    };
    let served = answers.iter().filter(|it| it.is_served());
    let mut all: Vec<f64> = served.map(at).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn sorted_ms(answers: &[&Answer]) -> Vec<f64> {
    let millis = |took: Duration| took.as_secs_f64() * 1000.0;
    let mut all: Vec<f64> = answers.iter().map(|it| millis(it.took)).collect();
    all.sort_by(f64::total_cmp);
    all
}

fn p99(sorted: &[f64]) -> Option<f64> {
    let last = sorted.len().checked_sub(1)?;
    let at = (sorted.len() * 99).div_ceil(100).saturating_sub(1);
    sorted.get(at.min(last)).copied()
}

/// A situation, with all its runs.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) claim: &'static str,
    passes_on: bool,
    /// Bare and guarded, run by run.
    runs: Vec<[Figures; 2]>,
    notes: Vec<[Vec<(&'static str, Value)>; 2]>,
}

impl Row {
    pub(super) fn new(situation: &Situation, runs: &[[Seen; 2]]) -> Self {
        Self {
            name: situation.name,
            claim: situation.claim,
            passes_on: situation.passes_on,
            runs: runs
                .iter()
                .map(|run| run.each_ref().map(Figures::of))
                .collect(),
            notes: runs
                .iter()
                .map(|run| run.each_ref().map(|seen| seen.notes.clone()))
                .collect(),
        }
    }

    fn each(&self, side: usize, of: impl Fn(&Figures) -> f64) -> Vec<f64> {
        self.runs.iter().map(|run| of(&run[side])).collect()
    }

    fn median(&self, side: usize, of: impl Fn(&Figures) -> f64) -> f64 {
        let mut all = self.each(side, of);
        all.sort_by(f64::total_cmp);
        all[(all.len() - 1) / 2]
    }

    pub(super) fn asked(&self) -> f64 {
        self.median(BARE, |it| it.asked as f64)
    }

    /// Median, and the worst of all runs.
    pub(super) fn served(&self, side: usize) -> [f64; 2] {
        let served = |it: &Figures| it.served as f64;
        let worst = self.each(side, served).into_iter().fold(f64::MAX, f64::min);
        [self.median(side, served), worst]
    }

    /// Median, and the worst of all runs; `NaN` if nobody was served.
    pub(super) fn p99_ms(&self, side: usize) -> [f64; 2] {
        let p99 = |it: &Figures| it.p99_ms().unwrap_or(f64::NAN);
        let worst = self.each(side, p99).into_iter().fold(f64::NAN, f64::max);
        [self.median(side, p99), worst]
    }

    /// What became of those that were not served, over all runs: a cause, or a status.
    pub(super) fn causes(&self, side: usize) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for run in &self.runs {
            for (cause, count) in &run[side].causes {
                *all.entry(cause.clone()).or_insert(0) += count;
            }
        }
        all
    }

    /// What speaks against it, in a word or two each; nothing if all is well.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        let served = |side| self.served(side)[0];
        if served(GUARDED) < served(BARE) {
            faults.push(format!("serves {} of {}", served(GUARDED), served(BARE)));
        }
        let is_slower = |guarded: f64, bare: f64| {
            guarded > bare * P99_RATIO_MAX && guarded > bare + P99_MORE_MAX_MS
        };
        if served(GUARDED) > served(BARE) {
            // Who lets some fail has fewer in its queue, so its percentiles are no measure for
            // one who serves them all: what counts is how soon as many were served.
            let [bare, guarded] = self.as_many_ms();
            if is_slower(guarded, bare) {
                faults.push(format!("as many {:.1} times later", guarded / bare));
            }
        } else {
            let (bare, guarded) = (self.p99_ms(BARE)[0], self.p99_ms(GUARDED)[0]);
            if is_slower(guarded, bare) {
                faults.push(format!("p99 {:.1} times", guarded / bare));
            }
        }
        let unexplained = |side| self.median(side, |it| it.unexplained as f64);
        let allowed = if self.passes_on {
            unexplained(BARE)
        } else {
            0.0
        };
        let unexplained = unexplained(GUARDED);
        if unexplained > allowed {
            faults.push(format!("{unexplained} without a reason"));
        }
        let failed = |side| self.median(side, |it| it.failed_p99_ms.unwrap_or(f64::NAN));
        // Who waited for a place that others got has served more.
        let serves_more = served(GUARDED) > served(BARE);
        if !serves_more && failed(GUARDED) > failed(BARE) * P99_RATIO_MAX + P99_MORE_MAX_MS {
            faults.push(format!(
                "fails after {:.0} ms, bare after {:.0}",
                failed(GUARDED),
                failed(BARE)
            ));
        }
        faults
    }

    /// How long each took until as many were served as the bare one serves in all.
    fn as_many_ms(&self) -> [f64; 2] {
        [BARE, GUARDED].map(|side| {
            let time = |run: &[Figures; 2]| run[side].served_ms(run[BARE].served);
            let mut all: Vec<f64> = self.runs.iter().filter_map(time).collect();
            all.sort_by(f64::total_cmp);
            let median = all.get(all.len().saturating_sub(1) / 2);
            median.copied().unwrap_or(f64::NAN)
        })
    }

    pub(super) fn json(&self) -> Value {
        let mut line = Map::new();
        line.insert("bench".into(), json!("harm"));
        line.insert("situation".into(), json!(self.name));
        line.insert("runs".into(), json!(self.runs.len()));
        line.insert("asked".into(), json!(self.asked()));
        for (side, name) in [(BARE, "bare"), (GUARDED, "guarded")] {
            let mut add = |key: &str, value: f64| {
                line.insert(format!("{name}_{key}"), json!(rounded(value)));
            };
            let [median, worst] = self.served(side);
            add("served", median);
            add("served_worst", worst);
            let [median, worst] = self.p99_ms(side);
            add("p99_ms", median);
            add("p99_worst_ms", worst);
            add("explained", self.median(side, |it| it.explained as f64));
            add("unexplained", self.median(side, |it| it.unexplained as f64));
            add("unanswered", self.median(side, |it| it.unanswered as f64));
            let failed = |it: &Figures| it.failed_p99_ms.unwrap_or(f64::NAN);
            add("failed_p99_ms", self.median(side, failed));
            line.insert(format!("{name}_failed_as"), json!(self.causes(side)));
            for (key, value) in self.notes.last().map_or(&[][..], |notes| &notes[side][..]) {
                line.insert(format!("{name}_{key}"), value.clone());
            }
        }
        for (name, value) in ["bare", "guarded"].into_iter().zip(self.as_many_ms()) {
            line.insert(format!("{name}_as_many_ms"), json!(rounded(value)));
        }
        line.insert("faults".into(), json!(self.faults()));
        line.insert("pass".into(), json!(self.faults().is_empty()));
        line.into()
    }
}

pub(super) const BARE: usize = 0;
pub(super) const GUARDED: usize = 1;

/// To a tenth; what is no number becomes `null`.
fn rounded(value: f64) -> Option<f64> {
    value.is_finite().then(|| (value * 10.0).round() / 10.0)
}
