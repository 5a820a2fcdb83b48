//! Names, labels and values of the metrics.

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};

use super::*;

/// What was measured: name, labels, value.
type Measured = (String, Vec<(String, String)>, f64);

fn measured(snapshotter: &Snapshotter) -> Vec<Measured> {
    let all = snapshotter.snapshot().into_vec();
    all.into_iter()
        .map(|(key, _, _, value)| {
            let labels = key
                .key()
                .labels()
                // Other tests of this process have guards too.
                .filter(|it| it.key() != "guard")
                .map(|it| (it.key().to_owned(), it.value().to_owned()));
            let value = match value {
                DebugValue::Counter(count) => count as f64,
                DebugValue::Gauge(value) => value.into_inner(),
                DebugValue::Histogram(values) => values.len() as f64,
            };
            (key.key().name().to_owned(), labels.collect(), value)
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn the_metrics_are_the_ones_of_the_design() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let (payments, health) = test_util::dependency("payments");
    let guard = builder()
        .shed(Shed::fixed(2))
        .dependency(&payments)
        .build()
        .expect("valid");
    let _running = guard.start().expect("started");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })).route(
        "/hang",
        get(|| async { std::future::pending::<()>().await }),
    ));
    tokio::time::sleep(SECOND).await;
    for _ in 0..3 {
        assert_eq!(ask(&app, to("/")).await.status, 200);
    }
    let running: Vec<_> = (0..2)
        .map(|_| tokio::spawn(app.clone().oneshot(to("/hang"))))
        .collect();
    common::until("two to run", || guard.control().shedder().in_flight() == 2).await;
    for _ in 0..4 {
        assert_eq!(
            ask(
                &app,
                request("GET", "/secret-path", &[("x-request-id", "r1")])
            )
            .await
            .status,
            503
        );
    }
    health.fail("connection refused");
    tokio::time::sleep(3 * SECOND).await;
    let seen = measured(&snapshotter);
    let value = |name: &str, labels: &[(&str, &str)]| {
        let labels: Vec<_> = labels
            .iter()
            .map(|(k, v)| ((*k).to_owned(), (*v).to_owned()))
            .collect();
        seen.iter()
            .find(|(found, with, _)| found == name && *with == labels)
            .unwrap_or_else(|| panic!("{name} {labels:?} in {seen:#?}"))
            .2
    };
    assert_eq!(value("steadfast_admitted_total", &[]), 5.0);
    let overload = [
        ("cause", "overloaded"),
        ("rule", "limit"),
        ("source", "shed"),
    ];
    assert_eq!(value("steadfast_refusals_total", &overload), 4.0);
    assert_eq!(value("steadfast_in_flight", &[]), 2.0);
    assert_eq!(value("steadfast_limit", &[]), 2.0);
    assert!(
        value("steadfast_demand", &[]) >= 1.0,
        "as much is asked for as may run"
    );
    assert_eq!(
        value("steadfast_dependency_state", &[("dependency", "payments")]),
        2.0
    );
    assert_eq!(value("steadfast_phase", &[("phase", "ready")]), 1.0);
    assert_eq!(value("steadfast_phase", &[("phase", "draining")]), 0.0);
    for (name, labels, _) in &seen {
        assert!(name.starts_with("steadfast_"), "{name}");
        let text = format!("{labels:?}");
        assert!(
            !text.contains("secret-path") && !text.contains("r1"),
            "{text}"
        );
    }
    drop(running);
}

#[tokio::test(start_paused = true)]
async fn guards_of_one_process_publish_beside_each_other() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let guards = [("numbers-a", 3), ("numbers-b", 4)].map(|(name, limit)| {
        let builder = builder().name(name).shed(Shed::fixed(limit));
        builder.build().expect("valid")
    });
    let _running = guards
        .each_ref()
        .map(|guard| guard.start().expect("started"));
    tokio::time::sleep(2 * SECOND).await;
    let all = snapshotter.snapshot().into_vec();
    let limits = all
        .iter()
        .filter(|(key, ..)| key.key().name() == "steadfast_limit");
    let mut limits: Vec<_> = limits
        .map(|(key, .., value)| {
            let mut labels = key.key().labels();
            let guard = labels.find(|it| it.key() == "guard").expect("named");
            (guard.value().to_owned(), format!("{value:?}"))
        })
        .collect();
    limits.sort();
    let expected = [("numbers-a", "Gauge(3.0)"), ("numbers-b", "Gauge(4.0)")];
    assert_eq!(
        limits,
        expected.map(|(name, limit)| (name.to_owned(), limit.to_owned()))
    );
    let fault = builder().name("Not A Name").build().expect_err("no name");
    assert!(fault.to_string().contains("guard: "), "{fault}");
}
