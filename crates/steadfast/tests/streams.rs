//! Streams are counted apart from requests, and refused when there is no room for them.

#![cfg(feature = "axum")]

mod common;

use std::convert::Infallible;

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
    routing::get,
};
use common::{Answer, TOKEN, ask, get as request_for, until, with_token};
use futures_util::stream;
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use steadfast::{Guard, Guarded, RouteClass, Shed, Streams};
use tower::ServiceExt;

/// A body whose first piece is there, and whose second never comes.
fn endless(kind: &str) -> Response {
    let first = stream::iter([Ok::<_, Infallible>(Frame::data(Bytes::from("first")))]);
    let pieces = futures_util::StreamExt::chain(first, stream::pending());
    Response::builder()
        .header("content-type", kind)
        .body(Body::new(StreamBody::new(pieces)))
        .expect("a response")
}

fn app(shed: Shed) -> (Guard, Guarded) {
    let guard = Guard::builder()
        .without_signals()
        .token(TOKEN)
        .route("/feed", RouteClass::new().with_streams(Streams::Always))
        .route("/held", RouteClass::new().with_streams(Streams::Never))
        .shed(shed)
        .build()
        .expect("valid");
    let event = || async { endless("text/event-stream; charset=utf-8") };
    let app = Router::new()
        .route("/events", get(event))
        .route("/held", get(event))
        .route("/feed", get(|| async { endless("application/x-feed") }))
        .route("/file", get(|| async { endless("text/plain") }))
        .route("/grpc", get(|| async { endless("application/grpc") }))
        .route(
            "/replay",
            get(|| async { ([("content-type", "text/event-stream")], "data: all\n\n") }),
        );
    let app = guard.protect(app);
    (guard, app)
}

async fn open(app: &Guarded, path: &str) -> Response {
    app.clone()
        .oneshot(request_for(path))
        .await
        .expect("infallible")
}

#[tokio::test]
async fn streams_leave_the_places_of_requests_and_end_with_their_bodies() {
    let (guard, app) = app(Shed::fixed(1).streams_max(8));
    let shedder = guard.control().shedder().clone();
    let counted = || {
        let seen = shedder.snapshot();
        (seen.in_flight, seen.streams.open)
    };
    let events = open(&app, "/events").await;
    assert_eq!((events.status().as_u16(), counted()), (200, (0, 1)));
    let feed = open(&app, "/feed").await;
    assert_eq!((feed.status().as_u16(), counted()), (200, (0, 2)));
    // A gRPC answer shows that it is a stream when it makes its reader wait.
    let mut calls = open(&app, "/grpc").await.into_body();
    assert_eq!(counted(), (1, 2));
    calls.frame().await.expect("a piece").expect("whole");
    let waiting = tokio::spawn(async move { calls.frame().await.is_none() });
    until("a stream of calls", || counted() == (0, 3)).await;
    let held = open(&app, "/held").await;
    assert_eq!(counted(), (1, 3), "its route keeps it among the requests");
    let answer = ask(&app, request_for("/events")).await;
    assert_eq!(
        (answer.status.as_u16(), answer.cause()),
        (503, "overloaded")
    );
    drop(held);
    let replay = open(&app, "/replay").await;
    assert_eq!(
        counted(),
        (1, 3),
        "an answer that is all there is no stream"
    );
    drop(replay);
    let file = open(&app, "/file").await;
    assert_eq!(counted(), (1, 3), "a long download is work");
    waiting.abort();
    drop((events, feed, file));
    until("all places back", || counted() == (0, 0)).await;
}

#[tokio::test]
async fn without_room_a_stream_is_refused_and_told_why() {
    let (guard, app) = app(Shed::fixed(9).streams_max(1));
    let shedder = guard.control().shedder().clone();
    let socket = shedder.stream().expect("room for an upgrade");
    let full = shedder.stream().expect_err("there was room for one");
    assert_eq!(full.refused_by().as_str(), "streams");
    for (path, entered) in [("/events", true), ("/feed", false)] {
        let answer = ask(&app, request_for(path)).await;
        assert_eq!(answer.status, 503, "{path}");
        let why = answer.header("why-503");
        assert!(why.starts_with("cause=overloaded;rule=limit"), "{why}");
        assert_eq!(why.contains("safe-to-retry"), !entered, "{path}: {why}");
        let told = ask(&app, with_token(&format!("/why503/{}", answer.id()), &[])).await;
        let refusal = &told.json()["refusals"][0];
        assert_eq!(refusal["source"], "streams", "{refusal}");
        assert_eq!(refusal["evidence"]["streams_max"], 1, "{refusal}");
    }
    assert_eq!(
        (shedder.in_flight(), shedder.snapshot().streams.refused),
        (0, 3)
    );
    drop(socket);
    let events = open(&app, "/events").await;
    assert_eq!(events.status(), 200);
    let page: Answer = ask(&app, with_token("/why503/", &[])).await;
    assert_eq!(page.json()["shed"]["streams"]["open"], 1, "{}", page.body);
    assert_eq!(page.json()["shed"]["lag"]["phase"], "calm", "{}", page.body);
}
