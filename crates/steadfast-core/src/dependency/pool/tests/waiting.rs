//! Who waits, and who is told at once that waiting is in vain: only with evidence that it is.

use std::collections::VecDeque;

use super::{scripted::MS, *};

/// A load in virtual time: each request holds its connection for a length of its own.
struct Load {
    gate: Arc<PoolGate>,
    now: Instant,
    waiting: VecDeque<(PoolTicket, Duration)>,
    held: Vec<(Instant, PoolLease)>,
    served: usize,
    refused: usize,
}

impl Load {
    fn new(settings: &PoolSettings) -> Self {
        let now = origin();
        Self {
            gate: gate(settings, now),
            now,
            waiting: VecDeque::new(),
            held: Vec::new(),
            served: 0,
            refused: 0,
        }
    }

    fn come(&mut self, hold: Duration) {
        match enter(&self.gate, self.now) {
            PoolEntry::Lend(lease) => self.lend(lease, hold),
            PoolEntry::Wait(ticket) => self.waiting.push_back((ticket, hold)),
            PoolEntry::Refuse(_) => self.refused += 1,
        }
    }

    fn lend(&mut self, mut lease: PoolLease, hold: Duration) {
        lease.connected(self.now);
        self.held.push((self.now + hold, lease));
        self.served += 1;
    }

    /// Lets time go by until then.
    fn run(&mut self, until: Instant) {
        loop {
            let next = self.held.iter().map(|(ends, _)| *ends).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            let at = self.held.iter().position(|(ends, _)| *ends == next);
            self.go_to(next);
            let (_, lease) = self.held.swap_remove(at.expect("it is the least"));
            lease.give_back(self.now);
            let bell = Arc::new(Bell::default());
            let Some((mut ticket, hold)) = self.waiting.pop_front() else {
                continue;
            };
            match poll(&mut ticket, &bell, self.now) {
                Poll::Ready(lease) => self.lend(lease, hold),
                Poll::Pending => panic!("a place is free and nobody has it"),
            }
        }
        self.go_to(until);
    }

    /// Has those go whose time is over.
    fn go_to(&mut self, now: Instant) {
        self.now = now;
        while self
            .waiting
            .front()
            .is_some_and(|(it, _)| it.until().instant() < now)
        {
            let (ticket, _) = self.waiting.pop_front().expect("it is there");
            self.refused += 1;
            let _ = ticket.refuse(now);
        }
    }
}

#[test]
fn a_burst_on_a_warm_pool_is_served_whatever_an_earlier_load_was() {
    for earlier in [MS, 5 * SECOND] {
        let mut load = Load::new(&PoolSettings::new(10));
        for _ in 0..20 {
            load.come(earlier);
        }
        load.run(load.now + 60 * SECOND);
        let before = load.served + load.refused;
        // Two hundred at once for 2 ms each: the last has its turn after 40 ms.
        for _ in 0..200 {
            load.come(2 * MS);
        }
        load.run(load.now + 40 * MS);
        assert_eq!(load.served + load.refused - before, 200);
        assert_eq!(load.waiting.len(), 0);
        assert!(earlier > MS || load.refused == 0);
        let refused = load.refused;
        for _ in 0..200 {
            load.come(2 * MS);
        }
        load.run(load.now + 50 * MS);
        assert_eq!(load.refused, refused, "nor is the next");
    }
}

#[test]
fn one_long_hold_among_short_ones_refuses_nobody() {
    // Each in turn is the long one, also the first that are measured.
    for long in [0, 1, 5, 9, 10, 15, 40] {
        let mut load = Load::new(&PoolSettings::new(10));
        for nth in 0..400 {
            load.come(if nth == long { 30 * SECOND } else { 4 * MS });
            if nth % 4 == 0 {
                load.run(load.now + MS);
            }
        }
        load.run(load.now + SECOND);
        assert_eq!((load.refused, load.served), (0, 400), "{long}");
    }
}

#[test]
fn holds_of_two_kinds_are_predicted_by_what_they_let_through() {
    // Each tenth holds for half a second, the others for 2 ms: ten places serve 190 a second.
    let mut load = Load::new(&PoolSettings::new(10));
    let holds = |nth: usize| if nth % 10 == 0 { SECOND / 2 } else { 2 * MS };
    for nth in 0..380 {
        load.come(holds(nth));
    }
    load.run(load.now + SECOND / 2);
    assert_eq!(load.refused, 0, "all of them can be served in two seconds");
    load.run(load.now + 3 * SECOND / 2);
    assert!(load.served >= 360, "{}", load.served);
}

#[test]
fn one_whose_turn_cannot_come_in_time_is_refused_at_once() {
    let mut load = Load::new(&PoolSettings::new(2).wait_max(2 * SECOND));
    // A second each, two at once. Two seconds are waited for at most.
    for _ in 0..20 {
        load.come(SECOND / 10);
    }
    assert_eq!(load.refused, 0, "nothing has been measured");
    // Ten turns in half a second, while eight wait and come to be twenty.
    load.run(load.now + SECOND / 2);
    for _ in 0..200 {
        load.come(SECOND / 10);
    }
    assert!(load.refused > 80, "{}", load.refused);
    assert!(
        load.waiting.len() >= 40,
        "who can be served waits: {}",
        load.waiting.len()
    );
    let refusal = refused(enter(&load.gate, load.now));
    assert_eq!(exhausted(&refusal).waited, Duration::ZERO);
    assert!(refusal.retry_after() > 2 * SECOND, "the predicted turn");
    let at_once = load.refused;
    load.run(load.now + 10 * SECOND);
    let in_vain = load.refused - at_once;
    assert!(in_vain < 80, "{in_vain} have waited in vain");
    // Whoever has little time is told so sooner.
    for _ in 0..40 {
        load.come(SECOND / 10);
    }
    load.run(load.now + SECOND);
    let within = |left: Duration| {
        let deadline = Some(Deadline::at(load.now + left));
        load.gate.enter(deadline, Location::caller(), load.now)
    };
    assert!(matches!(within(SECOND / 20), PoolEntry::Refuse(_)));
    assert!(matches!(within(2 * SECOND), PoolEntry::Wait(_)));
}

#[test]
fn a_queue_that_was_slow_is_forgotten_when_it_is_over() {
    let mut load = Load::new(&PoolSettings::new(1).wait_max(2 * SECOND));
    for _ in 0..20 {
        load.come(SECOND);
    }
    load.run(load.now + 30 * SECOND);
    let refused = load.refused;
    for _ in 0..500 {
        load.come(2 * MS);
    }
    assert_eq!(load.refused, refused);
    load.run(load.now + SECOND);
    assert_eq!((load.refused, load.waiting.len()), (refused, 0));
}

#[test]
fn memory_bounds_a_queue_that_nothing_is_known_of() {
    let now = origin();
    let gate = gate(&PoolSettings::new(1), now);
    let _held = lend(&gate, now);
    let all: Vec<_> = (0..WAITERS_DEFAULT).map(|_| wait(&gate, now)).collect();
    let refusal = refused(enter(&gate, now));
    assert_eq!(exhausted(&refusal).waiting, WAITERS_DEFAULT);
    drop(all);
    let _ticket = wait(&gate, now);
}
