//! What a rule sees of the evidence.

use std::time::Duration;

use crate::{Fact, Log, Observation, Outcome, Own, Path, Proxy, Target, Via, Wire};

/// A refusal that is longer ago does not say that the service fails now. Two scrapes of a
/// metrics server, and longer than any client waits.
const LATELY: Duration = Duration::from_secs(60);

/// The facts in their canonical order, and what they say as a whole.
#[derive(Debug)]
pub(crate) struct View<'a> {
    facts: &'a [Fact],
    target: &'a Target,
    trouble: bool,
    unreachable: bool,
    silent: bool,
}

impl<'a> View<'a> {
    pub(crate) fn new(facts: &'a [Fact], target: &'a Target) -> Self {
        let given = |fact: &'a Fact| match &fact.seen {
            Observation::Wire(Wire::Probe {
                via: Via::Given,
                path,
                outcome,
                ..
            }) => Some((*path == Path::Given, *outcome)),
            _ => None,
        };
        let (url, beside): (Vec<_>, Vec<_>) = facts
            .iter()
            .filter_map(given)
            .partition(|(is_url, _)| *is_url);
        let unanswered = !url.is_empty() && url.iter().all(|(_, it)| !is_answer(*it));
        Self {
            facts,
            target,
            trouble: unanswered || facts.iter().any(is_trouble),
            // Who answers another question at the same place is reached.
            unreachable: unanswered && !beside.iter().any(|(_, it)| is_answer(*it)),
            silent: unanswered && url.iter().all(|(_, it)| *it == Outcome::Silent),
        }
    }

    /// Returns the facts for which there is an answer, with it.
    pub(crate) fn pick<T>(
        &self,
        look: impl Fn(&'a Observation) -> Option<T>,
    ) -> Vec<(&'a Fact, T)> {
        let facts = self.facts.iter();
        facts
            .filter_map(|fact| Some((fact, look(&fact.seen)?)))
            .collect()
    }

    /// Returns the facts of which it is true.
    pub(crate) fn all(&self, is: impl Fn(&'a Observation) -> bool) -> Vec<&'a Fact> {
        self.facts.iter().filter(|fact| is(&fact.seen)).collect()
    }

    /// Whether it is true of any fact.
    pub(crate) fn any(&self, is: impl Fn(&'a Observation) -> bool) -> bool {
        self.facts.iter().any(|fact| is(&fact.seen))
    }

    pub(crate) const fn target(&self) -> &'a Target {
        self.target
    }

    /// Whether something fails now.
    pub(crate) const fn has_trouble(&self) -> bool {
        self.trouble
    }

    /// Whether no probe got an HTTP answer.
    pub(crate) const fn is_unreachable(&self) -> bool {
        self.unreachable
    }

    /// Whether every probe of the URL was taken, and none was answered.
    pub(crate) const fn is_silent(&self) -> bool {
        self.silent
    }
}

const fn is_answer(outcome: Outcome) -> bool {
    matches!(outcome, Outcome::Answered(_) | Outcome::Grpc(_))
}

/// Whether a fact is about requests that fail, or failed in the window that logs are read for.
pub(super) fn is_of_a_failure(fact: &Fact) -> bool {
    let in_a_log = match &fact.seen {
        Observation::Proxy(seen) => matches!(
            seen,
            Proxy::HaproxyEnds { count: 1.., .. }
                | Proxy::NginxSays { count: 1.., .. }
                | Proxy::EnvoyFlagged { count: 1.., .. }
                | Proxy::ApacheSays { count: 1.., .. }
        ),
        Observation::Wire(seen) => {
            matches!(seen, Wire::Probe { outcome, .. } if !is_answer(*outcome))
        }
        _ => false,
    };
    in_a_log || is_trouble(fact)
}

/// Whether a fact says by itself that requests fail.
fn is_trouble(fact: &Fact) -> bool {
    match &fact.seen {
        Observation::Wire(seen) => match seen {
            Wire::Probe {
                outcome: Outcome::Answered(status),
                path: Path::Given | Path::Root,
                ..
            }
            | Wire::Made { status, .. }
            | Wire::Passed { status, .. }
            | Wire::Unmarked { status, .. } => *status >= 500,
            Wire::Probe {
                outcome: Outcome::Grpc(status),
                ..
            } => *status == 14,
            Wire::Why { .. } => true,
            _ => false,
        },
        Observation::Own(Own::Refusing { count, last, .. }) => *count > 0 && *last <= LATELY,
        Observation::Log(Log::Attributed { count, .. }) => *count > 0,
        _ => false,
    }
}
