//! Streams behind a breaker that judges bodies: an answer that goes on for hours is no call
//! that hangs.
//!
//! Method: a client whose streams never end, and time that is paused.

#![cfg(feature = "axum")]

#[path = "common/breaker.rs"]
mod breaker;

use std::{future::pending, io, time::Duration};

use breaker::{count, in_flight, state};
use bytes::Bytes;
use futures_util::FutureExt;
use http::Response;
use http_body::{Body, Frame};
use http_body_util::StreamBody;
use steadfast::{BreakerMode, BreakerState, CallError, CallKind, Dependency, Trip};
use tower::{Layer, Service};

const MS: Duration = Duration::from_millis(1);

/// A client whose answer to `"stream"` begins at once and never ends, and which never answers
/// anything else.
fn streaming(
    payments: &Dependency,
) -> impl Service<&'static str, Response = Response<impl Body>, Error = CallError<io::Error>> {
    let client = tower::service_fn(|asked: &'static str| async move {
        if asked != "stream" {
            pending::<()>().await;
        }
        let endless = futures_util::stream::pending::<Result<Frame<Bytes>, io::Error>>();
        Ok::<_, io::Error>(Response::new(StreamBody::new(endless)))
    });
    payments.layer().judge_bodies().layer(client)
}

fn watched() -> Dependency {
    let trip = Trip::default()
        .stall_limit(2_000 * MS)
        .slow_limit(1_000 * MS)
        .jitter_ratio(0.0);
    let builder = Dependency::builder("events").trip(trip);
    builder.no_call_timeout().build().expect("valid")
}

fn tick(dependency: &Dependency) {
    let now = tokio::time::Instant::now().into_std();
    AsRef::<steadfast::DependencyState>::as_ref(dependency).tick(now, 0);
}

#[tokio::test(start_paused = true)]
async fn streams_that_stay_open_for_hours_neither_hang_nor_are_slow_nor_fail_when_left() {
    let events = watched();
    let mut client = streaming(&events);
    let mut open = Vec::new();
    for _ in 0..30 {
        open.push(client.call("stream").await.expect("an answer"));
    }
    assert_eq!(in_flight(&events), 30);
    for _ in 0..7_200 {
        tokio::time::advance(1_000 * MS).await;
        tick(&events);
        assert_eq!(state(&events), BreakerState::Closed);
    }
    // All clients at once, after two hours without another answer.
    drop(open);
    tick(&events);
    assert_eq!(state(&events), BreakerState::Closed);
    assert_eq!(
        (in_flight(&events), count(&events, CallKind::Abandoned)),
        (0, 30)
    );
}

#[tokio::test(start_paused = true)]
async fn calls_that_never_answer_are_seen_beside_streams_that_did() {
    let events = watched();
    let mut client = streaming(&events);
    let _stream = client.call("stream").await.expect("an answer");
    tokio::time::advance(3_600_000 * MS).await;
    let mut hanging: Vec<_> = (0..3).map(|_| Box::pin(client.call("hang"))).collect();
    for call in &mut hanging {
        assert!(call.as_mut().now_or_never().is_none());
    }
    tokio::time::advance(2_600 * MS).await;
    tick(&events);
    let seen = events.view().breaker.expect("called");
    assert_eq!(seen.state, BreakerState::Open);
    let reason = seen.reason.expect("a rule").to_string();
    assert!(
        reason.starts_with("3 calls hang, the oldest for 2."),
        "{reason}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_stream_is_a_probe_that_succeeded_with_its_head() {
    let events = watched();
    let mut client = streaming(&events);
    events.set_mode(BreakerMode::ForcedOpen);
    events.set_mode(BreakerMode::Auto);
    let _first = client.call("stream").await.expect("a probe");
    assert_eq!(state(&events), BreakerState::Probing);
    let _second = client.call("stream").await.expect("another");
    assert_eq!(state(&events), BreakerState::Ramping);
    for _ in 0..60 {
        tokio::time::advance(1_000 * MS).await;
        tick(&events);
    }
    assert_eq!(state(&events), BreakerState::Closed);
}

/// Goal: a gRPC answer that ends without saying how it went is a failure, as its caller takes
/// it; one that said so in its head is not.
#[tokio::test]
async fn a_grpc_answer_that_ends_without_trailers_has_failed() {
    use steadfast::classifier::Grpc;
    let greeter = Dependency::builder("greeter").build().expect("valid");
    let client = tower::service_fn(|asked: &'static str| async move {
        let status = http::HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            http::HeaderValue::from_static("0"),
        )]);
        let mut frames = vec![Ok::<_, io::Error>(Frame::data(Bytes::from_static(
            b"hello",
        )))];
        match asked {
            "whole" => frames.push(Ok(Frame::trailers(status.clone()))),
            "broken" => {}
            _ => frames.clear(),
        }
        let body = StreamBody::new(futures_util::stream::iter(frames));
        let mut answer = Response::new(body);
        if asked == "in the head" {
            *answer.headers_mut() = status;
        }
        Ok::<_, io::Error>(answer)
    });
    let layer = greeter.layer().classify(Grpc).judge_bodies();
    let mut client = layer.layer(client);
    for (asked, successes, failures) in [
        ("whole", 1, 0),
        ("broken", 1, 1),
        ("in the head", 2, 1),
        ("empty", 2, 2),
    ] {
        let answer = client.call(asked).await.expect("an answer");
        let _ = http_body_util::BodyExt::collect(answer.into_body()).await;
        let counted = (
            count(&greeter, CallKind::Success),
            count(&greeter, CallKind::Failure),
        );
        assert_eq!(counted, (successes, failures), "{asked}");
    }
}
