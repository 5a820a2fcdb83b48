//! The upstream falls ill while a real service calls it: the breaker opens, says why, and
//! lets few find out whether it is over.

#![allow(
    clippy::disallowed_methods,
    reason = "tests wait for real servers, on the real clock"
)]

use std::time::Duration;

use e2e::{Answer, Service, get, wait_for, wait_until};
use serde_json::Value;
use steadfast::{
    BreakerState, CallKind, Dependency, DependencyBuilder, Disclosure, ExplainSettings, Guard,
    Shed, Trip,
};
use steadfast_core::DependencyState;
use upstream::{HANG, Mood, Upstream, app, snapshot};

/// A wait that no test outlives, for those that look at the outage itself.
const FOREVER: Duration = Duration::from_secs(600);

/// Each way to call.
const WAYS: [&str; 2] = ["/call", "/layer"];

struct Rig {
    upstream: Upstream,
    payments: Dependency,
    service: Service,
}

impl Rig {
    fn start(trip: Trip, settings: impl FnOnce(DependencyBuilder) -> DependencyBuilder) -> Self {
        let upstream = Upstream::start();
        let payments = Dependency::builder("payments")
            .degrades()
            .call_timeout(HANG)
            .trip(trip);
        let payments = settings(payments).build().expect("valid settings");
        let guard = Guard::builder()
            .shed(Shed::fixed(256))
            .dependency(&payments)
            .explain(ExplainSettings::default().disclosure(Disclosure::Full))
            .build()
            .expect("valid settings");
        let service = Service::start(&guard, app(&payments, upstream.address()));
        service.wait_until_ready();
        Self {
            upstream,
            payments,
            service,
        }
    }

    fn get(&self, path: &str) -> Answer {
        get(self.service.address(), path)
    }

    fn state(&self) -> Option<BreakerState> {
        snapshot(&self.payments).map(|breaker| breaker.state)
    }

    fn calls(&self, kind: CallKind) -> u64 {
        let state: &DependencyState = self.payments.as_ref();
        state.calls().of(kind)
    }

    /// Calls one after the other until one is refused, and returns that answer and the
    /// statuses of those before it.
    fn call_until_refused(&self, path: &str) -> (Answer, Vec<u16>) {
        let mut statuses = Vec::new();
        let refused = wait_for(
            "a refusal",
            || {
                let answer = self.get(path);
                if answer.status != 503 {
                    statuses.push(answer.status);
                }
                answer
            },
            |answer| answer.status == 503,
        );
        (refused, statuses)
    }

    /// What has nothing to do with the upstream goes on, and the instance stays in.
    fn assert_rest_is_well(&self) {
        assert_eq!(self.get("/hello").body, "hello");
        let ready = wait_for(
            "a degraded instance",
            || self.get("/ready/"),
            |answer| answer.body.starts_with("degraded: payments failing"),
        );
        assert_eq!(ready.status, 200);
    }
}

/// Opens on three failures in a row, for good.
fn opens_for_good() -> Trip {
    Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO)
        .open_base(FOREVER)
        .open_max(FOREVER)
        .jitter_ratio(0.0)
}

/// Checks that a refusal says everything, and returns its evidence.
#[track_caller]
fn assert_explained(refused: &Answer, rule: &str) -> Value {
    let why = refused.header("why-503").expect("it says why");
    assert!(why.starts_with("cause=dependency-down, id=\""), "{why}");
    let retry_after = refused.header("retry-after").expect("it says when");
    let retry_after: u64 = retry_after.parse().expect("whole seconds");
    assert!((1..=30).contains(&retry_after), "{retry_after}");
    let body: Value = serde_json::from_str(&refused.body).expect("problem+json");
    assert_eq!(body["cause"], "dependency-down");
    let evidence = body["evidence"].clone();
    assert_eq!(evidence["dependency"], "payments", "{evidence}");
    assert_eq!(evidence["rule"], rule, "{evidence}");
    evidence
}

fn text<'a>(evidence: &'a Value, name: &str) -> &'a str {
    evidence[name].as_str().unwrap_or_default()
}

#[test]
fn an_upstream_that_hangs_is_left_alone_after_three_timeouts() {
    for way in WAYS {
        let rig = Rig::start(opens_for_good(), |it| it);
        assert_eq!(rig.get(way).body, "paid");
        rig.upstream.set(Mood::Hanging);
        let before = rig.upstream.reached();
        let (refused, statuses) = rig.call_until_refused(way);
        assert_eq!(statuses, [504, 504, 504], "{way}");
        assert_eq!(rig.upstream.reached() - before, 3, "{way}");

        let evidence = assert_explained(&refused, "consecutive-failures");
        let reason = text(&evidence, "reason");
        assert!(
            reason.starts_with("3 calls in a row failed within"),
            "{reason}"
        );
        assert_eq!(evidence["class"], "timeout");
        assert_eq!(evidence["last_error"], "no answer within 1s");
        // The handler was entered, so a proxy must not repeat the request.
        assert!(!refused.all().contains("safe-to-retry"), "{}", refused.head);
        rig.assert_rest_is_well();

        // The gate refuses before the handler, and says so.
        let gated = rig.get("/gated");
        assert_eq!(gated.status, 503);
        assert!(gated.all().contains("safe-to-retry"), "{}", gated.head);
        assert_eq!(rig.upstream.reached() - before, 3, "{way}");
        // Those that were cut are gone from the upstream too.
        wait_until("the calls' end", || rig.upstream.running() == 0);
    }
}

/// Nothing ends, so nothing can be counted but what hangs.
#[test]
fn an_upstream_that_hangs_is_seen_before_the_first_call_ends() {
    let trip = opens_for_good().stall_limit(HANG);
    let rig = Rig::start(trip, DependencyBuilder::no_call_timeout);
    rig.upstream.set(Mood::Hanging);
    let address = rig.service.address();
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(move || {
                // It ends in an error, when the upstream goes.
                assert_eq!(get(address, "/call").status, 500);
            });
        }
        wait_until("the calls", || rig.upstream.reached() == 3);
        wait_until("the trip", || rig.state() == Some(BreakerState::Open));
        let refused = rig.get("/gated");
        assert_eq!(refused.status, 503);
        let evidence = assert_explained(&refused, "stalled");
        let reason = text(&evidence, "reason");
        assert!(reason.starts_with("3 calls hang"), "{reason}");
        rig.assert_rest_is_well();
        rig.upstream.hang_up();
    });
    assert_eq!(
        rig.state(),
        Some(BreakerState::Open),
        "a late end decides nothing"
    );
}

#[test]
fn an_upstream_that_resets_is_left_alone() {
    for way in WAYS {
        let rig = Rig::start(opens_for_good(), |it| it);
        rig.upstream.set(Mood::Resetting);
        let (refused, statuses) = rig.call_until_refused(way);
        assert_eq!(statuses, [500, 500, 500], "{way}");
        assert_eq!(
            rig.upstream.reached(),
            3,
            "a client that repeats would show here"
        );
        let evidence = assert_explained(&refused, "consecutive-failures");
        assert!(!text(&evidence, "last_error").is_empty(), "{evidence}");
        rig.assert_rest_is_well();
    }
}

#[test]
fn an_upstream_that_is_busy_is_left_alone_for_as_long_as_it_asks() {
    for way in WAYS {
        let trip = Trip::default().calls_min(5).jitter_ratio(0.0);
        let rig = Rig::start(trip, |it| it);
        rig.upstream.set(Mood::Busy { retry_after: 45 });
        let (refused, statuses) = rig.call_until_refused(way);
        // One throttled caller makes long rows in front of a healthy server, so it takes
        // the ratio's rule and its five calls.
        assert_eq!(statuses, [502; 5], "{way}");
        let evidence = assert_explained(&refused, "failure-ratio");
        assert_eq!(text(&evidence, "reason"), "5 of 5 calls failed in 10s");
        assert_eq!(evidence["class"], "overloaded");
        let breaker = snapshot(&rig.payments).expect("calls were made");
        let wait = breaker.next_probe_at.expect("it waits") - breaker.since;
        assert_eq!(wait, Duration::from_secs(45), "{way}");
        rig.assert_rest_is_well();
    }
}

#[test]
fn what_a_busy_upstream_asks_for_has_a_cap() {
    let cap = Duration::from_secs(20);
    let trip = Trip::default()
        .calls_min(5)
        .jitter_ratio(0.0)
        .retry_after_max(cap);
    let rig = Rig::start(trip, |it| it);
    rig.upstream.set(Mood::Busy {
        retry_after: 86_400,
    });
    let _ = rig.call_until_refused("/call");
    let breaker = snapshot(&rig.payments).expect("calls were made");
    assert_eq!(
        breaker.next_probe_at.expect("it waits") - breaker.since,
        cap
    );
}

#[test]
fn an_upstream_that_is_slow_is_left_alone() {
    for way in WAYS {
        let trip = opens_for_good()
            .calls_min(5)
            .slow_limit(Duration::from_millis(20));
        let rig = Rig::start(trip, DependencyBuilder::no_call_timeout);
        rig.upstream.set(Mood::Slow(Duration::from_millis(25)));
        let (refused, statuses) = rig.call_until_refused(way);
        assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
        let evidence = assert_explained(&refused, "slow-ratio");
        let reason = text(&evidence, "reason");
        let slow = statuses.len();
        assert_eq!(reason, format!("{slow} of {slow} calls were slow in 10s"));
        rig.assert_rest_is_well();
    }
}

/// The probe hangs, and two hundred others come: none of them reaches the upstream.
#[test]
fn few_probes_reach_an_upstream_that_may_be_back_and_traffic_returns() {
    for way in WAYS {
        let trip = opens_for_good()
            .open_base(Duration::from_millis(50))
            .open_max(Duration::from_millis(50))
            .probe_lease(FOREVER)
            .ramp(Duration::from_millis(100));
        let rig = Rig::start(trip, DependencyBuilder::no_call_timeout);
        rig.upstream.set(Mood::Resetting);
        let _ = rig.call_until_refused(way);
        rig.upstream.set(Mood::Hanging);
        let address = rig.service.address();
        std::thread::scope(|scope| {
            // Each gets in or is refused; one of them is the probe, which ends in an error.
            let callers: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(move || {
                        while get(address, way).status == 503 {
                            std::thread::sleep(Duration::from_millis(1));
                        }
                    })
                })
                .collect();
            wait_until("the probe", || rig.upstream.running() == 1);
            let before = rig.upstream.reached();
            for _ in 0..200 {
                assert_eq!(rig.get(way).status, 503, "{way}");
            }
            assert_eq!(rig.upstream.reached(), before, "{way}");
            // The probe breaks off; the next ones find the upstream well.
            rig.upstream.set(Mood::Well);
            rig.upstream.hang_up();
            for caller in callers {
                caller.join().expect("it got an answer in the end");
            }
        });
        wait_until("the recovery", || {
            let _ = rig.get(way);
            rig.state() == Some(BreakerState::Closed)
        });
        rig.service.wait_until_ready();
        for _ in 0..20 {
            assert_eq!(rig.get(way).body, "paid", "{way}");
        }
        let breaker = snapshot(&rig.payments).expect("calls were made");
        assert_eq!((breaker.in_flight, breaker.probes_running), (Some(0), 0));
    }
}

#[test]
fn whatever_the_trouble_was_all_traffic_returns_and_nothing_is_left_over() {
    let moods = [
        Mood::Hanging,
        Mood::Resetting,
        Mood::Busy { retry_after: 1 },
        Mood::Slow(Duration::from_millis(250)),
    ];
    for mood in moods {
        let trip = opens_for_good()
            .calls_min(5)
            // Far above what an upstream on this machine needs that is well.
            .slow_limit(Duration::from_millis(200))
            .open_base(Duration::from_millis(50))
            .open_max(Duration::from_millis(50))
            .ramp(Duration::from_millis(100));
        let rig = Rig::start(trip, |it| it);
        rig.upstream.set(mood);
        let _ = rig.call_until_refused("/call");
        rig.upstream.set(Mood::Well);
        wait_until("the recovery", || {
            let _ = rig.get("/call");
            rig.state() == Some(BreakerState::Closed)
        });
        rig.service.wait_until_ready();
        assert_eq!(rig.get("/call").body, "paid", "{mood:?}");
        wait_until("the calls' end", || rig.upstream.running() == 0);
        let breaker = snapshot(&rig.payments).expect("calls were made");
        let left = (breaker.in_flight, breaker.probes_running);
        assert_eq!(left, (Some(0), 0), "{mood:?}");
    }
}

#[test]
fn a_recovered_upstream_that_nobody_floods_gets_all_its_traffic_at_once() {
    let trip = opens_for_good()
        .open_base(Duration::from_millis(50))
        .open_max(Duration::from_millis(50))
        .ramp(Duration::from_secs(600));
    // Nothing hangs here.
    let rig = Rig::start(trip, DependencyBuilder::no_call_timeout);
    rig.upstream.set(Mood::Resetting);
    let _ = rig.call_until_refused("/call");
    rig.upstream.set(Mood::Well);
    wait_until("the probes", || {
        let _ = rig.get("/call");
        rig.state() == Some(BreakerState::Ramping)
    });
    let before = rig.upstream.reached();
    let refused_before = rig.calls(CallKind::Refused);
    let paid = (0..200).filter(|_| rig.get("/call").status == 200).count();
    assert_eq!(rig.upstream.reached() - before, paid);
    // One after the other is no flood, however long the ramp.
    assert_eq!(paid, 200);
    let refused = rig.calls(CallKind::Refused) - refused_before;
    assert_eq!(refused, 0);
}
