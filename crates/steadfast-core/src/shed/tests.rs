use std::{
    sync::{Arc, Mutex},
    task::{Poll, Waker},
    time::Duration,
};

use super::*;
use crate::{
    refusal::{
        Refusal,
        cause::Rule,
        evidence::{Evidence, Pressure},
    },
    request::{deadline::Deadline, priority::Priority},
    shed::{
        cgroup::{Memory, ResourceSample},
        limit::{Admitted, Change, Directive, Ended, Limit, LimitPhase, Sampling, Snapshot, Tag},
        wait_queue::QueueSettings,
    },
    sync::local::Local,
    testing::origin,
};

fn gate(limit: u32, mode: ShedMode) -> (Local<ShedGate>, Instant) {
    let now = origin();
    let settings = ShedSettings::fixed(limit).mode(mode);
    (
        Local::new(ShedGate::new(&settings, 7, now).expect("valid")),
        now,
    )
}

fn admitted(gate: &Local<ShedGate>, now: Instant) -> ShedPermit {
    match ShedGate::admit(gate, Ask::new("/work"), now) {
        Decision::Admit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_refusal_says_limit_count_and_who_hangs() {
    let (gate, start) = gate(2, ShedMode::Enforce);
    let _hanging = admitted(&gate, start);
    let later = start + Duration::from_secs(31);
    let _second = admitted(&gate, later);
    let Decision::Refuse(refusal) = ShedGate::admit(&gate, Ask::new("/x"), later) else {
        panic!("admitted a third")
    };
    let Evidence::Overloaded(seen) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    assert_eq!((seen.rule, seen.in_flight, seen.limit), (Rule::Limit, 2, 2));
    let stuck = seen.stuck.as_ref().expect("31 s is over the bound");
    assert_eq!((stuck.age.as_secs(), stuck.route.as_str()), (31, "/work"));
    assert!(refusal.safe_to_retry());
}

#[test]
fn observe_mode_admits_all_and_counts_what_it_would_have_refused() {
    let (gate, now) = gate(1, ShedMode::Observe);
    let permits: Vec<_> = (0..3).map(|_| admitted(&gate, now)).collect();
    let seen = gate.snapshot(now);
    assert_eq!(
        (seen.in_flight, seen.admitted, seen.would_refuse),
        (3, 3, 2)
    );
    drop(permits);
    assert_eq!(gate.in_flight(), 0);
}

#[test]
fn the_hint_is_the_time_to_the_next_free_place() {
    let (gate, start) = gate(2, ShedMode::Enforce);
    let first = admitted(&gate, start);
    let end = start + Duration::from_secs(8);
    first.settle(Outcome::Done, end);
    let _held = [admitted(&gate, end), admitted(&gate, end)];
    let Decision::Refuse(refusal) = ShedGate::admit(&gate, Ask::new("/x"), end) else {
        panic!("admitted a third")
    };
    assert_eq!(
        refusal.retry_after(),
        Duration::from_secs(4),
        "8 s each, two places"
    );
}

#[test]
fn an_abandoned_request_releases_and_teaches_nothing() {
    let (gate, now) = gate(1, ShedMode::Enforce);
    admitted(&gate, now).settle(Outcome::Abandoned, now + Duration::from_secs(99));
    drop(admitted(&gate, now));
    let seen = gate.snapshot(now + Duration::from_secs(1));
    assert_eq!((seen.in_flight, seen.mean_held), (0, None));
}

#[test]
fn wrong_settings_are_told_all_at_once() {
    let settings = ShedSettings::fixed(0).held_max(Duration::ZERO);
    let error = ShedGate::new(&settings, 7, origin()).expect_err("two faults");
    assert_eq!(error.faults().len(), 2, "{error}");
}

/// A gate with a queue, as full as it may be.
fn queued(limit: u32) -> (Local<ShedGate>, Vec<ShedPermit>, Instant) {
    let now = origin();
    let settings = ShedSettings::fixed(limit).queue(Some(QueueSettings::default()));
    let gate = Local::new(ShedGate::new(&settings, 7, now).expect("valid"));
    let running = (0..limit).map(|_| admitted(&gate, now)).collect();
    (gate, running, now)
}

fn waiting(gate: &Local<ShedGate>, ask: Ask<'_>, now: Instant) -> ShedTicket {
    match ShedGate::admit(gate, ask, now) {
        Decision::Wait(ticket) => ticket,
        other => panic!("{other:?}"),
    }
}

fn poll(ticket: &mut ShedTicket, now: Instant) -> Poll<Result<ShedPermit, Refusal>> {
    ticket.poll("/work", Waker::noop(), now)
}

#[test]
fn who_waits_runs_when_somebody_ends_and_its_time_begins_then() {
    let (gate, mut running, start) = queued(2);
    let mut ticket = waiting(&gate, Ask::new("/work"), start);
    assert_eq!(ticket.until(), start + Duration::from_millis(100));
    let now = start + Duration::from_millis(30);
    assert!(poll(&mut ticket, now).is_pending());
    let ended = running.pop().expect("two run");
    ended.settle(Outcome::Done, now);
    // The place is its own: a newcomer does not get it, although it comes first.
    let newcomer = ShedGate::admit(&gate, Ask::new("/x"), now);
    assert!(matches!(newcomer, Decision::Wait(_)), "{newcomer:?}");
    let Poll::Ready(Ok(permit)) = poll(&mut ticket, now) else {
        panic!("waits on")
    };
    assert_eq!(permit.since(), now, "the sample starts when it runs");
    let seen = gate.snapshot(now).queue.expect("a queue");
    assert_eq!((seen.len, seen.max, seen.waits.served), (1, 1, 1));
    assert_eq!(seen.waits.last, Duration::from_millis(30));
}

#[test]
fn a_stream_whose_turn_comes_when_there_is_no_room_for_streams_is_refused() {
    let now = origin();
    let settings = ShedSettings::fixed(1)
        .streams_max(1)
        .queue(Some(QueueSettings::default().len_max(2)));
    let gate = Local::new(ShedGate::new(&settings, 7, now).expect("valid"));
    let running = admitted(&gate, now);
    let mut ticket = waiting(&gate, Ask::new("/events").stream(true), now);
    let mut next = waiting(&gate, Ask::new("/work"), now);
    let open = ShedGate::stream(&gate, now).expect("room for one stream");
    running.settle(Outcome::Done, now);
    let Poll::Ready(Err(refusal)) = poll(&mut ticket, now) else {
        panic!("as many streams are open as may be")
    };
    assert_eq!(refusal.rule(), Some(Rule::Limit));
    // Its token goes to who waits behind it.
    assert!(matches!(poll(&mut next, now), Poll::Ready(Ok(_))));
    drop(open);
}

#[test]
fn what_is_offered_is_what_was_admitted_and_refused() {
    let (gate, running, start) = queued(2);
    let mut late = waiting(&gate, Ask::new("/work"), start);
    let Decision::Refuse(full) = ShedGate::admit(&gate, Ask::new("/x"), start) else {
        panic!("a place too many")
    };
    assert_eq!(full.rule(), Some(Rule::QueueFull));
    let counts = |now| {
        let seen = gate.snapshot(now);
        (seen.admitted, seen.refused)
    };
    assert_eq!(counts(start), (2, 1), "who waits is in neither");
    let now = late.until();
    let Poll::Ready(Err(refusal)) = poll(&mut late, now) else {
        panic!("waits on")
    };
    assert_eq!(refusal.rule(), Some(Rule::QueueTimeout));
    assert!(refusal.safe_to_retry());
    assert_eq!(counts(now), (2, 2));
    drop(running);
    assert_eq!(gate.in_flight(), 0);
}

#[test]
fn a_permit_that_is_dropped_and_a_raised_limit_serve_who_waits() {
    let (gate, mut running, now) = queued(4);
    let mut tickets = [
        waiting(&gate, Ask::new("/work"), now),
        waiting(&gate, Ask::new("/work"), now),
    ];
    drop(running.pop());
    gate.set_limit(5);
    let permits = tickets.each_mut().map(|ticket| poll(ticket, now));
    assert!(
        permits
            .iter()
            .all(|permit| matches!(permit, Poll::Ready(Ok(_))))
    );
    assert_eq!(gate.in_flight(), 5);
}

#[test]
fn a_ticket_that_is_dropped_gives_back_its_place_and_what_it_was_given() {
    let (gate, mut running, now) = queued(2);
    drop(waiting(&gate, Ask::new("/work"), now));
    let given = waiting(&gate, Ask::new("/work"), now);
    drop(running.pop());
    drop(given);
    assert_eq!(gate.in_flight(), 1);
    drop(admitted(&gate, now));
}

#[test]
fn whose_caller_left_before_its_turn_is_refused_and_the_turn_goes_on() {
    let (gate, mut running, start) = queued(4);
    let deadline = Deadline::after(start, Duration::from_millis(20));
    let mut hasty = waiting(&gate, Ask::new("/work").deadline(Some(deadline)), start);
    let mut patient = waiting(&gate, Ask::new("/work"), start);
    drop(running.pop());
    // Its turn came in time, but it was asked too late.
    let now = start + Duration::from_millis(25);
    let Poll::Ready(Err(refusal)) = poll(&mut hasty, now) else {
        panic!("runs in vain")
    };
    assert_eq!(refusal.rule(), Some(Rule::Deadline));
    let Evidence::Overloaded(seen) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    let queue = seen.queue.expect("a queue");
    assert_eq!(queue.waited, Duration::from_millis(25));
    assert_eq!(queue.deadline_left, Some(Duration::ZERO));
    assert!(matches!(poll(&mut patient, now), Poll::Ready(Ok(_))));
}

#[test]
fn observe_mode_lets_nobody_wait() {
    let (gate, _running, now) = queued(2);
    gate.set_mode(ShedMode::Observe);
    drop(admitted(&gate, now));
}

#[test]
fn a_limit_that_is_chosen_later_has_no_queue() {
    let settings = ShedSettings::adaptive().queue(Some(QueueSettings::default()));
    let gate = ShedGate::new(&settings.limit(4), 7, origin()).expect("valid");
    assert_eq!(gate.snapshot(origin()).queue, None);
}

/// Ten times the load over a fixed limit without a queue, in virtual time: requests that
/// take 10 ms, of which a tenth of the capacity is critical. Returns how many of each were
/// asked and admitted after the first second, and the last refusal of each.
fn flood(limit: u32) -> ([(u32, u32); 2], [Option<Refusal>; 2]) {
    let (gate, start) = gate(limit, ShedMode::Enforce);
    let mut running: std::collections::VecDeque<(Instant, ShedPermit)> = Default::default();
    let (mut counts, mut last) = ([(0, 0); 2], [None, None]);
    let mut random = 7_u64;
    let mut unit = move || {
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (random >> 11) as f64 / (1_u64 << 53) as f64
    };
    let gap = 0.010 / (10.0 * f64::from(limit));
    let mut at = 0.0;
    let mut beat = 0.1;
    while at < 20.0 {
        at += -gap * (1.0 - unit()).ln();
        let now = start + Duration::from_secs_f64(at);
        if at >= beat {
            beat += 0.1;
            gate.beat(Duration::ZERO, now);
        }
        while running.front().is_some_and(|(end, _)| *end <= now) {
            let (end, permit) = running.pop_front().expect("one is there");
            permit.settle(Outcome::Done, end);
        }
        let (kind, class) = match unit() < 0.01 {
            true => (0, Priority::Critical),
            false => (1, Priority::Background),
        };
        let decided = ShedGate::admit(&gate, Ask::new("/x").priority(class), now);
        counts[kind].0 += u32::from(at > 1.0);
        match decided {
            Decision::Admit(permit) => {
                counts[kind].1 += u32::from(at > 1.0);
                let end = now + Duration::from_secs_f64(0.005 + 0.010 * unit());
                let place = running.partition_point(|(other, _)| *other <= end);
                running.insert(place, (end, permit));
            }
            Decision::Refuse(refusal) => last[kind] = Some(refusal),
            other => panic!("{other:?}"),
        }
        assert!(gate.in_flight() <= limit);
    }
    (counts, last)
}

#[test]
fn critical_requests_find_a_place_at_ten_times_the_load() {
    // What a fixed limit without a queue can do at most is what it would do if it served
    // critical ones alone, but for the one that is admitted when nothing is in flight.
    for (limit, least) in [(2, 0.88), (4, 0.99), (16, 0.999), (64, 0.999)] {
        let ([critical, background], [_, refused]) = flood(limit);
        let share = |(asked, admitted): (u32, u32)| f64::from(admitted) / f64::from(asked);
        assert!(
            share(critical) >= least,
            "{limit}: {critical:?} {background:?}"
        );
        assert!(
            share(background) > 0.015,
            "{limit}: {critical:?} {background:?}"
        );
        let refusal = refused.expect("nine of ten are");
        assert_eq!(refusal.rule(), Some(Rule::Priority));
        let Evidence::Overloaded(seen) = refusal.evidence() else {
            panic!("{refusal:?}")
        };
        let Some(Pressure::Reserved(reserved)) = seen.pressure else {
            panic!("{refusal:?}")
        };
        assert_eq!(reserved.priority, Priority::Background);
        assert!(seen.in_flight < limit && seen.in_flight + reserved.kept >= limit);
    }
}

#[test]
fn without_classes_nobody_is_refused_below_the_limit() {
    let (gate, start) = gate(4, ShedMode::Enforce);
    for round in 0..2_000_u32 {
        let now = start + Duration::from_millis(round.into());
        let running: Vec<_> = (0..4).map(|_| admitted(&gate, now)).collect();
        assert!(matches!(
            ShedGate::admit(&gate, Ask::new("/x"), now),
            Decision::Refuse(refusal) if refusal.rule() == Some(Rule::Limit)
        ));
        drop(running);
    }
    assert_eq!(gate.snapshot(start).reserve.kept, [0; 4]);
}

#[test]
fn close_to_the_memory_limit_those_whom_nobody_waits_for_are_refused() {
    let (gate, now) = gate(8, ShedMode::Enforce);
    let sample = |used: &str| {
        let sample = ResourceSample {
            memory: Memory::parse(used, "1000", ""),
            ..ResourceSample::default()
        };
        Some((now, sample))
    };
    let refused = || {
        Priority::ALL.map(|class| {
            let ask = Ask::new("/x").priority(class);
            match ShedGate::admit(&gate, ask, now) {
                Decision::Refuse(refusal) => {
                    assert_eq!(refusal.rule(), Some(Rule::Memory));
                    let Evidence::Overloaded(seen) = refusal.evidence() else {
                        panic!("{refusal:?}")
                    };
                    assert!(matches!(&seen.pressure, Some(Pressure::Memory(memory)) if memory.limit == 1000));
                    true
                }
                _ => false,
            }
        })
    };
    assert_eq!(refused(), [false; 4], "nothing is known");
    for (used, whom) in [
        ("900", [false; 4]),
        ("930", [false, false, false, true]),
        ("960", [false, false, true, true]),
        ("500", [false; 4]),
    ] {
        gate.take_sample(sample(used), now);
        assert_eq!(refused(), whom, "{used}");
    }
    gate.set_memory_mode(ShedMode::Observe);
    gate.take_sample(sample("990"), now);
    assert_eq!(refused(), [false; 4]);
    let seen = gate.snapshot(now).memory;
    assert_eq!((seen.refused, seen.would_refuse), (3, 2));
    assert_eq!(
        gate.snapshot(now).refused,
        0,
        "the limit's algorithm hears nothing of it"
    );
}

/// An algorithm that samples every request, and keeps how many it heard to be in flight at the
/// begin of each, and how long each took.
#[derive(Clone, Debug, Default)]
struct Heard(Arc<Mutex<Vec<Began>>>);

type Began = (u32, Option<Duration>);

impl Limit for Heard {
    fn directive(&self) -> Directive {
        Directive::new(Some(100), Sampling::OneIn(1), 0)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(LimitPhase::Held)
    }

    fn admitted(&mut self, admitted: Admitted) -> Tag {
        let mut heard = self.0.lock().expect("no panic");
        heard.push((admitted.in_flight, None));
        Tag::new(heard.len() as u32)
    }

    fn ended(&mut self, ended: Ended) -> Option<Change> {
        let mut heard = self.0.lock().expect("no panic");
        let took = ended.now - ended.admitted_at;
        heard[ended.tag.raw() as usize - 1].1 = Some(took);
        None
    }
}

#[test]
fn to_the_algorithm_who_stands_in_line_comes_when_its_turn_does() {
    let (heard, start) = (Heard::default(), origin());
    let make = heard.clone();
    let settings = ShedSettings::algorithm("heard", move |_| Box::new(make.clone()));
    let gate = Local::new(ShedGate::new(&settings, 7, start).expect("valid"));
    let ms = |ms| start + Duration::from_millis(ms);
    let before: Vec<_> = (0..4).map(|_| admitted(&gate, start)).collect();
    gate.beat(Duration::from_secs(1), ms(1));
    let mut lined: Vec<_> = (0..3).map(|_| admitted(&gate, ms(2))).collect();
    assert!(lined.iter().all(|it| it.is_in_line() && !it.is_sampled()));
    let leaves = lined.pop().expect("three");
    for permit in &mut lined {
        permit.turn(ms(30)).expect("nobody is refused");
        assert!(!permit.is_in_line() && permit.is_sampled());
    }
    drop(leaves);
    for permit in lined {
        permit.settle(Outcome::Done, ms(35));
    }
    for permit in before {
        permit.settle(Outcome::Done, ms(40));
    }
    let took = |ms| Some(Duration::from_millis(ms));
    let heard = heard.0.lock().expect("no panic").clone();
    let before = [1, 2, 3, 4].map(|in_flight| (in_flight, took(40)));
    assert_eq!(heard[..4], before);
    assert_eq!(heard[4..], [(5, took(5)), (6, took(5))]);
}

#[test]
fn what_a_request_costs_is_asked_of_those_who_stood_in_line() {
    let (gate, start) = gate(100, ShedMode::Enforce);
    assert!(!admitted(&gate, start).is_timed(), "all is well");
    gate.beat(Duration::from_secs(1), start);
    let mut permit = admitted(&gate, start);
    permit.turn(start).expect("nobody is refused");
    assert!(permit.is_timed());
    permit.computed(Duration::from_millis(3), start);
    assert!(!permit.is_timed(), "once");
}
