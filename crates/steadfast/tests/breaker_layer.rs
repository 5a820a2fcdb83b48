//! The breaker around outbound tower clients: the Tower laws, and what ends a call.
//!
//! Method: hand-polled clients that do what the request's path says; time is paused.

#![cfg(feature = "axum")]

#[path = "common/breaker.rs"]
mod breaker;

use std::{
    future::{Future, pending, ready},
    io,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use breaker::{count, in_flight, state, trip};
use bytes::Bytes;
use futures_util::FutureExt;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full, StreamBody};
use steadfast::{
    BreakerState, CallError, CallKind, CallOutcome, Dependency, DependencyState, FailureClass,
    classifier,
};
use tower::{Layer, Service, ServiceExt, util::BoxCloneService};

const MS: Duration = Duration::from_millis(1);

fn payments() -> Dependency {
    let builder = Dependency::builder("payments").trip(trip());
    builder.call_timeout(200 * MS).build().expect("valid")
}

/// A client that holds its callers to the contract of `tower::Service`.
#[derive(Debug, Default)]
struct Strict {
    polled: bool,
    busy: Arc<AtomicBool>,
    called: Arc<AtomicU32>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        // A clone is not ready, whatever the original is.
        Self {
            polled: false,
            busy: Arc::clone(&self.busy),
            called: Arc::clone(&self.called),
        }
    }
}

type Answer = Response<Full<Bytes>>;

impl Service<&'static str> for Strict {
    type Response = Answer;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Answer, io::Error>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), io::Error>> {
        if self.busy.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.polled = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, asked: &'static str) -> Self::Future {
        assert!(std::mem::take(&mut self.polled), "called without readiness");
        self.called.fetch_add(1, Ordering::SeqCst);
        assert!(asked != "panic in call", "told to");
        match asked {
            "hang" => Box::pin(pending()),
            "panic" => Box::pin(async { panic!("told to") }),
            "error" => Box::pin(ready(Err(io::ErrorKind::ConnectionReset.into()))),
            status => {
                let mut response = Response::new(Full::from(status));
                *response.status_mut() = status.parse().expect("a status");
                Box::pin(ready(Ok(response)))
            }
        }
    }
}

async fn ask<S, E>(client: &mut S, what: &'static str) -> Result<Answer, E>
where
    S: Service<&'static str, Response = Answer, Error = E>,
{
    std::future::poll_fn(|cx| client.poll_ready(cx)).await?;
    client.call(what).await
}

#[tokio::test(start_paused = true)]
async fn a_call_uses_the_instance_that_was_polled_and_a_clone_inherits_no_readiness() {
    let mut client = payments().layer().layer(Strict::default());
    let mut cx = Context::from_waker(Waker::noop());
    assert!(client.poll_ready(&mut cx).is_ready());
    let mut clone = client.clone();
    assert!(client.call("200").await.is_ok());
    assert!(clone.call("200").await.is_ok(), "the call asks the clone");
}

/// The decision falls in `call`: `poll_ready` says what the client says, open or not, and an
/// open breaker does not touch the client.
#[tokio::test(start_paused = true)]
async fn a_refused_call_does_not_touch_the_client() {
    let payments = payments();
    let strict = Strict::default();
    let (busy, called) = (Arc::clone(&strict.busy), Arc::clone(&strict.called));
    let mut client = payments.layer().layer(strict);
    let mut cx = Context::from_waker(Waker::noop());
    busy.store(true, Ordering::SeqCst);
    assert!(client.poll_ready(&mut cx).is_pending());
    busy.store(false, Ordering::SeqCst);
    for _ in 0..3 {
        assert!(matches!(
            ask(&mut client, "error").await,
            Err(CallError::Inner(_))
        ));
    }
    assert!(client.poll_ready(&mut cx).is_ready(), "open, and ready");
    let error = client.call("200").await.expect_err("open");
    assert!(error.is_refused());
    assert_eq!(called.load(Ordering::SeqCst), 3);
}

/// M8: a layer that is applied again and again, as stacks do, has one state.
#[tokio::test(start_paused = true)]
async fn every_application_of_a_layer_shares_one_breaker() {
    let payments = payments();
    let layer = payments.layer();
    let mut refused = 0;
    for _ in 0..20 {
        let mut client = layer.clone().layer(Strict::default());
        let error = ask(&mut client, "error").await.expect_err("it fails");
        refused += u32::from(error.is_refused());
    }
    assert_eq!(refused, 17);
}

#[tokio::test(start_paused = true)]
async fn a_permit_comes_back_on_error_drop_and_panic() {
    let payments = payments();
    let mut client = payments.layer().layer(Strict::default());
    assert!(ask(&mut client, "error").await.is_err());
    assert_eq!(in_flight(&payments), 0);
    let mut running = Box::pin(client.ready().await.expect("ready").call("hang"));
    assert!(running.as_mut().now_or_never().is_none());
    assert_eq!(in_flight(&payments), 1);
    drop(running);
    assert_eq!(in_flight(&payments), 0);
    assert_eq!(count(&payments, CallKind::Abandoned), 1);
    for what in ["panic", "panic in call"] {
        let mut client = client.clone();
        let call = AssertUnwindSafe(async move { ask(&mut client, what).await });
        assert!(call.catch_unwind().await.is_err(), "not swallowed");
        assert_eq!(in_flight(&payments), 0, "{what}");
    }
    assert_eq!(
        state(&payments),
        BreakerState::Open,
        "an error and two panics"
    );
}

#[tokio::test(start_paused = true)]
async fn a_client_that_hangs_is_cut_and_counted() {
    let payments = payments();
    let mut client = payments.layer().layer(Strict::default());
    for _ in 0..3 {
        let error = ask(&mut client, "hang").await.expect_err("cut");
        assert!(matches!(error, CallError::TimedOut(_)));
    }
    assert_eq!(state(&payments), BreakerState::Open);
}

#[tokio::test(start_paused = true)]
async fn answers_are_judged_by_their_status() {
    let payments = payments();
    let mut client = payments.layer().layer(Strict::default());
    for _ in 0..50 {
        assert_eq!(
            ask(&mut client, "404").await.expect("an answer").status(),
            404
        );
    }
    assert_eq!(
        state(&payments),
        BreakerState::Closed,
        "404 is the caller's"
    );
    for _ in 0..3 {
        assert_eq!(
            ask(&mut client, "503").await.expect("an answer").status(),
            503
        );
    }
    assert_eq!(state(&payments), BreakerState::Open);
    let last = payments.view().last_call_error.expect("noted");
    assert_eq!(&*last.message, "answered 503 Service Unavailable");
}

#[tokio::test(start_paused = true)]
async fn a_closure_may_judge_any_answer_of_any_client() {
    let payments = payments();
    let judge = |result: Result<&u32, &String>| match result {
        Ok(0) => CallOutcome::Failure(FailureClass::Unhealthy.into()),
        Ok(_) | Err(_) => CallOutcome::Success,
    };
    let client = tower::service_fn(|request: u32| async move {
        if request == 1 {
            Err("odd".to_owned())
        } else {
            Ok(request)
        }
    });
    let mut client = payments.layer().classify(judge).layer(client);
    for request in [1, 2, 1, 0, 0, 0] {
        let _ = client.ready().await.expect("ready").call(request).await;
    }
    assert_eq!(state(&payments), BreakerState::Open);
    assert_eq!(count(&payments, CallKind::Success), 3);
}

/// What the pieces of a body do to the call, in each order.
#[tokio::test(start_paused = true)]
async fn a_call_can_end_with_its_body() {
    type Pieces = Vec<Result<Frame<Bytes>, io::Error>>;
    let data = || Ok(Frame::data(Bytes::from_static(b"x")));
    let trailers = |status| {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static(status));
        Ok(Frame::trailers(trailers))
    };
    let broken = || Err(io::ErrorKind::UnexpectedEof.into());
    for (pieces, read, expected) in [
        (vec![data(), trailers("0")], 9, CallKind::Success),
        (vec![data()], 9, CallKind::Failure),
        (vec![data(), trailers("14")], 9, CallKind::Failure),
        (vec![data(), trailers("8")], 9, CallKind::Throttled),
        (vec![data(), trailers("5")], 9, CallKind::Neutral),
        (vec![data(), broken()], 9, CallKind::Failure),
        (vec![data(), data(), trailers("14")], 1, CallKind::Abandoned),
    ] {
        let payments = payments();
        let pieces: Arc<std::sync::Mutex<Option<Pieces>>> =
            Arc::new(std::sync::Mutex::new(Some(pieces)));
        let client = tower::service_fn(move |_: Request<()>| {
            let pieces = pieces.lock().expect("no panic").take().unwrap_or_default();
            let body = StreamBody::new(futures_util::stream::iter(pieces));
            ready(Ok::<_, io::Error>(Response::new(body)))
        });
        let layer = payments.layer().classify(classifier::Grpc).judge_bodies();
        let mut client = layer.layer(client);
        let answer = client
            .ready()
            .await
            .expect("ready")
            .call(Request::new(()))
            .await;
        let mut body = answer.expect("an answer").into_body();
        assert_eq!(in_flight(&payments), 1, "held to the end of the body");
        for _ in 0..read {
            if body.frame().await.is_none() {
                break;
            }
        }
        drop(body);
        assert_eq!(in_flight(&payments), 0);
        assert_eq!(count(&payments, expected), 1, "{expected:?}");
    }
}

/// Cancellation at each await, and a panic at each place where foreign code runs: nothing
/// stays under way, and what is counted is what happened.
#[tokio::test(start_paused = true)]
async fn a_call_that_is_dropped_after_any_number_of_polls_gives_back_what_it_holds() {
    /// Waits a few times, then answers with a body that waits as often.
    async fn slowly(
        turns: usize,
    ) -> Result<Response<impl Body<Data = Bytes, Error = io::Error>>, io::Error> {
        for _ in 0..turns {
            tokio::task::yield_now().await;
        }
        let frames = futures_util::stream::unfold(0, move |turn| async move {
            tokio::task::yield_now().await;
            let frame = Ok::<_, io::Error>(Frame::data(Bytes::from_static(b"x")));
            (turn < turns).then_some((frame, turn + 1))
        });
        Ok(Response::new(StreamBody::new(Box::pin(frames))))
    }
    for dropped_after in 0..12 {
        let payments = payments();
        // The first call makes the breaker.
        assert!(payments.call(slowly(0)).await.is_ok());
        let layer = payments.layer();
        let mut at_head = layer.clone().layer(tower::service_fn(slowly));
        let mut at_end = layer.judge_bodies().layer(tower::service_fn(slowly));
        let calls: [Pin<Box<dyn Future<Output = ()>>>; 3] = [
            Box::pin(payments.call(slowly(3)).map(drop)),
            Box::pin(at_head.ready().await.expect("ready").call(3).map(drop)),
            Box::pin(
                at_end
                    .ready()
                    .await
                    .expect("ready")
                    .call(3)
                    .then(|answer| async {
                        let body = answer.expect("an answer").into_body();
                        assert!(body.collect().await.is_ok());
                    }),
            ),
        ];
        // A call that nobody polls has not been asked for; a client's has with its `call`.
        let (mut succeeded, mut left) = (1, 0);
        for (which, mut call) in calls.into_iter().enumerate() {
            let polls = std::iter::repeat_with(|| call.as_mut().now_or_never());
            let ended = polls.take(dropped_after).flatten().next().is_some();
            drop(call);
            succeeded += u64::from(ended);
            left += u64::from(!ended && (which > 0 || dropped_after > 0));
            let counted = |kind| count(&payments, kind);
            let seen = (counted(CallKind::Success), counted(CallKind::Abandoned));
            assert_eq!(
                seen,
                (succeeded, left),
                "call {which} after {dropped_after} polls"
            );
            let seen = payments.view().breaker.and_then(|seen| seen.in_flight);
            assert_eq!(
                seen.unwrap_or(0),
                0,
                "call {which} after {dropped_after} polls"
            );
            assert_eq!(state(&payments), BreakerState::Closed);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_classifier_or_a_body_is_a_failure_and_gives_back() {
    let payments = payments();
    let judge = |_: Result<&Answer, &io::Error>| -> CallOutcome { panic!("told to") };
    let mut client = payments.layer().classify(judge).layer(Strict::default());
    let call = AssertUnwindSafe(async { ask(&mut client, "200").await.map(drop) });
    assert!(call.catch_unwind().await.is_err(), "not swallowed");
    assert_eq!(
        (in_flight(&payments), count(&payments, CallKind::Failure)),
        (0, 1)
    );
    let broken = tower::service_fn(|_: Request<()>| {
        let frames =
            futures_util::stream::poll_fn(|_| -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
                panic!("told to")
            });
        ready(Ok::<_, io::Error>(Response::new(StreamBody::new(frames))))
    });
    let mut client = payments.layer().judge_bodies().layer(broken);
    let answer = client.call(Request::new(())).await.expect("a head");
    let body = AssertUnwindSafe(answer.into_body().collect());
    let panicked = AssertUnwindSafe(async move { body.0.await.is_ok() });
    assert!(panicked.catch_unwind().await.is_err(), "not swallowed");
    assert_eq!(
        (in_flight(&payments), count(&payments, CallKind::Failure)),
        (0, 2)
    );
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_body_ends_its_call_at_the_head() {
    let payments = payments();
    let client = tower::service_fn(|_: Request<()>| {
        ready(Ok::<_, io::Error>(Response::new(Empty::<Bytes>::new())))
    });
    let mut client = payments.layer().judge_bodies().layer(client);
    let answer = client
        .ready()
        .await
        .expect("ready")
        .call(Request::new(()))
        .await;
    let answer = answer.expect("an answer");
    assert_eq!(in_flight(&payments), 0);
    assert!(answer.body().is_end_stream());
}

/// Goal: the layers fit what people put around clients; this is a claim of the types.
#[test]
fn the_layered_client_fits_where_clients_go() {
    let payments = payments();
    let client = payments.layer().layer(Strict::default());
    let _boxed = BoxCloneService::new(client);
    // hyper-util's pooled client, whose error is its own.
    let client = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new())
        .build_http::<Full<Bytes>>();
    let client = payments.layer().layer(client);
    let _boxed = BoxCloneService::new(client);
}

#[tokio::test(start_paused = true)]
async fn a_client_with_a_boxed_error_is_judged_by_what_is_in_the_box() {
    let payments = payments();
    let judge = classifier::Boxed(classifier::Http);
    let late = tower::ServiceBuilder::new()
        .map_err(|_: io::Error| -> tower::BoxError {
            io::Error::from(io::ErrorKind::TimedOut).into()
        })
        .service(tower::service_fn(|_: Request<()>| {
            ready(Err::<Response<()>, _>(io::Error::other("late")))
        }));
    let mut client = payments.layer().classify(judge).layer(late);
    for _ in 0..3 {
        let error = client
            .ready()
            .await
            .expect("ready")
            .call(Request::new(()))
            .await;
        assert!(matches!(error, Err(CallError::Inner(_))));
    }
    assert_eq!(state(&payments), BreakerState::Open);
    let view = payments.view();
    let last = view.last_error().expect("a failure");
    assert_eq!(last.class, FailureClass::Timeout);
}

/// Goal: what a guard of the same dependency has told inside a call is not counted again by
/// the layer around it, whether answers are judged at their head or at their end. Method: a
/// client that tells its failure itself, as a guarded pool does, and then fails.
#[tokio::test(start_paused = true)]
async fn a_failure_that_was_told_inside_is_counted_once() {
    fn failing(
        inside: Dependency,
    ) -> impl Service<Request<()>, Response = Response<Empty<Bytes>>, Error = io::Error> + Clone
    {
        tower::service_fn(move |_: Request<()>| {
            let inside = inside.clone();
            async move {
                let now = tokio::time::Instant::now().into_std();
                let permit = DependencyState::try_acquire(inside, now, 0, 0).expect("closed");
                permit.fail_inside(FailureClass::Unreachable.into(), &"refused", now);
                Err(io::Error::other("refused"))
            }
        })
    }
    let payments = payments();
    let mut at_head = payments.layer().layer(failing(payments.clone()));
    let at_head = at_head.ready().await.expect("ready");
    assert!(at_head.call(Request::new(())).await.is_err());
    assert_eq!(count(&payments, CallKind::Failure), 1);
    let mut at_end = payments
        .layer()
        .judge_bodies()
        .layer(failing(payments.clone()));
    let at_end = at_end.ready().await.expect("ready");
    assert!(at_end.call(Request::new(())).await.is_err());
    assert_eq!(count(&payments, CallKind::Failure), 2);
    assert_eq!(in_flight(&payments), 0);
}

#[tokio::test]
async fn the_client_inside_can_be_reached() {
    let mut client = payments().layer().layer(Strict::default());
    client.get_mut().polled = true;
    assert!(client.get_ref().polled);
    assert!(client.into_inner().polled);
    let gate = payments().gate().layer(Strict::default());
    assert!(!gate.into_inner().polled);
}
