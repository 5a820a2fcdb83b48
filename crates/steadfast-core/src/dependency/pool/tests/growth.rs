//! How the pool grows, and who is served meanwhile: a place in which a connection is opened is
//! never in the way of one that works.

use super::{
    scripted::{Fault, MS, Pool, Scripted, acquired, is_refused, step, waits},
    *,
};
use crate::{BreakerState, CallKind, Cause, Failure};

fn full() -> Failure {
    Failure::new(FailureClass::RefusedByServer, "too many clients (53300)")
}

fn failures(pool: &Pool) -> u64 {
    let calls = pool.state.calls();
    calls.of(CallKind::Failure) + calls.of(CallKind::Timeout)
}

/// Lends a connection that lies idle, as one who came before has it.
fn warm(pool: &Pool, now: Instant) -> PoolLease {
    let PoolEntry::Lend(mut lease) = enter(&pool.gate, now) else {
        panic!("a place is free")
    };
    lease.connected(now);
    lease
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

/// Goal: a burst on a warm connection, whose neighbours take long to be opened, is served by
/// the warm one in the order in which it came.
#[test]
fn whoever_waits_for_a_new_connection_gets_one_that_comes_back_first() {
    let start = origin();
    let pool = Pool::new(start);
    let mut held = warm(&pool, start);
    let mut all: Vec<_> = (0..8).map(|_| pool.acquire(None)).collect();
    for acquire in &mut all {
        waits(acquire, start);
    }
    assert_eq!((pool.connects(), pool.taken(start)), (3, (1, 3)));
    let mut now = start;
    let mut detached = Vec::new();
    for (nth, mut acquire) in all.into_iter().enumerate() {
        now += 5 * MS;
        give_back(&pool, held, now);
        waits(&mut acquire, now);
        let tests = pool.connects() - 1;
        assert_eq!(tests, 3 + nth, "it tests the one that came back");
        take(&pool, tests);
        let found = acquired(&mut acquire, now);
        detached.extend(acquire.detach(now));
        (_, held) = found.settle(now);
    }
    assert_eq!(detached.len(), 3, "the connects go on");
    assert_eq!(failures(&pool), 0);
    // The connects are slow, which is no evidence; then they are there for whoever comes.
    now = start + 1_500 * MS;
    for (nth, detached) in detached.iter_mut().enumerate() {
        waits(detached, now);
        pool.connect(nth, Ok(2));
        assert!(step(detached, now).is_ready());
    }
    assert_eq!(failures(&pool), 0);
    assert_eq!(pool.taken(now), (4, 0));
    assert_eq!(pool.driver.given_back.lock().expect("no panic").len(), 3);
    assert_eq!(pool.gate.snapshot(now).trouble, None);
}

#[test]
fn an_idle_connection_that_is_late_sends_its_asker_back_to_the_front() {
    let start = origin();
    let pool = Pool::new(start);
    pool.driver.idle.store(1, Ordering::Relaxed);
    let mut first = pool.acquire(None);
    waits(&mut first, start);
    pool.driver.idle.store(0, Ordering::Relaxed);
    let held: Vec<_> = (0..3).map(|_| warm(&pool, start)).collect();
    let mut second = pool.acquire(None);
    waits(&mut second, start);
    // What it tests turns out to be dead, and the driver connects anew.
    waits(&mut first, start + PROBE_AFTER);
    let mut held = held.into_iter();
    give_back(&pool, held.next().expect("three"), start + PROBE_AFTER);
    waits(&mut second, start + PROBE_AFTER);
    waits(&mut first, start + PROBE_AFTER);
    assert_eq!(pool.connects(), 2, "the first tests another one");
    take(&pool, 1);
    let (_, lease) = acquired(&mut first, start + PROBE_AFTER).settle(start + PROBE_AFTER);
    let mut detached = first.detach(start + PROBE_AFTER).expect("it goes on");
    give_back(&pool, lease, start + 2 * PROBE_AFTER);
    waits(&mut second, start + 2 * PROBE_AFTER);
    take(&pool, 2);
    let _second = acquired(&mut second, start + 2 * PROBE_AFTER);
    waits(&mut detached, start + 2 * PROBE_AFTER);
}

/// Goal: a pool of four at a server with room for one serves as a pool of one does, asks again
/// now and then, and says so.
#[test]
fn a_server_with_less_room_than_places_serves_as_a_smaller_pool() {
    let start = origin();
    let pool = Pool::new(start);
    let mut held = warm(&pool, start);
    let mut all: Vec<_> = (0..20).map(|_| pool.acquire(None)).collect();
    for acquire in &mut all {
        waits(acquire, start);
    }
    for nth in 0..3 {
        pool.connect(nth, Err(Fault::Down(full())));
    }
    for acquire in &mut all {
        waits(acquire, start);
    }
    assert_eq!(pool.connects(), 3, "no more are asked for at once");
    assert_eq!(pool.taken(start), (1, 0));
    let seen = pool.gate.snapshot(start);
    assert_eq!((seen.room, seen.waiting), (Some(1), 20));
    assert_eq!(seen.growth_retry_in, Some(SECOND));
    assert_eq!(pool.gate.reading(start).pressure, PoolPressure::Saturated);
    let advice = pool.gate.advice(None, start);
    assert_eq!((advice.fit, advice.room), (PoolFit::BeyondServer, Some(1)));
    assert!(advice.to_string().contains("room for 1 of 4"), "{advice}");

    let mut now = start;
    let mut served = 0;
    while let Some(mut acquire) = (!all.is_empty()).then(|| all.remove(0)) {
        now += 40 * MS;
        give_back(&pool, held, now);
        waits(&mut acquire, now);
        take(&pool, pool.connects() - 1);
        (_, held) = acquired(&mut acquire, now).settle(now);
        served += 1;
    }
    assert_eq!((served, failures(&pool)), (20, 0));
    // A second is over, so one who comes asks for one more; the others do not.
    now = start + SECOND;
    let before = pool.connects();
    let mut late: Vec<_> = (0..3).map(|_| pool.acquire(None)).collect();
    for acquire in &mut late {
        waits(acquire, now);
    }
    assert_eq!(pool.connects(), before + 1);
    pool.connect(before, Ok(7));
    let new = acquired(&mut late[0], now);
    assert_eq!(pool.gate.snapshot(now).room, None, "there was room");
    // What holds it back is over, so whoever waits opens more.
    waits(&mut late[1], now);
    waits(&mut late[2], now);
    drop(new);
    let mut more = pool.acquire(None);
    waits(&mut more, now);
    assert!(pool.connects() > before + 1);
}

#[test]
fn one_who_waits_where_more_cannot_be_had_is_told_what_the_server_said() {
    let start = origin();
    let pool = Pool::new(start);
    let held = warm(&pool, start);
    for (at, room, failure) in [
        (0, "the server has room for 1 of 4: ", full()),
        (
            60,
            "",
            Failure::new(FailureClass::Auth, "password authentication failed"),
        ),
    ] {
        let now = start + at * SECOND;
        held.expect_up_to(60 * SECOND, now);
        let nth = pool.connects();
        let mut acquire = pool.acquire(None);
        waits(&mut acquire, now);
        pool.connect(nth, Err(Fault::Down(failure.clone())));
        waits(&mut acquire, now + MS);
        let refusal = is_refused(&mut acquire, now + 2 * SECOND);
        let seen = exhausted(&refusal);
        assert_eq!((seen.class, seen.in_use), (failure.class(), 1));
        let said = seen.last_error.as_deref().expect("it was said");
        assert_eq!(said, format!("{room}{}", failure.message()));
    }
    assert_eq!(failures(&pool), 0);
    assert!(pool.state.refusal(start + 65 * SECOND).is_none(), "closed");
}

#[test]
fn a_failed_connect_is_evidence_while_none_works() {
    let start = origin();
    let pool = Pool::new(start);
    let mut alone = pool.acquire(None);
    waits(&mut alone, start);
    let down = Failure::new(FailureClass::Unreachable, "connection refused");
    pool.connect(0, Err(Fault::Down(down.clone())));
    assert_eq!(is_refused(&mut alone, start).cause(), Cause::DependencyDown);
    assert_eq!(failures(&pool), 1);
    // One that has been given back may work, so it is tried before anybody is refused.
    let mut second = pool.acquire(None);
    waits(&mut second, start);
    pool.driver.idle.store(1, Ordering::Relaxed);
    pool.connect(1, Err(Fault::Down(down.clone())));
    waits(&mut second, start);
    assert_eq!((pool.connects(), failures(&pool)), (3, 1));
    pool.connect(2, Err(Fault::Down(down)));
    let refusal = is_refused(&mut second, start);
    assert_eq!(refusal.cause(), Cause::DependencyDown, "it did not");
    assert_eq!(failures(&pool), 2);
}

/// Goal: on a cold pool, those that the server turns away wait for those that it serves.
#[test]
fn a_cold_pool_at_a_server_with_little_room_refuses_nobody() {
    let start = origin();
    let pool = Pool::new(start);
    let mut all: Vec<_> = (0..4).map(|_| pool.acquire(None)).collect();
    for acquire in &mut all {
        waits(acquire, start);
    }
    // The server is quicker to refuse than to serve.
    for (nth, acquire) in all.iter_mut().enumerate().skip(1) {
        pool.connect(nth, Err(Fault::Down(full())));
        waits(acquire, start);
    }
    assert_eq!(pool.connects(), 4, "nor is it asked again and again");
    pool.connect(0, Ok(1));
    let (_, mut held) = acquired(&mut all[0], start).settle(start);
    for acquire in &mut all[1..] {
        give_back(&pool, held, start);
        waits(acquire, start);
        take(&pool, pool.connects() - 1);
        (_, held) = acquired(acquire, start).settle(start);
    }
    assert_eq!(failures(&pool), 0);

    // If the server serves none, the last to hear that is refused, and it is evidence.
    let pool = Pool::new(start);
    let mut all: Vec<_> = (0..4).map(|_| pool.acquire(None)).collect();
    for acquire in &mut all {
        waits(acquire, start);
    }
    for (nth, acquire) in all.iter_mut().enumerate().take(3) {
        pool.connect(nth, Err(Fault::Down(full())));
        waits(acquire, start);
    }
    pool.connect(3, Err(Fault::Down(full())));
    let refusal = is_refused(&mut all[3], start);
    assert_eq!(exhausted(&refusal).class, FailureClass::RefusedByServer);
    assert_eq!(failures(&pool), 1);
}

/// Goal: slow connects cost nobody a turn, and the pool is there when they are.
#[test]
fn a_cold_pool_whose_connects_are_slow_grows_while_the_load_lasts() {
    let start = origin();
    let pool = Pool::new(start);
    let mut all: Vec<_> = (0..40).map(|_| pool.acquire(None)).collect();
    for acquire in &mut all {
        waits(acquire, start);
    }
    assert_eq!(pool.connects(), 4, "as many as there are places");
    let mut now = start + PROBE_AFTER;
    for acquire in &mut all {
        waits(acquire, now);
    }
    assert_eq!(pool.questions(), 1, "one asks for all");
    // The first is there after 900 ms, the others take longer than one connect may.
    now = start + 900 * MS;
    pool.connect(0, Ok(1));
    let (_, mut held) = acquired(&mut all[0], now).settle(now);
    for acquire in &mut all[1..10] {
        now += 20 * MS;
        give_back(&pool, held, now);
        waits(acquire, now);
        take(&pool, pool.connects() - 1);
        (_, held) = acquired(acquire, now).settle(now);
    }
    assert_eq!(failures(&pool), 0, "at {:?}", now - start);
    let mut detached: Vec<_> = all.drain(..10).filter_map(|it| it.detach(now)).collect();
    assert_eq!(detached.len(), 3);
    for detached in &mut detached {
        waits(detached, now);
    }
    now = start + 1_500 * MS;
    for (nth, detached) in detached.iter_mut().enumerate() {
        pool.connect(1 + nth, Ok(2));
        assert!(step(detached, now).is_ready());
    }
    assert_eq!(pool.taken(now), (4, 0));
    // Each connection that was opened serves the next of those who wait.
    for (_, lease) in pool.driver.given_back.lock().expect("no panic").drain(..) {
        give_back(&pool, lease, now);
    }
    let before = pool.connects();
    for acquire in &mut all[..3] {
        waits(acquire, now);
    }
    assert_eq!(pool.connects(), before + 3);
    assert_eq!(failures(&pool), 0);
}

#[test]
fn what_one_only_hears_of_is_not_noted_as_new() {
    let start = origin();
    let pool = Pool::new(start);
    let mut all: Vec<_> = (0..4).map(|_| pool.acquire(None)).collect();
    let late = start + PROBE_AFTER;
    for acquire in &mut all {
        waits(acquire, start);
        waits(acquire, late);
    }
    let down = Failure::new(FailureClass::Unreachable, "connection refused");
    pool.answer(0, Err(down));
    for acquire in &mut all {
        let _ = is_refused(acquire, late);
    }
    let seen = pool.gate.snapshot(late);
    assert_eq!(seen.connects_failed, 1, "it was found out once");
    // Whoever starts now hears nothing of what was before.
    let mut next = pool.acquire(None);
    waits(&mut next, late);
    waits(&mut next, late + PROBE_AFTER);
    assert_eq!(pool.questions(), 2, "it asks for itself");
}

#[test]
fn what_became_of_an_earlier_attempt_says_nothing_about_a_later_one() {
    let start = origin();
    let pool = Pool::new(start);
    let mut gone = pool.acquire(None);
    waits(&mut gone, start);
    let mut detached = gone.detach(start).expect("it goes on");
    // The server goes while it connects, and is back when the next one asks.
    let mut next: Vec<_> = (0..2).map(|_| pool.acquire(None)).collect();
    for acquire in &mut next {
        waits(acquire, start + SECOND);
        waits(acquire, start + SECOND + PROBE_AFTER);
    }
    let cut = Failure::new(FailureClass::Unreachable, "closed before an answer");
    pool.connect(0, Err(Fault::Down(cut)));
    assert!(step(&mut detached, start + SECOND + PROBE_AFTER).is_ready());
    for acquire in &mut next {
        waits(acquire, start + SECOND + PROBE_AFTER);
    }
}

/// Goal: attempts that a server, or the way to it, has swallowed are not in the way of new
/// ones, once it is back.
#[test]
fn a_connect_that_is_swallowed_makes_room_for_one_that_is_not() {
    let start = origin();
    let pool = Pool::new(start);
    let mut detached: Vec<PoolDetached<Scripted>> = Vec::new();
    for nth in 0..4 {
        let at = start + nth * SECOND;
        let mut acquire = pool.acquire(None);
        waits(&mut acquire, at);
        let _ = is_refused(&mut acquire, at + SECOND);
        detached.extend(acquire.detach(at + SECOND));
    }
    assert_eq!(pool.taken(start), (0, 4), "all places are taken by silence");
    let mut now = start + 4 * SECOND;
    let mut probe = pool.acquire(None);
    waits(&mut probe, now);
    let over: Vec<_> = detached
        .iter_mut()
        .map(|detached| step(detached, now).is_ready())
        .collect();
    assert_eq!(over, [true, false, false, false], "the longest makes room");
    waits(&mut probe, now);
    assert_eq!(pool.connects(), 5);
    now += MS;
    pool.connect(4, Ok(1));
    let found = acquired(&mut probe, now);
    // It was answered, and they were not, who asked long before it: they ask in vain.
    for detached in &mut detached[1..] {
        assert!(step(detached, now).is_ready());
    }
    assert_eq!(pool.taken(now), (1, 0));
    drop(found);
    assert_eq!(
        pool.state.view(now).breaker.map(|it| it.state),
        Some(BreakerState::Closed)
    );
}

#[test]
fn an_operator_reads_the_last_error_where_silence_refuses() {
    let start = origin();
    let pool = Pool::new(start);
    let mut first = pool.acquire(None);
    waits(&mut first, start);
    let said = Failure::new(FailureClass::Tls, "certificate has expired");
    pool.connect(0, Err(Fault::Down(said)));
    let _ = is_refused(&mut first, start);
    // A minute later there is only silence.
    let now = start + 60 * SECOND;
    let mut second = pool.acquire(None);
    waits(&mut second, now);
    let mut hasty = pool.acquire(Some(now + 50 * MS));
    waits(&mut hasty, now);
    for (refusal, _) in [
        (is_refused(&mut hasty, now + 50 * MS), "cut"),
        (is_refused(&mut second, now + SECOND), "silent"),
    ] {
        let Evidence::DependencyDown(down) = refusal.evidence() else {
            panic!("another cause: {refusal:?}")
        };
        assert!(
            down.last_error.contains("certificate has expired"),
            "{down:?}"
        );
    }
}

/// Goal: a server that has no more room has what it has given. Method: the only connection is on
/// its way back, as all are for a moment where everybody is quick.
#[test]
fn one_who_is_refused_waits_for_what_is_on_its_way_back() {
    let start = origin();
    let pool = Pool::new(start);
    let mut lease = lend(&pool.gate, start);
    lease.begin_release();
    let mut acquire = pool.acquire(None);
    waits(&mut acquire, start);
    let full = Failure::new(FailureClass::RefusedByServer, "too many clients");
    pool.connect(0, Err(Fault::Down(full)));
    waits(&mut acquire, start + MS);
    assert_eq!(failures(&pool), 0);
    pool.driver.idle.store(1, Ordering::Relaxed);
    lease.give_back(start + 2 * MS);
    waits(&mut acquire, start + 2 * MS);
    pool.connect(1, Ok(5));
    assert_eq!(acquired(&mut acquire, start + 3 * MS).connection, 5);
}

#[test]
fn a_session_that_is_refused_is_told_with_how_many_serve_beside_it() {
    let start = origin();
    let still_serving = |pool: &Pool, now| {
        let view = pool.state.view(now);
        view.sessions_refused.map(|seen| seen.still_serving)
    };
    let refused = |pool: &Pool, now| {
        let mut acquire = pool.acquire(None);
        waits(&mut acquire, now);
        let nth = pool.connects() - 1;
        pool.connect(nth, Err(Fault::Down(full())));
        let _ = step(&mut acquire, now + MS);
    };
    // Two in use.
    let pool = Pool::new(start);
    let _held = [lend(&pool.gate, start), lend(&pool.gate, start)];
    refused(&pool, start + MS);
    assert_eq!(still_serving(&pool, start + 2 * MS), Some(2));
    // None in use and none lately: a session that is refused is all that there is.
    let pool = Pool::new(start);
    refused(&pool, start + 10 * SECOND);
    assert_eq!(still_serving(&pool, start + 11 * SECOND), None);
    // None in use, but one was a moment ago and lies idle now.
    let pool = Pool::new(start);
    lend(&pool.gate, start).give_back(start + MS);
    pool.driver.idle.store(1, Ordering::Relaxed);
    let mut alone = pool.acquire(None);
    waits(&mut alone, start + 2 * MS);
    let mut second = pool.acquire(None);
    waits(&mut second, start + 2 * MS);
    pool.connect(1, Err(Fault::Down(full())));
    let _ = step(&mut second, start + 3 * MS);
    assert_eq!(still_serving(&pool, start + 3 * MS), Some(1));
}

#[test]
fn trouble_is_known_until_a_connection_is_opened_or_it_is_old() {
    let start = origin();
    let down = Failure::new(FailureClass::Unreachable, "nobody listens");
    let gate = gate(&PoolSettings::new(2), start);
    assert!(!gate.has_trouble(start));
    gate.connect_failed(down.clone(), start + SECOND);
    assert!(gate.has_trouble(start + SECOND));
    assert!(
        gate.has_trouble(start + 11 * SECOND),
        "seen ten seconds ago"
    );
    assert!(!gate.has_trouble(start + 11 * SECOND + MS));
    gate.connect_failed(down, start + 12 * SECOND);
    gate.connect_worked(start + 12 * SECOND, start + 13 * SECOND);
    assert!(!gate.has_trouble(start + 13 * SECOND));
}
