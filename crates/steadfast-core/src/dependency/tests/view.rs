//! What both sides amount to, one trouble upon the other.

use super::*;
use crate::{
    Failure,
    dependency::{
        breaker::{BreakerDoubt, BreakerMode},
        pools::{PoolPressure, PoolReading},
        read_only::ReadOnlyView,
        sessions::SessionsRefusedView,
    },
};

const SEEN: u64 = 10;

/// A dependency that passes its check and has served one call.
fn served() -> (Rig, DependencyView) {
    let rig = Rig::new(Some(CheckDepth::Deep));
    rig.passes(0);
    rig.call(1, true);
    let view = rig.state.view(rig.at(SEEN));
    (rig, view)
}

fn seen(rig: &Rig, view: &DependencyView) -> (Health, &'static str) {
    let now = rig.at(SEEN);
    let reason = view.reason(now);
    (view.health(now), reason.map_or("", |reason| reason.code()))
}

fn refuses_sessions(since: Instant) -> SessionsRefusedView {
    SessionsRefusedView {
        since,
        last_at: since,
        class: FailureClass::Auth,
        error: "password rotated".into(),
        still_serving: 2,
        refused: 1,
    }
}

fn takes_no_writes(since: Instant) -> ReadOnlyView {
    ReadOnlyView {
        since,
        last_at: since,
        error: "read-only".into(),
        is_refusing: false,
        refused: 0,
    }
}

#[test]
fn of_several_troubles_the_one_that_takes_most_away_is_told() {
    let (rig, mut view) = served();
    let warns = |view: &DependencyView, code| assert_eq!(seen(&rig, view), (Health::Warning, code));
    assert_eq!(seen(&rig, &view), (Health::Passing, ""));
    let mut pool = PoolReading::new(4, 4, 0, 1);
    view.pool = Some(pool);
    assert_eq!(seen(&rig, &view), (Health::Passing, ""), "it has some");
    for (pressure, code) in [
        (PoolPressure::Saturated, "pool-saturated"),
        (PoolPressure::Stuck, "pool-stuck"),
    ] {
        pool.pressure = pressure;
        view.pool = Some(pool);
        warns(&view, code);
    }
    view.keys = (3, 0);
    warns(&view, "pool-stuck");
    view.keys = (3, 1);
    warns(&view, "keys-out");
    let breaker = view.breaker.as_mut().expect("it was called");
    breaker.doubt = Some(BreakerDoubt::Failing {
        failures: 2,
        spread: TOOK,
    });
    warns(&view, "calls-fail");
    view.pool_trouble = Some(Failure::new(FailureClass::Unreachable, "nobody listens"));
    warns(&view, "no-connection");
    view.sessions_refused = Some(refuses_sessions(rig.start));
    warns(&view, "sessions-refused");
    view.read_only = Some(takes_no_writes(rig.start));
    warns(&view, "read-only");
    rig.fails(5);
    rig.fails(6);
    rig.fails(7);
    view.check = rig.state.view(rig.at(SEEN)).check;
    assert_eq!(seen(&rig, &view), (Health::Failing, "check-failed"));
    let breaker = view.breaker.as_mut().expect("it was called");
    breaker.reason = Some(BreakerReason::Mode(BreakerMode::ForcedOpen));
    for (mode, state, health) in [
        (BreakerMode::Auto, BreakerState::Ramping, Health::Warning),
        (BreakerMode::Auto, BreakerState::Probing, Health::Failing),
        (BreakerMode::Auto, BreakerState::Open, Health::Failing),
        (
            BreakerMode::ForcedOpen,
            BreakerState::Closed,
            Health::Failing,
        ),
    ] {
        let breaker = view.breaker.as_mut().expect("it was called");
        (breaker.mode, breaker.state) = (mode, state);
        assert_eq!(seen(&rig, &view), (health, "mode"), "{mode:?} {state:?}");
    }
    let breaker = view.breaker.as_mut().expect("it was called");
    (breaker.mode, breaker.state) = (BreakerMode::ForcedClosed, BreakerState::Open);
    assert_eq!(
        seen(&rig, &view),
        (Health::Failing, "check-failed"),
        "a breaker that refuses nobody is no reason"
    );
}

#[test]
fn a_trouble_lasts_since_it_began_and_not_since_the_check_last_changed() {
    let (rig, healthy) = served();
    let now = rig.at(SEEN);
    assert_eq!(healthy.since(now), Some(rig.at(0)), "the check's");
    let mut view = healthy.clone();
    view.sessions_refused = Some(refuses_sessions(rig.at(3)));
    assert_eq!(view.since(now), Some(rig.at(3)));
    assert_eq!(view.class(now), Some(FailureClass::Auth));
    view.read_only = Some(takes_no_writes(rig.at(4)));
    assert_eq!(view.since(now), Some(rig.at(4)));
    let breaker = view.breaker.as_mut().expect("it was called");
    breaker.state = BreakerState::Open;
    breaker.outage_since = Some(rig.at(6));
    breaker.reason = Some(BreakerReason::Mode(BreakerMode::ForcedOpen));
    breaker.last_failure = Some(FailureClass::Timeout);
    assert_eq!(view.since(now), Some(rig.at(6)));
    assert_eq!(
        view.class(now),
        Some(FailureClass::Timeout),
        "a person names no class, so the last failure does"
    );
    assert_eq!(healthy.class(now), None, "nothing is wrong");
}

#[test]
fn a_call_waits_in_doubt_only_while_no_check_has_passed_meanwhile() {
    let (rig, mut view) = served();
    let silent = |ms| BreakerDoubt::Silent {
        calls: 3,
        silent: Duration::from_millis(ms),
    };
    // The check passed at the beginning, `SEEN` ago.
    for (ms, told) in [(SEEN, "calls-wait"), (SEEN + 1, "")] {
        view.breaker.as_mut().expect("it was called").doubt = Some(silent(ms));
        assert_eq!(seen(&rig, &view).1, told, "silent for {ms} ms");
    }
    view.check = None;
    assert_eq!(seen(&rig, &view).1, "calls-wait", "nobody has asked");
}

#[test]
fn without_a_check_a_dependency_is_unknown_until_a_call_has_come_back_well() {
    let rig = Rig::new(None);
    let health = |rig: &Rig, ms| rig.seen(ms).0;
    assert_eq!(health(&rig, 0), Health::Unknown, "nobody has called");
    rig.call(1, false);
    assert_eq!(
        health(&rig, 2),
        Health::Unknown,
        "what came back has failed"
    );
    rig.call(3, true);
    assert_eq!(health(&rig, 4), Health::Passing);
}

#[test]
fn only_a_requirement_of_the_start_gates_it_and_only_until_the_first_pass() {
    for (requirement, gates) in [
        (Requirement::RequiredToStart, true),
        (Requirement::Required, true),
        (Requirement::Degrades, false),
        (Requirement::Informs, false),
    ] {
        let rig = Rig::new(None);
        let settings = CheckSettings::default();
        let depth = CheckDepth::Deep;
        rig.state
            .set_check("test", depth, settings, requirement, rig.start);
        let gates_start = || rig.state.view(rig.at(SEEN)).gates_start();
        assert_eq!(gates_start(), gates, "{requirement:?}");
        rig.fails(1);
        assert_eq!(gates_start(), gates, "{requirement:?}, after a failure");
        rig.passes(2);
        assert!(!gates_start(), "{requirement:?}, after a pass");
    }
}

#[test]
fn of_two_errors_the_later_is_the_last_and_of_two_at_once_the_calls() {
    let rig = Rig::new(Some(CheckDepth::Deep));
    let last = |ms| rig.state.view(rig.at(ms)).last_error().map(|it| it.class);
    assert_eq!(last(0), None);
    rig.fails(1);
    assert_eq!(last(1), Some(FailureClass::Unreachable), "the check's");
    rig.call(1, false);
    assert_eq!(last(1), Some(FailureClass::Unhealthy), "at once");
    rig.fails(2);
    assert_eq!(last(2), Some(FailureClass::Unreachable), "the later");
}
