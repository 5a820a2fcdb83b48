//! Readiness of a client behind a breaker: who asks it, and when.
//!
//! Method: a client of `tower_test::mock` that is ready when it is told to; time is paused.

#![cfg(feature = "axum")]

#[path = "common/breaker.rs"]
mod breaker;

use std::{
    future::Future,
    io,
    task::{Context, Poll, Waker},
    time::Duration,
};

use breaker::{count, state, trip};
use futures_util::FutureExt;
use http::{Request, Response};
use http_body::Body;
use steadfast::{BreakerState, CallError, CallKind, Dependency, classifier::Plain};
use tower::{Layer, Service};
use tower_test::mock::{self, Handle, Mock};

const MS: Duration = Duration::from_millis(1);

type Client = Mock<Request<()>, Response<String>>;
type Server = Handle<Request<()>, Response<String>>;

fn payments() -> Dependency {
    let builder = Dependency::builder("payments").trip(trip());
    builder.build().expect("valid")
}

async fn open(payments: &Dependency) {
    for _ in 0..3 {
        let failed = payments.call(async { Err::<(), _>(io::Error::other("down")) });
        assert!(failed.await.is_err());
    }
    assert_eq!(state(payments), BreakerState::Open);
}

fn is_ready<S: Service<Request<()>>>(client: &mut S) -> bool {
    let ready = client.poll_ready(&mut Context::from_waker(Waker::noop()));
    matches!(ready, Poll::Ready(Ok(())))
}

/// A client that is full, with its server's end.
fn full() -> (Client, Server) {
    let (client, mut server) = mock::pair();
    server.allow(0);
    (client, server)
}

#[tokio::test(start_paused = true)]
async fn while_open_nobody_waits_for_a_full_client() {
    let payments = payments();
    let (client, mut server) = full();
    let mut at_head = payments.layer().classify(Plain).layer(client.clone());
    let mut at_end = payments
        .layer()
        .classify(Plain)
        .judge_bodies()
        .layer(client);
    assert!(
        !is_ready(&mut at_head),
        "closed: it says what the client says"
    );
    open(&payments).await;
    assert!(is_ready(&mut at_head));
    assert!(is_ready(&mut at_end));
    let refused = at_head.call(Request::new(())).await;
    assert!(refused.is_err_and(|error| error.is_refused()));
    let refused = at_end.call(Request::new(())).await;
    assert!(refused.is_err_and(|error| error.is_refused()));
    assert_eq!(count(&payments, CallKind::Refused), 2);
    assert!(server.next_request().now_or_never().is_none());
}

/// Readiness that was told while open is kept by some callers; the call then asks the client
/// itself, and takes its permit after that.
async fn comes_after_the_outage<S, B>(payments: &Dependency, mut client: S, mut server: Server)
where
    S: Service<Request<()>, Response = Response<B>, Error = CallError<tower::BoxError>>,
    S::Future: Future<Output = Result<Response<B>, CallError<tower::BoxError>>>,
    B: Body<Data = bytes::Bytes>,
{
    open(payments).await;
    assert!(is_ready(&mut client));
    tokio::time::advance(1_100 * MS).await;
    let mut late = Box::pin(client.call(Request::new(())));
    assert!(late.as_mut().now_or_never().is_none(), "the client is full");
    let probe = payments.try_acquire().expect("the late call holds no slot");
    drop(probe);
    server.allow(1);
    assert!(late.as_mut().now_or_never().is_none(), "called");
    assert!(payments.try_acquire().is_err(), "now it is the probe");
    let (_, answer) = server.next_request().await.expect("one request");
    answer.send_response(Response::new("paid".to_owned()));
    let answered = late.as_mut().now_or_never();
    assert!(matches!(answered, Some(Ok(_))));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_comes_after_the_outage_asks_the_client_first() {
    let payments = payments();
    let (client, server) = full();
    let at_head = payments.layer().classify(Plain).layer(client);
    comes_after_the_outage(&payments, at_head, server).await;
    assert_eq!(count(&payments, CallKind::Success), 1);
}

#[tokio::test(start_paused = true)]
async fn so_does_one_whose_body_is_judged() {
    let payments = payments();
    let (client, server) = full();
    let at_end = payments
        .layer()
        .classify(Plain)
        .judge_bodies()
        .layer(client);
    comes_after_the_outage(&payments, at_end, server).await;
}

/// It was ready for a call, and is not ready for two.
#[tokio::test(start_paused = true)]
async fn a_refusal_leaves_the_readiness_of_the_client() {
    let payments = payments();
    let (client, mut server) = full();
    let mut client = payments.layer().classify(Plain).layer(client);
    assert!(!is_ready(&mut client));
    server.allow(1);
    assert!(is_ready(&mut client));
    open(&payments).await;
    let refused = client.call(Request::new(())).await;
    assert!(refused.is_err_and(|error| error.is_refused()));
    tokio::time::advance(1_100 * MS).await;
    assert!(is_ready(&mut client));
    let mut call = Box::pin(client.call(Request::new(())));
    assert!(call.as_mut().now_or_never().is_none());
    let (_, answer) = server.next_request().await.expect("one request");
    answer.send_response(Response::new("paid".to_owned()));
    let answered = call.as_mut().now_or_never();
    assert!(matches!(answered, Some(Ok(_))));
    assert!(!is_ready(&mut client), "it was ready for one");
}
