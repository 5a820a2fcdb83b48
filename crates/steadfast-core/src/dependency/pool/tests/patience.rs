//! How long one waits with default settings: for as long as the bare pool would, unless that is
//! in vain.

use super::{
    scripted::{Fault, MS, Pool, acquired, is_refused, step, waits},
    *,
};
use crate::{CallKind, Cause, Failure};

/// A pool of four at its defaults.
fn pool(now: Instant) -> Pool {
    Pool::with(&PoolSettings::new(4), now)
}

/// Gives a connection back to the driver's pool, and then its place.
fn give_back(pool: &Pool, lease: PoolLease, now: Instant) {
    pool.driver.idle.fetch_add(1, Ordering::Relaxed);
    lease.give_back(now);
}

/// Answers a connect with a connection that lay idle.
fn take(pool: &Pool, nth: usize) {
    pool.driver.idle.fetch_sub(1, Ordering::Relaxed);
    pool.connect(nth, Ok(1));
}

fn hangs() -> Failure {
    let text = "it takes connections and has not answered";
    Failure::new(FailureClass::Stuck, text)
}

/// Has a connect answered after so long, which has nobody waiting for it later.
fn connect_once(pool: &Pool, took: Duration, now: Instant) -> Instant {
    let nth = pool.connects();
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, now);
    pool.connect(nth, Ok(1));
    let (_, lease) = acquired(&mut acquire, now + took).settle(now + took);
    lease.give_back(now + took);
    now + took
}

/// Goal: a cold pool whose connects take longer than is usual serves whoever waits, those too
/// who came when all places were taken. Method: connects of 4 s, and a question to the server
/// that hears nothing either.
#[test]
fn a_first_connect_that_is_slow_is_no_failure() {
    let start = origin();
    let pool = pool(start);
    let mut all: Vec<_> = (0..8).map(|_| pool.acquire(None)).collect();
    for at in [0, 100, 1_000, 1_900, 2_000, 3_000] {
        for acquire in &mut all {
            waits(acquire, start + at * MS);
        }
        if at == 1_000 {
            pool.answer(0, Err(hangs()));
        }
    }
    // One that comes now cuts nobody's connect, and waits as well.
    let mut late = pool.acquire(None);
    waits(&mut late, start + 3 * SECOND);
    for acquire in &mut all {
        waits(acquire, start + 3 * SECOND);
    }
    assert_eq!((pool.connects(), pool.taken(start)), (4, (0, 4)));
    let mut now = start + 4 * SECOND;
    let mut held = Vec::new();
    for (nth, acquire) in all[..4].iter_mut().enumerate() {
        pool.connect(nth, Ok(1));
        held.push(acquired(acquire, now).settle(now).1);
        now += 10 * MS;
    }
    for acquire in all[4..].iter_mut().chain([&mut late]) {
        give_back(&pool, held.remove(0), now);
        waits(acquire, now);
        take(&pool, pool.connects() - 1);
        held.push(acquired(acquire, now).settle(now).1);
    }
    let calls = pool.state.calls();
    let failed = calls.of(CallKind::Failure) + calls.of(CallKind::Timeout);
    assert_eq!((calls.of(CallKind::Success), failed), (9, 0));
    assert_eq!(pool.gate.snapshot(now).refused, 0);
}

/// Goal: a slow connect ends with a failure, or with the time that the driver gives it.
#[test]
fn a_first_connect_is_waited_for_until_it_fails_or_the_drivers_time_is_over() {
    let start = origin();
    let driver = PoolSettings::new(4).driver_waits(Some(9 * SECOND), Some(9 * SECOND));
    let pool = Pool::with(&driver, start);
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, start);
    waits(&mut acquire, start + 8 * SECOND);
    let refusal = is_refused(&mut acquire, start + 9 * SECOND);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
    assert_eq!(pool.state.calls().of(CallKind::Timeout), 1);
    drop(acquire);

    let mut acquire = pool.acquire(None);
    let now = start + 20 * SECOND;
    waits(&mut acquire, now);
    waits(&mut acquire, now + 3 * SECOND);
    let down = Failure::new(FailureClass::Unreachable, "connection refused");
    pool.connect(1, Err(Fault::Down(down)));
    let refusal = is_refused(&mut acquire, now + 3 * SECOND);
    assert_eq!(refusal.cause(), Cause::DependencyDown);

    // What is set by hand holds for the first too.
    let by_hand = Pool::with(&PoolSettings::new(4).connect_max(SECOND), start);
    let mut acquire = by_hand.acquire(None);
    waits(&mut acquire, start);
    let refusal = is_refused(&mut acquire, start + SECOND);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
}

/// Goal: a server that has given connections quickly and hangs is told of soon; one that always
/// takes long is given the time.
#[test]
fn a_silence_is_measured_by_what_connects_took() {
    for (took, patience) in [(20 * MS, 2 * SECOND), (1_500 * MS, 4_500 * MS)] {
        let start = origin();
        let pool = pool(start);
        let now = connect_once(&pool, took, start) + SECOND;
        let mut acquire = pool.acquire(None);
        waits(&mut acquire, now);
        waits(&mut acquire, now + patience - MS);
        let refusal = is_refused(&mut acquire, now + patience);
        assert_eq!(refusal.cause(), Cause::DependencyDown, "{took:?}");
        assert_eq!(pool.state.calls().of(CallKind::Timeout), 1);
        // Who waits for nothing but that is told as well.
        let detached = acquire.detach(now + patience);
        assert!(detached.is_some(), "the connect goes on");
    }
}

/// Goal: who comes when all places are taken by connects that hang does not wait for the whole
/// of the driver's time.
#[test]
fn behind_connects_that_hang_nobody_waits_for_long() {
    let start = origin();
    let pool = pool(start);
    let now = connect_once(&pool, 20 * MS, start);
    let mut all: Vec<_> = (0..4).map(|_| pool.acquire(None)).collect();
    let mut behind = pool.acquire(None);
    for acquire in all.iter_mut().chain([&mut behind]) {
        waits(acquire, now);
    }
    let late = now + 2 * SECOND;
    let detached: Vec<_> = all
        .drain(..)
        .filter_map(|mut acquire| {
            let _ = is_refused(&mut acquire, late);
            acquire.detach(late)
        })
        .collect();
    assert_eq!(detached.len(), 4);
    let refusal = is_refused(&mut behind, late);
    assert_eq!(refusal.cause(), Cause::DependencyDown);
}

/// Goal: a queue that moves is waited in for as long as the bare pool lets one wait. Method: 16
/// at once on two connections that are held for half a second each.
#[test]
fn a_queue_that_moves_is_waited_in() {
    let start = origin();
    let pool = Pool::with(&PoolSettings::new(2), start);
    let mut held: Vec<_> = (0..2).map(|_| lend(&pool.gate, start)).collect();
    let mut queue: Vec<_> = (0..14).map(|_| pool.acquire(None)).collect();
    for acquire in &mut queue {
        waits(acquire, start);
    }
    let mut now = start;
    while !queue.is_empty() {
        now += SECOND / 2;
        for lease in std::mem::take(&mut held) {
            give_back(&pool, lease, now);
            let mut first = queue.remove(0);
            waits(&mut first, now);
            take(&pool, pool.connects() - 1);
            held.push(acquired(&mut first, now).settle(now).1);
        }
        for acquire in &mut queue {
            waits(acquire, now);
        }
    }
    assert_eq!(now, start + 7 * SECOND / 2);
    assert_eq!(pool.gate.snapshot(now).refused, 0);
}

/// Goal: a pool whose holders give nothing back says so before its clients have gone, unless
/// such holds are usual or announced.
#[test]
fn a_queue_that_does_not_move_is_left() {
    let start = origin();
    let ends_after = |earlier: Option<Duration>, expected: Option<Duration>| {
        let pool = Pool::with(&PoolSettings::new(1), start);
        let mut now = start;
        if let Some(hold) = earlier {
            let lease = lend(&pool.gate, now);
            now += hold;
            lease.give_back(now);
        }
        let held = lend(&pool.gate, now);
        if let Some(hold) = expected {
            held.expect_up_to(hold, now);
        }
        let mut acquire = pool.acquire(None);
        for at in 0..=30 {
            let later = now + at * SECOND;
            if let Poll::Ready(end) = step(&mut acquire, later) {
                let Err(PoolError::Refused(refusal)) = end else {
                    panic!("there is no connection")
                };
                assert_eq!(exhausted(&refusal).in_use, 1);
                assert!(refusal.retry_after() <= 2 * SECOND);
                return at;
            }
            assert!(acquire.wake_at().is_some_and(|at| at > later));
        }
        panic!("it waits for ever")
    };
    assert_eq!(ends_after(None, None), 4);
    assert_eq!(ends_after(Some(3 * SECOND), None), 6);
    assert_eq!(ends_after(Some(60 * SECOND), None), 10, "it is stuck");
    assert_eq!(ends_after(None, Some(20 * SECOND)), 24);
    assert_eq!(ends_after(None, Some(60 * SECOND)), 30, "as the bare one");
}

/// Goal: a prediction refuses only if it is far beyond the limit. Method: one place of ten gives
/// twelve turns in six seconds, and those who come have five seconds each.
#[test]
fn a_prediction_must_be_far_beyond_the_limit() {
    let start = origin();
    let gate = gate(&PoolSettings::new(10), start);
    let mut held = lend(&gate, start);
    let _others: Vec<_> = (0..9).map(|_| lend(&gate, start)).collect();
    let bell = Arc::new(Bell::default());
    let mut queue: Vec<_> = (0..20).map(|_| wait(&gate, start)).collect();
    let mut now = start;
    for _ in 0..12 {
        now += SECOND / 2;
        held.give_back(now);
        let Poll::Ready(mut lease) = poll(&mut queue.remove(0), &bell, now) else {
            panic!("it is its turn")
        };
        lease.connected(now);
        held = lease;
    }
    let deadline = Some(Deadline::at(now + 5 * SECOND));
    while let PoolEntry::Wait(ticket) = gate.enter(deadline, Location::caller(), now) {
        queue.push(ticket);
    }
    // 29 turns in six seconds are the most that chance may make of twelve, so that 24 can be
    // served in five; half as many more may come.
    assert_eq!(queue.len(), 36);
}

/// Goal: a server that hangs in the middle of a query is known before that query is given up.
#[test]
fn a_hold_does_not_vouch_for_a_server_that_answers_nobody() {
    let start = origin();
    let pool = Pool::new(start);
    let mut held: Vec<_> = (0..2).map(|_| lend(&pool.gate, start)).collect();
    let mut acquire = pool.acquire(None);
    let asked = start + SECOND;
    waits(&mut acquire, asked - PROBE_AFTER);
    waits(&mut acquire, asked);
    pool.answer(0, Err(Failure::new(FailureClass::Stuck, "it hangs")));
    let now = asked + SECOND / 2;
    waits(&mut acquire, now);
    let trouble = |now| PoolGauge::trouble(&*pool.gate, now);
    assert!(trouble(now).is_some(), "nobody was answered since");
    held.remove(0).give_back(now);
    assert_eq!(trouble(now), None, "somebody was");
}
