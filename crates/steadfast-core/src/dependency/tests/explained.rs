//! What a failure is explained by while the breaker still lets calls pass.

use super::*;
use crate::dependency::breaker::BreakerMode;

const POOLER: &str = "server login has been failing, try again later";

impl Rig {
    /// What is said to one whose call has just failed so; the reason's token.
    fn told(&self, class: FailureClass, ms: u64) -> Option<&'static str> {
        let refusal = self.state.explanation_of(class, self.at(ms))?;
        let Evidence::DependencyDown(down) = refusal.evidence() else {
            panic!("it is of a dependency: {refusal:?}");
        };
        down.reason.as_ref().map(DependencyReason::code)
    }
}

#[test]
fn the_first_failure_is_what_it_was() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.passes(0);
    rig.call(0, true);
    rig.call(10, false);
    assert_eq!(rig.told(FailureClass::Unhealthy, 10), None);
    assert!(rig.state.explanation(rig.at(10)).is_none());
}

/// Behind a pooler that lives and has lost its server, sessions are lent and new ones are
/// refused: health says that at once, and the breaker opens a second later.
#[test]
fn what_health_warns_of_explains_a_failure_of_its_kind_and_no_other() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.passes(0);
    rig.call(0, true);
    rig.state
        .note_new_sessions_refused(FailureClass::Unreachable, &POOLER, 4, rig.at(100));
    assert_eq!(rig.seen(100).0, Health::Warning);
    for class in [FailureClass::Unreachable, FailureClass::Loading] {
        assert_eq!(rig.told(class, 110), Some("sessions-refused"), "{class}");
    }
    for class in [FailureClass::Unhealthy, FailureClass::RefusedByServer] {
        assert_eq!(rig.told(class, 110), None, "{class}");
    }
    // Nobody has said of what kind it is.
    assert!(rig.state.explanation(rig.at(110)).is_none());
    // Nor is anybody refused for it.
    assert!(rig.state.refusal(rig.at(110)).is_none());
    rig.state.note_session_opened(rig.at(200));
    assert_eq!(rig.told(FailureClass::Unreachable, 210), None);
}

#[test]
fn a_check_that_fails_beside_calls_that_pass_explains_what_fails_likewise() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.passes(0);
    rig.call(0, true);
    for ms in [100, 200] {
        rig.fails(ms);
    }
    assert_eq!(
        rig.told(FailureClass::Unreachable, 210),
        None,
        "it may be wrong"
    );
    rig.call(250, true);
    rig.fails(300);
    assert_eq!(rig.seen(310).0, Health::Warning);
    assert_eq!(
        rig.told(FailureClass::Unreachable, 310),
        Some("check-disagrees")
    );
    assert_eq!(rig.told(FailureClass::Overloaded, 310), None);
}

#[test]
fn whom_a_person_lets_through_is_told_nothing_new() {
    let rig = Rig::new(None);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    assert_eq!(rig.breaker(20), BreakerState::Open);
    assert!(rig.told(FailureClass::Unhealthy, 20).is_some());
    rig.state.set_mode(BreakerMode::ForcedClosed, rig.at(20));
    assert_eq!(rig.told(FailureClass::Unhealthy, 20), None);
}

/// A proxy without a server lends sessions and ends what is asked on them, so nothing but the
/// calls themselves says so, and for half a second they say it of a moment only.
#[test]
fn the_second_who_finds_nobody_there_is_told_that_much() {
    let start = origin();
    let rules = Trip::default().build().expect("the defaults are in range");
    let state = DependencyState::new(Name::from_static("orders-db"), rules, 2, start);
    let end = |outcome, ms| {
        let now = start + Duration::from_millis(ms);
        let permit = DependencyState::try_acquire(&state, now, 0, MIDDLE).expect("it passes");
        permit.settle(outcome, now);
        now
    };
    let gone = CallOutcome::Failure(FailureClass::Unreachable.into());
    let explains = |class, now| state.explanation_of(class, now).is_some();
    let now = end(gone, 0);
    assert!(!explains(FailureClass::Unreachable, now), "the first");
    let now = end(gone, 50);
    assert!(explains(FailureClass::Unreachable, now));
    assert!(!explains(FailureClass::Unhealthy, now), "it has answered");
    assert!(state.explanation(now).is_none(), "it may be anything");
    assert_eq!(state.view(now).reason(now), None, "health waits for more");
    end(CallOutcome::Success, 60);
    let now = end(gone, 70);
    assert!(!explains(FailureClass::Unreachable, now), "the first again");
}

#[test]
fn what_is_known_is_told_with_how_long_it_has_been_so() {
    let known_for = |rig: &Rig, class, ms| {
        let refusal = rig.state.explanation_of(class, rig.at(ms)).expect("known");
        let Evidence::DependencyDown(down) = refusal.evidence() else {
            panic!("it is of a dependency: {refusal:?}");
        };
        (down.reason.as_ref().map(DependencyReason::code), down.since)
    };
    let length = Duration::from_millis;
    // Three calls hang after one that was answered at once.
    let rig = Rig::new(None);
    let ask = |ms| DependencyState::try_acquire(&rig.state, rig.at(ms), 0, MIDDLE);
    let quick = ask(0).expect("it passes");
    quick.settle(CallOutcome::Success, rig.at(5));
    let hanging = [10; 3].map(|ms| ask(ms).expect("it passes"));
    for ms in [100, 1_500] {
        rig.state.tick(rig.at(ms), MIDDLE);
    }
    let silent = known_for(&rig, FailureClass::Timeout, 1_500);
    assert_eq!(silent, (Some("calls-wait"), length(1_400)));
    drop(hanging);
    // The last two calls failed, half a second apart.
    let rig = Rig::new(None);
    for ms in [0, 500] {
        rig.call(ms, false);
    }
    let failing = known_for(&rig, FailureClass::Unhealthy, 900);
    assert_eq!(failing, (Some("calls-fail"), length(500)));
    // New sessions are refused.
    let rig = Rig::new(None);
    let class = FailureClass::Unreachable;
    rig.state
        .note_new_sessions_refused(class, &POOLER, 4, rig.at(100));
    let refused = known_for(&rig, class, 400);
    assert_eq!(refused, (Some("sessions-refused"), length(300)));
}

/// Goal: who gets a session of a proxy without a server is told why it was of no use. Method: a
/// pool that found nobody before; its own connect has cleared that since.
#[test]
fn what_a_pool_has_found_explains_a_query_that_finds_the_same() {
    #[derive(Debug)]
    struct Found(FailureClass, Instant);
    impl PoolGauge for Found {
        fn reading(&self, _: Instant) -> PoolReading {
            PoolReading::new(4, 0, 1, 0)
        }

        fn last_trouble(&self) -> Option<(Failure, Instant)> {
            Some((Failure::new(self.0, POOLER), self.1))
        }
    }
    let told = |found, succeeds_at, failed, ms| {
        let rig = Rig::new(None);
        rig.call(succeeds_at, true);
        assert!(rig.state.attach_pool(Arc::new(Found(found, rig.at(5_000)))));
        rig.call(ms, false);
        let refusal = rig.state.explanation_of(failed, rig.at(ms))?;
        match refusal.evidence() {
            Evidence::DependencyDown(down) => Some(down.last_error.to_string()),
            _ => None,
        }
    };
    use FailureClass::{Auth, Loading, Unhealthy, Unreachable};
    assert_eq!(
        told(Unreachable, 0, Loading, 6_000).as_deref(),
        Some(POOLER)
    );
    assert_eq!(told(Unreachable, 0, Unhealthy, 6_000), None);
    assert_eq!(told(Auth, 0, Unreachable, 6_000), None);
    assert_eq!(
        told(Unreachable, 5_500, Unreachable, 6_000),
        None,
        "it served"
    );
    assert_eq!(told(Unreachable, 0, Unreachable, 16_000), None, "it is old");
}

/// Goal: health and those who fail hear the same, behind a proxy that refuses a session, lends
/// the next, and has nobody who answers on it. Method: a pool that found nobody, and has had a
/// connection since; calls that found nobody before and after.
#[test]
fn what_a_pool_has_found_stands_while_its_connections_find_the_same() {
    use FailureClass::{Auth, Loading, Unhealthy, Unreachable};
    #[derive(Debug)]
    struct Lent(FailureClass, Instant);
    impl PoolGauge for Lent {
        fn reading(&self, _: Instant) -> PoolReading {
            PoolReading::new(4, 0, 1, 0)
        }

        fn last_trouble(&self) -> Option<(Failure, Instant)> {
            Some((Failure::new(self.0, POOLER), self.1))
        }
    }
    let lent = |found| {
        let rig = Rig::new(Some(CheckDepth::Shallow));
        rig.passes(0);
        rig.call(0, true);
        assert!(rig.state.attach_pool(Arc::new(Lent(found, rig.at(5_000)))));
        rig
    };
    let fails = |rig: &Rig, class: FailureClass, ms| {
        let now = rig.at(ms);
        let permit = DependencyState::try_acquire(&rig.state, now, 0, MIDDLE).expect("it passes");
        permit.fail(class.into(), &POOLER, now);
    };
    let rig = lent(Unreachable);
    assert_eq!(rig.seen(5_010).0, Health::Passing, "nobody failed");
    fails(&rig, Loading, 5_010);
    let (health, reason) = rig.seen(5_020);
    assert_eq!(health, Health::Warning);
    assert!(
        reason.as_ref().is_some_and(|it| it.ends_with(POOLER)),
        "{reason:?}"
    );
    // A probe, which looks again at what is held, hears it too, and so does who fails likewise.
    let mut view = rig.state.view(rig.at(0));
    rig.state.refresh(&mut view, rig.at(5_020));
    assert_eq!(view.health(rig.at(5_020)), Health::Warning);
    assert_eq!(rig.told(Unreachable, 5_020), Some("no-connection"));
    assert_eq!(rig.told(Unhealthy, 5_020), None, "it has answered");
    assert!(
        rig.state.explanation(rig.at(5_020)).is_none(),
        "it may be anything"
    );
    assert!(
        rig.state.refusal(rig.at(5_020)).is_none(),
        "nobody is refused for it"
    );
    // The next success ends it, be it the check's.
    rig.call(5_030, true);
    assert_eq!(rig.seen(5_030).0, Health::Passing);
    let rig = lent(Unreachable);
    fails(&rig, Unreachable, 5_010);
    rig.passes(5_040);
    assert_eq!(rig.seen(5_040).0, Health::Passing);
    // It is not said of what was before, of what is of another kind, nor for ever.
    let rig = lent(Unreachable);
    rig.call(7_000, true);
    fails(&rig, Unreachable, 7_500);
    assert_eq!(rig.seen(7_500).0, Health::Passing, "it has served since");
    for (found, failed, ms) in [
        (Auth, Unreachable, 5_010),
        (Unreachable, Unhealthy, 5_010),
        (Unreachable, Unreachable, 15_100),
    ] {
        let rig = lent(found);
        fails(&rig, failed, ms);
        assert_eq!(rig.seen(ms).0, Health::Passing, "{found} {failed} {ms}");
    }
}
