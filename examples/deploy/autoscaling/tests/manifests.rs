//! The manifests say what their README says, and the metric in them is the one that an
//! overloaded guard exports, with a value from which a scaler draws the right conclusion.

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::Request;
use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use steadfast::{Guard, Shed};
use tower::ServiceExt;
use yaml_rust2::{Yaml, YamlLoader};

const METRIC: &str = "steadfast_demand";

fn parsed(manifest: &str) -> Yaml {
    let mut documents = YamlLoader::load_from_str(manifest).expect("a manifest is YAML");
    assert_eq!(documents.len(), 1);
    documents.remove(0)
}

fn text(value: &Yaml) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("no text: {value:?}"))
}

/// A Kubernetes quantity as far as it is used here: `700m` or `0.7`.
fn quantity(value: &Yaml) -> f64 {
    let text = text(value);
    let number = |text: &str| text.parse::<f64>().expect("a quantity is a number");
    text.strip_suffix('m')
        .map_or_else(|| number(text), |milli| number(milli) / 1e3)
}

fn hpa_target() -> f64 {
    let hpa = parsed(autoscaling::HPA);
    quantity(&hpa["spec"]["metrics"][0]["pods"]["target"]["averageValue"])
}

/// What a HorizontalPodAutoscaler makes of the mean of a metric over `replicas` pods.
fn desired(replicas: u32, mean: f64, target: f64) -> u32 {
    let ratio = mean / target;
    // Its default tolerance, within which it leaves things as they are.
    if (ratio - 1.0).abs() <= 0.1 {
        return replicas;
    }
    (f64::from(replicas) * ratio).ceil() as u32
}

#[test]
fn the_autoscaler_looks_at_demand_and_both_manifests_agree() {
    let hpa = parsed(autoscaling::HPA);
    assert_eq!(text(&hpa["apiVersion"]), "autoscaling/v2");
    let spec = &hpa["spec"];
    let pods = &spec["metrics"][0]["pods"];
    assert_eq!(text(&pods["metric"]["name"]), METRIC);
    assert_eq!(text(&pods["target"]["type"]), "AverageValue");

    let adapter = parsed(autoscaling::ADAPTER);
    let rule = &adapter["rules"]["custom"][0];
    assert!(text(&rule["seriesQuery"]).starts_with(METRIC));
    assert_eq!(text(&rule["name"]["as"]), METRIC);
    assert!(text(&rule["metricsQuery"]).contains(">= 0"));

    let keda = parsed(autoscaling::SCALED_OBJECT);
    assert_eq!(text(&keda["kind"]), "ScaledObject");
    let trigger = &keda["spec"]["triggers"][0];
    let query = text(&trigger["metadata"]["query"]);
    assert!(query.contains(METRIC) && query.contains(">= 0"), "{query}");
    // All instances together, since KEDA divides by their number.
    assert!(
        query.starts_with("avg(") && query.contains("count("),
        "{query}"
    );
    assert_eq!(text(&trigger["metricType"]), "AverageValue");
    assert_eq!(quantity(&trigger["metadata"]["threshold"]), hpa_target());
    let replicas = |it: &Yaml, key: &str| it[key].as_i64().expect("a number");
    let keda = &keda["spec"];
    assert_eq!(
        replicas(spec, "minReplicas"),
        replicas(keda, "minReplicaCount")
    );
    assert_eq!(
        replicas(spec, "maxReplicas"),
        replicas(keda, "maxReplicaCount")
    );
}

#[test]
fn the_readme_does_its_sums_right() {
    let readme = include_str!("../README.md");
    assert!(readme.contains("Both aim at a demand of 0.7:"));
    assert!(readme.contains("4 instances at 2 become 12"));
    assert_eq!((hpa_target(), desired(4, 2.0, hpa_target())), (0.7, 12));
}

/// A guarded service whose every request takes 100 ms, asked `per_sec` times a second for
/// five seconds of paused time; returns the metric as it is exported then.
async fn demand(shed: Shed, per_sec: u32) -> f64 {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let guard = Guard::builder().shed(shed).without_signals().build();
    let guard = guard.expect("valid settings");
    let _running = guard.start().expect("nothing else runs");
    let work = get(async || tokio::time::sleep(Duration::from_millis(100)).await);
    let app = guard.protect(Router::new().route("/", work));
    for _ in 0..5 * per_sec {
        let request = Request::get("/").body(Body::empty()).expect("a request");
        tokio::spawn(app.clone().oneshot(request));
        tokio::time::sleep(Duration::from_secs(1) / per_sec).await;
    }
    exported(&snapshotter)
}

fn exported(snapshotter: &Snapshotter) -> f64 {
    let metrics = snapshotter.snapshot().into_vec();
    let found = metrics.iter().find(|(key, ..)| key.key().name() == METRIC);
    let Some((.., DebugValue::Gauge(value))) = found else {
        panic!("no gauge {METRIC} in {metrics:?}");
    };
    value.into_inner()
}

#[tokio::test(start_paused = true)]
async fn an_instance_asked_for_twice_what_it_can_is_given_company() {
    // Five at a time for 100 ms each is 50 a second.
    let demand = demand(Shed::fixed(5), 100).await;
    assert!((1.93..2.1).contains(&demand), "{demand}");
    assert_eq!(desired(4, demand, hpa_target()), 12);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_is_a_third_full_loses_some() {
    let demand = demand(Shed::fixed(5), 20).await;
    assert!((0.2..0.5).contains(&demand), "{demand}");
    assert!(desired(6, demand, hpa_target()) < 6);
}

#[tokio::test(start_paused = true)]
async fn an_instance_that_knows_no_limit_is_neither_full_nor_idle() {
    let demand = demand(Shed::adaptive(), 80).await;
    assert!(demand.is_nan(), "{demand}");
}
