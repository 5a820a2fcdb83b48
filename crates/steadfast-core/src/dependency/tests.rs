//! Time in these tests is a number of milliseconds after `Rig::start`.

mod detection;
mod explained;
mod keys;
mod quiet;
mod read_only;
mod sessions;
mod silence;
mod view;

use std::time::{Duration, Instant};

use super::*;
use crate::{
    CheckOutcome, FailureClass, Health, Trip,
    dependency::breaker::{
        BreakerReason, BreakerState, BreakerTransition, CallOutcome, CheckDepth,
    },
    refusal::evidence::Evidence,
    testing::origin,
};

const MIDDLE: u64 = 1 << 63;
const TOOK: Duration = Duration::from_millis(1);

struct Rig {
    state: Arc<DependencyState>,
    start: Instant,
}

impl Rig {
    fn new(depth: Option<CheckDepth>) -> Self {
        let start = origin();
        let trip = Trip::default()
            .consecutive_failures(3)
            .consecutive_spread(Duration::ZERO)
            .jitter_ratio(0.0);
        let rules = trip.build().expect("the test's settings are right");
        let state = DependencyState::new(Name::from_static("payments"), rules, 2, start);
        if let Some(depth) = depth {
            let settings = CheckSettings::default();
            state.set_check("test", depth, settings, Requirement::default(), start);
        }
        Self {
            state: Arc::new(state),
            start,
        }
    }

    fn at(&self, ms: u64) -> Instant {
        self.start + Duration::from_millis(ms)
    }

    fn passes(&self, ms: u64) {
        let now = self.at(ms);
        self.state
            .record_check(CheckOutcome::pass(), TOOK, now, MIDDLE);
    }

    fn fails(&self, ms: u64) {
        let outcome = CheckOutcome::fail(FailureClass::Unreachable, "refused");
        self.state.record_check(outcome, TOOK, self.at(ms), MIDDLE);
    }

    fn call(&self, ms: u64, succeeds: bool) {
        let now = self.at(ms);
        let permit = DependencyState::try_acquire(&self.state, now, 0, MIDDLE).expect("it passes");
        if succeeds {
            permit.settle(CallOutcome::Success, now);
        } else {
            let error = "POST https://u:p@pay.internal failed";
            permit.fail(FailureClass::Unhealthy.into(), &error, now);
        }
    }

    fn seen(&self, ms: u64) -> (Health, Option<String>) {
        let now = self.at(ms);
        let view = self.state.view(now);
        (
            view.health(now),
            view.reason(now).map(|reason| reason.to_string()),
        )
    }

    fn breaker(&self, ms: u64) -> BreakerState {
        let breaker = self.state.breaker().expect("it was called");
        breaker.snapshot(self.at(ms)).state
    }
}

/// What a listener heard.
#[derive(Default)]
struct Log(Mutex<Vec<(BreakerState, &'static str)>>);

impl Log {
    fn of(rig: &Rig) -> Arc<Self> {
        let log = Arc::new(Self::default());
        assert!(rig.state.listen(log.clone()));
        log
    }

    fn heard(&self) -> Vec<(BreakerState, &'static str)> {
        self.0.lock().expect("no panic").clone()
    }
}

impl DependencyListener for Log {
    fn moved(&self, dependency: &DependencyState, moved: &BreakerTransition) {
        assert_eq!(dependency.name().as_str(), "payments");
        let step = (moved.to, moved.reason.code());
        self.0.lock().expect("no panic").push(step);
    }
}

#[test]
fn refusal_readiness_and_snapshot_give_one_reason() {
    let rig = Rig::new(None);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    let refusal = rig.state.refusal(rig.at(100)).expect("open");
    let Evidence::DependencyDown(down) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    assert_eq!(down.since, Duration::from_millis(80));
    assert_eq!(down.next_probe, Some(Duration::from_millis(920)));
    assert_eq!(&*down.last_error, "POST https://***@pay.internal failed");
    assert_eq!(down.class, FailureClass::Unhealthy);
    let reason = "3 calls in a row failed within 20ms".to_owned();
    assert_eq!(
        down.reason.as_ref().map(ToString::to_string).as_ref(),
        Some(&reason)
    );
    assert_eq!(rig.seen(100), (Health::Failing, Some(reason)));
    assert_eq!(rig.state.calls().of(CallKind::Refused), 1);
    assert_eq!(rig.state.calls().of(CallKind::Failure), 3);
}

/// Refusals of one moment share their evidence, and the hint is each one's own.
#[test]
fn evidence_is_made_once_for_a_tenth_of_a_second_and_anew_for_another_outage() {
    let rig = Rig::new(None);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    let told = |ms| {
        let refusal = rig.state.refusal(rig.at(ms)).expect("open");
        let Evidence::DependencyDown(down) = refusal.evidence() else {
            panic!("{refusal:?}")
        };
        let rule = down.reason.as_ref().map(DependencyReason::code);
        (
            std::ptr::from_ref(refusal.evidence()),
            refusal.retry_after().as_millis(),
            down.since.as_millis(),
            rule,
        )
    };
    let (first, hint, since, _) = told(100);
    assert_eq!((hint, since), (920, 80));
    assert_eq!(told(199).0, first);
    assert_eq!(told(199).1, 821);
    assert_eq!(told(200).2, 180);
    rig.state.set_mode(BreakerMode::ForcedOpen, rig.at(201));
    assert_eq!(told(202).3, Some("mode"));
}

#[test]
fn without_a_call_the_check_alone_decides() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    for ms in [0, 1_000] {
        rig.fails(ms);
        assert!(
            rig.state.refusal(rig.at(ms)).is_none(),
            "unknown is not down"
        );
    }
    rig.fails(2_000);
    let refusal = rig.state.refusal(rig.at(2_500)).expect("down");
    assert!(
        refusal.retry_after() <= Duration::from_millis(700),
        "the next run"
    );
    let reason = "3 checks in a row failed (unreachable)".to_owned();
    assert_eq!(rig.seen(2_500), (Health::Failing, Some(reason)));
    rig.passes(3_000);
    rig.passes(4_000);
    assert!(rig.state.refusal(rig.at(4_000)).is_none());
    assert_eq!(rig.seen(4_000), (Health::Passing, None));
    assert!(rig.state.breaker().is_none());
}

#[test]
fn the_first_call_of_a_dependency_that_is_known_to_be_down_is_refused() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    for ms in [0, 1_000, 2_000] {
        rig.fails(ms);
    }
    let refused = DependencyState::try_acquire(&rig.state, rig.at(2_100), 0, MIDDLE);
    let refusal = refused.expect_err("down");
    let Evidence::DependencyDown(down) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    assert_eq!(&*down.last_error, "refused");
}

#[test]
fn what_the_check_alone_opened_the_check_closes_without_traffic() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.call(0, true);
    for ms in [20_000, 21_000, 22_000] {
        rig.fails(ms);
    }
    assert_eq!(rig.breaker(22_000), BreakerState::Open);
    rig.passes(22_500);
    assert_eq!(
        rig.breaker(22_500),
        BreakerState::Probing,
        "one pass is no recovery, and a call may ask"
    );
    rig.passes(22_600);
    assert_eq!(rig.breaker(22_600), BreakerState::Probing);
    rig.passes(23_000);
    assert_eq!(rig.breaker(23_000), BreakerState::Ramping);
    assert_eq!(rig.seen(33_000), (Health::Passing, None));
}

#[test]
fn a_deep_check_brings_the_dependency_back_without_traffic() {
    let rig = Rig::new(Some(CheckDepth::Deep));
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    rig.passes(100);
    rig.passes(200);
    assert_eq!(rig.breaker(200), BreakerState::Ramping);
    rig.state.tick(rig.at(10_200), MIDDLE);
    assert_eq!(rig.breaker(10_200), BreakerState::Closed);
}

#[test]
fn calls_that_succeed_outvote_a_check_that_fails() {
    let rig = Rig::new(Some(CheckDepth::Deep));
    rig.call(0, true);
    for ms in [1_000, 2_000, 3_000] {
        rig.fails(ms);
    }
    assert_eq!(rig.breaker(3_000), BreakerState::Closed);
    assert!(rig.state.refusal(rig.at(3_000)).is_none());
    let reason = "3 checks in a row failed (unreachable), but 1 calls succeeded in 10s";
    assert_eq!(rig.seen(3_000), (Health::Warning, Some(reason.to_owned())));
}

#[test]
fn traffic_saves_the_check_but_not_for_ever() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.call(0, true);
    assert!(
        rig.state.traffic_vouches(rig.at(1), MIDDLE).is_none(),
        "it never passed"
    );
    rig.passes(10);
    let mut skipped = 0;
    for second in 1..=u64::from(SKIPS_MAX) + 1 {
        rig.call(second * 5_000, true);
        let now = rig.at(second * 5_000 + 10);
        skipped += u32::from(rig.state.traffic_vouches(now, MIDDLE).is_some());
        assert_eq!(rig.seen(second * 5_000 + 10).0, Health::Passing);
    }
    assert_eq!(skipped, SKIPS_MAX);
    rig.passes(40_000);
    assert!(
        rig.state.traffic_vouches(rig.at(50_000), MIDDLE).is_none(),
        "no call lately"
    );
    rig.call(51_000, true);
    rig.call(51_000, false);
    assert!(
        rig.state.traffic_vouches(rig.at(51_100), MIDDLE).is_none(),
        "one failed"
    );
}

#[test]
fn a_listener_hears_each_step_once() {
    let rig = Rig::new(None);
    let log = Log::of(&rig);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    rig.call(1_100, true);
    rig.call(1_200, true);
    rig.state.tick(rig.at(20_000), MIDDLE);
    rig.state.set_mode(BreakerMode::ForcedOpen, rig.at(30_000));
    assert_eq!(
        log.heard(),
        [
            (BreakerState::Open, "consecutive-failures"),
            (BreakerState::Probing, "probe-due"),
            (BreakerState::Ramping, "probes-passed"),
            (BreakerState::Closed, "ramp-over"),
            (BreakerState::Open, "mode"),
        ]
    );
}

/// Method: each looks at the dependency, which takes the locks.
#[test]
fn foreign_code_runs_under_no_lock() {
    struct Nosy(Arc<DependencyState>, Instant);
    impl fmt::Display for Nosy {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            let seen = self.0.view(self.1);
            write!(f, "{} failed", seen.name)
        }
    }
    impl DependencyListener for Nosy {
        fn moved(&self, _: &DependencyState, _: &BreakerTransition) {}

        fn is_gone(&self) -> bool {
            let locks = self.0.listeners.try_lock().is_ok();
            assert!(locks, "nobody holds it");
            true
        }
    }
    let rig = Rig::new(None);
    let nosy = Nosy(Arc::clone(&rig.state), rig.at(0));
    rig.state
        .note_failure(FailureClass::Other, &nosy, rig.at(0));
    let last = rig.state.last_call_error().expect("noted");
    assert_eq!(&*last.message, "payments failed");
    assert!(rig.state.listen(Arc::new(nosy)));
    assert!(rig.state.listen(Arc::new(Log::default())));
}

#[test]
fn rules_and_modes_of_the_whole_hold_for_its_keys() {
    let rig = Rig::new(None);
    let quiet = rig.state.key("quiet", rig.at(0)).expect("there is room");
    let rules = Trip::default().mode(BreakerMode::ForcedOpen);
    assert!(
        rig.state
            .set_rules(&rules.build().expect("valid"), rig.at(0))
    );
    assert!(
        quiet.refusal(rig.at(0)).is_some(),
        "forced open in the file"
    );
    rig.state.set_mode(BreakerMode::Auto, rig.at(10));
    assert_eq!(quiet.mode(), BreakerMode::Auto);
    let new = rig.state.key("new", rig.at(20)).expect("there is room");
    assert_eq!(new.mode(), BreakerMode::Auto);
    let rules = Trip::default().build().expect("valid");
    assert!(
        !rig.state.set_rules(&rules, rig.at(30)),
        "a key has counted"
    );
}

#[test]
fn a_mode_set_by_hand_holds_before_the_first_call() {
    let start = origin();
    let rules = Trip::default().mode(BreakerMode::ForcedOpen);
    let rules = rules.build().expect("valid");
    let state = DependencyState::new(Name::from_static("db"), rules, 1, start);
    assert!(state.refusal(start).is_some());
    let view = state.view(start);
    assert_eq!(
        view.reason(start).map(|it| it.to_string()),
        Some("forced open by hand".to_owned())
    );
    let rules = Trip::default().build().expect("valid");
    assert!(
        !state.set_rules(&rules, start),
        "a breaker that exists keeps its rules"
    );
}

#[test]
fn a_pool_without_anything_to_give_warns_and_never_fails() {
    #[derive(Debug)]
    struct Full(PoolPressure);
    impl PoolGauge for Full {
        fn reading(&self, _: Instant) -> PoolReading {
            let mut reading = PoolReading::new(5, 5, 0, 12);
            reading.pressure = self.0;
            reading
        }
    }
    let rig = Rig::new(None);
    rig.call(0, true);
    for pressure in [
        PoolPressure::None,
        PoolPressure::Stuck,
        PoolPressure::Saturated,
    ] {
        assert!(rig.state.attach_pool(Arc::new(Full(pressure))));
    }
    let reason = "5 of 5 connections lent out, 12 wait, none comes back";
    assert_eq!(rig.seen(10), (Health::Warning, Some(reason.to_owned())));
    assert!(rig.state.refusal(rig.at(10)).is_none());
    assert!(rig.state.attach_pool(Arc::new(Full(PoolPressure::None))));
    assert!(
        !rig.state.attach_pool(Arc::new(Full(PoolPressure::None))),
        "a bound is a bound"
    );
    assert_eq!(rig.state.pool_readings(rig.at(10)).count(), POOLS_MAX);
}

#[test]
fn a_check_of_the_wrong_thing_does_not_lock_its_service_out() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.call(0, true);
    let mut ms = 60_000;
    for after in [0, 1_000, 2_000] {
        rig.fails(ms + after);
    }
    assert_eq!(rig.breaker(ms + 2_000), BreakerState::Open);
    // The check goes on failing, and a request comes every 100 ms.
    let mut served = 0;
    for _ in 0..300 {
        ms += 100;
        if ms % 1_000 == 0 {
            rig.fails(ms + 2_050);
        }
        let now = rig.at(ms + 2_000);
        rig.state.tick(now, MIDDLE);
        if let Ok(permit) = DependencyState::try_acquire(&rig.state, now, 0, MIDDLE) {
            permit.settle(CallOutcome::Success, now);
            served += 1;
        }
    }
    assert!(served > 100, "{served} of 300 calls passed");
    assert!(matches!(
        rig.breaker(ms + 2_000),
        BreakerState::Closed | BreakerState::Ramping
    ));
    let reason = rig
        .state
        .view(rig.at(ms + 2_000))
        .breaker
        .expect("called")
        .reason;
    assert_eq!(
        reason,
        Some(BreakerReason::CheckFailed(FailureClass::Unreachable))
    );
}
