use super::*;

/// Fails the probe of each round and returns how long each wait was.
fn waits(rig: &Rig, rounds: usize) -> Vec<u64> {
    let mut now = 0;
    rig.trip(now);
    let mut waits = Vec::new();
    for _ in 0..rounds {
        let next = rig.snapshot(now).next_probe_at.expect("it waits");
        let wait = (next - rig.at(now)).as_millis() as u64;
        waits.push(wait);
        now += wait;
        assert!(rig.call(now, FAILED).is_some());
    }
    waits
}

/// Waits that grow, as they do for whoever sets the longest.
fn backing_off() -> Trip {
    Trip::default().open_max(Duration::from_secs(5))
}

#[test]
fn by_default_nobody_waits_for_longer_than_a_second() {
    assert_eq!(waits(&Rig::new(Trip::default()), 5), [1_000; 5]);
    let longer = Trip::default().open_base(Duration::from_secs(3));
    assert_eq!(waits(&Rig::new(longer), 2), [3_000; 2]);
}

#[test]
fn the_wait_doubles_up_to_its_bound() {
    let rig = Rig::new(backing_off());
    assert_eq!(
        waits(&rig, 9),
        [
            1_000, 2_000, 4_000, 5_000, 5_000, 5_000, 5_000, 5_000, 5_000
        ]
    );
}

#[test]
fn a_short_recovery_does_not_reset_the_wait_and_a_long_one_does() {
    for (healthy, expected) in [
        (0, 4_000),
        (10_000, 2_000),
        (25_000, 1_000),
        (900_000, 1_000),
    ] {
        let rig = Rig::new(backing_off());
        waits(&rig, 1);
        rig.recover(3_000);
        assert_eq!(rig.snapshot(3_000).opens_in_a_row, 2);
        let moved = rig.tick(13_000).expect("the ramp is over");
        assert_eq!(moved.to, BreakerState::Closed);
        let now = 13_000 + healthy;
        rig.trip(now);
        let next = rig.snapshot(now).next_probe_at.expect("it waits");
        assert_eq!(
            next - rig.at(now),
            Duration::from_millis(expected),
            "after {healthy}"
        );
    }
}

#[test]
fn a_dependency_that_asks_to_be_left_alone_is_left_alone_up_to_a_bound() {
    let throttled = |secs| {
        let failure = CallFailure::new(FailureClass::Overloaded);
        CallOutcome::Failure(failure.retry_after(Duration::from_secs(secs)))
    };
    for (asked, waited) in [(0, 1_000), (20, 25_000), (3_600, 75_000)] {
        let rig = Rig::new(Trip::default());
        let moved = (0..100).find_map(|_| rig.call(0, throttled(asked)));
        assert_eq!(moved.expect("it trips").reason.code(), "failure-ratio");
        // Half the jitter, and upward only: 20 s and a quarter.
        let next = rig.snapshot(0).next_probe_at.expect("it waits");
        assert_eq!(next - rig.at(0), Duration::from_millis(waited));
    }
}

#[test]
fn a_probe_takes_more_than_one_success() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    assert_eq!(rig.call(1_000, CallOutcome::Success), None);
    assert_eq!(rig.snapshot(1_000).probes_succeeded, 1);
    let moved = rig.call(1_000, CallOutcome::Success).expect("two");
    assert_eq!(moved.reason, BreakerReason::ProbesPassed { probes: 2 });
}

/// Two probes run; one is answered with something that says nothing. The dependency is not
/// silent, so the other has its time from then on.
#[test]
fn an_answer_that_decides_nothing_renews_the_lease() {
    let rig = Rig::new(Trip::default().probes(2).probe_successes(3));
    rig.trip(0);
    let (first, second) = (rig.acquire(1_000), rig.acquire(1_000));
    let (first, second) = (first.expect("a probe"), second.expect("a probe"));
    assert_eq!(first.settle(CallOutcome::Neutral, rig.at(5_000)), None);
    assert_eq!(rig.tick(6_000), None, "it answered a second ago");
    assert_eq!(second.settle(CallOutcome::Success, rig.at(7_000)), None);
    assert_eq!(rig.snapshot(7_000).probes_succeeded, 1);
}

/// An admission's own step is told with its own moment, however late it is asked for.
#[test]
fn a_step_keeps_its_moment_when_the_head_of_the_answer_is_there_first() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let mut probe = rig.acquire(1_000).expect("a probe");
    let _ = probe.answered(rig.at(1_300));
    let moved = probe.take_transition().expect("probing began");
    assert_eq!((moved.to, moved.at), (BreakerState::Probing, rig.at(1_000)));
    assert_eq!(probe.waited(rig.at(9_000)), Duration::from_millis(300));
}

#[test]
fn a_slow_probe_fails_the_round() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_millis(100)));
    rig.trip(0);
    let probe = rig.acquire(1_000).expect("a probe");
    let moved = probe.settle(CallOutcome::Success, rig.at(1_100));
    assert_eq!(
        moved.map(|moved| moved.reason),
        Some(BreakerReason::ProbeSlow)
    );
}

#[test]
fn a_snapshot_says_since_when_it_is_where_it_is() {
    let rig = Rig::new(Trip::default().ramp(Duration::from_secs(10)));
    let check = |ms: u64, state: BreakerState, since: u64| {
        let snapshot = rig.snapshot(ms);
        let seen = (snapshot.state, snapshot.since);
        assert_eq!(seen, (state, rig.at(since)), "after {ms} ms");
    };
    rig.trip(500);
    check(900, BreakerState::Open, 500);
    // The wait is over although nobody has asked.
    check(2_000, BreakerState::Probing, 1_500);
    rig.recover(3_000);
    check(3_000, BreakerState::Ramping, 3_000);
    check(9_000, BreakerState::Ramping, 3_000);
    check(60_000, BreakerState::Closed, 13_000);
}

#[test]
fn failures_in_a_ramp_open_again_and_the_outage_goes_on() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    rig.recover(1_000);
    let moved = rig.trip(2_000);
    assert_eq!(
        (moved.from, moved.to),
        (BreakerState::Ramping, BreakerState::Open)
    );
    let snapshot = rig.snapshot(2_000);
    assert_eq!(snapshot.outage_since, Some(rig.at(0)));
    assert_eq!(snapshot.since, rig.at(2_000));
    assert_eq!(snapshot.opens_in_a_row, 2);
    assert_eq!(rig.acquire(2_500).expect_err("open").since, rig.at(0));
}

#[test]
fn the_failures_that_tripped_do_not_trip_again_after_the_probes() {
    let rig = Rig::new(Trip::default().open_base(Duration::from_millis(10)));
    rig.trip(0);
    rig.recover(10);
    assert_eq!(rig.snapshot(10).counts, WindowCounts::default());
    for _ in 0..4 {
        assert_eq!(rig.call(20, FAILED), None);
    }
}

#[test]
fn a_ramp_of_no_length_closes_at_the_next_call() {
    let rig = Rig::new(Trip::default().ramp(Duration::ZERO));
    rig.trip(0);
    rig.recover(1_000);
    assert_eq!(rig.state(1_000), BreakerState::Closed);
    let mut permit = rig.acquire(1_000).expect("closed");
    assert!(permit.take_transition().is_some());
}

#[test]
fn the_result_of_a_ramp_counts_in_the_closed_state_that_follows() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    rig.recover(1_000);
    let permit = rig.acquire(10_900).expect("ramping");
    assert!(rig.tick(11_000).is_some());
    let _ = permit.settle(FAILED, rig.at(11_100));
    assert_eq!(rig.snapshot(11_100).counts.failed, 1);
}

#[test]
fn a_probe_is_judged_by_the_head_of_its_answer_and_a_bad_end_takes_it_back() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let mut stream = rig.acquire(1_000).expect("a probe");
    assert_eq!(stream.answered(rig.at(1_100)), None);
    assert_eq!(stream.answered(rig.at(1_200)), None, "once");
    assert!(stream.is_probe());
    assert_eq!(rig.snapshot(1_200).probes_succeeded, 1);
    assert_eq!(rig.tick(60_000), None, "no lease runs");
    let moved = stream.settle(FAILED, rig.at(60_000)).expect("it broke off");
    assert_eq!(
        moved.reason,
        BreakerReason::ProbeFailed(FailureClass::Unhealthy)
    );
    // What ends otherwise has been counted, and two heads are enough.
    let mut second = rig.acquire(62_000).expect("a probe");
    assert_eq!(second.answered(rig.at(62_100)), None);
    assert_eq!(second.settle(CallOutcome::Neutral, rig.at(62_200)), None);
    let mut third = rig.acquire(62_300).expect("a probe");
    let moved = third.answered(rig.at(62_400)).expect("enough");
    assert_eq!(moved.to, BreakerState::Ramping);
    assert_eq!(third.settle(FAILED, rig.at(62_500)), None, "too late");
}

#[test]
fn a_probe_whose_head_is_slow_fails_the_round() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_millis(100)));
    rig.trip(0);
    let mut probe = rig.acquire(1_000).expect("a probe");
    let moved = probe.answered(rig.at(1_100)).expect("slow");
    assert_eq!(moved.reason, BreakerReason::ProbeSlow);
}

#[test]
fn a_gate_that_looks_takes_no_slot() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let look = |ms| rig.breaker.look(rig.at(ms));
    assert_eq!(
        look(999).expect_err("open").retry_after,
        Duration::from_millis(1)
    );
    for _ in 0..10 {
        assert!(look(1_000).is_ok());
    }
    let _probe = rig.acquire(1_000).expect("a probe");
    let refusal = look(1_000).expect_err("the slot is taken");
    assert_eq!(refusal.state, BreakerState::Probing);
    assert!(refusal.retry_after > Duration::ZERO);
}

/// Calls each `gap` milliseconds through an outage of so many seconds that begins after the
/// first, and returns how many are refused after it.
fn refused_after(trip: &Trip, secs: u64, gap: u64, class: FailureClass, seed: u64) -> usize {
    let rig = Rig::new(trip.clone());
    let mut random = seed;
    let ends = 1_000 + secs * 1_000;
    // The server comes back between two calls, each time elsewhere.
    let shift = seed.wrapping_mul(37) % gap;
    let calls = (0..(ends + 60_000) / gap).map(|at| at * gap + shift);
    calls
        .filter(|&now| {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let permit = rig.breaker.try_acquire(rig.at(now), 0, random);
            let is_gone = (1_000..ends).contains(&now);
            let outcome = if is_gone {
                failed(class)
            } else {
                CallOutcome::Success
            };
            let is_refused = permit.is_err();
            if let Ok(permit) = permit {
                let _ = permit.settle(outcome, rig.at(now));
            }
            is_refused && now >= ends
        })
        .count()
}

#[test]
fn a_server_that_was_gone_is_found_by_the_first_calls_after_its_return() {
    for seed in 0..50 {
        for secs in [6, 60, 600] {
            for (gap, most) in [(333, 1), (100, 3)] {
                let class = FailureClass::Unreachable;
                let refused = refused_after(&Trip::default(), secs, gap, class, seed);
                assert!(
                    refused <= most,
                    "seed {seed}: {refused} after {secs} s, one each {gap} ms"
                );
            }
        }
    }
}

#[test]
fn a_long_outage_without_a_check_costs_seconds_after_it_and_no_minute() {
    for seed in 0..20 {
        let refused = refused_after(&Trip::default(), 60, 10, FailureClass::Unhealthy, seed);
        assert!(refused <= 750, "seed {seed}: {refused} of 6,000");
    }
}

#[test]
fn waits_that_somebody_has_set_hold_whatever_the_failure_is() {
    let trip = Trip::default().open_base(Duration::from_secs(2));
    let rig = Rig::new(trip);
    let gone = failed(FailureClass::Unreachable);
    assert!((0..100).find_map(|_| rig.call(0, gone)).is_some());
    assert!(rig.acquire(1_999).is_err());
    assert!(rig.acquire(2_000).expect("a probe").is_probe());
}

#[test]
fn a_probe_that_is_handed_back_frees_its_slot_and_finds_nothing_out() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    for _ in 0..20 {
        let probe = rig.acquire(1_000).expect("the slot is free");
        assert!(probe.is_probe());
        probe.hand_back();
    }
    assert_eq!(rig.state(1_000), BreakerState::Probing);
    rig.recover(1_000);
}
