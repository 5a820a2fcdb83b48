//! Claims about the gate, each through its public face.

mod acquire;
mod deadlines;
mod elsewhere;
mod growth;
mod model;
mod patience;
mod release;
mod restart;
mod scripted;
mod slow;
mod spent;
mod waiting;

use std::{
    panic::Location,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    time::{Duration, Instant},
};

use super::*;
use crate::{
    Deadline, Evidence, Failure, FailureClass, Name, PoolExhausted, PoolGauge, PoolPressure,
    Refusal, testing::origin,
};

const SECOND: Duration = Duration::from_secs(1);

/// Counts how often it was woken.
#[derive(Debug, Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

fn gate(settings: &PoolSettings, now: Instant) -> Arc<PoolGate> {
    PoolGate::new(Name::from_static("orders-db"), settings, now).expect("the settings are right")
}

#[track_caller]
fn enter(gate: &Arc<PoolGate>, now: Instant) -> PoolEntry {
    gate.enter(None, Location::caller(), now)
}

#[track_caller]
fn lend(gate: &Arc<PoolGate>, now: Instant) -> PoolLease {
    match enter(gate, now) {
        PoolEntry::Lend(mut lease) => {
            lease.connected(now);
            lease
        }
        other => panic!("no place: {other:?}"),
    }
}

#[track_caller]
fn wait(gate: &Arc<PoolGate>, now: Instant) -> PoolTicket {
    match enter(gate, now) {
        PoolEntry::Wait(ticket) => ticket,
        other => panic!("no wait: {other:?}"),
    }
}

#[track_caller]
fn refused(entry: PoolEntry) -> Refusal {
    match entry {
        PoolEntry::Refuse(refusal) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

#[track_caller]
fn exhausted(refusal: &Refusal) -> &PoolExhausted {
    match refusal.evidence() {
        Evidence::PoolExhausted(pool) => pool,
        other => panic!("another cause: {other:?}"),
    }
}

fn poll(ticket: &mut PoolTicket, bell: &Arc<Bell>, now: Instant) -> Poll<PoolLease> {
    let waker = Waker::from(Arc::clone(bell));
    ticket.poll_lease(&mut Context::from_waker(&waker), now)
}

#[test]
fn places_are_lent_then_waited_for_then_refused() {
    let now = origin();
    let gate = gate(&PoolSettings::new(2).waiters_max(1), now);
    let first = lend(&gate, now);
    let second = lend(&gate, now);
    let mut third = wait(&gate, now);
    let fourth = refused(enter(&gate, now));
    let pool = exhausted(&fourth);
    assert_eq!((pool.in_use, pool.max, pool.waiting), (2, 2, 1));
    assert_eq!(pool.class, FailureClass::Saturated);
    assert!(!fourth.safe_to_retry(), "a handler was entered");

    let bell = Arc::new(Bell::default());
    assert!(poll(&mut third, &bell, now).is_pending());
    first.give_back(now + SECOND);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    let Poll::Ready(third) = poll(&mut third, &bell, now + SECOND) else {
        panic!("it is its turn")
    };
    let snapshot = gate.snapshot(now + SECOND);
    assert_eq!((snapshot.in_use, snapshot.connecting), (1, 1));
    assert_eq!(snapshot.waited, SECOND);
    assert_eq!((snapshot.acquired, snapshot.refused), (3, 1));
    assert_eq!(snapshot.peak_in_use, 2);
    drop((second, third));
    assert_eq!(gate.snapshot(now).in_use, 0);
}

#[test]
fn a_freed_place_belongs_to_the_first_who_waits_and_nobody_overtakes() {
    let now = origin();
    let gate = gate(&PoolSettings::new(1), now);
    let held = lend(&gate, now);
    let mut waiters: Vec<_> = (0..3).map(|_| wait(&gate, now)).collect();
    let bell = Arc::new(Bell::default());
    held.give_back(now);
    // The place is promised, so one who comes now lines up although nobody has it yet.
    let mut last = wait(&gate, now);
    assert!(poll(&mut last, &bell, now).is_pending());
    assert!(poll(&mut waiters[1], &bell, now).is_pending());
    // The first goes without taking it: the second has it.
    drop(waiters.remove(0));
    let Poll::Ready(second) = poll(&mut waiters[0], &bell, now) else {
        panic!("handed on")
    };
    assert!(poll(&mut waiters[1], &bell, now).is_pending());
    drop(second);
    assert!(poll(&mut waiters[1], &bell, now).is_ready());
    assert!(poll(&mut last, &bell, now).is_ready());
}

#[test]
fn a_wait_ends_with_the_requests_deadline_or_the_longest_wait() {
    let now = origin();
    let gate = gate(&PoolSettings::new(1).wait_max(2 * SECOND), now);
    let _held = lend(&gate, now);
    let wait_until = |secs| {
        let deadline = Some(Deadline::at(now + SECOND * secs));
        let PoolEntry::Wait(ticket) = gate.enter(deadline, Location::caller(), now) else {
            panic!("there is room to wait")
        };
        ticket.until().remaining(now)
    };
    assert_eq!(wait_until(1), SECOND);
    assert_eq!(wait_until(9), 2 * SECOND);
    let past = Some(Deadline::at(now));
    let refusal = refused(gate.enter(past, Location::caller(), now));
    assert_eq!(exhausted(&refusal).waited, Duration::ZERO);
}

#[test]
fn a_pool_that_nothing_comes_back_to_is_stuck_and_names_the_longest_borrower() {
    let now = origin();
    let gate = gate(
        &PoolSettings::new(1).waiters_max(0).stuck_after(3 * SECOND),
        now,
    );
    let line = line!() + 1;
    let held = lend(&gate, now);
    let later = now + 3 * SECOND;
    let refusal = refused(enter(&gate, later));
    let pool = exhausted(&refusal);
    assert_eq!(pool.class, FailureClass::Stuck);
    let longest = pool.longest.clone().expect("somebody has it");
    assert_eq!(*longest.place, *format!("{}:{line}", file!()));
    assert_eq!(longest.held, 3 * SECOND);

    // Something came back, so it moves.
    held.give_back(later);
    let _next = lend(&gate, later);
    let refusal = refused(enter(&gate, later + SECOND));
    assert_eq!(exhausted(&refusal).class, FailureClass::Saturated);
}

#[test]
fn one_who_says_for_how_long_is_neither_long_nor_stuck_until_then() {
    let now = origin();
    let settings = PoolSettings::new(2).waiters_max(0);
    let gate = gate(&settings.stuck_after(3 * SECOND).held_long(5 * SECOND), now);
    let class = |at: Instant| exhausted(&refused(enter(&gate, at))).class;
    let (waits, works) = (lend(&gate, now), lend(&gate, now));
    waits.expect_up_to(60 * SECOND, now);
    assert_eq!(class(now + 3 * SECOND), FailureClass::Stuck, "by the other");
    works.expect_up_to(20 * SECOND, now);
    for at in [3, 19, 22] {
        assert_eq!(class(now + at * SECOND), FailureClass::Saturated, "{at}");
    }
    let seen = gate.snapshot(now + 19 * SECOND);
    assert_eq!((seen.in_use, seen.held_long), (2, 0));
    assert_eq!(gate.reading(now + 19 * SECOND).leaked, 0);
    // One has broken its word.
    assert_eq!(class(now + 23 * SECOND), FailureClass::Stuck);
    assert_eq!(gate.snapshot(now + 20 * SECOND).held_long, 1);
    assert_eq!(gate.reading(now + 20 * SECOND).leaked, 1);
    drop(works);

    // The one that waits on purpose predicts no hold, and its place is nobody's turn.
    let mut at = now + 30 * SECOND;
    for _ in 0..8 {
        let lease = lend(&gate, at);
        at += SECOND;
        lease.give_back(at);
    }
    waits.give_back(at);
    assert_eq!(gate.snapshot(at).mean_hold, Some(SECOND));
    let again = lend(&gate, at);
    again.expect_up_to(60 * SECOND, at);
    let _works = lend(&gate, at);
    let refusal = refused(enter(&gate, at));
    assert_eq!(refusal.retry_after(), SECOND, "one place of two moves");
}

#[test]
fn a_server_that_gives_no_connection_is_down_and_one_without_a_slot_is_exhausted() {
    let now = origin();
    let gate = gate(&PoolSettings::new(2).waiters_max(0), now);
    let fail = |class, text: &str, at: Instant| {
        let PoolEntry::Lend(lease) = enter(&gate, at) else {
            panic!("a place is free")
        };
        lease.failed(&Failure::new(class, text), SECOND, at)
    };
    let first = fail(FailureClass::Unreachable, "connection refused", now);
    let again = fail(
        FailureClass::Unreachable,
        "connection refused",
        now + SECOND,
    );
    let Evidence::DependencyDown(down) = again.evidence() else {
        panic!("another cause: {again:?}")
    };
    assert_eq!((first.cause(), down.since), (again.cause(), SECOND));
    assert_eq!(&*down.last_error, "connection refused");

    let full = fail(
        FailureClass::RefusedByServer,
        "too many clients (53300)",
        now,
    );
    let pool = exhausted(&full);
    assert_eq!(pool.class, FailureClass::RefusedByServer);
    assert_eq!(pool.last_error.as_deref(), Some("too many clients (53300)"));

    // An idle connection that answers does not make the server less full; a new one does.
    let _one = lend(&gate, now);
    assert!(gate.snapshot(now).trouble.is_some());
    gate.connect_worked(now, now);
    assert_eq!(gate.snapshot(now).trouble, None);
}

#[test]
fn what_one_finds_out_is_told_to_those_who_wait_for_an_answer() {
    let now = origin();
    let gate = gate(&PoolSettings::new(2).waiters_max(0), now);
    let PoolEntry::Lend(lease) = enter(&gate, now) else {
        panic!("a place is free")
    };
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut cx = Context::from_waker(&waker);
    assert!(lease.poll_news(now, false, &mut cx).is_pending());
    let turn = gate.probe_turn(now).expect("nobody else has it");
    assert!(gate.probe_turn(now).is_none());
    gate.connect_failed(Failure::new(FailureClass::Dns, "no such name"), now);
    assert_eq!(bell.0.load(Ordering::Relaxed), 1);
    let Poll::Ready(lease::News::Trouble(failure)) = lease.poll_news(now, false, &mut cx) else {
        panic!("it was told")
    };
    assert_eq!(failure.class(), FailureClass::Dns);
    drop(turn);
    assert!(gate.probe_turn(now).is_some());
    // One who gets a turn later does not hear old news.
    let PoolEntry::Lend(later) = enter(&gate, now) else {
        panic!("a place is free")
    };
    assert!(later.poll_news(now, false, &mut cx).is_pending());
}

#[test]
fn silence_that_is_not_the_servers_is_no_trouble() {
    let now = origin();
    let gate = gate(&PoolSettings::new(2).waiters_max(0), now);
    let place = || match enter(&gate, now) {
        PoolEntry::Lend(lease) => lease,
        other => panic!("no place: {other:?}"),
    };
    let cut = place().refuse(PoolSilence::Cut, SECOND, now);
    let Evidence::DependencyDown(down) = cut.evidence() else {
        panic!("another cause: {cut:?}")
    };
    assert_eq!(down.class, FailureClass::Timeout);
    assert_eq!(
        gate.snapshot(now).trouble,
        None,
        "a short deadline is no evidence"
    );
    let busy = place().refuse(PoolSilence::Busy { in_use: 2 }, SECOND, now);
    let pool = exhausted(&busy);
    assert_eq!((pool.class, pool.in_use), (FailureClass::Saturated, 2));
    assert_eq!(gate.snapshot(now).connecting, 0);
}

#[test]
fn those_who_hold_for_long_are_listed_longest_first() {
    let now = origin();
    let gate = gate(&PoolSettings::new(20).held_long(5 * SECOND), now);
    let leases: Vec<_> = (0..12).map(|age| lend(&gate, now + SECOND * age)).collect();
    let snapshot = gate.snapshot(now + 12 * SECOND);
    assert_eq!(snapshot.held.len(), HELD_SHOWN_MAX);
    assert_eq!(snapshot.held[0].held, 12 * SECOND);
    assert_eq!(snapshot.held_long, 8);
    assert!(snapshot.held.iter().all(|held| held.is_long));
    drop(leases);
    assert_eq!(gate.snapshot(now).held, []);
}

#[test]
fn waits_count_while_they_last_and_when_their_owner_leaves() {
    let now = origin();
    let gate = gate(&PoolSettings::new(1), now);
    let _held = lend(&gate, now);
    let (first, second) = (wait(&gate, now), wait(&gate, now));
    assert_eq!(gate.snapshot(now + SECOND).waited, 2 * SECOND);
    first.leave(now + SECOND);
    let _ = second.refuse(now + 3 * SECOND);
    let snapshot = gate.snapshot(now + 9 * SECOND);
    assert_eq!(snapshot.waited, 4 * SECOND);
    assert_eq!((snapshot.cancelled, snapshot.refused), (1, 1));
}

#[test]
fn advice_speaks_of_the_last_two_minutes() {
    let mut now = origin();
    let gate = gate(&PoolSettings::new(8), now);
    assert_eq!(gate.advice(None, now).fit, PoolFit::Unknown);
    // Fifty a second for 40 ms each keep two busy.
    for _ in 0..500 {
        lend(&gate, now).give_back(now + Duration::from_millis(40));
        now += Duration::from_millis(20);
    }
    let advice = gate.advice(None, now);
    assert_eq!(
        (advice.fit, advice.size_needed),
        (PoolFit::Fits, Some(5)),
        "{advice}"
    );
    assert_eq!(gate.advice(None, now + 300 * SECOND).fit, PoolFit::Unknown);
}

#[test]
fn every_wrong_setting_is_told() {
    let settings = PoolSettings::new(0)
        .waiters_max(u32::MAX)
        .wait_max(Duration::ZERO)
        .connect_max(Duration::MAX);
    let error = PoolGate::new(Name::from_static("orders-db"), &settings, origin());
    let faults = error.expect_err("four faults").into_faults();
    assert_eq!(faults.len(), 4, "{faults:?}");
    assert!(
        faults[0].starts_with("pool of orders-db: size 0; allowed is 1 to"),
        "{faults:?}"
    );
}
