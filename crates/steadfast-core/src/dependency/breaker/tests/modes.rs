use super::*;

#[test]
fn observe_reports_what_it_would_do_and_refuses_nothing() {
    let rig = Rig::new(Trip::default().mode(BreakerMode::Observe));
    let moved = rig.trip(0);
    assert_eq!(
        (moved.to, moved.mode),
        (BreakerState::Open, BreakerMode::Observe)
    );
    let permit = rig.acquire(500).expect("observing");
    assert!(permit.is_observed_refusal());
    assert_eq!(permit.settle(CallOutcome::Success, rig.at(500)), None);
    assert!(rig.breaker.look(rig.at(500)).is_ok());
    let probe = rig.acquire(1_000).expect("observing");
    assert!(probe.is_probe() && !probe.is_observed_refusal());
    assert!(rig.acquire(1_000).expect("observing").is_observed_refusal());
}

#[test]
fn a_bystander_of_an_observed_outage_is_no_evidence() {
    let rig = Rig::new(Trip::default().mode(BreakerMode::Observe));
    rig.trip(0);
    let _probe = rig.acquire(1_000).expect("the probe");
    for _ in 0..100 {
        assert_eq!(rig.call(1_000, FAILED), None);
    }
    assert_eq!(rig.state(1_000), BreakerState::Probing);
}

#[test]
fn observe_trips_on_hung_calls_without_refusing_the_one_that_found_out() {
    let trip = Trip::default().mode(BreakerMode::Observe);
    let rig = Rig::new(trip.stall_limit(Duration::from_secs(1)));
    let _hung: Vec<_> = (0..3).map(|_| rig.acquire(0).expect("closed")).collect();
    let mut permit = rig.acquire(1_250).expect("observing");
    assert!(permit.is_observed_refusal());
    let moved = permit.take_transition().expect("it found out");
    assert_eq!(moved.reason.code(), "stalled");
}

#[test]
fn turning_observe_into_auto_keeps_the_verdict() {
    let rig = Rig::new(Trip::default().mode(BreakerMode::Observe));
    rig.trip(0);
    let moved = rig.breaker.set_mode(BreakerMode::Auto, rig.at(100));
    let moved = moved.expect("a change");
    assert_eq!(
        (moved.from, moved.to),
        (BreakerState::Open, BreakerState::Open)
    );
    assert!(rig.acquire(100).is_err());
    assert!(rig.acquire(1_000).expect("the wait is over").is_probe());
}

#[test]
fn forced_closed_passes_everything_and_still_counts() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let set = |mode, ms| rig.breaker.set_mode(mode, rig.at(ms));
    assert!(set(BreakerMode::ForcedClosed, 10).is_some());
    for n in 0..100 {
        assert_eq!(rig.call(10 + n, FAILED), None);
    }
    assert_eq!(rig.snapshot(200).counts.failed, 120);
    assert_eq!(rig.snapshot(200).state, BreakerState::Closed);
    // Back in auto the window speaks for itself.
    assert!(set(BreakerMode::Auto, 200).is_some());
    assert_eq!(
        rig.call(210, FAILED).map(|moved| moved.to),
        Some(BreakerState::Open)
    );
}

#[test]
fn from_forced_open_the_way_back_leads_through_probes() {
    let rig = Rig::new(Trip::default().mode(BreakerMode::ForcedOpen));
    let refusal = rig.acquire(0).expect_err("forced");
    assert_eq!(
        refusal.reason,
        Some(BreakerReason::Mode(BreakerMode::ForcedOpen))
    );
    assert_eq!(refusal.since, rig.at(0));
    assert!(
        rig.breaker
            .set_mode(BreakerMode::Auto, rig.at(5_000))
            .is_some()
    );
    assert!(rig.acquire(5_000).expect("due at once").is_probe());
    assert_eq!(rig.snapshot(5_000).state, BreakerState::Probing);
}

#[test]
fn a_permit_from_before_a_forced_mode_decides_nothing_after_it() {
    let rig = Rig::new(Trip::default().consecutive_spread(Duration::ZERO));
    let early: Vec<_> = (0..30).map(|_| rig.acquire(0).expect("closed")).collect();
    for mode in [BreakerMode::ForcedClosed, BreakerMode::Auto] {
        assert!(rig.breaker.set_mode(mode, rig.at(1)).is_some());
    }
    for permit in early {
        assert_eq!(permit.settle(FAILED, rig.at(2)), None);
    }
    assert_eq!(rig.snapshot(2).counts.calls, 0);
}
