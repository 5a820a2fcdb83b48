//! What the process knows of itself, as evidence for the diagnosis.
//!
//! Everything comes from snapshots in memory: no I/O, no question to a dependency, and no
//! lock that a request holds for long. So it can be asked while everything is on fire, and a
//! page that asks every second costs nothing that matters. It is bounded by the number of
//! dependencies and by the ledger's own bounds.
//!
//! ```text
//! ledger ─┐
//! shed   ─┼─▶ Evidence ──diagnose──▶ findings on /why503/
//! checks ─┘       └── and, by JSON, the doctor adds what it sees outside
//! ```
//!
//! Nothing is judged here: thresholds and sentences are those of `steadfast-diagnosis`, so
//! the page says what the doctor says.

mod around;
mod dependency;
mod load;
mod settings;

pub(crate) use settings::Known;

use std::time::{Duration, Instant};

use steadfast_core::{
    Cause, Phase,
    plumbing::{Incident, LedgerView, LifecycleView, Value},
};
use steadfast_diagnosis::{Evidence, Lasting, Own, PhaseIs, Text, Tied};

use super::Control;
use crate::clock;

/// Where facts come from that the process says of itself.
const SOURCE: &str = "the process itself";

/// Refusals that ended longer ago are told by the ledger, and explain nothing now.
const INCIDENT_AGE_MAX: Duration = Duration::from_secs(120);

/// Gathers what the process knows of itself.
pub(crate) fn evidence(control: &Control) -> Evidence {
    let now = clock::now();
    let (_, snapshot) = control.readiness().verdict(now);
    let ledger = control.explain().ledger().view();
    let mut evidence = Evidence::new();
    evidence.target.pid = Some(std::process::id());
    evidence.target.port = control.port();
    life(&mut evidence, control, &snapshot.life, now);
    incidents(&mut evidence, &ledger, now);
    load::gather(&mut evidence, control, now);
    for (dependency, view) in control
        .readiness()
        .dependencies
        .iter()
        .zip(&snapshot.dependencies)
    {
        dependency::gather(&mut evidence, dependency, view, &ledger, now);
    }
    around::gather(&mut evidence, control, now);
    settings::gather(&mut evidence, control, now);
    evidence
}

/// Adds what the process says of itself as a whole.
fn say(evidence: &mut Evidence, seen: Own) {
    evidence.saw(SOURCE, Tied::Service, seen);
}

fn since(moment: Instant, now: Instant) -> Duration {
    now.saturating_duration_since(moment)
}

fn life(evidence: &mut Evidence, control: &Control, life: &LifecycleView, now: Instant) {
    let is = match life.phase {
        None => PhaseIs::NotStarted,
        Some(Phase::Starting) => PhaseIs::Starting,
        Some(Phase::Ready) => PhaseIs::Ready,
        Some(Phase::LameDuck) => PhaseIs::LameDuck,
        Some(Phase::Draining) => PhaseIs::Draining,
        Some(Phase::Stopped) => PhaseIs::Stopped,
    };
    let in_it = since(life.since, now);
    say(evidence, Own::Phase { is, since: in_it });
    if life.phase == Some(Phase::Starting) {
        let waits_for = control
            .readiness()
            .dependencies
            .iter()
            .map(crate::Dependency::view);
        let names: Vec<_> = waits_for
            .filter(|it| it.gates_start())
            .map(|it| it.name.to_string())
            .collect();
        let checks = if names.is_empty() {
            "the first round of checks".to_owned()
        } else {
            names.join(", ")
        };
        say(
            evidence,
            Own::StartWaits {
                checks: checks.into(),
                since: in_it,
            },
        );
    }
    if life.phase.is_some_and(Phase::is_leaving) {
        let running = control.shedder().in_flight().into();
        say(
            evidence,
            Own::Leaving {
                running,
                since: in_it,
            },
        );
    }
    if let Some(on) = &life.maintenance {
        say(
            evidence,
            Own::Maintenance {
                reason: Text::new(&on.reason),
                since: since(on.since, now),
                left: on.until.map(|until| since(now, until)),
            },
        );
    }
    if let Some(report) = control.report() {
        let cut = report
            .cut
            .by_reason()
            .into_iter()
            .map(|(_, count)| count)
            .sum();
        let late = report.came_late;
        say(evidence, Own::CutByDrain { cut, late });
    }
}

/// The runs of refusals that go on, or have just ended, each tied to whom it is about.
fn incidents(evidence: &mut Evidence, ledger: &LedgerView, now: Instant) {
    for incident in &ledger.incidents {
        let last = since(incident.last, now);
        if last > INCIDENT_AGE_MAX {
            continue;
        }
        let tied = match incident.cause {
            Cause::DependencyDown | Cause::PoolExhausted => {
                Tied::dependency(incident.source.as_str())
            }
            _ => Tied::Service,
        };
        evidence.saw(
            "the ledger",
            tied,
            Own::Refusing {
                cause: incident.cause,
                rule: incident.rule,
                count: incident.count,
                since: since(incident.first, now),
                last,
                numbers: numbers(incident),
            },
        );
    }
}

/// The numbers at the beginning, in one line.
fn numbers(incident: &Incident) -> Text {
    let mut parts = Vec::new();
    incident.evidence.each(|name, value| {
        let name = name.replace('_', " ");
        parts.push(match value {
            Value::Count(count) => format!("{name} {count}"),
            Value::Time(time) => format!("{name} {}", Lasting(time)),
            Value::Text(text) => format!("{name} {text}"),
            Value::Reason(reason) => reason.to_string(),
            _ => return,
        });
    });
    Text::new(&parts.join(", "))
}
