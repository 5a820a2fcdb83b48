//! A server that is restarted, and one that is gone for good.

use super::{
    super::restart::RESTART_MAX,
    scripted::{Fault, MS, Pool, Scripted, acquired, is_refused, waits},
    *,
};
use crate::{BreakerState, CallKind, Cause, Failure};

fn gone() -> Failure {
    Failure::new(FailureClass::Unreachable, "connection refused")
}

/// A pool whose server has given a connection that it took with it.
fn served(size: u32, now: Instant) -> Pool {
    let settings = PoolSettings::new(size).wait_max(30 * SECOND);
    let pool = Pool::with(&settings, now);
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, now);
    pool.connect(0, Ok(1));
    let (_, lease) = acquired(&mut acquire, now).settle(now);
    lease.give_back(now);
    pool
}

/// Starts at that moment, and is told that nobody listens when it probes.
fn starts(pool: &Pool, now: Instant) -> PoolAcquire<Scripted> {
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, now);
    let questions = pool.questions();
    waits(&mut acquire, now + PROBE_AFTER);
    assert_eq!(pool.questions(), questions + 1, "it probes");
    pool.answer(questions, Err(gone()));
    acquire
}

fn failures(pool: &Pool) -> u64 {
    pool.state.calls().of(CallKind::Failure)
}

#[test]
fn whoever_comes_while_a_server_is_restarted_is_served_by_the_connect_that_goes_on() {
    let start = origin();
    let pool = served(4, start);
    let mut acquire = starts(&pool, start);
    for ms in [100, 1_999, 2_000, 2_900] {
        waits(&mut acquire, start + ms * MS);
    }
    let seen = pool.gate.snapshot(start + SECOND);
    assert!(seen.trouble.is_some(), "it is said meanwhile: {seen:?}");
    assert_eq!(failures(&pool), 0);
    pool.connect(1, Ok(2));
    let acquired = acquired(&mut acquire, start + 2_900 * MS);
    assert_eq!(acquired.connection, 2);
    assert!(pool.gate.snapshot(start + 3 * SECOND).trouble.is_none());
}

#[test]
fn who_waits_for_one_that_does_not_come_back_is_told_why_when_it_is_no_restart() {
    let start = origin();
    let pool = served(4, start);
    let mut acquire = starts(&pool, start);
    waits(&mut acquire, start + PROBE_AFTER);
    let ends = start + PROBE_AFTER + RESTART_MAX;
    assert!(acquire.wake_at().is_some_and(|at| at <= ends));
    waits(&mut acquire, ends - MS);
    let refusal = is_refused(&mut acquire, ends);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert!(format!("{refusal:?}").contains("connection refused"));
    assert_eq!((failures(&pool), pool.taken(ends)), (1, (0, 0)));
    // Whoever comes now is told as soon as it is known.
    let mut late = starts(&pool, ends);
    let refusal = is_refused(&mut late, ends + PROBE_AFTER);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert_eq!(failures(&pool), 2);
}

#[test]
fn a_server_that_was_never_there_is_not_waited_for_nor_is_what_the_driver_gives_up() {
    let start = origin();
    let pool = Pool::new(start);
    let mut acquire = starts(&pool, start);
    let _told = is_refused(&mut acquire, start + PROBE_AFTER);

    let pool = served(4, start);
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, start);
    pool.connect(1, Err(Fault::Down(gone())));
    let _told = is_refused(&mut acquire, start + MS);
}

/// Goal: the queue of those who wait for a restart is bounded in time. Method: a pool of one,
/// and nine who wait for a turn that does not come.
#[test]
fn who_waits_for_a_turn_is_told_when_it_is_no_restart() {
    let start = origin();
    let pool = served(1, start);
    let mut first = starts(&pool, start);
    waits(&mut first, start + PROBE_AFTER);
    let mut waiting: Vec<_> = (0..9).map(|_| pool.acquire(None)).collect();
    for acquire in &mut waiting {
        waits(acquire, start + SECOND);
        waits(acquire, start + PROBE_AFTER + RESTART_MAX - MS);
    }
    let ends = start + PROBE_AFTER + RESTART_MAX;
    for acquire in &mut waiting {
        let at = acquire.wake_at().expect("it looks again");
        assert!(at <= ends + SECOND, "it looks once a second");
        let refusal = is_refused(acquire, ends);
        assert_eq!(refusal.cause(), Cause::DependencyDown);
    }
    assert_eq!(pool.connects(), 2, "nobody else has asked the server");
}

#[test]
fn an_outage_that_lasts_opens_the_breaker() {
    let start = origin();
    let pool = served(4, start);
    let mut now = start;
    let mut tries = 0;
    while pool.state.breaker().expect("called").state(now) == BreakerState::Closed {
        assert!(tries < 100, "it never opens");
        tries += 1;
        let mut acquire = pool.acquire(None);
        waits(&mut acquire, now);
        let questions = pool.questions();
        now += PROBE_AFTER;
        waits(&mut acquire, now);
        if pool.questions() > questions {
            pool.answer(questions, Err(gone()));
        }
        if now >= start + PROBE_AFTER + RESTART_MAX {
            let _told = is_refused(&mut acquire, now);
        } else {
            waits(&mut acquire, now);
            drop(acquire.detach(now));
        }
    }
    assert!(now <= start + RESTART_MAX + 2 * SECOND, "{:?}", now - start);
}
