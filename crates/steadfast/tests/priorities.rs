//! Who passes when there is no room: exempt requests always.

#![cfg(feature = "axum")]

mod common;

use axum::{Router, routing::get};
use common::{ask, get as request_for, request, until};
use http::StatusCode;
use steadfast::{Explain, Guard, Guarded, RouteClass, Shed, ShedLayer};
use tower::ServiceExt;

/// One place, and a handler that keeps it.
fn full() -> (Guard, Guarded) {
    let guard = Guard::builder()
        .without_signals()
        .route("/version", RouteClass::exempt())
        .shed(Shed::fixed(1).exempt(|head| head.headers().contains_key("x-beat")))
        .build()
        .expect("valid");
    let app = Router::new()
        .route("/hang", get(std::future::pending::<()>))
        .fallback(|| async { "served" });
    let app = guard.protect(app);
    (guard, app)
}

#[tokio::test(start_paused = true)]
async fn what_is_exempt_is_served_when_nothing_else_is_and_counts_nowhere() {
    let (guard, app) = full();
    let hanging = tokio::spawn(app.clone().oneshot(request_for("/hang")));
    let shedder = guard.control().shedder().clone();
    until("a full gate", || shedder.in_flight() == 1).await;
    let preflight = [
        ("origin", "https://shop.example"),
        ("access-control-request-method", "POST"),
    ];
    for (request, status) in [
        (request("GET", "/any", &[]), 503),
        (request("OPTIONS", "/any", &preflight), 200),
        (request("OPTIONS", "/any", &preflight[..1]), 503),
        (request("GET", "/any", &[("x-beat", "1")]), 200),
        (request("GET", "/version", &[]), 200),
    ] {
        let shown = format!("{request:?}");
        assert_eq!(ask(&app, request).await.status, status, "{shown}");
    }
    let seen = shedder.snapshot();
    assert_eq!((seen.in_flight, seen.admitted, seen.refused), (1, 1, 2));
    hanging.abort();
    until("the place back", || shedder.in_flight() == 0).await;
}

#[tokio::test(start_paused = true)]
async fn the_last_places_are_kept_for_those_who_go_first_once_the_limit_is_met() {
    let guard = Guard::builder()
        .without_signals()
        .route("/pay", RouteClass::critical())
        .route("/report", RouteClass::background())
        .shed(Shed::fixed(8))
        .build()
        .expect("valid");
    let slow = || async {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        "served"
    };
    let app = Router::new()
        .route("/pay", get(slow))
        .route("/report", get(slow));
    let app = guard.protect(app);
    let mut asked = tokio::task::JoinSet::new();
    // One critical request, the last of ninety-one every 12 ms, is a tenth of
    // what eight places serve; the others ask for nine times as much as all of them.
    for round in 0..250_u32 {
        for path in std::iter::repeat_n("/report", 90).chain(std::iter::once("/pay")) {
            let app = app.clone();
            asked.spawn(async move { (round, path, ask(&app, request_for(path)).await) });
        }
        tokio::time::sleep(std::time::Duration::from_millis(12)).await;
    }
    let mut refused = [0; 2];
    while let Some(done) = asked.join_next().await {
        let (round, path, answer) = done.expect("answered");
        // In the first second it is seen what is needed.
        if answer.status != StatusCode::OK && round > 80 {
            refused[usize::from(path == "/report")] += 1;
            let header = &answer.headers["why-503"];
            let header = header.to_str().expect("text");
            assert!(header.contains("rule=priority"), "{path}: {header}");
        }
    }
    assert_eq!(refused[0], 0, "{refused:?}");
    assert!(refused[1] > 12_000, "{refused:?}");
    let seen = guard.control().shedder().snapshot();
    assert!((1..8).contains(&seen.reserve.kept[3]), "{:?}", seen.reserve);
}

#[tokio::test]
async fn the_layer_alone_knows_the_same_classes() {
    let shed = Shed::fixed(1).route("/version", RouteClass::exempt());
    let layer = ShedLayer::new(shed, Explain::default()).expect("valid");
    let shedder = layer.shedder();
    let app: Router = Router::new().fallback(|| async { "served" }).layer(layer);
    let answer = app
        .oneshot(request_for("/version"))
        .await
        .expect("infallible");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!((shedder.in_flight(), shedder.snapshot().admitted), (0, 0));
}
