//! Two threads and every interleaving of their accesses that loom can find.

use std::time::Duration;

use loom::{sync::Arc, thread};

use super::*;
use crate::{FailureClass, testing::origin};

const MIDDLE: u64 = 1 << 63;
const FAILED: CallOutcome = CallOutcome::Failure(CallFailure::new(FailureClass::Unhealthy));

fn trip() -> Trip {
    Trip::default()
        .no_stall()
        .no_failure_ratio()
        .consecutive_failures(1)
        .consecutive_spread(Duration::ZERO)
        .probe_successes(1)
}

fn breaker(trip: Trip, start: Instant) -> Arc<Breaker> {
    let rules = trip.build().expect("the test's settings are right");
    Arc::new(Breaker::new(rules, 2, start))
}

fn fail(breaker: &Breaker, now: Instant, stripe: usize) -> Option<BreakerTransition> {
    let permit = breaker.try_acquire(now, stripe, MIDDLE).ok()?;
    permit.settle(FAILED, now)
}

/// Runs one half on another thread and returns what both did.
fn race<A: 'static, B>(
    breaker: &Arc<Breaker>,
    other: impl FnOnce(&Breaker) -> A + 'static,
    mine: impl FnOnce(&Breaker) -> B,
) -> (A, B) {
    let shared = Arc::clone(breaker);
    let thread = thread::spawn(move || other(&shared));
    let mine = mine(breaker);
    (thread.join().expect("the other thread ends"), mine)
}

#[test]
fn loom_two_failures_in_a_row_that_race_trip_once() {
    let start = origin();
    loom::model(move || {
        let breaker = breaker(trip().consecutive_failures(2), start);
        let first = breaker.try_acquire(start, 0, MIDDLE).expect("closed");
        let shared = Arc::clone(&breaker);
        let other = thread::spawn(move || fail(&shared, start, 1).is_some());
        let mine = first.settle(FAILED, start).is_some();
        let theirs = other.join().expect("the other thread ends");
        assert!(mine ^ theirs, "one transition, not {mine} and {theirs}");
    });
}

/// Each records on its own stripe; neither may overlook the other's failure. Each takes
/// some thirty steps, too many for all orders; three switches against a thread's will
/// reach every order that `window` shows to matter.
#[test]
fn loom_two_failures_on_two_stripes_trip_the_ratio_once() {
    let start = origin();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = Some(3);
    model.check(move || {
        let trip = trip().no_consecutive_failures().calls_min(2);
        let breaker = breaker(trip.failure_ratio(0.3), start);
        let first = breaker.try_acquire(start, 0, MIDDLE).expect("closed");
        let second = Breaker::try_acquire_owned(Arc::clone(&breaker), start, 1, MIDDLE);
        let second = second.expect("closed");
        let other = thread::spawn(move || second.settle(FAILED, start).is_some());
        let mine = first.settle(FAILED, start).is_some();
        let theirs = other.join().expect("the other thread ends");
        assert!(mine ^ theirs, "one transition, not {mine} and {theirs}");
    });
}

/// Whoever is refused is told why: the note is there before the step.
#[test]
fn loom_a_call_that_races_a_trip_is_admitted_or_told_why() {
    let start = origin();
    loom::model(move || {
        let breaker = breaker(trip(), start);
        let (moved, refusal) = race(
            &breaker,
            move |breaker| fail(breaker, start, 0).is_some(),
            |breaker| match breaker.try_acquire(start, 1, MIDDLE) {
                Ok(permit) => {
                    assert_eq!(permit.generation(), 1);
                    assert_eq!(permit.settle(CallOutcome::Success, start), None);
                    None
                }
                Err(refusal) => Some(refusal),
            },
        );
        assert!(moved);
        if let Some(refusal) = refusal {
            let reason = refusal.reason.expect("the reason is written first");
            assert_eq!(reason.code(), "consecutive-failures");
            assert_eq!(refusal.since, start);
            assert!(refusal.retry_after > Duration::ZERO);
        }
    });
}

#[test]
fn loom_a_probes_late_success_and_the_end_of_its_lease_decide_once() {
    let start = origin();
    loom::model(move || {
        let breaker = breaker(trip(), start);
        fail(&breaker, start, 0).expect("it trips");
        let due = start + Duration::from_secs(1);
        let probe = Breaker::try_acquire_owned(Arc::clone(&breaker), due, 0, MIDDLE);
        let probe = probe.expect("a probe");
        let over = due + Duration::from_secs(5);
        let early = due + Duration::from_millis(4_999);
        let other = thread::spawn(move || probe.settle(CallOutcome::Success, early));
        let mine = breaker.tick(over, MIDDLE);
        let theirs = other.join().expect("the other thread ends");
        let moved = match (mine, theirs) {
            (Some(moved), None) | (None, Some(moved)) => moved,
            both => panic!("one transition, not {both:?}"),
        };
        assert_eq!(breaker.word().state(), moved.to);
        assert_eq!(breaker.word().generation(), moved.generation);
    });
}

#[test]
fn loom_two_callers_that_find_the_wait_over_start_one_probe() {
    let start = origin();
    loom::model(move || {
        let breaker = breaker(trip(), start);
        fail(&breaker, start, 0).expect("it trips");
        let due = start + Duration::from_secs(1);
        let arrive = move |breaker: Arc<Breaker>| match Breaker::try_acquire_owned(
            breaker, due, 0, MIDDLE,
        ) {
            Ok(mut permit) => {
                let moved = permit.take_transition().is_some();
                (Some(permit), moved)
            }
            Err(refusal) => (None, refusal.transition.is_some()),
        };
        let shared = Arc::clone(&breaker);
        let other = thread::spawn(move || arrive(shared));
        let (mine, i_moved) = arrive(Arc::clone(&breaker));
        let (theirs, they_moved) = other.join().expect("the other thread ends");
        assert!(mine.is_some() ^ theirs.is_some(), "one probe");
        assert!(i_moved ^ they_moved, "one transition");
    });
}

#[test]
fn loom_a_trip_does_not_undo_what_a_person_forces() {
    let start = origin();
    loom::model(move || {
        let breaker = breaker(trip(), start);
        let (_, moved) = race(
            &breaker,
            move |breaker| fail(breaker, start, 0),
            |breaker| breaker.set_mode(BreakerMode::ForcedClosed, start),
        );
        assert!(moved.is_some());
        assert_eq!(breaker.word().mode(), BreakerMode::ForcedClosed);
        assert_eq!(breaker.word().state(), BreakerState::Closed);
    });
}

/// One slot a stripe under loom, so the second start hands the first call to the older
/// while it ends.
#[test]
fn loom_a_call_that_ends_while_its_slot_rolls_leaves_no_trace() {
    loom::model(|| {
        let pending = Arc::new(pending_calls::PendingCalls::new(1_000, 1));
        pending.start(0, 0);
        let other = {
            let pending = Arc::clone(&pending);
            thread::spawn(move || pending.end(0, 0))
        };
        pending.start(0, 2_000);
        other.join().expect("the other thread ends");
        assert_eq!(pending.look(2_000).calls, 1);
        // A count of older that went below zero and stayed there would hide this one.
        pending.start(0, 4_000);
        assert_eq!(pending.look(4_000).calls, 2);
        pending.end(0, 2_000);
        pending.end(0, 4_000);
        assert_eq!(pending.look(4_000), pending_calls::Pending::default());
    });
}

/// Begins a ramp at two seconds after `start`, by probes or by a check.
fn ramping(start: Instant, by_check: bool) -> (Arc<Breaker>, Instant) {
    let breaker = breaker(trip().ramp_start_ratio(0.01), start);
    fail(&breaker, start, 0).expect("it trips");
    if by_check {
        let due = start + Duration::from_secs(1);
        breaker.tick(due, MIDDLE).expect("the wait is over");
        let now = start + Duration::from_secs(12);
        let moved = breaker.check_vouches(due, now).expect("nobody called");
        assert_eq!(moved.to, BreakerState::Ramping);
        return (breaker, now);
    }
    let now = start + Duration::from_secs(2);
    let probe = breaker.try_acquire(now, 0, MIDDLE).expect("a probe");
    let moved = probe.settle(CallOutcome::Success, now).expect("one passes");
    assert_eq!(moved.to, BreakerState::Ramping);
    (breaker, now)
}

/// Its floor is one here.
#[test]
fn loom_of_two_calls_in_a_ramp_one_passes() {
    const UNLUCKY: u64 = MIDDLE | u32::MAX as u64;
    let start = origin();
    loom::model(move || {
        let (breaker, now) = ramping(start, false);
        let ask = move |breaker: &Breaker| {
            let permit = breaker.try_acquire(now, 0, UNLUCKY);
            permit.map(std::mem::forget).is_ok()
        };
        let (theirs, mine) = race(&breaker, ask, ask);
        assert!(theirs ^ mine, "{theirs} and {mine}");
    });
}

/// In a ramp that a check began, a success confirms and a failure ends: whichever comes
/// first, the failure is not lost, because here one in a row trips a confirmed ramp too.
#[test]
fn loom_a_failure_in_a_ramp_that_a_check_began_opens_whatever_confirms_it() {
    let start = origin();
    loom::model(move || {
        let (breaker, now) = ramping(start, true);
        let later = now + Duration::from_secs(20);
        let good = Breaker::try_acquire_owned(Arc::clone(&breaker), later, 0, MIDDLE);
        let bad = breaker.try_acquire(later, 1, MIDDLE).expect("all pass");
        let good = good.expect("all pass");
        let other = thread::spawn(move || good.settle(CallOutcome::Success, later));
        let moved = bad.settle(FAILED, later).expect("it opens");
        assert_eq!(moved.to, BreakerState::Open);
        assert_eq!(other.join().expect("the other thread ends"), None);
        assert_eq!(breaker.state(later), BreakerState::Open);
    });
}
