//! The guard around real axum applications, in process and over sockets.

use axum::{Router, body::Body, routing::get};
use http::Request;
use steadfast::{Guard, Shed};
use tower::ServiceExt;

fn request(path: &str) -> Request<Body> {
    Request::get(path).body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn a_protected_router_answers_as_before() {
    let guard = Guard::builder()
        .shed(Shed::fixed(4))
        .build()
        .expect("valid");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    let response = app.clone().oneshot(request("/")).await.expect("infallible");
    assert_eq!(response.status(), 200);
    assert_eq!(guard.control().shedder().in_flight(), 1, "until the body has been read");
    drop(response);
    let response = app
        .clone()
        .oneshot(request("/ready/"))
        .await
        .expect("infallible");
    assert_eq!(response.status(), 503);
    let body = axum::body::to_bytes(response.into_body(), 1000)
        .await
        .expect("a body");
    assert_eq!(body, "not ready: not started\n");
    assert_eq!(guard.control().shedder().in_flight(), 0);
}
