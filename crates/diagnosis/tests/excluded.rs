//! Goal: nothing is found against what the same run saw.

use std::time::Duration;

use steadfast_diagnosis::*;

fn told(facts: impl IntoIterator<Item = Fact>) -> Diagnosis {
    let mut evidence = Evidence::new();
    facts.into_iter().for_each(|fact| evidence.push(fact));
    diagnose(&evidence)
}

fn ids(diagnosis: &Diagnosis) -> Vec<Id> {
    diagnosis.findings.iter().map(|it| it.id).collect()
}

fn port(seen: impl Into<Observation>) -> Fact {
    Fact::new("probe", Tied::Port(8000), seen)
}

fn service(seen: impl Into<Observation>) -> Fact {
    Fact::new("the process", Tied::Service, seen)
}

/// Requests fail, and nobody says why.
fn failing() -> Fact {
    let server = "".into();
    port(Wire::Unmarked {
        status: 503,
        server,
    })
}

fn answered(path: Path, status: u16) -> Fact {
    port(Wire::Probe {
        via: Via::Given,
        path,
        outcome: Outcome::Answered(status),
        after: Duration::from_millis(1),
    })
}

fn readiness(status: u16, line: &str) -> Fact {
    let line = line.into();
    service(Wire::Readiness { status, line })
}

#[test]
fn who_has_started_is_not_starting_however_young() {
    let told_of = |beside: Option<Fact>| {
        let age = Duration::from_millis(2_600);
        let young = Fact::new("/proc/4711", Tied::Process(4711), Process::Age { age });
        told([failing(), young].into_iter().chain(beside))
    };
    let is_suspected = |it: &Diagnosis| ids(it).contains(&Id::AppStarting);
    let is_ruled_out = |it: &Diagnosis| it.ruled_out.iter().any(|out| out.id == Id::AppStarting);
    assert!(is_suspected(&told_of(None)));
    let hidden = readiness(503, "not ready: maintenance: moving house");
    assert!(!is_ruled_out(&told_of(Some(hidden))), "it may hide a start");
    let is = PhaseIs::Ready;
    let since = Duration::from_secs(1);
    for started in [
        readiness(200, "ready"),
        readiness(200, "degraded: payments"),
        readiness(503, "not ready: check failing"),
        answered(Path::Ready, 200),
        service(Own::Phase { is, since }),
    ] {
        let diagnosis = told_of(Some(started));
        assert!(!is_suspected(&diagnosis), "{:?}", ids(&diagnosis));
        assert!(is_ruled_out(&diagnosis));
    }
}

#[test]
fn what_stands_behind_a_reason_of_readiness_is_none() {
    for (line, id) in [
        (
            "not ready: maintenance: start of the new cluster, drain first",
            Id::AppMaintenance,
        ),
        ("not ready: restart-db failing (timeout)", Id::AppNotReady),
        (
            "not ready: starting, waiting for draining-db",
            Id::AppStarting,
        ),
    ] {
        let found = ids(&told([failing(), readiness(503, line)]));
        assert_eq!(found.first(), Some(&id), "{line}: {found:?}");
        let of_life = [Id::AppMaintenance, Id::AppStarting, Id::AppDraining];
        let mut others = found.iter().filter(|it| **it != id && of_life.contains(it));
        assert_eq!(others.next(), None, "{line}");
    }
}
