//! The states of an acquire: idle, waiting, working, and each of its ends.

use super::{
    scripted::{Fault, MS, Pool, acquired, is_refused, step, waits},
    *,
};
use crate::{CallKind, Cause, DependencyState, Failure};

fn down() -> Failure {
    Failure::new(FailureClass::Unreachable, "connection refused")
}

#[test]
fn until_it_is_polled_it_is_nobody() {
    let start = origin();
    let pool = Pool::new(start);
    let unpolled = pool.acquire(None);
    assert_eq!(unpolled.wake_at(), None);
    assert_eq!(pool.taken(start), (0, 0));
    assert_eq!(pool.connects(), 0);
    assert!(unpolled.detach(start).is_none());

    // It has waited since it was polled, and not since it was made.
    let all: Vec<_> = (0..4).map(|_| lend(&pool.gate, start)).collect();
    let mut late = pool.acquire(None);
    let polled = start + 60 * SECOND;
    waits(&mut late, polled);
    assert_eq!(late.wake_at(), Some(polled + SECOND));
    let refusal = is_refused(&mut late, polled + 2 * SECOND);
    assert_eq!(exhausted(&refusal).waited, 2 * SECOND);
    drop(all);
}

#[test]
fn an_answer_is_a_connection_with_its_place_and_its_permit() {
    let start = origin();
    let pool = Pool::new(start);
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, start);
    assert_eq!(pool.taken(start), (0, 1));
    assert_eq!(acquire.wake_at(), Some(start + PROBE_AFTER));
    pool.connect(0, Ok(5));
    let acquired = acquired(&mut acquire, start + MS);
    assert_eq!((acquired.connection, pool.taken(start)), (5, (1, 0)));
    assert!(acquire.detach(start).is_none(), "it has come to its end");
    let (_, lease) = acquired.settle(start + MS);
    assert_eq!(pool.state.calls().of(CallKind::Success), 1);
    lease.give_back(start + SECOND);
    assert_eq!(pool.taken(start), (0, 0));
}

#[test]
fn one_who_waits_begins_at_its_turn_and_leaves_by_itself() {
    let start = origin();
    let pool = Pool::new(start);
    let mut held: Vec<_> = (0..4).map(|_| lend(&pool.gate, start)).collect();
    let (mut first, mut second) = (pool.acquire(None), pool.acquire(None));
    waits(&mut first, start);
    waits(&mut second, start);
    assert_eq!(first.wake_at(), Some(start + SECOND));
    assert!(second.detach(start + MS).is_none());
    assert_eq!(pool.gate.snapshot(start).cancelled, 1);
    assert_eq!(pool.connects(), 0, "the driver has not been asked");
    held.remove(0).give_back(start + MS);
    waits(&mut first, start + MS);
    assert_eq!((pool.connects(), pool.taken(start)), (1, (3, 1)));
}

#[test]
fn one_who_waits_is_refused_at_the_earlier_of_its_deadline_and_the_longest_wait() {
    let start = origin();
    let pool = Pool::new(start);
    let _held: Vec<_> = (0..4).map(|_| lend(&pool.gate, start)).collect();
    for (left, ends) in [(Some(SECOND), SECOND), (Some(9 * SECOND), 2 * SECOND)] {
        let mut acquire = pool.acquire(left.map(|left| start + left));
        waits(&mut acquire, start);
        waits(&mut acquire, start + ends - MS);
        let refusal = is_refused(&mut acquire, start + ends);
        let pool = exhausted(&refusal);
        assert_eq!((pool.in_use, pool.waited), (4, ends));
        assert_eq!(pool.class, FailureClass::Saturated);
    }
    assert_eq!(pool.gate.snapshot(start).waiting, 0);
}

#[test]
fn what_one_hears_of_the_server_is_told_to_all_who_are_late() {
    let start = origin();
    let pool = Pool::new(start);
    let mut all: Vec<_> = (0..3).map(|_| pool.acquire(None)).collect();
    let late = start + PROBE_AFTER;
    for acquire in &mut all {
        waits(acquire, start);
        waits(acquire, late);
    }
    assert_eq!(pool.questions(), 1);
    pool.answer(0, Err(down()));
    for acquire in &mut all {
        let refusal = is_refused(acquire, late + MS);
        let Evidence::DependencyDown(seen) = refusal.evidence() else {
            panic!("another cause: {refusal:?}")
        };
        assert_eq!(&*seen.last_error, "connection refused");
    }
    assert_eq!(pool.state.calls().of(CallKind::Failure), 3);
    assert_eq!(pool.taken(late), (0, 0));
    let connects = pool.driver.connects.lock().expect("no panic");
    assert!(connects.iter().all(scripted::Answer::is_cut));
}

#[test]
fn a_pool_that_is_silent_beside_a_server_that_answers_is_busy() {
    let start = origin();
    let pool = Pool::new(start);
    pool.driver.in_use.store(4, Ordering::Relaxed);
    let (mut hasty, mut patient) = (pool.acquire(Some(start + 500 * MS)), pool.acquire(None));
    waits(&mut hasty, start);
    waits(&mut patient, start);
    waits(&mut hasty, start + PROBE_AFTER);
    pool.answer(0, Ok(()));
    waits(&mut hasty, start + PROBE_AFTER);
    // The answer is news to all who waited when it was asked for.
    waits(&mut patient, start + PROBE_AFTER);
    waits(&mut patient, start + 2 * PROBE_AFTER);
    assert_eq!(pool.questions(), 1);

    let cut = is_refused(&mut hasty, start + 500 * MS);
    assert_eq!(cut.cause(), Cause::PoolExhausted, "also at a deadline");
    // Whoever has the connections may give one back for as long as one may wait.
    waits(&mut patient, start + SECOND);
    let refusal = is_refused(&mut patient, start + 2 * SECOND);
    let seen = exhausted(&refusal);
    assert_eq!((seen.in_use, seen.class), (4, FailureClass::Saturated));
    let calls = pool.state.calls();
    assert_eq!(calls.of(CallKind::Failure) + calls.of(CallKind::Timeout), 0);
}

#[test]
fn silence_of_pool_and_server_is_a_failure_at_the_longest_connect() {
    let start = origin();
    let pool = Pool::new(start);
    // The driver's own time may be over sooner, and means the same.
    for answer in [None, Some(Fault::TimedOut)] {
        let nth = pool.connects();
        let mut acquire = pool.acquire(None);
        waits(&mut acquire, start);
        waits(&mut acquire, start + PROBE_AFTER);
        assert_eq!(acquire.wake_at(), Some(start + SECOND));
        let now = match answer {
            None => start + SECOND,
            Some(fault) => {
                pool.connect(nth, Err(fault));
                start + 900 * MS
            }
        };
        let refusal = is_refused(&mut acquire, now);
        let Evidence::DependencyDown(seen) = refusal.evidence() else {
            panic!("another cause: {refusal:?}")
        };
        assert_eq!(seen.class, FailureClass::Timeout, "{refusal:?}");
        // What the driver still does goes on for others; its own end ends it.
        let goes_on = acquire.detach(now).is_some();
        assert_eq!(goes_on, now == start + SECOND);
        assert_eq!(pool.taken(now), (0, 0), "cut by this test");
    }
    assert_eq!(pool.state.calls().of(CallKind::Timeout), 2);
}

#[test]
fn an_error_that_says_nothing_about_the_server_is_handed_on() {
    let start = origin();
    let pool = Pool::new(start);
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, start);
    pool.connect(0, Err(Fault::Closed));
    let end = step(&mut acquire, start);
    assert!(
        matches!(end, Poll::Ready(Err(PoolError::Driver(Fault::Closed)))),
        "{end:?}"
    );
    assert_eq!(pool.state.calls().of(CallKind::Failure), 0);
    assert_eq!(pool.taken(start), (0, 0));

    let mut acquire = pool.acquire(None);
    waits(&mut acquire, start);
    pool.connect(1, Err(Fault::Down(down())));
    let refusal = is_refused(&mut acquire, start);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
}

#[test]
fn an_open_breaker_refuses_before_a_place_is_taken_and_at_the_turn() {
    let start = origin();
    let pool = Pool::new(start);
    let mut held: Vec<_> = (0..4).map(|_| lend(&pool.gate, start)).collect();
    let mut waiting = pool.acquire(None);
    waits(&mut waiting, start);
    let mut now = start;
    while pool.state.refusal(now).is_none() {
        now += SECOND / 2;
        let state = Arc::clone(&pool.state);
        let permit = DependencyState::try_acquire(state, now, 0, 7).expect("it is closed");
        permit.fail(FailureClass::Unreachable.into(), &down(), now);
    }
    let mut late = pool.acquire(None);
    let refusal = is_refused(&mut late, now);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert!(!refusal.safe_to_retry(), "a handler was entered");
    pool.driver.idle.store(1, Ordering::Relaxed);
    held.remove(0).give_back(now);
    let refusal = is_refused(&mut waiting, now);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert_eq!(pool.taken(now), (3, 0), "its turn is not kept");
    assert_eq!(pool.connects(), 0);
}

#[test]
#[should_panic(expected = "not polled after it was ready")]
fn an_acquire_that_was_cut_is_not_polled_again() {
    let start = origin();
    let pool = Pool::new(start);
    let mut hasty = pool.acquire(Some(start + MS));
    waits(&mut hasty, start);
    let _ = is_refused(&mut hasty, start + MS);
    let _ = step(&mut hasty, start + MS);
}

/// Goal: a server that is far away, or slow, is not asked for more because of that. Method: each
/// idle connection answers after 150 ms, while another lies idle; then one answers nothing.
#[test]
fn a_test_that_takes_as_long_as_tests_take_is_not_late() {
    let mut now = origin();
    let pool = Pool::new(now);
    pool.driver.idle.store(2, Ordering::Relaxed);
    let begun = || (pool.connects(), pool.questions());
    let mut late = Vec::new();
    for _ in 0..6 {
        let mut acquire = pool.acquire(None);
        let nth = begun().0;
        waits(&mut acquire, now);
        waits(&mut acquire, now + PROBE_AFTER);
        late.push(begun().0 > nth + 1);
        now += 150 * MS;
        pool.connect(nth, Ok(1));
        let (_, lease) = acquired(&mut acquire, now).settle(now);
        lease.give_back(now);
        drop(acquire.detach(now));
    }
    assert_eq!(late, [true, false, false, false, false, false]);
    let (connects, questions) = begun();
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, now);
    waits(&mut acquire, now + 200 * MS);
    assert_eq!(begun(), (connects + 1, questions));
    waits(&mut acquire, now + 300 * MS);
    assert_eq!(begun(), (connects + 2, questions + 1), "now it is late");
}
