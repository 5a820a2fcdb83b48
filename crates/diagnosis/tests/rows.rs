//! Goal: each row of the knowledge base finds what it is for, and nothing else does.

mod cases;

use std::{collections::BTreeSet, time::Duration};

use cases::{Case, cases, decoys, failing};
use steadfast_diagnosis::{
    Confidence, Diagnosis, EnvoyFlag, Evidence, Fact, Id, Outcome, Path, Proxy, Role, State, Via,
    Wire, diagnose, knowledge,
};

fn told(facts: impl IntoIterator<Item = Fact>) -> Diagnosis {
    let mut evidence = Evidence::new();
    facts.into_iter().for_each(|fact| evidence.push(fact));
    diagnose(&evidence)
}

fn ids(diagnosis: &Diagnosis) -> Vec<Id> {
    diagnosis
        .findings
        .iter()
        .map(|finding| finding.id)
        .collect()
}

#[test]
fn every_id_has_a_row_and_a_case() {
    let rows: Vec<_> = knowledge::rows().map(|row| row.id).collect();
    let unique: BTreeSet<_> = rows.iter().copied().collect();
    assert_eq!(rows.len(), unique.len(), "an id has two rows");
    let tried: BTreeSet<_> = cases().iter().map(|case| case.id).collect();
    for id in Id::ALL {
        assert!(unique.contains(id), "{id} has no row");
        assert!(tried.contains(id), "{id} has no case");
    }
}

#[test]
fn each_row_is_written_for_a_person() {
    for row in knowledge::rows() {
        let id = row.id;
        for text in [
            row.title,
            row.means,
            row.outside,
            row.inside,
            row.threshold,
            row.fix,
        ] {
            assert!(!text.trim().is_empty(), "{id} leaves a part empty");
        }
        assert!(!row.title.ends_with('.'), "{id}: a title is no sentence");
        for text in [row.means, row.outside, row.inside, row.threshold, row.fix] {
            assert!(
                text.ends_with(['.', '*', ')']),
                "{id} does not end its sentence: {text}"
            );
        }
        assert!(!row.effects.contains(&id), "{id} is behind itself");
    }
}

#[test]
fn effects_do_not_run_in_a_circle() {
    fn visit(id: Id, path: &mut Vec<Id>, done: &mut BTreeSet<Id>) {
        assert!(!path.contains(&id), "{path:?} comes back to {id}");
        if done.contains(&id) {
            return;
        }
        path.push(id);
        let row = knowledge::row(id).expect("each id has a row");
        row.effects
            .iter()
            .for_each(|effect| visit(*effect, path, done));
        path.pop();
        done.insert(id);
    }
    let mut done = BTreeSet::new();
    Id::ALL
        .iter()
        .for_each(|id| visit(*id, &mut Vec::new(), &mut done));
}

#[test]
fn each_row_finds_what_it_is_for() {
    let missed: Vec<_> = cases()
        .into_iter()
        .filter_map(|Case { id, fires, .. }| {
            let found = ids(&told(fires));
            (!found.contains(&id)).then(|| format!("{id} is not among {found:?}"))
        })
        .collect();
    assert!(missed.is_empty(), "{}", missed.join("\n"));
}

#[test]
fn it_is_first_unless_a_symptom_was_asked_for() {
    let wrong: Vec<_> = cases()
        .into_iter()
        .filter_map(|Case { id, fires, .. }| {
            let diagnosis = told(fires);
            let first = diagnosis.findings.first().map(|it| it.id);
            let role = knowledge::row(id).map(|row| row.role);
            let alone = matches!(role, Some(Role::Fault | Role::Symptom));
            let sure = diagnosis
                .findings
                .iter()
                .any(|it| it.id == id && it.confidence > Confidence::Possible);
            (alone && sure && first != Some(id)).then(|| format!("{id}: {:?}", ids(&diagnosis)))
        })
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_healthy_twin_is_silent() {
    let loud: Vec<_> = cases()
        .into_iter()
        .filter_map(|Case { id, twin, .. }| {
            let diagnosis = told(twin);
            let silent = diagnosis.findings.is_empty() && diagnosis.verdict.state == State::Well;
            (!silent).then(|| format!("{id}: {:?} {:?}", diagnosis.verdict.state, ids(&diagnosis)))
        })
        .collect();
    assert!(loud.is_empty(), "{}", loud.join("\n"));
}

#[test]
fn decoys_are_silent_and_move_nobody_from_the_first_place() {
    assert!(
        told(decoys()).findings.is_empty(),
        "{:?}",
        ids(&told(decoys()))
    );
    let moved: Vec<_> = cases()
        .into_iter()
        .filter_map(|Case { id, fires, .. }| {
            let alone = told(fires.clone()).findings.first().map(|it| it.id);
            let among = told(fires.into_iter().chain(decoys()));
            let first = among.findings.first().map(|it| it.id);
            (alone != first)
                .then(|| format!("{id}: {alone:?} alone, {:?} among decoys", ids(&among)))
        })
        .collect();
    assert!(moved.is_empty(), "{}", moved.join("\n"));
}

#[test]
fn what_is_well_is_ruled_out_and_never_found_too() {
    for Case { id, fires, twin } in cases() {
        for facts in [fires, twin] {
            let diagnosis = told(facts);
            for out in &diagnosis.ruled_out {
                assert!(
                    !out.evidence.is_empty(),
                    "{id}: {} is ruled out by nothing",
                    out.id
                );
                assert!(
                    !ids(&diagnosis).contains(&out.id),
                    "{id}: {} is found and ruled out",
                    out.id
                );
            }
        }
    }
    let diagnosis = told(vec![
        failing(),
        cases::db(steadfast_diagnosis::Postgres::Slots {
            used: 4,
            max: 100,
            reserved: 3,
        }),
    ]);
    assert!(
        diagnosis
            .ruled_out
            .iter()
            .any(|out| out.id == Id::PgExhausted)
    );
}

/// A probe that was taken and not answered, and one beside it.
fn silent_beside(path: Path, outcome: Outcome) -> Vec<Fact> {
    let probe = |path, outcome| {
        cases::port(Wire::Probe {
            via: Via::Given,
            path,
            outcome,
            after: Duration::from_secs(8),
        })
    };
    vec![probe(Path::Given, Outcome::Silent), probe(path, outcome)]
}

#[test]
fn a_silent_path_beside_one_that_answers_is_no_unreachable_service() {
    let silent = told(silent_beside(Path::Given, Outcome::Silent));
    assert_eq!(silent.verdict.state, State::Unreachable);
    let beside = told(silent_beside(Path::Ready, Outcome::Answered(200)));
    assert_eq!(beside.verdict.state, State::Suspected);
    assert_eq!(ids(&beside), [Id::AppHung]);
}

#[test]
fn a_breaker_that_is_full_accuses_nobody_until_requests_fail() {
    let full = || {
        cases::backend(Proxy::EnvoyFlagged {
            flag: EnvoyFlag::Uo,
            details: "cluster.api.circuit_breakers.default.cx_open: 1".into(),
            host: "-".into(),
            count: 0,
        })
    };
    // An idle connection fills a bound of one, too.
    let well = told([cases::answered(200), full()]);
    assert_eq!((well.verdict.state, ids(&well)), (State::Well, vec![]));
    // What hangs there has reached the proxy, which says why.
    let hangs = told(
        silent_beside(Path::Given, Outcome::Silent)
            .into_iter()
            .chain([full()]),
    );
    assert_eq!(hangs.verdict.state, State::Explained);
    assert_eq!(hangs.verdict.id, Some(Id::EnvoyUo));
}
