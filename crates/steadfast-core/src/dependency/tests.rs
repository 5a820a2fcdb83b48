//! Time in these tests is a number of milliseconds after `Rig::start`.

use std::time::{Duration, Instant};

use super::*;
use crate::{
    CheckOutcome, FailureClass, Health, Trip,
    breaker::{BreakerReason, BreakerState, CallOutcome, CheckDepth},
    evidence::Evidence,
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
    assert_eq!(down.reason.map(|it| it.to_string()).as_ref(), Some(&reason));
    assert_eq!(rig.seen(100), (Health::Failing, Some(reason)));
    assert_eq!(rig.state.calls().of(CallKind::Refused), 1);
    assert_eq!(rig.state.calls().of(CallKind::Failure), 3);
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
        BreakerState::Open,
        "one pass is no recovery"
    );
    rig.passes(22_600);
    assert_eq!(rig.breaker(22_600), BreakerState::Probing);
    rig.passes(23_000);
    assert_eq!(rig.breaker(23_000), BreakerState::Ramping);
    assert_eq!(rig.seen(33_000), (Health::Passing, None));
}

/// Opened by a check and let probe by a check, at 22.6 s.
fn probing_by_check() -> Rig {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.call(0, true);
    for ms in [20_000, 21_000, 22_000] {
        rig.fails(ms);
    }
    rig.passes(22_500);
    rig.passes(22_600);
    assert_eq!(rig.breaker(22_600), BreakerState::Probing);
    rig
}

/// Passes the check until long after every wait, and nothing else.
fn only_the_check_passes(rig: &Rig, from: u64) {
    for ms in (from..from + 60_000).step_by(500) {
        rig.passes(ms);
        rig.state.tick(rig.at(ms), MIDDLE);
        let state = rig.breaker(ms);
        assert!(
            matches!(state, BreakerState::Open | BreakerState::Probing),
            "{state} at {ms}"
        );
    }
}

#[test]
fn a_check_does_not_close_while_a_probe_hangs_nor_after_its_silence() {
    let rig = probing_by_check();
    let at = rig.at(22_700);
    let _hangs = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("a probe");
    for ms in (23_000..27_700).step_by(100) {
        rig.passes(ms);
        assert_eq!(rig.breaker(ms), BreakerState::Probing);
    }
    rig.state.tick(rig.at(27_700), MIDDLE);
    assert_eq!(rig.breaker(27_700), BreakerState::Open);
    only_the_check_passes(&rig, 28_000);
}

/// Settled by hand, without a word of what went wrong.
#[test]
fn a_shallow_check_does_not_close_what_a_probe_spoke_against() {
    for class in [FailureClass::Unhealthy, FailureClass::Timeout] {
        let rig = probing_by_check();
        let at = rig.at(22_700);
        let probe = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("a probe");
        probe.settle(CallOutcome::Failure(class.into()), rig.at(26_700));
        assert_eq!(rig.breaker(26_700), BreakerState::Open, "{class}");
        only_the_check_passes(&rig, 27_000);
    }
}

#[test]
fn a_shallow_check_does_not_close_beside_calls_that_failed_or_hang() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.call(15_000, false);
    for ms in [20_000, 21_000, 22_000] {
        rig.fails(ms);
    }
    only_the_check_passes(&rig, 22_500);
    let rig = Rig::new(Some(CheckDepth::Shallow));
    let at = rig.at(19_000);
    let _hangs = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("closed");
    for ms in [20_000, 21_000, 22_000] {
        rig.fails(ms);
    }
    assert_eq!(rig.breaker(22_000), BreakerState::Open);
    only_the_check_passes(&rig, 60_000);
}

/// A gate in front of every call: nobody but the gate comes by.
#[test]
fn a_gate_alone_ends_the_round_of_a_probe_that_vanished() {
    let rig = Rig::new(None);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    let log = Log::of(&rig);
    let at = rig.at(1_100);
    let _vanished = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("a probe");
    assert!(rig.state.refusal(rig.at(6_099)).is_some(), "it has a lease");
    assert_eq!(rig.breaker(6_099), BreakerState::Probing);
    let refusal = rig.state.refusal(rig.at(6_100)).expect("it is over");
    assert_eq!(refusal.retry_after(), Duration::from_secs(2));
    assert_eq!(rig.breaker(6_100), BreakerState::Open);
    assert!(rig.state.refusal(rig.at(8_099)).is_some());
    assert!(rig.state.refusal(rig.at(8_100)).is_none(), "a probe may go");
    rig.call(8_100, true);
    let heard = log.heard();
    assert!(
        heard.contains(&(BreakerState::Open, "probe-silent")),
        "{heard:?}"
    );
}

/// The same where probes were dropped without a word.
#[test]
fn a_gate_alone_ends_a_round_that_found_nothing_out() {
    let rig = Rig::new(None);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    let mut dropped = 0;
    while rig.state.refusal(rig.at(1_100)).is_none() {
        let at = rig.at(1_100);
        drop(DependencyState::try_acquire(&rig.state, at, 0, MIDDLE));
        dropped += 1;
        assert!(dropped < 100);
    }
    assert_eq!(rig.breaker(1_100), BreakerState::Open);
    assert!(rig.state.refusal(rig.at(2_100)).is_none());
}

#[test]
fn a_shallow_check_never_closes_what_calls_opened() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    rig.passes(100);
    rig.passes(200);
    assert_eq!(
        rig.breaker(900),
        BreakerState::Open,
        "it had passed all along"
    );
    for ms in [300, 400, 500] {
        rig.fails(ms);
    }
    rig.passes(600);
    rig.passes(700);
    assert_eq!(
        rig.breaker(700),
        BreakerState::Probing,
        "it is news that it passes"
    );
    for ms in (1_000..20_000).step_by(1_000) {
        rig.passes(ms);
        rig.state.tick(rig.at(ms), MIDDLE);
        assert_eq!(rig.breaker(ms), BreakerState::Probing);
    }
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
        !state.set_rules(rules, start),
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
