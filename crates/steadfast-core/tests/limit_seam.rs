//! What the gate promises whoever writes an algorithm of its own.

#![expect(clippy::disallowed_methods, reason = "virtual time needs one zero")]

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use steadfast_core::{
    Ask, Decision, Local, Outcome, ShedGate, ShedPermit, ShedSettings,
    limit::{Admitted, Change, Directive, Ended, Limit, LimitPhase, Sampling, Snapshot, Tag},
};

/// Marks what it samples with its own number, and takes note of marks that are not its own.
#[derive(Debug)]
struct Marked {
    own: u32,
    heard: Arc<AtomicU32>,
    strange: Arc<AtomicU32>,
}

impl Limit for Marked {
    fn directive(&self) -> Directive {
        Directive::new(Some(8), Sampling::OneIn(1), 0)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(LimitPhase::Held)
    }

    fn admitted(&mut self, _: Admitted) -> Tag {
        Tag::new(self.own)
    }

    fn ended(&mut self, ended: Ended) -> Option<Change> {
        let of = if ended.tag.raw() == self.own {
            &self.heard
        } else {
            &self.strange
        };
        of.fetch_add(1, Ordering::Relaxed);
        None
    }
}

/// Lets nobody beside another run while the process is on time, and four while it is late.
#[derive(Debug)]
struct Generous {
    cap: u32,
}

impl Limit for Generous {
    fn directive(&self) -> Directive {
        Directive::new(Some(self.cap), Sampling::Nothing, 0)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(LimitPhase::Held)
    }

    fn late(&mut self, _: Instant, _: Duration) {
        self.cap = 4;
    }
}

fn gate(now: Instant) -> Local<ShedGate> {
    Local::new(ShedGate::new(&ShedSettings::fixed(8), 7, now).expect("valid"))
}

fn admitted(gate: &Local<ShedGate>, now: Instant) -> Option<ShedPermit> {
    match ShedGate::admit(gate, Ask::new("/work"), now) {
        Decision::Admit(permit) => Some(permit),
        _ => None,
    }
}

#[test]
fn a_tag_never_reaches_another_algorithm_than_the_one_that_made_it() {
    let now = Instant::now();
    let (gate, heard, strange) = (gate(now), Arc::default(), Arc::default());
    let algorithm = |own| {
        Box::new(Marked {
            own,
            heard: Arc::clone(&heard),
            strange: Arc::clone(&strange),
        })
    };
    gate.set_algorithm(algorithm(1));
    let [settled, dropped] = [(); 2].map(|()| admitted(&gate, now).expect("room"));
    gate.set_algorithm(algorithm(2));
    settled.settle(Outcome::Done, now);
    drop(dropped);
    assert_eq!(strange.load(Ordering::Relaxed), 0);
    admitted(&gate, now)
        .expect("room")
        .settle(Outcome::Done, now);
    assert_eq!(heard.load(Ordering::Relaxed), 1, "its own it hears of");
}

#[test]
fn what_an_algorithm_makes_of_a_late_process_is_in_force_at_once() {
    let now = Instant::now();
    let gate = gate(now);
    gate.set_algorithm(Box::new(Generous { cap: 1 }));
    let _first = admitted(&gate, now).expect("room for one");
    assert!(admitted(&gate, now).is_none());
    gate.beat(Duration::from_millis(50), now);
    assert_eq!(gate.snapshot(now).limit, Some(4));
    assert!(admitted(&gate, now).is_some());
}

#[test]
fn what_mostly_stands_in_line_for_the_runtime_is_no_measure_of_a_limit() {
    // Goal: an overload of handlers that compute is the lag loop's; a limit that was found on
    // requests in its line refused later and at a higher price.
    let start = Instant::now();
    let measured = |before: usize, behind: usize| {
        let (gate, heard, strange) = (gate(start), Arc::default(), Arc::default());
        // A runtime that is late without requests keeps nobody waiting.
        admitted(&gate, start)
            .expect("room")
            .settle(Outcome::Done, start);
        gate.set_algorithm(Box::new(Marked {
            own: 5,
            heard: Arc::clone(&heard),
            strange,
        }));
        let running: Vec<_> = (0..before).map(|_| admitted(&gate, start)).collect();
        gate.beat(Duration::from_millis(50), start);
        let mut in_line: Vec<_> = (0..behind).map(|_| admitted(&gate, start)).collect();
        for permit in in_line.iter_mut().flatten() {
            permit.turn(start).expect("nobody is refused");
        }
        for permit in running.into_iter().chain(in_line) {
            permit
                .expect("there are eight places")
                .settle(Outcome::Done, start);
        }
        heard.load(Ordering::Relaxed)
    };
    assert_eq!(
        measured(0, 6),
        3,
        "those behind whom fewer stand than have begun"
    );
    assert_eq!(measured(5, 3), 8, "most of them run");
}
