//! The deadline of a request reaches the code that waits for it, and nobody else.

#![cfg(feature = "axum")]

mod common;

use std::{future::pending, time::Duration};

use axum::{Router, routing::get};
use common::{ask, request};
use steadfast::{Deadline, Deadlines, Guard, Shed, test_util::poll_once};
use tower::ServiceExt;

fn guard(deadlines: Deadlines) -> Guard {
    Guard::builder()
        .without_signals()
        .shed(Shed::fixed(4))
        .deadlines(deadlines)
        .build()
        .expect("valid")
}

/// Says how much time is left, before and after it has waited.
async fn left() -> String {
    let say = || {
        let now = tokio::time::Instant::now().into_std();
        Deadline::current().map(|deadline| deadline.remaining(now).as_millis())
    };
    let first = say();
    tokio::time::sleep(Duration::from_millis(200)).await;
    format!("{first:?} {:?}", say())
}

#[tokio::test(start_paused = true)]
async fn a_handler_sees_the_deadline_of_its_own_request_in_every_poll() {
    let guard = guard(Deadlines::default().header("x-timeout"));
    let app = guard.protect(Router::new().route("/", get(left)));
    for (headers, said) in [
        (&[][..], "None None"),
        (&[("grpc-timeout", "1S")], "Some(1000) Some(800)"),
        (&[("x-timeout", "150ms")], "Some(150) Some(0)"),
        (&[("x-timeout", "soon")], "None None"),
    ] {
        let asked = ask(&app, request("GET", "/", headers)).await;
        assert_eq!(asked.body, said, "{headers:?}");
    }
    // Side by side on one thread, each sees its own.
    let (hasty, patient, none) = tokio::join!(
        ask(&app, request("GET", "/", &[("grpc-timeout", "1S")])),
        ask(&app, request("GET", "/", &[("grpc-timeout", "9S")])),
        ask(&app, request("GET", "/", &[])),
    );
    assert_eq!(hasty.body, "Some(1000) Some(800)");
    assert_eq!(patient.body, "Some(9000) Some(8800)");
    assert_eq!(none.body, "None None");
}

#[tokio::test(start_paused = true)]
async fn a_service_called_inside_a_request_ends_with_it() {
    let guard = guard(Deadlines::default());
    let inner = guard.protect(Router::new().route("/", get(left)));
    let app = guard.protect(Router::new().route(
        "/",
        get(move || {
            let inner = inner.clone();
            async move { ask(&inner, request("GET", "/", &[])).await.body }
        }),
    ));
    let answer = ask(&app, request("GET", "/", &[("grpc-timeout", "2S")])).await;
    assert_eq!(answer.body, "Some(2000) Some(1800)");
}

#[tokio::test]
async fn nothing_is_left_behind_when_the_poll_is_over() {
    let guard = guard(Deadlines::default());
    let app = guard.protect(Router::new().route("/", get(|| async { pending::<()>().await })));
    let mut asked = std::pin::pin!(app.oneshot(request("GET", "/", &[("grpc-timeout", "2S")])));
    assert!(poll_once(asked.as_mut()).is_pending());
    assert_eq!(Deadline::current(), None);
}

#[test]
fn a_wrong_name_is_told_with_the_other_faults() {
    let error = Guard::builder()
        .shed(Shed::fixed(0))
        .deadlines(Deadlines::none().header("no name"))
        .build()
        .expect_err("two faults");
    assert_eq!(error.faults().len(), 2, "{error}");
}
