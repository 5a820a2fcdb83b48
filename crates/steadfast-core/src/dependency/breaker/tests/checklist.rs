//! The ways in which breakers are known to fail, by what users of others have reported,
//! one test each. M1 to M9 were measured on another breaker for tower.

use super::*;

#[test]
fn only_one_of_two_hundred_callers_reaches_a_sick_dependency_as_a_probe() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let results: Vec<_> = (0..200).map(|_| rig.acquire(1_000)).collect();
    let admitted: Vec<_> = results.iter().flatten().collect();
    assert_eq!(admitted.len(), 1);
    assert!(admitted[0].is_probe());
}

#[test]
fn a_probe_that_is_cancelled_hands_its_slot_back() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    drop(rig.acquire(1_000).expect("a probe"));
    assert!(
        rig.acquire(1_000)
            .expect("the slot is free again")
            .is_probe()
    );
    let permit = rig.acquire(1_000).expect("and again");
    assert_eq!(permit.settle(abandoned(0), rig.at(1_000)), None);
    assert!(rig.acquire(1_000).is_ok());
}

#[test]
fn a_probe_that_hangs_is_a_failure_after_its_lease_without_traffic() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let probe = rig.acquire(1_000).expect("a probe");
    assert_eq!(rig.tick(5_999), None);
    let moved = rig.tick(6_000).expect("the lease is over");
    assert_eq!(
        (moved.from, moved.to),
        (BreakerState::Probing, BreakerState::Open)
    );
    assert_eq!(moved.reason.to_string(), "a probe was silent for 5s");
    assert_eq!(probe.settle(CallOutcome::Success, rig.at(6_001)), None);
    assert_eq!(rig.state(6_001), BreakerState::Open);
}

#[test]
fn a_probe_that_hangs_is_a_failure_after_its_lease_without_ticks() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let _probe = rig.acquire(1_000).expect("a probe");
    assert!(rig.acquire(1_999).is_err());
    let refusal = rig.acquire(6_000).expect_err("open again");
    let moved = refusal.transition.expect("this caller ended the lease");
    assert_eq!(moved.to, BreakerState::Open);
    assert!(rig.acquire(8_000).expect("the next probe").is_probe());
}

#[test]
fn a_probe_that_answers_after_its_lease_is_a_failure_if_nobody_else_looked() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let probe = rig.acquire(1_000).expect("a probe");
    let moved = probe.settle(CallOutcome::Success, rig.at(6_000));
    assert_eq!(moved.map(|moved| moved.to), Some(BreakerState::Open));
}

#[test]
fn a_probe_that_panics_is_a_failure() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let moved = rig.call(1_000, failed(FailureClass::Panicked));
    let moved = moved.expect("the round is over");
    assert_eq!(
        moved.reason,
        BreakerReason::ProbeFailed(FailureClass::Panicked)
    );
}

#[test]
fn neutral_probes_do_not_wedge_the_round_and_do_not_go_on_for_ever() {
    let rig = Rig::new(Trip::default().inconclusive_max(3));
    rig.trip(0);
    assert_eq!(rig.call(1_000, CallOutcome::Neutral), None);
    assert_eq!(rig.call(1_000, CallOutcome::Neutral), None);
    let moved = rig
        .call(1_000, CallOutcome::Neutral)
        .expect("three are enough");
    assert_eq!(
        moved.reason,
        BreakerReason::ProbesInconclusive { probes: 3 }
    );
    // Nothing was found out, so the wait does not grow.
    assert!(rig.acquire(1_999).is_err());
    assert!(rig.acquire(2_000).is_ok());
}

#[test]
fn dropped_probes_end_the_round_at_the_next_look() {
    let rig = Rig::new(Trip::default().inconclusive_max(2));
    rig.trip(0);
    drop(rig.acquire(1_000).expect("a probe"));
    drop(rig.acquire(1_000).expect("a probe"));
    assert_eq!(rig.state(1_000), BreakerState::Probing);
    let moved = rig.tick(1_000).expect("the tick has a time");
    assert_eq!(
        moved.reason,
        BreakerReason::ProbesInconclusive { probes: 2 }
    );
}

/// M3: a call admitted before the outage returns while the probe is under way.
#[test]
fn a_late_success_does_not_close() {
    let rig = Rig::new(Trip::default().probe_successes(1));
    let early = rig.acquire(0).expect("closed");
    rig.trip(10);
    let probe = rig.acquire(1_010).expect("a probe");
    assert_eq!(early.settle(CallOutcome::Success, rig.at(1_020)), None);
    assert_eq!(rig.state(1_020), BreakerState::Probing);
    assert!(rig.acquire(1_020).is_err(), "the probe still has its slot");
    assert!(probe.settle(CallOutcome::Success, rig.at(1_030)).is_some());
}

#[test]
fn a_late_failure_does_not_open() {
    let rig = Rig::new(
        Trip::default()
            .consecutive_failures(1)
            .consecutive_spread(Duration::ZERO),
    );
    let early: Vec<_> = (0..50).map(|_| rig.acquire(0).expect("closed")).collect();
    rig.trip(10);
    rig.recover(1_010);
    for permit in early {
        assert_eq!(permit.settle(FAILED, rig.at(1_020)), None);
    }
    assert_eq!(rig.state(1_020), BreakerState::Ramping);
    assert_eq!(rig.snapshot(1_020).counts.failed, 0);
}

#[test]
fn three_failures_of_five_do_not_trip_and_five_of_five_do() {
    let trip = Trip::default().no_consecutive_failures().calls_min(5);
    let rig = Rig::new(trip.clone());
    for outcome in [
        FAILED,
        CallOutcome::Success,
        FAILED,
        CallOutcome::Success,
        FAILED,
    ] {
        assert_eq!(rig.call(0, outcome), None);
    }
    let rig = Rig::new(trip);
    for _ in 0..4 {
        assert_eq!(rig.call(0, FAILED), None);
    }
    let moved = rig.call(0, FAILED).expect("five of five");
    assert_eq!(moved.reason.to_string(), "5 of 5 calls failed in 10s");
}

/// M1: the anchor needed as many failures as there had been successes.
#[test]
fn an_hour_of_health_does_not_delay_a_trip() {
    let rig = Rig::new(Trip::default().no_consecutive_failures().no_stall());
    for second in 0..3_600 {
        for _ in 0..20 {
            rig.call(second * 1_000, CallOutcome::Success);
        }
    }
    let outage = 3_600_000;
    let moved = (0..200).find_map(|n| rig.call(outage + n * 50, FAILED));
    let moved = moved.expect("one window is enough");
    let took = moved.at - rig.at(outage);
    assert!(took <= Duration::from_secs(6), "took {took:?}");
}

/// M1, and the slow rule with the same defect.
#[test]
fn an_hour_of_speed_does_not_delay_the_slow_rule() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_millis(100)));
    for second in 0..3_600 {
        rig.call(second * 1_000, CallOutcome::Success);
    }
    let moved = (0..60).find_map(|n| rig.call(3_610_000 + n, CallOutcome::Slow));
    let moved = moved.expect("a window of slow calls is enough");
    assert_eq!(moved.reason.to_string(), "20 of 20 calls were slow in 10s");
}

/// M7 without any timeout: nothing completes.
#[test]
fn a_hung_dependency_trips_at_a_tick_before_any_call_ends() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_secs(1)));
    let _hung: Vec<_> = (0..3).map(|n| rig.acquire(n).expect("closed")).collect();
    assert_eq!(rig.tick(2_000), None);
    let moved = rig.tick(2_500).expect("three calls hang");
    assert_eq!(moved.reason.code(), "stalled");
    assert!(rig.acquire(2_500).is_err());
}

#[test]
fn a_hung_dependency_trips_at_the_next_call_where_nothing_ticks() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_secs(1)));
    let _hung: Vec<_> = (0..3).map(|n| rig.acquire(n).expect("closed")).collect();
    let refusal = rig.acquire(2_500).expect_err("the call that found out");
    assert_eq!(
        refusal.transition.expect("its doing").reason.code(),
        "stalled"
    );
    assert_eq!(rig.snapshot(2_500).in_flight, Some(3));
}

#[test]
fn calls_that_never_end_do_not_open_again_what_a_deep_check_found_well() {
    let rig = Rig::new(Trip::default().stall_limit(Duration::from_secs(1)));
    let _lost: Vec<_> = (0..3).map(|_| rig.acquire(0).expect("closed")).collect();
    assert!(rig.tick(1_250).is_some());
    for ms in [3_000, 3_100] {
        let _ = rig.breaker.check_passed(CheckDepth::Deep, rig.at(ms));
    }
    assert_eq!(rig.state(3_100), BreakerState::Ramping);
    for second in 4..20 {
        let moved = rig.tick(second * 1_000);
        assert!(moved.is_none_or(|moved| moved.to == BreakerState::Closed));
    }
}

#[test]
fn long_calls_beside_healthy_traffic_do_not_hang() {
    let rig = Rig::new(Trip::default());
    let _streams: Vec<_> = (0..9).map(|_| rig.acquire(0).expect("closed")).collect();
    for second in 1..600 {
        assert_eq!(rig.call(second * 1_000, CallOutcome::Success), None);
        assert_eq!(rig.tick(second * 1_000), None);
    }
    // And quiet afterwards: the streams started before the last answer.
    assert_eq!(rig.tick(3_600_000), None);
}

/// M7: the timeout is outside, so the breaker sees dropped calls only.
#[test]
fn calls_cut_by_an_outer_timeout_trip() {
    for (timeout, rule) in [(60, "slow-ratio"), (200, "consecutive-failures")] {
        let rig = Rig::new(Trip::default().slow_limit(Duration::from_millis(50)));
        let moved = (0..50).find_map(|n| {
            let permit = rig.acquire(n * 300).expect("closed");
            permit.settle(abandoned(timeout), rig.at(n * 300 + timeout))
        });
        assert_eq!(moved.expect("it trips").reason.code(), rule);
    }
}

/// M7 with the defaults, where no limit says what slow is.
#[test]
fn calls_cut_by_an_outer_timeout_trip_without_any_limit_set() {
    let rig = Rig::new(Trip::default());
    rig.call(0, CallOutcome::Success);
    let moved = (1..100).find_map(|n| {
        let permit = rig.acquire(n * 400).expect("closed");
        permit.settle(abandoned(300), rig.at(n * 400 + 300))
    });
    let moved = moved.expect("nothing was answered for a window");
    assert!(moved.at <= rig.at(11_000));
    let reason = moved.reason.to_string();
    assert!(
        reason.ends_with("callers left in 10s, and no call was answered"),
        "{reason}"
    );
}

#[test]
fn one_answer_in_a_window_shows_that_the_clients_are_impatient() {
    let rig = Rig::new(Trip::default());
    for n in 0..1_000 {
        let is_answer = n % 90 == 89;
        let outcome = if is_answer {
            CallOutcome::Neutral
        } else {
            abandoned(5)
        };
        assert_eq!(rig.call(n * 100, outcome), None);
    }
}

/// M6: the anchor recorded none of these.
#[test]
fn calls_that_panic_trip() {
    let rig = Rig::new(Trip::default());
    let moved = (0..50).find_map(|n| rig.call(n * 300, failed(FailureClass::Panicked)));
    assert_eq!(moved.expect("it trips").at, rig.at(1_200));
}

#[test]
fn traffic_comes_back_by_and_by() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let moved = rig.recover(1_000);
    assert_eq!(moved.to, BreakerState::Ramping);
    // A flood: none of them ends.
    let mut running = Vec::new();
    for (ms, expected) in [(1_000, 100), (3_500, 325), (6_000, 550), (10_990, 999)] {
        let before = running.len();
        running.extend((0..1_000_u64).filter_map(|n| {
            let random = MIDDLE | ((n << 32) / 1_000);
            rig.breaker.try_acquire(rig.at(ms), 0, random).ok()
        }));
        let passed = running.len() - before;
        assert!(passed.abs_diff(expected) <= 2, "{passed} of 1000 at {ms}");
    }
    assert_eq!(rig.state(11_000), BreakerState::Closed);
    let mut permit = rig.acquire(11_000).expect("closed");
    let moved = permit.take_transition().expect("the ramp ended here");
    assert_eq!(
        (moved.from, moved.to),
        (BreakerState::Ramping, BreakerState::Closed)
    );
    assert_eq!(permit.take_transition(), None);
}

#[test]
fn fifty_instances_do_not_probe_in_step() {
    let mut waits: Vec<_> = (0..50_u64)
        .map(|instance| {
            let rig = Rig::new(Trip::default());
            let random = ((instance << 32) / 50) << 32;
            (0..100).find_map(|_| {
                let permit = rig
                    .breaker
                    .try_acquire(rig.at(0), 0, random)
                    .expect("closed");
                permit.settle(FAILED, rig.at(0))
            });
            rig.snapshot(0).next_probe_at.expect("it waits") - rig.at(0)
        })
        .collect();
    waits.dedup();
    assert_eq!(waits.len(), 50);
    assert_eq!(waits[0], Duration::from_millis(500));
    assert_eq!(waits[49], Duration::from_millis(1_479));
}

/// M4: readiness that reads the state would keep the traffic away that could close it.
#[test]
fn a_breaker_without_traffic_does_not_stay_open() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    assert_eq!(rig.state(999), BreakerState::Open);
    assert_eq!(rig.state(1_000), BreakerState::Probing);
    let moved = rig.tick(25_000).expect("the wait is over");
    assert_eq!(
        (moved.to, moved.reason),
        (BreakerState::Probing, BreakerReason::ProbeDue)
    );
    assert_eq!(rig.tick(25_000), None);
    // A deep check closes it without any traffic at all.
    let deep = |ms| rig.breaker.check_passed(CheckDepth::Deep, rig.at(ms));
    assert_eq!(deep(26_000), None);
    assert_eq!(
        deep(27_000).map(|moved| moved.to),
        Some(BreakerState::Ramping)
    );
    assert_eq!(
        rig.tick(37_000).map(|moved| moved.to),
        Some(BreakerState::Closed)
    );
}

#[test]
fn impatient_clients_do_not_trip_a_healthy_dependency() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_millis(500)));
    for n in 0..800 {
        let outcome = if n % 10 == 0 {
            CallOutcome::Success
        } else {
            abandoned(20)
        };
        assert_eq!(rig.call(n * 10, outcome), None);
    }
    assert_eq!(rig.snapshot(8_000).counts.abandoned, 720);
}

#[test]
fn a_pool_of_our_own_with_nothing_free_is_no_verdict_on_the_dependency() {
    let rig = Rig::new(Trip::default());
    for n in 0..500 {
        assert_eq!(rig.call(n * 10, failed(FailureClass::Saturated)), None);
    }
    assert_eq!(rig.snapshot(5_000).counts.calls, 0);
    assert_eq!(rig.snapshot(5_000).last_failure, None);
}

#[test]
fn a_shallow_check_starts_probing_and_never_closes() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    let pass = |ms| rig.breaker.check_passed(CheckDepth::Shallow, rig.at(ms));
    let moved = pass(100).expect("before the wait is over");
    assert_eq!(
        (moved.to, moved.reason),
        (BreakerState::Probing, BreakerReason::CheckPassed)
    );
    for n in 1..100 {
        assert_eq!(pass(100 + n), None);
    }
    assert_eq!(rig.state(300), BreakerState::Probing);
    assert_eq!(
        rig.call(300, FAILED).map(|moved| moved.to),
        Some(BreakerState::Open)
    );
}

/// M8: two handles are one breaker.
#[test]
fn every_handle_shares_one_state() {
    let rig = Rig::new(Trip::default());
    let start = rig.start;
    let breaker = std::sync::Arc::new(rig.breaker);
    let refused = (0..40)
        .filter(|_| {
            let handle = std::sync::Arc::clone(&breaker);
            match Breaker::try_acquire_owned(handle, start, 0, MIDDLE) {
                Ok(permit) => {
                    let _ = permit.settle(FAILED, start);
                    false
                }
                Err(_) => true,
            }
        })
        .count();
    assert_eq!(refused, 20);
    assert_eq!(std::sync::Arc::strong_count(&breaker), 1);
}

/// M9: the anchor admitted the next call and closed.
#[test]
fn a_timer_does_not_undo_what_a_person_forced() {
    let rig = Rig::new(Trip::default());
    let set = |mode, ms| rig.breaker.set_mode(mode, rig.at(ms));
    assert!(set(BreakerMode::ForcedOpen, 0).is_some());
    assert_eq!(set(BreakerMode::ForcedOpen, 1), None);
    for ms in [1, 1_000, 60_000, 86_400_000] {
        assert!(rig.acquire(ms).is_err());
        assert_eq!(rig.tick(ms), None);
        assert_eq!(rig.breaker.check_passed(CheckDepth::Deep, rig.at(ms)), None);
        assert_eq!(rig.state(ms), BreakerState::Open);
        assert_eq!(rig.snapshot(ms).next_probe_at, None);
    }
}

#[test]
fn a_clock_that_seems_to_go_back_moves_nothing() {
    let rig = Rig::new(Trip::default());
    rig.trip(50_000);
    assert!(rig.acquire(0).is_err());
    assert_eq!(rig.tick(0), None);
    let before = rig.start.checked_sub(Duration::from_secs(1));
    if let Some(before) = before {
        assert_eq!(rig.breaker.tick(before, MIDDLE), None);
    }
    let probe = rig.acquire(51_000).expect("a probe");
    assert_eq!(probe.settle(CallOutcome::Success, rig.at(0)), None);
    assert_eq!(rig.state(51_000), BreakerState::Probing);
}
