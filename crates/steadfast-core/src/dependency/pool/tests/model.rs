//! The gate against lists that are kept naively, over any order of events.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug)]
enum Step {
    Enter,
    /// Polls a waiter, wherever it stands.
    Poll(usize),
    Leave(usize),
    TimeOut(usize),
    DropTicket(usize),
    Connect(usize),
    Fail(usize),
    GiveBack(usize),
    DropLease(usize),
    Tick(u64),
}

fn step() -> impl Strategy<Value = Step> {
    let which = 0_usize..8;
    prop_oneof![
        6 => Just(Step::Enter),
        6 => which.clone().prop_map(Step::Poll),
        1 => which.clone().prop_map(Step::Leave),
        1 => which.clone().prop_map(Step::TimeOut),
        1 => which.clone().prop_map(Step::DropTicket),
        3 => which.clone().prop_map(Step::Connect),
        1 => which.clone().prop_map(Step::Fail),
        3 => which.clone().prop_map(Step::GiveBack),
        1 => which.prop_map(Step::DropLease),
        2 => (0_u64..50).prop_map(Step::Tick),
    ]
}

fn pick<T>(list: &mut Vec<T>, which: usize) -> Option<T> {
    (!list.is_empty()).then(|| list.remove(which % list.len()))
}

proptest! {
    #[test]
    fn places_and_waiters_are_as_many_as_a_naive_count_says(
        size in 1_u32..4,
        waiters_max in 0_u32..5,
        steps in proptest::collection::vec(step(), 1..120),
    ) {
        let mut now = origin();
        // No prediction may refuse: the model knows none.
        let settings = PoolSettings::new(size).waiters_max(waiters_max).wait_max(Duration::from_secs(80_000));
        let gate = gate(&settings, now);
        let bell = Arc::new(Bell::default());
        let mut leases: Vec<(PoolLease, bool)> = Vec::new();
        // In the order in which they came; each with whether it has been given a place.
        let mut tickets: Vec<(PoolTicket, bool)> = Vec::new();
        for step in steps {
            let mut freed = 0;
            match step {
                Step::Enter => {
                    let promised = tickets.iter().filter(|(_, granted)| *granted).count();
                    let waiting = tickets.len() - promised;
                    match enter(&gate, now) {
                        PoolEntry::Lend(lease) => {
                            prop_assert!(leases.len() + promised < size as usize);
                            leases.push((lease, false));
                        }
                        PoolEntry::Wait(ticket) => {
                            prop_assert_eq!(leases.len() + promised, size as usize);
                            prop_assert!(waiting < waiters_max as usize);
                            tickets.push((ticket, false));
                        }
                        PoolEntry::Refuse(_) => {
                            prop_assert_eq!(leases.len() + promised, size as usize);
                            prop_assert_eq!(waiting, waiters_max as usize);
                        }
                    }
                }
                Step::Poll(which) if !tickets.is_empty() => {
                    let at = which % tickets.len();
                    let (ticket, granted) = &mut tickets[at];
                    match poll(ticket, &bell, now) {
                        Poll::Ready(lease) => {
                            prop_assert!(*granted, "a turn out of order");
                            leases.push((lease, false));
                            let _ = tickets.remove(at);
                        }
                        Poll::Pending => prop_assert!(!*granted, "a turn was lost"),
                    }
                }
                Step::Leave(which) | Step::TimeOut(which) | Step::DropTicket(which) => {
                    if let Some((ticket, granted)) = pick(&mut tickets, which) {
                        freed = usize::from(granted);
                        match step {
                            Step::Leave(_) => ticket.leave(now),
                            Step::TimeOut(_) => drop(ticket.refuse(now)),
                            _ => drop(ticket),
                        }
                    }
                }
                Step::Connect(which) if !leases.is_empty() => {
                    let at = which % leases.len();
                    leases[at].0.connected(now);
                    leases[at].1 = true;
                }
                Step::Fail(which) => {
                    if let Some((lease, _)) = pick(&mut leases, which) {
                        freed = 1;
                        let failure = Failure::new(FailureClass::Unreachable, "refused");
                        let _ = lease.failed(&failure, Duration::ZERO, now);
                    }
                }
                Step::GiveBack(which) | Step::DropLease(which) => {
                    if let Some((lease, _)) = pick(&mut leases, which) {
                        freed = 1;
                        match step {
                            Step::GiveBack(_) => lease.give_back(now),
                            _ => drop(lease),
                        }
                    }
                }
                Step::Tick(ms) => now += Duration::from_millis(ms),
                Step::Poll(_) | Step::Connect(_) => {}
            }
            if freed == 1 {
                if let Some((_, granted)) = tickets.iter_mut().find(|(_, granted)| !*granted) {
                    *granted = true;
                }
            }
            let promised = tickets.iter().filter(|(_, granted)| *granted).count();
            let snapshot = gate.snapshot(now);
            let lent = leases.iter().filter(|(_, connected)| *connected).count();
            prop_assert_eq!(snapshot.in_use as usize, lent);
            prop_assert_eq!(snapshot.connecting as usize, leases.len() - lent + promised);
            prop_assert_eq!(snapshot.waiting as usize, tickets.len() - promised);
            prop_assert!(snapshot.in_use + snapshot.connecting <= size);
            prop_assert!(snapshot.peak_in_use <= size);
        }
        // Whatever has happened, everything comes back.
        drop((leases, tickets));
        let snapshot = gate.snapshot(now);
        prop_assert_eq!((snapshot.in_use, snapshot.connecting, snapshot.waiting), (0, 0, 0));
        let again: Vec<_> = (0..size).map(|_| lend(&gate, now)).collect();
        prop_assert_eq!(again.len(), size as usize);
    }
}
