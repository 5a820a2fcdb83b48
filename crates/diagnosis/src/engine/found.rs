//! What the rule of one row has found, and what it has found to be well.

use std::collections::BTreeMap;

use super::{View, view::is_of_a_failure};
use crate::{
    Certainty, Cited, Confidence, Fact, Finding, Fix, Log, Observation, Own, RuledOut, Tied,
    knowledge::Row,
};

/// Most facts that a finding cites on either side: what a person reads.
const CITED_MAX: usize = 8;

/// How close the evidence is to the thing; the order of ranks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Strength {
    /// Something is under pressure.
    Pressure,
    /// How long the refusal took fits.
    Timing,
    /// A proxy's own code says so.
    Code,
    /// A fact that is tied to this port, process or dependency.
    Direct,
}

/// What one row found.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    row: &'static Row,
    cases: BTreeMap<Tied, Case>,
    well: Vec<Cited>,
    life: std::marker::PhantomData<&'a ()>,
}

/// One finding in the making.
#[derive(Debug)]
pub(crate) struct Case {
    pub(super) confidence: Confidence,
    pub(super) strength: Strength,
    summary: String,
    evidence: Vec<Cited>,
    against: Vec<Cited>,
    fix: Option<&'static str>,
    known: Vec<(&'static str, String)>,
    /// Whether one of its facts is about requests that fail.
    pub(super) seen_failing: bool,
}

/// A finding with what decides its place.
#[derive(Debug)]
pub(crate) struct Ranked {
    pub(super) finding: Finding,
    pub(super) strength: Strength,
    pub(super) seen_failing: bool,
    pub(super) row: &'static Row,
}

impl Found<'_> {
    pub(super) const fn new(row: &'static Row) -> Self {
        Self {
            row,
            cases: BTreeMap::new(),
            well: Vec::new(),
            life: std::marker::PhantomData,
        }
    }

    /// Writes down a finding about what the fact is tied to. A second one about the same
    /// thing adds its fact to the first, and the surer of the two speaks.
    pub(crate) fn find(
        &mut self,
        fact: &Fact,
        confidence: Confidence,
        strength: Strength,
        summary: impl Into<String>,
    ) -> &mut Case {
        self.find_about(fact.tied.clone(), fact, confidence, strength, summary)
    }

    /// Writes down a finding about something else than the fact is tied to.
    pub(crate) fn find_about(
        &mut self,
        about: Tied,
        fact: &Fact,
        confidence: Confidence,
        strength: Strength,
        summary: impl Into<String>,
    ) -> &mut Case {
        let summary = summary.into();
        let case = self.cases.entry(about).or_insert_with(|| Case {
            confidence,
            strength,
            summary: summary.clone(),
            evidence: Vec::new(),
            against: Vec::new(),
            fix: None,
            known: Vec::new(),
            seen_failing: false,
        });
        if (confidence, strength) > (case.confidence, case.strength) {
            (case.confidence, case.strength) = (confidence, strength);
            case.summary = summary;
        }
        case.cite(fact)
    }

    /// Writes down a finding for each fact that gives a sentence.
    pub(crate) fn tell(
        &mut self,
        view: &View<'_>,
        confidence: Confidence,
        strength: Strength,
        look: impl Fn(&Observation) -> Option<String>,
    ) -> &mut Self {
        for (fact, says) in view.pick(look) {
            self.find(fact, confidence, strength, says);
        }
        self
    }

    /// Takes what others have found out: a reader of logs, or the process itself.
    pub(super) fn told(&mut self, view: &View<'_>) {
        let id = self.row.id;
        for (fact, says) in view.pick(|seen| match seen {
            Observation::Log(Log::Attributed {
                id: it, count, of, ..
            }) if *it == id && *count > 0 => Some(format!(
                "{}: {count} of {of} errors in the log.",
                self.row.title
            )),
            _ => None,
        }) {
            self.find(fact, Confidence::Proven, Strength::Code, says);
        }
        for (fact, (certainty, says)) in view.pick(|seen| match seen {
            Observation::Own(Own::Told {
                id: it,
                certainty,
                summary,
            }) if *it == id => Some((*certainty, summary.to_string())),
            _ => None,
        }) {
            let confidence = match certainty {
                Certainty::Proven => Confidence::Proven,
                Certainty::Likely => Confidence::Likely,
                Certainty::Possible => Confidence::Possible,
            };
            self.find(fact, confidence, Strength::Direct, says);
        }
    }

    /// Whether anything was found.
    pub(crate) fn is_empty(&self) -> bool {
        self.cases.is_empty()
    }

    /// Writes down that this was looked at and is well.
    pub(crate) fn well(&mut self, fact: &Fact) -> &mut Self {
        push(&mut self.well, cited(fact, None));
        self
    }

    /// Joins what is about the same thing under several names: a port, its process, the
    /// service and its host are one, and they are that backend or dependency if there is
    /// only one that the finding is about.
    fn join(&mut self) {
        let (whole, parts): (Vec<_>, Vec<_>) = self
            .cases
            .keys()
            .cloned()
            .partition(|about| about.name().is_none());
        let into = match (parts.as_slice(), whole.as_slice()) {
            ([part], _) => part.clone(),
            (_, [first, ..]) => first.clone(),
            (_, []) => return,
        };
        for about in whole.into_iter().filter(|about| *about != into) {
            let other = self.cases.remove(&about);
            if let (Some(other), Some(case)) = (other, self.cases.get_mut(&into)) {
                case.join(other);
            }
        }
    }

    pub(super) fn finish(mut self, view: &View<'_>) -> (Vec<Ranked>, Option<RuledOut>) {
        let row = self.row;
        self.join();
        let told = |case: &Case| view.has_trouble() || case.confidence > Confidence::Possible;
        let findings: Vec<_> = self
            .cases
            .into_iter()
            .filter(|(_, case)| told(case))
            .map(|(about, case)| case.finish(row, about, view))
            .collect();
        let well = (findings.is_empty() && !self.well.is_empty()).then_some(RuledOut {
            id: row.id,
            title: row.title,
            evidence: self.well,
        });
        (findings, well)
    }
}

impl Case {
    /// Adds a fact that speaks for it.
    pub(crate) fn cite(&mut self, fact: &Fact) -> &mut Self {
        self.seen_failing |= is_of_a_failure(fact);
        push(&mut self.evidence, cited(fact, None));
        self
    }

    /// Says from where on the last cited fact counts.
    pub(crate) fn from(&mut self, threshold: impl Into<String>) -> &mut Self {
        if let Some(last) = self.evidence.last_mut() {
            last.threshold = Some(threshold.into());
        }
        self
    }

    /// Adds a fact that speaks against it.
    pub(crate) fn but(&mut self, fact: &Fact) -> &mut Self {
        push(&mut self.against, cited(fact, None));
        self
    }

    /// Fixes it in another way than the row says.
    pub(crate) const fn fix(&mut self, text: &'static str) -> &mut Self {
        self.fix = Some(text);
        self
    }

    /// Fills in a name that the commands leave open.
    pub(crate) fn with(&mut self, name: &'static str, value: &impl ToString) -> &mut Self {
        self.known.push((name, value.to_string()));
        self
    }

    fn join(&mut self, other: Self) {
        if (other.confidence, other.strength) > (self.confidence, self.strength) {
            (self.confidence, self.strength) = (other.confidence, other.strength);
            self.summary = other.summary;
            self.fix = other.fix.or(self.fix);
        }
        for cited in other.evidence {
            push(&mut self.evidence, cited);
        }
        for cited in other.against {
            push(&mut self.against, cited);
        }
        self.known.extend(other.known);
        self.seen_failing |= other.seen_failing;
    }

    fn finish(mut self, row: &'static Row, about: Tied, view: &View<'_>) -> Ranked {
        let target = view.target();
        if let Tied::Process(pid) = about {
            self.known.push(("PID", pid.to_string()));
        }
        if let Tied::Port(port) = about {
            self.known.push(("PORT", port.to_string()));
        }
        if let Some(name) = about.name() {
            self.known.push(("NAME", name.to_owned()));
        }
        let target = [
            ("PID", target.pid.map(|pid| pid.to_string())),
            ("PORT", target.port.map(|port| port.to_string())),
            ("UNIT", target.unit.as_ref().map(ToString::to_string)),
            ("URL", target.url.as_ref().map(ToString::to_string)),
        ];
        self.known.extend(
            target
                .into_iter()
                .filter_map(|(name, value)| Some((name, value?))),
        );
        let commands = row
            .commands
            .iter()
            .map(|command| fill(command, &self.known))
            .collect();
        let finding = Finding {
            id: row.id,
            about,
            confidence: self.confidence,
            role: row.role,
            title: row.title,
            summary: self.summary,
            evidence: self.evidence,
            against: self.against,
            chain: Vec::new(),
            fix: Fix {
                text: self.fix.unwrap_or(row.fix).to_owned(),
                commands,
            },
            effects: Vec::new(),
        };
        Ranked {
            finding,
            strength: self.strength,
            seen_failing: self.seen_failing,
            row,
        }
    }
}

fn cited(fact: &Fact, threshold: Option<String>) -> Cited {
    Cited {
        source: fact.source.clone(),
        field: fact.seen.field(),
        value: fact.seen.to_string(),
        threshold,
        at: fact.at,
        tied: fact.tied.clone(),
    }
}

fn push(list: &mut Vec<Cited>, cited: Cited) {
    if list.len() < CITED_MAX && !list.contains(&cited) {
        list.push(cited);
    }
}

/// Puts what is known in place of the words that stand for it; the first that knows it.
fn fill(command: &str, known: &[(&'static str, String)]) -> String {
    let mut filled = String::with_capacity(command.len());
    let mut rest = command;
    while !rest.is_empty() {
        let len = rest
            .find(|c: char| !c.is_ascii_uppercase())
            .unwrap_or(rest.len());
        let (word, tail) = rest.split_at(len);
        let value = known.iter().find(|(name, _)| *name == word);
        match value {
            // What a stranger named is shown as one word of the shell, whatever is in it.
            Some((_, value)) if !value.is_empty() => filled.push_str(&quoted(value)),
            _ => filled.push_str(word),
        }
        rest = tail;
        let next = rest
            .find(|c: char| c.is_ascii_uppercase())
            .unwrap_or(rest.len());
        filled.push_str(&rest[..next]);
        rest = &rest[next..];
    }
    filled
}

fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:@".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else {
        format!("'{}'", value.replace('\'', "'\\''"))
    }
}
