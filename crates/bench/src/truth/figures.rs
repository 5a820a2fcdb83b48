//! From what was seen to a row.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stack::Answer;

use super::{
    situations::{Expected, Situation},
    watch::Seen,
};

/// It is to be known after so many seconds of traffic, and to be over after so many.
const KNOWN_MAX: Duration = Duration::from_secs(2);
const HEALED_MAX: Duration = Duration::from_secs(2);

/// Reading health twenty times a second and asking ten times misses a little.
const RESOLUTION: Duration = Duration::from_millis(200);

/// The figures of one run.
#[derive(Clone, Debug)]
struct Figures {
    to_know: Option<Duration>,
    know_max: Duration,
    says: String,
    class: String,
    /// Failed without a reason: before it was known, and after that.
    unexplained_before: usize,
    unexplained: usize,
    /// Those among them to whom nothing was said at all before they left.
    unanswered: usize,
    explained: usize,
    /// Failed although they needed nothing of what was harmed.
    needlessly: usize,
    to_heal: Option<Duration>,
    to_say_healed: Option<Duration>,
    accused: Vec<String>,
}

impl Figures {
    fn of(seen: &Seen, expected: &Expected) -> Self {
        let known_at = seen.known_at();
        let mut told = seen.looks.iter().filter(|look| {
            !look.is_well() && look.at >= seen.harmed_at && look.at <= seen.healed_at
        });
        let last = told.next_back();
        let says = last.map_or_else(String::new, |look| look.says.clone());
        let class = last.map_or_else(String::new, |look| look.class.clone());
        let harmed = |at: Instant| at >= seen.harmed_at && at < seen.healed_at;
        let failed: Vec<_> = seen
            .answers
            .iter()
            .filter(|it| harmed(it.asked_at) && !it.is_served())
            .collect();
        let is_known = |at: Instant| known_at.is_some_and(|known_at| at > known_at);
        // A client that leaves is told nothing, whoever knows what.
        let has_left = |it: &&&Answer| expected.hangs && it.status.is_none();
        let bare = |known: bool| {
            let bare = failed.iter().filter(|it| !it.is_explained());
            let bare = bare.filter(|it| !has_left(it));
            bare.filter(|it| is_known(it.asked_at) == known).count()
        };
        // Who hides what it was refused with is explained by the ledger alone.
        let unexplained = if expected.hides {
            bare(true).saturating_sub(usize::try_from(seen.recorded).unwrap_or(usize::MAX))
        } else {
            bare(true)
        };
        let unanswered = failed.iter().filter(|it| it.is_unanswered());
        let unanswered = unanswered.filter(|it| !it.is_explained() && is_known(it.asked_at));
        let beside = seen.beside.iter();
        let needlessly = beside.filter(|it| !it.is_served()).count();
        let needlessly = needlessly + if expected.serves { failed.len() } else { 0 };
        let detection = seen
            .looks
            .iter()
            .filter_map(|look| look.detection_max)
            .max();
        Self {
            to_know: known_at.map(|at| at.duration_since(seen.harmed_at)),
            know_max: match detection {
                Some(bound) if expected.by_check => bound.max(KNOWN_MAX),
                _ => KNOWN_MAX,
            },
            accused: accused(seen, expected, &says, &class),
            says,
            class,
            unexplained_before: bare(false),
            unexplained,
            unanswered: unanswered.count().min(unexplained),
            explained: failed.iter().filter(|it| it.is_explained()).count(),
            needlessly,
            to_heal: to_heal(seen),
            to_say_healed: to_say_healed(seen),
        }
    }
}

/// Who was accused of what he has not done.
fn accused(seen: &Seen, expected: &Expected, says: &str, class: &str) -> Vec<String> {
    let mut accused: Vec<String> = seen
        .looks
        .iter()
        .filter(|look| look.at >= seen.harmed_at)
        .flat_map(|look| look.others.clone())
        .collect();
    accused.sort();
    accused.dedup();
    if seen.known_at().is_none() {
        return accused;
    }
    if expected.innocent {
        accused.push("the dependency".to_owned());
        return accused;
    }
    let text = says.to_lowercase();
    let has = |word: &&&str| text.contains(&word.to_lowercase());
    if let Some(word) = expected.never.iter().find(has) {
        accused.push(format!("\"{word}\""));
    }
    if !expected.says.is_empty() && !expected.says.iter().any(|word| has(&word)) {
        accused.push(format!(
            "does not say \"{}\"",
            expected.says.join("\" or \"")
        ));
    }
    if expected.never_class.contains(&class) {
        accused.push(format!("class {class}"));
    }
    accused
}

/// From the healing to the first answer after which nothing failed any more.
fn to_heal(seen: &Seen) -> Option<Duration> {
    let after: Vec<_> = seen
        .answers
        .iter()
        .filter(|it| it.asked_at >= seen.healed_at)
        .collect();
    let last_failed = after.iter().rposition(|it| !it.is_served());
    let first_good = last_failed.map_or(0, |at| at + 1);
    let good = after.get(first_good)?;
    Some(match last_failed {
        None => Duration::ZERO,
        Some(_) => good.asked_at.duration_since(seen.healed_at),
    })
}

fn to_say_healed(seen: &Seen) -> Option<Duration> {
    let after = || seen.looks.iter().filter(|look| look.at >= seen.healed_at);
    let last_ill = after().rfind(|look| !look.is_well());
    let well = after().find(|look| last_ill.is_none_or(|ill| look.at > ill.at))?;
    Some(last_ill.map_or(Duration::ZERO, |_| well.at.duration_since(seen.healed_at)))
}

/// A situation, with all its runs.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) name: &'static str,
    pub(super) claim: &'static str,
    expected: Expected,
    runs: Vec<Figures>,
}

impl Row {
    pub(super) fn new(situation: &Situation, seen: &[Seen]) -> Self {
        let figures = |seen: &Seen| Figures::of(seen, &situation.expected);
        Self {
            name: situation.name,
            claim: situation.claim,
            expected: situation.expected,
            runs: seen.iter().map(figures).collect(),
        }
    }

    /// Median and worst; `None` is longer than everything.
    fn seconds(&self, of: impl Fn(&Figures) -> Option<Duration>) -> [Option<f64>; 2] {
        let seconds = |it: &Figures| of(it).map_or(f64::INFINITY, |time| time.as_secs_f64());
        let mut all: Vec<f64> = self.runs.iter().map(seconds).collect();
        all.sort_by(f64::total_cmp);
        let finite = |value: f64| value.is_finite().then(|| (value * 10.0).round() / 10.0);
        [finite(all[(all.len() - 1) / 2]), finite(all[all.len() - 1])]
    }

    fn most(&self, of: impl Fn(&Figures) -> usize) -> usize {
        self.runs.iter().map(of).max().unwrap_or(0)
    }

    pub(super) fn to_know(&self) -> [Option<f64>; 2] {
        self.seconds(|it| it.to_know)
    }

    pub(super) fn to_heal(&self) -> [Option<f64>; 2] {
        self.seconds(|it| it.to_heal)
    }

    /// Failed without a reason after it was known, and before; of the worst run.
    pub(super) fn unexplained(&self) -> [usize; 2] {
        [
            self.most(|it| it.unexplained),
            self.most(|it| it.unexplained_before),
        ]
    }

    pub(super) fn reason(&self) -> &str {
        self.runs.last().map_or("", |it| &it.says)
    }

    pub(super) fn class(&self) -> &str {
        self.runs.last().map_or("", |it| &it.class)
    }

    /// Who was accused wrongly, in any run.
    pub(super) fn accused(&self) -> Vec<String> {
        let mut all: Vec<String> = self.runs.iter().flat_map(|it| it.accused.clone()).collect();
        all.sort();
        all.dedup();
        all
    }

    /// What speaks against it; nothing if all is well.
    pub(super) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !self.expected.innocent {
            self.faults_of_knowing(&mut faults);
        }
        if !self.accused().is_empty() {
            faults.push(format!("wrong: {}", self.accused().join(", ")));
        }
        let needlessly = self.most(|it| it.needlessly);
        if needlessly > 0 {
            faults.push(format!("{needlessly} failed needlessly"));
        }
        if self.expected.heals {
            match self.to_heal()[0] {
                None => faults.push("does not heal".to_owned()),
                Some(secs) if secs > (HEALED_MAX + RESOLUTION).as_secs_f64() => {
                    faults.push(format!("heals after {secs:.1} s"));
                }
                Some(_) => {}
            }
        }
        faults
    }

    fn faults_of_knowing(&self, faults: &mut Vec<String>) {
        let bound = self.runs.iter().map(|it| it.know_max).max();
        let bound = bound.unwrap_or(KNOWN_MAX) + RESOLUTION;
        match self.to_know()[0] {
            None => faults.push("never known".to_owned()),
            Some(secs) if secs > bound.as_secs_f64() => {
                faults.push(format!("known after {secs:.1} s"));
            }
            Some(_) => {}
        }
        let [after, before] = self.unexplained();
        if after > 0 {
            faults.push(format!("{after} unexplained"));
        } else if self.to_know()[0].is_none() && before > 0 {
            faults.push(format!("{before} unexplained"));
        }
    }

    pub(super) fn json(&self) -> Value {
        let [to_know, know_worst] = self.to_know();
        let [to_heal, heal_worst] = self.to_heal();
        let [unexplained, before] = self.unexplained();
        let [say_healed, _] = self.seconds(|it| it.to_say_healed);
        json!({
            "bench": "truth", "situation": self.name, "runs": self.runs.len(),
            "seconds_to_know": to_know, "seconds_to_know_worst": know_worst,
            "reason": self.reason(), "class": self.class(),
            "unexplained": unexplained, "unexplained_before": before,
            "unanswered": self.most(|it| it.unanswered),
            "explained": self.most(|it| it.explained),
            "needlessly": self.most(|it| it.needlessly),
            "seconds_to_heal": to_heal, "seconds_to_heal_worst": heal_worst,
            "seconds_to_say_healed": say_healed,
            "accused_wrongly": !self.accused().is_empty(), "accused": self.accused(),
            "faults": self.faults(), "pass": self.faults().is_empty(),
        })
    }
}
