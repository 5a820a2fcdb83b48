//! Whom a request's short deadline concerns: itself.

use super::{
    scripted::{MS, Pool, is_refused, step, waits},
    *,
};
use crate::{CallKind, Cause, Failure};

/// Goal: the answer that everybody hears is not cut by the deadline of the one who asks.
#[test]
fn a_short_deadline_is_no_evidence_for_others() {
    let start = origin();
    let pool = Pool::new(start);
    let mut hasty = pool.acquire(Some(start + 150 * MS));
    let mut patient = pool.acquire(None);
    let late = start + PROBE_AFTER;
    for acquire in [&mut hasty, &mut patient] {
        waits(acquire, start);
        waits(acquire, late);
    }
    assert_eq!(pool.questions(), 1, "one asks for all");
    let until = pool.driver.questions.lock().expect("no panic")[0].0;
    assert!(until.remaining(late) > 500 * MS, "{until:?}");
    let _ = is_refused(&mut hasty, start + 150 * MS);
    waits(&mut patient, start + 150 * MS);
}

/// Goal: a request that nobody waits for costs the pool no connection.
#[test]
fn nothing_is_begun_for_a_deadline_that_is_over() {
    let start = origin();
    let pool = Pool::new(start);
    let mut gone = pool.acquire(Some(start));
    let _ = is_refused(&mut gone, start);
    assert_eq!(pool.connects(), 0);
    assert!(gone.detach(start).is_none());
    assert_eq!(pool.taken(start), (0, 0));
}

/// Goal: a pool that is too small is not a server that is down, also where the turn comes
/// just before the deadline, or with it.
#[test]
fn one_whose_time_went_by_in_the_queue_is_refused_by_the_queue() {
    let start = origin();
    let until = start + 120 * MS;
    for turn_at in [start + 100 * MS, until] {
        let pool = Pool::new(start);
        let mut held: Vec<_> = (0..4).map(|_| lend(&pool.gate, start)).collect();
        let mut late = pool.acquire(Some(until));
        waits(&mut late, start);
        pool.driver.idle.store(1, Ordering::Relaxed);
        held.remove(0).give_back(turn_at);
        if turn_at < until {
            waits(&mut late, turn_at);
        }
        pool.driver.in_use.store(4, Ordering::Relaxed);
        let refusal = is_refused(&mut late, until);
        let seen = exhausted(&refusal);
        assert_eq!((seen.waited, seen.in_use), (120 * MS, 4), "{refusal:?}");
        assert_eq!(seen.class, FailureClass::Saturated);
        assert_eq!(pool.gate.snapshot(until).trouble, None);
        // Its place is there for the next, with what was begun in it or without.
        assert_eq!(late.detach(until).is_some(), turn_at < until);
    }
    // With the same deadline and no queue, it was the server that kept it waiting.
    let pool = Pool::new(start);
    let mut alone = pool.acquire(Some(start + 20 * MS));
    waits(&mut alone, start);
    let refusal = is_refused(&mut alone, start + 20 * MS);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
}

/// Goal: what a hasty request has begun is finished for the pool, and counted once.
#[test]
fn a_deadline_refuses_its_request_and_the_connection_goes_to_the_pool() {
    let start = origin();
    let pool = Pool::new(start);
    let until = start + 20 * MS;
    let mut hasty = pool.acquire(Some(until));
    waits(&mut hasty, start);
    assert_eq!(hasty.wake_at(), Some(until));
    let refusal = is_refused(&mut hasty, until);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert_eq!(
        pool.taken(until),
        (0, 1),
        "the driver works on in its place"
    );

    let mut detached = hasty.detach(until).expect("there is work");
    waits(&mut detached, until);
    let later = start + 80 * MS;
    pool.connect(0, Ok(17));
    assert!(step(&mut detached, later).is_ready());
    assert_eq!(pool.taken(later), (1, 0), "until it is back");
    let (connection, lease) = pool.driver.given_back.lock().expect("no panic").remove(0);
    assert_eq!(connection, 17);
    lease.give_back(later);
    assert_eq!(pool.taken(later), (0, 0));
    assert_eq!(pool.gate.snapshot(later).refused, 1);
    let calls = pool.state.calls();
    assert_eq!(calls.of(CallKind::Success), 1, "there was a connection");
    assert_eq!(
        calls.of(CallKind::Failure) + calls.of(CallKind::Abandoned),
        0
    );
}

/// Goal: how long nobody holds a connection is not how long requests hold one.
#[test]
fn a_connection_that_goes_straight_back_predicts_no_short_holds() {
    let mut now = origin();
    let pool = Pool::new(now);
    for nth in 0..20 {
        let mut hasty = pool.acquire(Some(now + MS));
        waits(&mut hasty, now);
        now += MS;
        let _ = is_refused(&mut hasty, now);
        let mut detached = hasty.detach(now).expect("there is work");
        pool.connect(nth, Ok(1));
        assert!(step(&mut detached, now).is_ready());
        let (_, lease) = pool.driver.given_back.lock().expect("no panic").remove(0);
        lease.give_back(now);
    }
    assert_eq!(pool.gate.snapshot(now).mean_hold, None);
}

/// Goal: work without a request ends too, and what it found out is known, but it refuses
/// nobody.
#[test]
fn work_that_fails_after_its_request_has_gone_is_evidence_and_no_refusal() {
    let start = origin();
    let pool = Pool::new(start);
    let mut gone = pool.acquire(None);
    waits(&mut gone, start);
    let mut detached = gone.detach(start).expect("there is work");
    waits(&mut detached, start + PROBE_AFTER);
    pool.answer(0, Err(Failure::new(FailureClass::Unreachable, "refused")));
    assert!(step(&mut detached, start + PROBE_AFTER).is_ready());
    let seen = pool.gate.snapshot(start + PROBE_AFTER);
    assert_eq!((seen.connecting, seen.refused), (0, 0));
    assert_eq!(
        seen.trouble.map(|trouble| trouble.failure.class()),
        Some(FailureClass::Unreachable)
    );
    assert_eq!(pool.state.calls().of(CallKind::Failure), 1);

    // Against a server that says nothing at all, it is evidence after the longest connect,
    // and goes on for whoever needs it then.
    let mut gone = pool.acquire(None);
    waits(&mut gone, start + SECOND);
    let mut detached = gone.detach(start + SECOND).expect("there is work");
    assert_eq!(detached.wake_at(), Some(start + SECOND + PROBE_AFTER));
    waits(&mut detached, start + SECOND + PROBE_AFTER);
    assert_eq!(detached.wake_at(), Some(start + 2 * SECOND));
    waits(&mut detached, start + 2 * SECOND);
    assert_eq!(pool.state.calls().of(CallKind::Timeout), 1);
    assert_eq!(pool.taken(start + 2 * SECOND), (0, 1));
    assert_eq!(detached.wake_at(), Some(start + 31 * SECOND));
    assert!(step(&mut detached, start + 31 * SECOND).is_ready());
    assert_eq!(pool.taken(start + 31 * SECOND), (0, 0));
    assert_eq!(pool.state.calls().of(CallKind::Timeout), 1);
}
