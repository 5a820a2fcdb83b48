//! How rows look at evidence, and how what they find becomes one story.

mod found;
mod roll_up;
mod view;

pub(crate) use found::{Found, Strength};
pub(crate) use view::View;

use crate::{
    Confidence, Diagnosis, Evidence, Fact, Id, Role, State, Tied, Verdict, finding::Finding,
    knowledge,
};

/// Says what is wrong, why, since when, and what would help.
///
/// It is a function of the evidence alone: the same facts in any order give the same
/// diagnosis, and whoever shows it shows the same sentences.
///
/// Pressure without trouble is no finding: as long as nothing fails, only what is likely or
/// proven is told, as a risk.
///
/// ```
/// use std::time::Duration;
/// use steadfast_diagnosis::{Evidence, Id, Outcome, Path, Process, State, Tied, Via, Wire, diagnose};
///
/// let mut evidence = Evidence::new();
/// let (via, path, after) = (Via::Given, Path::Given, Duration::from_millis(1));
/// let outcome = Outcome::Refused;
/// evidence.saw("probe", Tied::Port(8000), Wire::Probe { via, path, outcome, after });
/// evidence.saw("/proc/net/tcp", Tied::Port(8000), Process::NoListener {});
/// let diagnosis = diagnose(&evidence);
/// assert_eq!(diagnosis.verdict.state, State::Unreachable);
/// ```
#[must_use]
pub fn diagnose(evidence: &Evidence) -> Diagnosis {
    let facts = canonical(evidence.facts());
    let view = View::new(&facts, &evidence.target);
    let mut found = Vec::new();
    let mut ruled_out = Vec::new();
    for row in knowledge::rows() {
        let mut here = Found::new(row);
        here.told(&view);
        (row.judge)(&view, &mut here);
        let (findings, well) = here.finish(&view);
        found.extend(findings);
        ruled_out.extend(well);
    }
    let findings = roll_up::order(found);
    let mut not_checked = evidence.not_checked().to_vec();
    not_checked.sort();
    not_checked.dedup();
    Diagnosis {
        verdict: verdict(&view, &findings),
        findings,
        ruled_out,
        not_checked,
    }
}

/// The facts without doubles, in an order that does not depend on who was asked first.
fn canonical(facts: &[Fact]) -> Vec<Fact> {
    let mut facts = facts.to_vec();
    // Debug writes floats exactly, so facts that are written alike are alike.
    facts.sort_by_cached_key(|fact| format!("{fact:?}"));
    facts.dedup();
    facts
}

fn verdict(view: &View<'_>, findings: &[Finding]) -> Verdict {
    let first = findings.first();
    // A request that waits in a proxy whose own words say why has reached it.
    let waits = view.is_silent()
        && first.is_some_and(|it| {
            it.confidence == Confidence::Proven && matches!(it.about, Tied::Backend(_))
        });
    let state = match first {
        _ if view.is_unreachable() && !waits => State::Unreachable,
        None if view.has_trouble() => State::Unexplained,
        None => State::Well,
        Some(_) if !view.has_trouble() => State::AtRisk,
        Some(first) => match (first.id, first.role, first.confidence) {
            (Id::AppForeign503, _, _) | (_, Role::Risk, _) => State::Unexplained,
            (_, Role::Fault | Role::Symptom, Confidence::Proven) => State::Explained,
            _ => State::Suspected,
        },
    };
    let summary = match (first, state) {
        (Some(first), _) => first.summary.clone(),
        (None, State::Well) => {
            "Nothing fails, and nothing was found that would make it fail.".to_owned()
        }
        (None, State::Unreachable) => {
            "No HTTP answer could be had, and nothing that was looked at says why.".to_owned()
        }
        (None, _) => "It fails, and nothing that was looked at says why.".to_owned(),
    };
    Verdict {
        state,
        id: first.map(|it| it.id),
        confidence: first.map(|it| it.confidence),
        summary,
        chain: first.map(|it| it.chain.clone()).unwrap_or_default(),
    }
}
