use super::*;
use crate::{cause::Rule, evidence::Evidence, shared::Local, testing::origin};

fn gate(limit: u32, mode: ShedMode) -> (Local<ShedGate>, Instant) {
    let now = origin();
    let settings = ShedSettings::fixed(limit).mode(mode);
    (
        Local::new(ShedGate::new(&settings, 7, now).expect("valid")),
        now,
    )
}

fn admitted(gate: &Local<ShedGate>, now: Instant) -> ShedPermit {
    match ShedGate::admit(gate, Ask::new("/work"), now) {
        Decision::Admit(permit) => permit,
        Decision::Refuse(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn the_refusal_says_limit_count_and_who_hangs() {
    let (gate, start) = gate(2, ShedMode::Enforce);
    let _hanging = admitted(&gate, start);
    let later = start + Duration::from_secs(31);
    let _second = admitted(&gate, later);
    let Decision::Refuse(refusal) = ShedGate::admit(&gate, Ask::new("/x"), later) else {
        panic!("admitted a third")
    };
    let Evidence::Overloaded(seen) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    assert_eq!((seen.rule, seen.in_flight, seen.limit), (Rule::Limit, 2, 2));
    let stuck = seen.stuck.as_ref().expect("31 s is over the bound");
    assert_eq!((stuck.age.as_secs(), stuck.route.as_str()), (31, "/work"));
    assert!(refusal.safe_to_retry());
}

#[test]
fn observe_mode_admits_all_and_counts_what_it_would_have_refused() {
    let (gate, now) = gate(1, ShedMode::Observe);
    let permits: Vec<_> = (0..3).map(|_| admitted(&gate, now)).collect();
    let seen = gate.snapshot(now);
    assert_eq!(
        (seen.in_flight, seen.admitted, seen.would_refuse),
        (3, 3, 2)
    );
    drop(permits);
    assert_eq!(gate.in_flight(), 0);
}

#[test]
fn the_hint_is_the_time_to_the_next_free_place() {
    let (gate, start) = gate(2, ShedMode::Enforce);
    let first = admitted(&gate, start);
    let end = start + Duration::from_secs(8);
    first.settle(Outcome::Done, end);
    let _held = [admitted(&gate, end), admitted(&gate, end)];
    let Decision::Refuse(refusal) = ShedGate::admit(&gate, Ask::new("/x"), end) else {
        panic!("admitted a third")
    };
    assert_eq!(
        refusal.retry_after(),
        Duration::from_secs(4),
        "8 s each, two places"
    );
}

#[test]
fn an_abandoned_request_releases_and_teaches_nothing() {
    let (gate, now) = gate(1, ShedMode::Enforce);
    admitted(&gate, now).settle(Outcome::Abandoned, now + Duration::from_secs(99));
    drop(admitted(&gate, now));
    let seen = gate.snapshot(now + Duration::from_secs(1));
    assert_eq!((seen.in_flight, seen.mean_held), (0, None));
}

#[test]
fn wrong_settings_are_told_all_at_once() {
    let settings = ShedSettings::fixed(0).held_max(Duration::ZERO);
    let error = ShedGate::new(&settings, 7, origin()).expect_err("two faults");
    assert_eq!(error.faults().len(), 2, "{error}");
}
