//! The metrics: all that the design names is there from the start, the number of series has
//! a bound, and guards of one process keep apart.

use std::collections::{BTreeMap, BTreeSet};

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use steadfast::{Probes, Shed, test_util};

use super::*;

/// Values by name and labels.
type Seen = BTreeMap<(String, Vec<(String, String)>), f64>;

fn seen(snapshotter: &Snapshotter) -> Seen {
    let all = snapshotter.snapshot().into_vec().into_iter();
    all.map(|(key, _, _, value)| {
        let labels = key.key().labels();
        let labels = labels.map(|it| (it.key().to_owned(), it.value().to_owned()));
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.into_inner(),
            DebugValue::Histogram(values) => values.len() as f64,
        };
        ((key.key().name().to_owned(), labels.collect()), value)
    })
    .collect()
}

fn guard_of(labels: &[(String, String)]) -> &str {
    let found = labels.iter().find(|(key, _)| key == "guard");
    found.map_or("", |(_, value)| value)
}

/// What the contract names.
const DESIGN: [&str; 11] = [
    "steadfast_admitted_total",
    "steadfast_refusals_total",
    "steadfast_demand",
    "steadfast_in_flight",
    "steadfast_limit",
    "steadfast_queue_seconds",
    "steadfast_dependency_state",
    "steadfast_dependency_calls_total",
    "steadfast_pool_wait_seconds_total",
    "steadfast_phase",
    "steadfast_drain_cut_total",
];

#[tokio::test(start_paused = true)]
async fn what_can_happen_is_there_before_it_does() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let (payments, _health) = test_util::dependency("payments");
    let shed = Shed::fixed(2).queue(steadfast::Queue::default());
    let guard = builder().shed(shed).dependency(&payments).build();
    let guard = guard.expect("valid");
    let _running = guard.start().expect("started");
    tokio::time::sleep(2 * SECOND).await;
    let seen = seen(&snapshotter);
    let names: BTreeSet<_> = seen.keys().map(|(name, _)| name.as_str()).collect();
    for name in DESIGN {
        // A dependency without a pool waits for no connection.
        let is_there = names.contains(name) || name == "steadfast_pool_wait_seconds_total";
        assert!(is_there, "{name} in {names:#?}");
    }
    for ((name, labels), value) in &seen {
        if name.starts_with("steadfast_refusals") || name.starts_with("steadfast_drain_cut") {
            assert_eq!(*value, 0.0, "{labels:?}");
        }
    }
    let causes: BTreeSet<_> = seen
        .keys()
        .filter(|(name, _)| name == "steadfast_refusals_total")
        .flat_map(|(_, labels)| labels.iter().filter(|(key, _)| key == "cause"))
        .map(|(_, value)| value.as_str())
        .collect();
    let all = [
        "application",
        "dependency-down",
        "draining",
        "maintenance",
        "overloaded",
        "starting",
    ];
    assert!(causes.iter().copied().eq(all), "{causes:?}");
}

#[tokio::test(start_paused = true)]
async fn guards_of_one_process_do_not_collide() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let made = |limit, name: &str| {
        let guard = builder().shed(Shed::fixed(limit)).name(name).build();
        guard.expect("valid")
    };
    let guards = [
        made(3, "customers"),
        made(5, "colleagues"),
        made(7, "colleagues"),
    ];
    let _running = guards
        .each_ref()
        .map(|guard| guard.start().expect("started"));
    for (times, guard) in (1..).zip(&guards) {
        let app = hello(guard);
        for _ in 0..times {
            assert_eq!(ask(&app, "/").await.status(), 200);
        }
    }
    tokio::time::sleep(2 * SECOND).await;
    let seen = seen(&snapshotter);
    let of = |name: &str| -> Vec<_> {
        let found = seen.iter().filter(|((known, _), _)| known == name);
        found
            .map(|((_, labels), value)| (guard_of(labels), *value))
            .collect()
    };
    let three = |values: [f64; 3]| {
        let names = ["colleagues", "colleagues-2", "customers"];
        names.into_iter().zip(values).collect::<Vec<_>>()
    };
    assert_eq!(of("steadfast_limit"), three([5.0, 7.0, 3.0]));
    assert_eq!(of("steadfast_admitted_total"), three([2.0, 3.0, 1.0]));
    assert!(builder().name("No Name").build().is_err());
}

#[tokio::test(start_paused = true)]
async fn series_are_as_many_as_gates_and_dependencies_whatever_comes() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let (payments, health) = test_util::dependency("payments");
    let version = hostile().concat();
    let probes = Probes::default().service(&version, &version);
    let guard = builder().probes(probes).dependency(&payments).build();
    let guard = guard.expect("valid");
    let _running = guard.start().expect("started");
    let app = hello(&guard);
    tokio::time::sleep(2 * SECOND).await;
    let before = seen(&snapshotter);
    guard.control().begin_maintenance(&version, None);
    for number in 0..2000 {
        let request = Request::get(format!("/{number}?q={number}"))
            .header("x-request-id", format!("id-{number}"))
            .header("user-agent", format!("agent-{number}"));
        let request = request.body(Body::empty()).expect("a request");
        let answer = app.clone().oneshot(request).await.expect("infallible");
        assert_eq!(answer.status(), 503);
    }
    for text in hostile() {
        health.fail(&text);
        tokio::time::sleep(20 * SECOND).await;
    }
    let after = seen(&snapshotter);
    let new = after.keys().filter(|key| !before.contains_key(key));
    // What the control group says comes from a thread that lives in real time.
    let new = new.filter(|(name, _)| !name.ends_with("_ratio"));
    let new: Vec<_> = new.map(|(name, _)| name.as_str()).collect();
    let since = [
        "steadfast_incident_start_time_seconds",
        "steadfast_outage_start_time_seconds",
    ];
    assert_eq!(new, since);
    for (name, labels) in after.keys() {
        for (key, value) in labels {
            assert!(is_inert(value), "{name} {key}: {value:?}");
            assert!(value.chars().count() <= 64, "{name} {key}: {}", value.len());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn since_when_is_told_while_it_lasts_and_is_zero_afterwards() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let guard = builder().build().expect("valid");
    let _running = guard.start().expect("started");
    let app = hello(&guard);
    let since = || {
        let seen = seen(&snapshotter).into_iter();
        let mut found =
            seen.filter(|((name, _), _)| name == "steadfast_incident_start_time_seconds");
        found
            .next()
            .map(|((_, labels), value)| (labels[0].1.clone(), value))
    };
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(since(), None);
    guard.control().begin_maintenance("moving house", None);
    assert_eq!(ask(&app, "/").await.status(), 503);
    tokio::time::sleep(2 * SECOND).await;
    let (cause, first) = since().expect("it lasts");
    assert_eq!(cause, "maintenance");
    // After 2020, in seconds.
    assert!(first > 1_577_000_000.0, "{first}");
    tokio::time::sleep(5 * SECOND).await;
    assert_eq!(ask(&app, "/").await.status(), 503);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(since().expect("it goes on").1, first);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(since().expect("it was seen").1, 0.0);
}
