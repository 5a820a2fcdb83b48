use super::*;
use crate::{refusal::cause::Cause, testing::origin};
use proptest::prelude::*;

mod start;
mod table;

const SEC: Duration = Duration::from_secs(1);

fn cause(life: &Lifecycle, now: Instant) -> Option<Cause> {
    life.admit(now).err().map(|refusal| refusal.cause())
}

#[test]
fn a_guard_that_nobody_started_lets_requests_pass() {
    let now = origin();
    let life = Lifecycle::new(now);
    assert_eq!(cause(&life, now), None);
    assert_eq!(life.view(now).phase, None);
}

#[test]
fn starting_refuses_until_ready_or_the_hold_is_over() {
    let now = origin();
    let life = Lifecycle::new(now);
    assert!(life.start(Start::default(), now).is_some());
    assert!(life.start(Start::default(), now).is_none(), "only once");
    assert_eq!(cause(&life, now), Some(Cause::Starting));
    assert_eq!(cause(&life, now + 30 * SEC), None);
    assert_eq!(
        life.view(now + 30 * SEC).phase,
        Some(Phase::Starting),
        "readiness still says so"
    );

    let life = Lifecycle::new(now);
    life.start(Start::default(), now);
    life.advance(Phase::Ready, now + SEC).expect("forward");
    assert_eq!(cause(&life, now + SEC), None);
}

#[test]
fn while_starting_the_hint_is_the_next_round_of_checks() {
    let now = origin();
    let life = Lifecycle::new(now);
    life.start(Start::default(), now);
    life.next_round(now + 4 * SEC);
    let refusal = life.admit(now + SEC).expect_err("starting");
    assert_eq!(refusal.retry_after(), 3 * SEC);
}

#[test]
fn maintenance_ends_by_itself_and_each_declarer_ends_only_its_own() {
    let now = origin();
    let life = Lifecycle::new(now);
    life.start(Start::default().hold(SEC), now);
    life.advance(Phase::Ready, now);
    life.begin_maintenance(
        Declarer::Operator,
        "schema\nmove",
        Some(now + 10 * SEC),
        now,
    );
    life.begin_maintenance(Declarer::File, "by file", None, now);
    let refusal = life.admit(now + SEC).expect_err("on");
    assert!(
        matches!(refusal.evidence(), Evidence::Maintenance { reason, .. } if &**reason == "schema move")
    );
    assert_eq!(refusal.retry_after(), 9 * SEC);
    assert_eq!(
        cause(&life, now + 11 * SEC),
        Some(Cause::Maintenance),
        "the file is still there"
    );
    assert_eq!(
        life.end_maintenance(Declarer::File, now + 12 * SEC),
        Some(MaintenanceEnd::Over)
    );
    assert_eq!(cause(&life, now + 12 * SEC), None);
    let late = now + 13 * SEC;
    assert_eq!(life.expire_maintenance(late), None, "told with the other");
    assert_eq!(life.end_maintenance(Declarer::Operator, late), None);
}

#[test]
fn the_end_of_one_maintenance_says_which_is_left() {
    let now = origin();
    let life = Lifecycle::new(now);
    assert!(!life.begin_maintenance(Declarer::File, "by file", None, now));
    assert!(life.begin_maintenance(Declarer::Operator, "a", Some(now + SEC), now));
    for end in [
        life.expire_maintenance(now + SEC),
        life.begin_maintenance(Declarer::Operator, "b", None, now)
            .then(|| life.end_maintenance(Declarer::Operator, now + SEC))
            .flatten(),
    ] {
        assert!(
            matches!(&end, Some(MaintenanceEnd::StillOn(left)) if &*left.reason == "by file"),
            "{end:?}"
        );
    }
    assert_eq!(life.expire_maintenance(now + SEC), None);
}

#[test]
fn a_reason_loses_its_secrets() {
    let now = origin();
    let life = Lifecycle::new(now);
    life.start(Start::default().hold(SEC), now);
    life.begin_maintenance(Declarer::File, "moving pg://app:pw@db/shop", None, now);
    let refusal = life.admit(now).expect_err("on");
    assert!(
        matches!(refusal.evidence(), Evidence::Maintenance { reason, .. } if &**reason == "moving pg://***@db/shop"),
        "{refusal:?}"
    );
}

#[test]
fn draining_serves_open_connections_until_the_grace_is_over() {
    let now = origin();
    let life = Lifecycle::new(now);
    life.start(Start::default(), now);
    life.advance(Phase::Ready, now);
    life.advance(Phase::LameDuck, now);
    assert_eq!(cause(&life, now), None, "leaving: serve what comes");
    life.advance(Phase::Draining, now);
    life.refuse_from(now + 15 * SEC, now);
    assert_eq!(cause(&life, now + 14 * SEC), None);
    assert_eq!(cause(&life, now + 15 * SEC), Some(Cause::Draining));
    life.advance(Phase::Stopped, now + 16 * SEC);
    assert_eq!(cause(&life, now + 16 * SEC), Some(Cause::Draining));
}

proptest! {
    #[test]
    fn a_phase_never_moves_back(steps in proptest::collection::vec(0_usize..5, 0..20)) {
        let now = origin();
        let life = Lifecycle::new(now);
        let mut last = None;
        for step in steps {
            let moved = life.advance(Phase::ALL[step], now);
            let phase = life.view(now).phase;
            prop_assert!(phase >= last);
            prop_assert_eq!(moved.is_some(), phase != last);
            last = phase;
        }
    }
}
