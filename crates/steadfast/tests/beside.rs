//! The guard beside other servers and layers: under `axum::serve`, asked without a socket, and
//! with its drain as a layer of its own on either side.

#![cfg(feature = "axum")]

mod common;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use axum::{Router, extract::Request, routing::get};
use common::{ask, fetch, get as request_for, serve, until};
use futures_util::FutureExt;
use http::StatusCode;
use steadfast::{Drain, DrainToken, Guard, GuardBuilder, Phase, Probes, RouteClass, WhenDraining};
use tower::{Layer, ServiceExt};

fn builder() -> GuardBuilder {
    Guard::builder().without_signals()
}

/// Says whether the process leaves.
async fn stage(token: DrainToken) -> String {
    format!("leaving: {}", token.is_leaving())
}

/// Goal: a handler can ask for a token wherever the guard is around it.
#[tokio::test]
async fn a_handler_finds_its_token_whoever_serves() {
    let guard = builder().build().expect("valid");
    let _running = guard.start().expect("started");
    let app = Router::new().route("/", get(stage));
    let layered = app.clone().layer(guard.layer());
    let layered = layered.oneshot(request_for("/")).await.expect("infallible");
    assert_eq!(layered.status(), StatusCode::OK);
    let app = guard.protect(app);
    let answer = ask(&app, request_for("/")).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.body),
        (200, "leaving: false")
    );
    let server = serve(|listener| IntoFuture::into_future(axum::serve(listener, app))).await;
    let answer = fetch(server.address, request_for("/")).await;
    assert_eq!(answer.body, "leaving: false");
}

/// Goal: outside a guard there is none, and the answer says what to do about it; what one
/// guard has left on a thread is no other request's.
#[tokio::test]
async fn outside_a_guard_there_is_no_token() {
    let guard = builder().build().expect("valid");
    let _running = guard.start().expect("started");
    let app = Router::new().route("/", get(stage));
    assert_eq!(
        ask(&guard.protect(app.clone()), request_for("/"))
            .await
            .status,
        200
    );
    let bare = app.oneshot(request_for("/")).await.expect("infallible");
    assert_eq!(bare.status(), StatusCode::INTERNAL_SERVER_ERROR);
}

/// Goal: the token knows how its route leaves, as under `Guard::serve`.
#[tokio::test(start_paused = true)]
async fn a_token_knows_how_its_route_leaves() {
    let drain = Drain::default().lame_duck_max(Duration::ZERO);
    let finish = RouteClass::new().when_draining(WhenDraining::Finish);
    let guard = builder().drain(drain).route("/finish", finish).build();
    let guard = guard.expect("valid");
    let _running = guard.start().expect("started");
    let kept: Arc<Mutex<Vec<DrainToken>>> = Arc::default();
    let keep = |token: DrainToken, kept: Arc<Mutex<Vec<DrainToken>>>| async move {
        kept.lock().expect("no panic").push(token);
    };
    let (one, two) = (Arc::clone(&kept), Arc::clone(&kept));
    let app = Router::new()
        .route("/finish", get(move |token| keep(token, one)))
        .route("/", get(move |token| keep(token, two)));
    let app = guard.protect(app);
    for path in ["/finish", "/"] {
        assert_eq!(ask(&app, request_for(path)).await.status, 200);
    }
    // Somebody is waited for, so that the drain takes its time.
    let _permit = guard.control().token().permit();
    guard.control().begin_drain("a test");
    tokio::time::sleep(Duration::from_secs(8)).await;
    let kept = kept.lock().expect("no panic");
    let told: Vec<_> = kept
        .iter()
        .map(|token| token.leaving().now_or_never())
        .collect();
    assert_eq!(told, [None, Some(())], "half of the grace is over");
}

/// Goal: outside `protect`, the layer does not stand before the guard's own paths, and inside
/// it counts nobody again.
#[tokio::test]
async fn the_drain_layer_can_be_on_either_side_of_the_guard() {
    for inside in [true, false] {
        let drain = Drain::default().lame_duck_max(Duration::from_secs(3600));
        let guard = builder().drain(drain).build().expect("valid");
        let app = Router::new().route("/", get(|| async { "hello" }));
        let (app, outer) = match inside {
            true => (guard.protect(app.layer(guard.drain_layer())), None),
            false => (guard.protect(app), Some(guard.drain_layer())),
        };
        let ask = async |path: &str| {
            let (app, request) = (app.clone(), request_for(path));
            match &outer {
                Some(layer) => ask(&app.layer(layer.clone()), request).await,
                None => ask(&app, request).await,
            }
        };
        let starting = ask("/ready/").await;
        assert_eq!(
            starting.body, "not ready: not started\n",
            "inside: {inside}"
        );
        let _running = guard.start().expect("started");
        let control = guard.control();
        until("ready", || control.phase() == Some(Phase::Ready)).await;
        assert_eq!(ask("/ready/").await.status, 200);
        control.begin_drain("a test");
        assert_eq!(ask("/").await.body, "hello");
        assert_eq!(ask("/ready/").await.status, 503);
        control.hurry();
        let report = common::soon("the report", control.drained()).await;
        assert_eq!(
            (report.came_late, report.failing_probes),
            (1, 1),
            "inside: {inside}"
        );
    }
}

/// Goal: the guard's profile for Envoy holds for its drain layer too.
#[tokio::test]
async fn the_drain_layer_speaks_to_envoy_as_its_guard_does() {
    for envoy in [true, false] {
        let probes = if envoy {
            Probes::default().envoy()
        } else {
            Probes::default()
        };
        let drain = Drain::default().lame_duck_max(Duration::from_secs(3600));
        let guard = builder()
            .probes(probes)
            .drain(drain)
            .build()
            .expect("valid");
        let _running = guard.start().expect("started");
        guard.control().begin_drain("a test");
        let service = guard
            .drain_layer()
            .layer(tower::service_fn(|_: Request| async {
                Ok::<axum::response::Response, std::convert::Infallible>(Default::default())
            }));
        let answer = service.oneshot(request_for("/")).await.expect("infallible");
        let said = answer
            .headers()
            .contains_key("x-envoy-immediate-health-check-fail");
        assert_eq!(said, envoy);
    }
}
