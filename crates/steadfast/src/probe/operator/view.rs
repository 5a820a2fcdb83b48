//! Everything the operator is shown, taken once from snapshots in memory.
//!
//! The JSON is this, member by member in the order in which a person reads; the page is
//! made of the same values, so both say the same. Each number has its unit in its name,
//! each moment is RFC 3339, and what is not known is left out. Its schema is
//! `docs/why503.schema.json`.

pub(super) mod checklist;
pub(super) mod dependency;
pub(super) mod entries;
pub(super) mod load;
pub(super) mod process;
pub(super) mod refusals;
pub(super) mod sentence;

use serde::Serialize;
use steadfast_core::{Phase, Verdict, plumbing::LedgerView};

use self::{
    checklist::Item,
    dependency::DependencyEntry,
    entries::{Change, IncidentEntry, RefusalEntry},
    load::Load,
    process::{Maintenance, Process, Runtime},
    refusals::Refusals,
    sentence::Sentence,
};
use super::findings::{FindingEntry, Found, NotCheckedEntry, RuledOutEntry};
use crate::{
    clock,
    instance::{minutes::Minute, past::Run, readiness::Snapshot},
    probe::paths::ProbeState,
    refusal::millis,
};

/// The version of the JSON; raised when a member changes its meaning.
pub(super) const SCHEMA: &str = "steadfast/1";

/// The instance, as the operator sees it.
#[derive(Debug, Serialize)]
pub(super) struct View {
    schema: &'static str,
    pub(super) at: String,
    /// The sentence that matters.
    pub(super) state: Sentence,
    /// What would end it, if anything has to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fix: Option<String>,
    pub(super) standing: &'static str,
    pub(super) reasons: Vec<String>,
    pub(super) phase: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) maintenance: Option<Maintenance>,
    pub(super) findings: Vec<FindingEntry>,
    pub(super) incidents: Vec<IncidentEntry>,
    pub(super) refusals: Refusals,
    pub(super) checklist: Vec<Item>,
    pub(super) runtime_lag_ms: u64,
    pub(super) shed: Load,
    pub(super) runtime: Runtime,
    pub(super) dependencies: Vec<DependencyEntry>,
    pub(super) timeline: Vec<Change>,
    pub(super) process: Process,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) earlier: Vec<Run>,
    pub(super) recent: Vec<RefusalEntry>,
    /// What was looked at and is well.
    pub(super) ruled_out: Vec<RuledOutEntry>,
    pub(super) not_checked: Vec<NotCheckedEntry>,
}

/// What a view is made of, so that its parts need not ask twice.
pub(super) struct Seen<'a> {
    pub(super) state: &'a ProbeState,
    pub(super) now: std::time::Instant,
    pub(super) verdict: Verdict,
    pub(super) snapshot: Snapshot,
    pub(super) ledger: LedgerView,
    pub(super) shed: steadfast_core::plumbing::ShedSnapshot,
    pub(super) minutes: Vec<Minute>,
    pub(super) demand: Option<f64>,
    pub(super) earlier: std::sync::Arc<Vec<Run>>,
}

impl<'a> Seen<'a> {
    pub(super) fn of(state: &'a ProbeState) -> Self {
        let now = clock::now();
        let control = &state.control;
        let (verdict, snapshot) = control.readiness().verdict(now);
        Self {
            state,
            now,
            verdict,
            snapshot,
            ledger: control.explain().ledger().view(),
            shed: control.shedder().snapshot(),
            minutes: control.minutes().view(now),
            demand: control.minutes().demand(),
            earlier: control.past().earlier(),
        }
    }
}

impl Seen<'_> {
    /// The version that runs: what was named, else how the start named the build.
    pub(super) fn version(&self) -> Option<&str> {
        let named = self.state.profile.service.as_ref();
        let named = named.map(|(_, version)| version.as_str());
        named.or_else(|| self.state.control.known()?.version.as_deref())
    }
}

impl View {
    pub(super) fn of(state: &ProbeState) -> Self {
        let seen = Seen::of(state);
        let now = seen.now;
        let found = Found::of(&state.control.diagnosis());
        let (state, fix) = sentence::of(&seen, &found.findings);
        let reasons = seen.verdict.reasons.iter().map(ToString::to_string);
        let phase = seen.snapshot.life.phase;
        Self {
            schema: SCHEMA,
            at: clock::rfc3339(now),
            state,
            fix,
            standing: seen.verdict.standing.as_str(),
            reasons: reasons.collect(),
            phase: phase.map_or("not started", Phase::as_str),
            maintenance: Maintenance::of(&seen.snapshot.life),
            incidents: entries::incidents(&seen.ledger, now),
            refusals: Refusals::of(&seen),
            checklist: checklist::of(&seen),
            runtime_lag_ms: millis(seen.state.control.readiness().pulse.lag(now)),
            shed: Load::of(&seen),
            runtime: Runtime::of(&seen),
            dependencies: dependency::all(&seen),
            timeline: seen.ledger.changes.iter().map(Change::of).collect(),
            process: Process::of(&seen),
            earlier: seen.earlier.to_vec(),
            recent: seen.ledger.recent.iter().map(RefusalEntry::of).collect(),
            findings: found.findings,
            ruled_out: found.ruled_out,
            not_checked: found.not_checked,
        }
    }
}

/// Three places after the point: a share of a thousandth is what a person can act on.
pub(super) fn rounded(number: f64) -> f64 {
    (number * 1000.0).round() / 1000.0
}
