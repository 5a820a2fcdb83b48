use super::*;

#[test]
fn failures_of_one_moment_are_one_event() {
    let rig = Rig::new(Trip::default());
    for _ in 0..5 {
        assert_eq!(rig.call(0, FAILED), None);
    }
    let moved = rig.call(1_000, FAILED).expect("a second later");
    assert_eq!(
        moved.reason.to_string(),
        "6 calls in a row failed within 1s"
    );
}

#[test]
fn many_failures_of_one_moment_trip_all_the_same() {
    let rig = Rig::new(Trip::default().no_failure_ratio());
    let moved = (1..100).find(|_| rig.call(0, FAILED).is_some());
    assert_eq!(moved, Some(20));
}

#[test]
fn a_success_ends_a_row_and_a_neutral_answer_does_not() {
    let rig = Rig::new(Trip::default().no_failure_ratio());
    for n in 0..40 {
        assert_eq!(rig.call(n * 1_000, FAILED), None);
        if n % 4 == 3 {
            rig.call(n * 1_000, CallOutcome::Success);
        } else {
            rig.call(n * 1_000, CallOutcome::Neutral);
        }
    }
}

#[test]
fn throttling_counts_for_the_ratio_and_not_for_the_row() {
    let rig = Rig::new(Trip::default().no_failure_ratio());
    for n in 0..100 {
        assert_eq!(rig.call(n * 100, failed(FailureClass::Overloaded)), None);
    }
}

#[test]
fn a_success_is_never_a_reason_to_open() {
    let rig = Rig::new(Trip::default().no_consecutive_failures());
    for _ in 0..19 {
        assert_eq!(rig.call(0, FAILED), None);
    }
    assert_eq!(rig.call(0, CallOutcome::Success), None);
    assert!(rig.call(0, FAILED).is_some());
}

#[test]
fn a_call_is_slow_by_the_clock_even_if_the_caller_is_content() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_millis(100)));
    let moved = (0..40).find_map(|n| {
        let permit = rig.acquire(n * 10).expect("closed");
        permit.settle(CallOutcome::Success, rig.at(n * 10 + 100))
    });
    assert_eq!(moved.expect("slow").reason.code(), "slow-ratio");
}

#[test]
fn a_failed_check_opens_an_idle_breaker_and_traffic_outvotes_it() {
    let rig = Rig::new(Trip::default());
    let fail = |ms| {
        let class = FailureClass::Unreachable;
        rig.breaker.check_failed(class, None, rig.at(ms), MIDDLE)
    };
    rig.call(0, CallOutcome::Success);
    assert_eq!(fail(9_999), None);
    let moved = fail(10_000).expect("no call has succeeded for a window");
    assert_eq!(
        moved.reason,
        BreakerReason::CheckFailed(FailureClass::Unreachable)
    );
    assert_eq!(fail(10_001), None);
    // While probing, it ends the round, unless a probe succeeded.
    assert!(rig.tick(11_000).is_some());
    assert_eq!(fail(11_001).map(|moved| moved.to), Some(BreakerState::Open));
    rig.call(13_001, CallOutcome::Success);
    assert_eq!(fail(13_002), None);
}

/// What succeeded before the check began to fail is old news once calls fail with it.
#[test]
fn a_failed_check_and_calls_that_failed_since_outvote_an_earlier_success() {
    let rig = Rig::new(Trip::default());
    let fail = |from, ms| {
        let class = FailureClass::Unreachable;
        let from = Some(rig.at(from));
        rig.breaker.check_failed(class, from, rig.at(ms), MIDDLE)
    };
    rig.call(0, CallOutcome::Success);
    assert_eq!(fail(1_000, 3_000), None, "nobody has called since");
    rig.call(2_100, FAILED);
    assert!(fail(1_000, 1_900).is_none(), "too short to tell");
    rig.call(2_200, CallOutcome::Success);
    assert!(fail(1_000, 3_200).is_none(), "calls contradict it");
    rig.call(4_100, FAILED);
    let moved = fail(3_000, 5_100).expect("both agree");
    assert_eq!(moved.to, BreakerState::Open);
}

const fn throttled(seconds: u64) -> CallOutcome {
    let failure = CallFailure::new(FailureClass::Overloaded);
    CallOutcome::Failure(failure.retry_after(Duration::from_secs(seconds)))
}

/// At one call a second the ratio waits for twenty of them.
#[test]
fn a_dependency_that_says_when_to_come_back_is_believed_by_the_third_call() {
    let rig = Rig::new(Trip::default().jitter_ratio(0.0));
    assert_eq!(rig.call(0, throttled(60)), None, "it may be one route's");
    assert_eq!(rig.call(1_000, throttled(60)), None, "or one moment's");
    let moved = rig.call(2_000, throttled(60)).expect("believed");
    let asked = Duration::from_secs(60);
    assert_eq!(moved.reason, BreakerReason::Throttled { failed: 3, asked });
    let next = rig.snapshot(2_000).next_probe_at.expect("it waits");
    assert_eq!(next, rig.at(62_000));
    // It served before, so more of them are asked for.
    let rig = Rig::new(Trip::default());
    for second in 0..10 {
        assert_eq!(rig.call(second * 1_000, CallOutcome::Success), None);
    }
    let moved = (10..20).find_map(|second| rig.call(second * 1_000, throttled(60)));
    assert!(moved.expect("believed").at <= rig.at(16_000));
}

#[test]
fn a_busy_dependency_that_throttles_some_calls_is_not_left_alone() {
    let rig = Rig::new(Trip::default());
    for n in 0..6_000 {
        let outcome = if n % 10 < 4 {
            throttled(60)
        } else {
            CallOutcome::Success
        };
        assert_eq!(rig.call(n * 10, outcome), None, "call {n}");
    }
}

#[test]
fn a_hint_that_is_to_be_ignored_opens_nothing_by_itself() {
    let rig = Rig::new(Trip::default().retry_after_max(Duration::ZERO));
    for second in 0..10 {
        assert_eq!(rig.call(second * 1_000, throttled(60)), None);
    }
    let rig = Rig::new(Trip::default());
    for second in 0..10 {
        let busy = failed(FailureClass::Overloaded);
        assert_eq!(rig.call(second * 1_000, busy), None, "nothing was asked");
    }
}

#[test]
fn a_permit_holds_its_place_until_it_ends_and_no_longer() {
    let rig = Rig::new(Trip::default());
    let first = rig.acquire(0).expect("closed");
    let second = rig.acquire(100).expect("closed");
    assert_eq!(rig.snapshot(9_000).in_flight, Some(2));
    assert_eq!(rig.snapshot(9_000).oldest, Some(Duration::from_secs(9)));
    drop(first);
    assert_eq!(rig.snapshot(9_000).in_flight, Some(1));
    let _ = second.settle(CallOutcome::Success, rig.at(9_000));
    assert_eq!(rig.snapshot(9_000).in_flight, Some(0));
    assert_eq!(rig.snapshot(9_000).oldest, None);
    assert_eq!(rig.snapshot(9_000).counts.calls, 1);
}

/// A stream is under way to its end, cannot hang, and is as slow as its head was.
#[test]
fn a_call_whose_answer_has_begun_is_judged_by_its_head() {
    let rig = Rig::new(Trip::default().slow_limit(Duration::from_millis(100)));
    let mut streams: Vec<_> = (0..30).map(|_| rig.acquire(0).expect("closed")).collect();
    for stream in &mut streams {
        assert_eq!(stream.answered(rig.at(99)), None);
    }
    assert_eq!(streams[0].waited(rig.at(5_000)), Duration::from_millis(99));
    assert_eq!(rig.tick(3_600_000), None);
    let seen = rig.snapshot(3_600_000);
    assert_eq!((seen.in_flight, seen.oldest), (Some(30), None));
    for stream in streams.drain(..15) {
        assert_eq!(stream.settle(abandoned(3_600_000), rig.at(3_600_000)), None);
    }
    let mut dropped = streams.split_off(10);
    dropped.clear();
    for stream in streams {
        assert_eq!(stream.settle(CallOutcome::Success, rig.at(3_600_000)), None);
    }
    let seen = rig.snapshot(3_600_000);
    assert_eq!(seen.in_flight, Some(0));
    let counts = seen.counts;
    assert_eq!((counts.calls, counts.slow, counts.abandoned), (10, 0, 0));
}

#[test]
fn a_call_that_is_asked_for_without_the_time_begins_at_its_first_wait() {
    let rig = Rig::new(Trip::default());
    let untimed = || {
        let ticket = rig.breaker.admit_untimed(0).expect("plainly closed");
        BreakerPermit::new(&rig.breaker, ticket)
    };
    let at_once = untimed();
    assert_eq!(rig.snapshot(0).in_flight, Some(0));
    assert_eq!(at_once.settle(CallOutcome::Success, rig.at(0)), None);
    let mut waiting = untimed();
    assert_eq!(waiting.begin(rig.at(1_000), MIDDLE), None);
    assert_eq!(waiting.begin(rig.at(9_000), MIDDLE), None, "once");
    assert_eq!(waiting.waited(rig.at(3_000)), Duration::from_secs(2));
    assert_eq!(rig.snapshot(3_000).in_flight, Some(1));
    assert_eq!(waiting.settle(CallOutcome::Success, rig.at(3_000)), None);
    assert_eq!(rig.snapshot(3_000).in_flight, Some(0));
    assert_eq!(rig.snapshot(3_000).counts.calls, 2);
    // Those that hang are seen by the next one that waits, which goes on.
    let mut hung: Vec<_> = (0..4).map(|_| untimed()).collect();
    for permit in &mut hung[..3] {
        assert_eq!(permit.begin(rig.at(20_000), MIDDLE), None);
    }
    let moved = hung[3].begin(rig.at(120_000), MIDDLE).expect("three hang");
    assert_eq!(moved.reason.code(), "stalled");
    assert!(rig.breaker.admit_untimed(0).is_none(), "open");
    let timed = Rig::new(Trip::default().slow_limit(Duration::from_millis(100)));
    assert!(
        timed.breaker.admit_untimed(0).is_none(),
        "what is slow is timed"
    );
}

#[test]
fn a_snapshot_tells_the_numbers_of_the_outage() {
    let rig = Rig::new(Trip::default().no_consecutive_failures());
    for _ in 0..8 {
        rig.call(3_000, CallOutcome::Success);
    }
    rig.trip(4_000);
    let snapshot = rig.snapshot(4_500);
    assert_eq!(snapshot.state, BreakerState::Open);
    assert_eq!(snapshot.mode, BreakerMode::Auto);
    assert_eq!(snapshot.since, rig.at(4_000));
    assert_eq!(snapshot.next_probe_at, Some(rig.at(5_000)));
    assert_eq!(snapshot.opens_in_a_row, 1);
    let reason = snapshot.reason.expect("a rule tripped").to_string();
    assert_eq!(reason, "17 of 25 calls failed in 10s");
    let refusal = rig.acquire(4_500).expect_err("open");
    assert_eq!(refusal.reason, snapshot.reason);
    assert_eq!(refusal.retry_after, Duration::from_millis(500));
    assert_eq!(refusal.last_failure, Some(FailureClass::Unhealthy));
}

#[test]
fn without_the_stall_rule_nothing_is_counted_in_flight() {
    let rig = Rig::new(Trip::default().no_stall());
    let _permit = rig.acquire(0).expect("closed");
    assert_eq!(rig.snapshot(0).in_flight, None);
    assert_eq!(rig.tick(3_600_000), None);
}

#[test]
fn callers_that_leave_and_no_answer_trip_and_a_shortage_of_our_own_does_not() {
    let rig = Rig::new(Trip::default());
    for n in 0..40 {
        assert_eq!(rig.call(n * 240, abandoned(100)), None, "within one window");
    }
    // A whole window without an answer. That our pool has nothing to give is none of theirs.
    let saturated = failed(FailureClass::Saturated);
    assert_eq!(rig.call(10_100, saturated), None);
    let moved = rig.call(10_100, abandoned(100)).expect("nobody answers");
    assert_eq!(moved.reason.code(), "unanswered");
}
