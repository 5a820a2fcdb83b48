//! Goal: each row of the knowledge base finds what it is for, and nothing else does.

mod cases;

use std::collections::BTreeSet;

use cases::{Case, cases, decoys, failing};
use steadfast_diagnosis::{
    Confidence, Diagnosis, Evidence, Fact, Id, Role, State, diagnose, knowledge,
};

fn told(facts: Vec<Fact>) -> Diagnosis {
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
            let among = told(fires.into_iter().chain(decoys()).collect());
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
