//! Every interleaving of a hand-over.

use std::{
    panic::Location,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
    time::Instant,
};

use loom::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::*;
use crate::{Name, testing::origin};

/// Remembers that it was woken.
struct Bell(AtomicBool);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

fn held_with_a_waiter() -> (PoolLease, PoolTicket, Instant) {
    let now = origin();
    let settings = PoolSettings::new(1);
    let gate = PoolGate::new(Name::from_static("db"), &settings, now).expect("right");
    let enter = || gate.enter(None, Location::caller(), now);
    let (PoolEntry::Lend(lease), PoolEntry::Wait(ticket)) = (enter(), enter()) else {
        unreachable!("one place, one waiter")
    };
    (lease, ticket, now)
}

#[test]
fn loom_a_place_given_back_while_a_waiter_looks_is_not_missed() {
    loom::model(|| {
        let (lease, mut ticket, now) = held_with_a_waiter();
        let bell = Arc::new(Bell(AtomicBool::new(false)));
        let giver = thread::spawn(move || lease.give_back(now));
        let waker = Waker::from(Arc::clone(&bell));
        let polled = ticket.poll_lease(&mut Context::from_waker(&waker), now);
        giver.join().expect("joined");
        if polled.is_pending() {
            assert!(bell.0.load(Ordering::SeqCst), "the wake was lost");
            let again = ticket.poll_lease(&mut Context::from_waker(&waker), now);
            assert!(matches!(again, Poll::Ready(_)));
        }
    });
}

#[test]
fn loom_a_place_promised_to_one_who_leaves_is_free_again() {
    loom::model(|| {
        let (lease, ticket, now) = held_with_a_waiter();
        let gate = Arc::clone(lease.gate());
        let giver = thread::spawn(move || drop(lease));
        drop(ticket);
        giver.join().expect("joined");
        let snapshot = gate.snapshot(now);
        assert_eq!((snapshot.connecting, snapshot.waiting), (0, 0));
        let entry = gate.enter(None, Location::caller(), now);
        assert!(matches!(entry, PoolEntry::Lend(_)));
    });
}

#[test]
fn loom_the_turn_to_probe_is_one_persons() {
    loom::model(|| {
        let (lease, _ticket, now) = held_with_a_waiter();
        let gate = Arc::clone(lease.gate());
        let other = Arc::clone(&gate);
        let there = thread::spawn(move || other.probe_turn(now));
        let here = gate.probe_turn(now);
        let there = there.join().expect("joined");
        assert!(here.is_some() != there.is_some());
        drop((here, there));
        assert!(gate.probe_turn(now).is_some());
    });
}
