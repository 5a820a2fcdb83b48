//! Requests that wait for the first round of checks.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Poll, Wake, Waker},
};

use super::*;
use crate::{Deadline, shed::Decision};

#[derive(Default)]
struct Bell(AtomicUsize);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Bell {
    fn rung(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

fn starting(start: Start) -> (Arc<Lifecycle>, Instant) {
    let now = origin();
    let life = Arc::new(Lifecycle::new(now));
    life.start(start, now);
    (life, now)
}

fn waits(life: &Arc<Lifecycle>, now: Instant) -> StartTicket {
    match life.ask(None, now) {
        Decision::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn refused(life: &Arc<Lifecycle>, now: Instant) -> Refusal {
    match life.ask(None, now) {
        Decision::Refuse(refusal) => refusal,
        other => panic!("{other:?}"),
    }
}

#[test]
fn everybody_who_waits_is_woken_at_once_and_served_when_the_checks_have_passed() {
    let (life, now) = starting(Start::default());
    let bell = Arc::new(Bell::default());
    let waker = Waker::from(Arc::clone(&bell));
    let mut tickets: Vec<_> = (0..10).map(|_| waits(&life, now)).collect();
    for ticket in &mut tickets {
        assert!(ticket.poll(&waker, now).is_pending());
    }
    life.advance(Phase::Ready, now);
    assert_eq!(bell.rung(), 10);
    for ticket in &mut tickets {
        assert!(matches!(ticket.poll(&waker, now), Poll::Ready(Ok(()))));
    }
    assert_eq!(cause(&life, now), None);
}

#[test]
fn whatever_ends_the_wait_wakes_who_waits_and_says_why() {
    type End = fn(&Lifecycle, Instant);
    let ends: [(End, Option<Cause>); 4] = [
        (
            |life, now| life.first_round_failed(now),
            Some(Cause::Starting),
        ),
        (
            |life, now| {
                life.begin_maintenance(Declarer::File, "x", None, now);
            },
            Some(Cause::Maintenance),
        ),
        (
            |life, now| {
                life.advance(Phase::Stopped, now);
            },
            Some(Cause::Draining),
        ),
        (|life, now| life.start_passed(now), None),
    ];
    for (end, expected) in ends {
        let (life, now) = starting(Start::default());
        let bell = Arc::new(Bell::default());
        let waker = Waker::from(Arc::clone(&bell));
        let mut ticket = waits(&life, now);
        assert!(ticket.poll(&waker, now).is_pending());
        end(&life, now);
        assert_eq!(bell.rung(), 1);
        let Poll::Ready(decided) = ticket.poll(&waker, now) else {
            panic!("it still waits");
        };
        assert_eq!(decided.err().map(|refusal| refusal.cause()), expected);
    }
}

#[test]
fn a_request_waits_for_the_shortest_of_its_bounds() {
    let wait = |start: Start, left: Option<Duration>| {
        let (life, now) = starting(start);
        match life.ask(left.map(|left| Deadline::after(now, left)), now) {
            Decision::Wait(mut ticket) => {
                let until = ticket.until();
                let just_before = until - Duration::from_millis(1);
                assert!(ticket.poll(Waker::noop(), just_before).is_pending());
                let end = ticket.poll(Waker::noop(), until);
                Some((until - now, matches!(end, Poll::Ready(Ok(())))))
            }
            _ => None,
        }
    };
    let start = Start::default();
    for (start, left, expected) in [
        (start, None, Some((2 * SEC, false))),
        (start, Some(SEC), Some((SEC, false))),
        (start, Some(9 * SEC), Some((2 * SEC, false))),
        (start.wait_max(5 * SEC), None, Some((5 * SEC, false))),
        // Once the hold is over it is served.
        (start.hold(SEC), None, Some((SEC, true))),
        (start.wait_max(Duration::ZERO), None, None),
        (start, Some(Duration::ZERO), None),
    ] {
        assert_eq!(wait(start, left), expected, "{start:?} {left:?}");
    }
}

#[test]
fn who_finds_the_room_full_is_refused_at_once_and_who_leaves_makes_room() {
    let (life, now) = starting(Start::default());
    let mut tickets: Vec<_> = (0..START_WAITING_MAX).map(|_| waits(&life, now)).collect();
    let refusal = refused(&life, now);
    assert_eq!(refusal.cause(), Cause::Starting);
    assert!(refusal.safe_to_retry());
    assert!(
        matches!(refusal.evidence(), Evidence::Starting { waiting, .. } if *waiting as usize == START_WAITING_MAX)
    );
    drop(tickets.swap_remove(5));
    tickets.push(waits(&life, now));
    let _ = refused(&life, now);
    drop(tickets);
    assert_eq!(lock(&life.inner).waiting.len(), 0);
}

#[test]
fn nobody_waits_for_a_round_that_nobody_runs() {
    let now = origin();
    let life = Arc::new(Lifecycle::new(now));
    assert!(matches!(life.ask(None, now), Decision::Admit(())));
}
