use std::{
    num::NonZeroU32,
    task::{Poll, Waker},
};

use super::*;
use crate::{
    Ask, Decision, Outcome, Priority, Refusal, ShedMode, ShedPermit,
    limit::Fixed,
    refusal::{cause::Rule, evidence::Evidence},
    shed::{tenants::Tenant, wait_queue::QueueSettings},
    sync::local::Local,
    testing::origin,
};
use proptest::prelude::*;

static PAGES: Name = Name::from_static("pages-db");
static REPORTS: Name = Name::from_static("reports-db");

/// Each limit is one place, or so many.
fn settings(places: u32) -> ShedSettings {
    let places = NonZeroU32::new(places).expect("some");
    let make = move |_| -> Box<dyn crate::limit::Limit> { Box::new(Fixed::new(places)) };
    ShedSettings::algorithm("places", make).by_backend(true)
}

fn gate(settings: &ShedSettings, now: Instant) -> Local<ShedGate> {
    Local::new(ShedGate::new(settings, 7, now).expect("valid"))
}

/// A page and a report have limits of their own from now on.
fn part(gate: &ShedGate, now: Instant) {
    for _ in 0..routes::SURE {
        gate.spent("/page", Some(&PAGES), now);
        gate.spent("/report/7", Some(&REPORTS), now);
    }
}

fn ask(gate: &Local<ShedGate>, path: &str, now: Instant) -> Result<ShedPermit, Refusal> {
    match ShedGate::admit(gate, Ask::new(path), now) {
        Decision::Admit(permit) => Ok(permit),
        Decision::Refuse(refusal) => Err(refusal),
        Decision::Wait(_) => panic!("there is no queue"),
    }
}

fn run(gate: &Local<ShedGate>, path: &str, now: Instant) -> ShedPermit {
    ask(gate, path, now).expect("there is room")
}

fn numbers(gate: &ShedGate, now: Instant) -> Vec<(String, u32, u64)> {
    let of = |it: &BackendSnapshot| (it.backend.to_string(), it.in_flight, it.refused);
    gate.snapshot(now).backends.iter().map(of).collect()
}

#[test]
fn a_slow_route_takes_no_place_from_a_quick_one_of_another_backend() {
    let now = origin();
    let gate = gate(&settings(1), now);
    let _before = run(&gate, "/report/1", now);
    part(&gate, now);
    let _report = run(&gate, "/report/2", now);
    let page = run(&gate, "/page", now);
    let refusal = ask(&gate, "/report/3", now).expect_err("its limit is met");
    let Evidence::Overloaded(seen) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    assert_eq!(seen.backend, Some(REPORTS.clone()));
    assert_eq!((seen.rule, seen.in_flight, seen.limit), (Rule::Limit, 1, 1));
    page.settle(Outcome::Done, now);
    drop(run(&gate, "/page", now));
    let other = ask(&gate, "/other", now).expect_err("the report from before has that place");
    assert!(matches!(other.evidence(), Evidence::Overloaded(seen) if seen.backend.is_none()));
    let backends = [(PAGES.to_string(), 0, 0), (REPORTS.to_string(), 1, 1)];
    assert_eq!(numbers(&gate, now), backends);
    let seen = gate.snapshot(now);
    assert_eq!((seen.in_flight, seen.admitted, seen.refused), (2, 4, 2));
    assert_eq!(seen.backends[1].routes, ["/report/*"]);
}

#[test]
fn a_permit_ends_where_it_was_given_whatever_became_of_its_route() {
    let now = origin();
    let gate = gate(&settings(1), now);
    let before = run(&gate, "/page", now);
    part(&gate, now);
    let page = run(&gate, "/page", now);
    before.settle(Outcome::Done, now);
    let _ = ask(&gate, "/page", now).expect_err("the page still runs");
    drop(page);
    let mut page = run(&gate, "/page", now);
    page.become_stream(now).expect("room among the streams");
    drop(run(&gate, "/page", now));
    assert_eq!(gate.in_flight(), 0);
    // Back to one for all while one runs.
    let page = run(&gate, "/page", now);
    gate.set_limit(1);
    let common = run(&gate, "/page", now);
    page.settle(Outcome::Done, now);
    let _ = ask(&gate, "/page", now).expect_err("one for all");
    drop(common);
    assert_eq!(gate.in_flight(), 0);
}

#[test]
fn nothing_is_parted_before_two_backends_are_told_apart() {
    let now = origin();
    let gate = gate(&ShedSettings::adaptive(), now);
    for path in ["/page", "/report", "/other"] {
        (0..100).for_each(|_| gate.spent(path, Some(&PAGES), now));
    }
    assert!(gate.snapshot(now).backends.is_empty());
    assert!(gate.take_backend_changes().is_empty());
    let _permit = run(&gate, "/page", now);
    (0..routes::SURE).for_each(|_| gate.spent("/sum", Some(&REPORTS), now));
    let backends = [(PAGES.to_string(), 0, 0), (REPORTS.to_string(), 0, 0)];
    assert_eq!(numbers(&gate, now), backends);
    let mut told: Vec<_> = gate.take_backend_changes();
    told.retain(|it| matches!(it.news, BackendNews::Route { apart: true, .. }));
    assert_eq!(told.len(), 4, "each route, once there is something to say");
}

#[test]
fn a_fixed_limit_and_one_that_is_set_are_one_for_all() {
    let now = origin();
    let fixed = ShedSettings::adaptive().limit(4);
    let off = ShedSettings::adaptive().by_backend(false);
    for settings in [fixed, off, ShedSettings::fixed(4).by_backend(true)] {
        let gate = gate(&settings, now);
        assert!(!gate.asks_what_is_spent(true));
        part(&gate, now);
        assert!(gate.snapshot(now).backends.is_empty());
    }
    let gate = gate(&settings(2), now);
    assert!(gate.asks_what_is_spent(true));
    part(&gate, now);
    gate.set_limit(1);
    part(&gate, now);
    assert!(!gate.asks_what_is_spent(true) && gate.snapshot(now).backends.is_empty());
    let _page = run(&gate, "/page", now);
    let _ = ask(&gate, "/report/1", now).expect_err("they share it");
}

#[test]
fn everybody_is_asked_after_something_new_was_seen_and_who_shares_a_limit_while_there_is_one() {
    let now = origin();
    let open = gate(&ShedSettings::adaptive(), now);
    assert!(open.asks_what_is_spent(true) && !open.asks_what_is_spent(false));
    let mut later = now;
    for backend in [&PAGES, &REPORTS] {
        open.spent("/page", Some(backend), later);
        assert!(open.asks_what_is_spent(false), "{backend} is new");
        (1..ALL_MIN).for_each(|_| open.spent("/own", None, later));
        assert!(open.asks_what_is_spent(false), "no time has gone by");
        later += ALL_FOR;
        open.spent("/page", Some(backend), later);
        assert!(!open.asks_what_is_spent(false), "{backend} is known");
    }
    assert!(open.asks_what_is_spent(true) && !open.asks_what_is_spent(false));
    open.spent("/new", Some(&PAGES), later);
    assert!(
        !open.asks_what_is_spent(false),
        "the last time was a moment ago"
    );
    later += ALL_REST;
    open.spent("/newer", Some(&PAGES), later);
    assert!(open.asks_what_is_spent(false), "a route is new");
    let limited = gate(&settings(4), now);
    assert!(limited.asks_what_is_spent(false));
}

#[test]
fn the_ninth_backend_shares_the_common_limit() {
    let now = origin();
    let gate = gate(&settings(1), now);
    let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i"];
    for name in names.map(Name::from_static) {
        let path = format!("/{name}");
        (0..routes::SURE).for_each(|_| gate.spent(&path, Some(&name), now));
    }
    assert_eq!(gate.snapshot(now).backends.len(), BACKENDS_MAX);
    assert_eq!(gate.take_backend_changes().len(), BACKENDS_MAX);
    let _others = names.map(|name| run(&gate, &format!("/{name}"), now));
    let _ = ask(&gate, "/common", now).expect_err("/i has its place");
}

#[test]
fn who_waits_for_a_place_waits_for_one_of_its_own_limit() {
    let now = origin();
    let gate = gate(
        &settings(1).queue(Some(QueueSettings::default().len_max(1))),
        now,
    );
    part(&gate, now);
    let report = run_any(&gate, "/report/1", now);
    let Decision::Wait(mut ticket) = ShedGate::admit(&gate, Ask::new("/report/2"), now) else {
        panic!("there is room in the queue")
    };
    let mut poll = || ticket.poll("/report/2", Waker::noop(), now);
    assert!(poll().is_pending());
    drop(run_any(&gate, "/page", now));
    assert!(poll().is_pending(), "that was another limit's place");
    report.settle(Outcome::Done, now);
    let Poll::Ready(Ok(second)) = poll() else {
        panic!("its turn has come")
    };
    drop(second);
    assert_eq!(gate.in_flight(), 0);
}

fn run_any(gate: &Local<ShedGate>, path: &str, now: Instant) -> ShedPermit {
    match ShedGate::admit(gate, Ask::new(path), now) {
        Decision::Admit(permit) => permit,
        other => panic!("{other:?}"),
    }
}

/// Goal: whoever comes late and goes first finds the places kept of its own limit, while another
/// limit keeps none. Method: both are offered twice what they serve for a second; only reports
/// are of two classes.
#[test]
fn places_are_kept_for_those_who_go_first_of_the_limit_that_is_met() {
    let start = origin();
    let gate = gate(&settings(8), start);
    part(&gate, start);
    let mut running = Vec::new();
    for tick in 0..2000_u64 {
        let now = start + Duration::from_millis(tick);
        running.retain_mut(|(until, permit): &mut (Instant, Option<ShedPermit>)| {
            if *until > now {
                return true;
            }
            permit.take().expect("once").settle(Outcome::Done, now);
            false
        });
        for (path, priority) in [
            ("/report/1", Priority::Default),
            (
                "/report/1",
                if tick % 4 == 0 {
                    Priority::Critical
                } else {
                    Priority::Default
                },
            ),
            ("/page", Priority::Default),
            ("/page", Priority::Default),
        ] {
            let ask = Ask::new(path).priority(priority);
            if let Decision::Admit(permit) = ShedGate::admit(&gate, ask, now) {
                running.push((now + Duration::from_millis(8), Some(permit)));
            }
        }
        if tick % 100 == 0 {
            gate.beat(Duration::ZERO, now);
        }
    }
    let seen = gate.snapshot(start + Duration::from_secs(2));
    let kept = |it: &BackendSnapshot| it.reserve.kept[Priority::Default.index()];
    let kept: Vec<_> = seen.backends.iter().map(kept).collect();
    assert_eq!(kept[0], 0, "nobody goes first there");
    assert!(kept[1] > 0, "{seen:?}");
    assert_eq!(seen.reserve.kept, [0; 4]);
}

#[test]
fn whose_requests_are_is_weighed_where_their_own_limit_is_met() {
    let now = origin();
    let gate = gate(&settings(1).tenants(true), now);
    part(&gate, now);
    assert!(!gate.weighs_tenants(now));
    let _report = run(&gate, "/report/1", now);
    let ask = Ask::new("/report/2").tenant(Some(Tenant::new(7, "acme")));
    assert!(matches!(
        ShedGate::admit(&gate, ask, now),
        Decision::Refuse(_)
    ));
    assert!(gate.weighs_tenants(now));
}

#[test]
fn observe_mode_admits_beyond_each_limit_and_counts_it_there() {
    let now = origin();
    let gate = gate(&settings(1).mode(ShedMode::Observe), now);
    part(&gate, now);
    let _reports: Vec<_> = (0..3).map(|_| run(&gate, "/report/1", now)).collect();
    let _page = run(&gate, "/page", now);
    let seen = gate.snapshot(now);
    assert_eq!((seen.in_flight, seen.would_refuse), (4, 2));
    assert_eq!(seen.backends[1].would_refuse, 2);
}

proptest! {
    /// Goal: whatever comes in whatever order, each limit holds, what runs is counted once, and
    /// nothing is left when all have ended.
    #[test]
    fn every_place_comes_back_to_the_limit_it_was_taken_from(
        steps in prop::collection::vec((0..6_u8, 0..4_usize), 1..400),
        places in 1..4_u32,
    ) {
        let now = origin();
        let gate = gate(&settings(places), now);
        let paths = ["/page", "/report/1", "/other", "/report/2"];
        let backends = [Some(&PAGES), Some(&REPORTS), None];
        let mut running = Vec::new();
        let mut admitted = 0;
        for (what, which) in steps {
            match what {
                0..=2 => {
                    let path = paths[which];
                    if let Ok(permit) = ask(&gate, path, now) {
                        admitted += 1;
                        running.push(permit);
                    }
                }
                3 if !running.is_empty() => {
                    running.swap_remove(which % running.len()).settle(Outcome::Done, now);
                }
                4 if !running.is_empty() => drop(running.swap_remove(which % running.len())),
                _ => {
                    let with = backends[which % backends.len()];
                    (0..routes::SURE).for_each(|_| gate.spent(paths[which], with, now));
                }
            }
            let seen = gate.snapshot(now);
            prop_assert_eq!(seen.in_flight as usize, running.len());
            prop_assert_eq!(seen.admitted, admitted);
            let apart: u32 = seen.backends.iter().map(|it| it.in_flight).sum();
            prop_assert!(seen.in_flight - apart <= places);
            prop_assert!(seen.backends.iter().all(|it| it.in_flight <= places));
        }
        running.clear();
        prop_assert_eq!(gate.in_flight(), 0);
    }
}
