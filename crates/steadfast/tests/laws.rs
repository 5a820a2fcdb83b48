//! The Tower laws, one suite for every public layer.
//!
//! Method: each layer is put around the same inner service, [`Strict`], which panics if it is
//! called without having been polled ready itself, and does what the request's path says.
//!
//! length: the claims of one subject in one file, because they share its fixtures.

mod common;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::{MethodRouter, any, get, post},
};
use bytes::Bytes;
use common::Connection;
use futures_util::{FutureExt, StreamExt, stream::FuturesUnordered};
use http_body::Frame;
use http_body_util::BodyExt;
use steadfast::{
    BreakerMode, Dependency, DrainLayer, Explain, ExplainLayer, Guard, GuardLayer, Lifecycle,
    Phase, Shed, ShedLayer, Shedder, test_util::poll_once,
};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxCloneSyncService};

/// An inner service that holds its callers to the contract of `tower::Service`.
#[derive(Debug)]
struct Strict {
    polled: bool,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    busy: AtomicBool,
    bodies: Mutex<Vec<tokio::sync::mpsc::UnboundedSender<Piece>>>,
}

/// What a test puts into a body that is open.
type Piece = Result<Frame<Bytes>, std::io::Error>;

impl Strict {
    fn new() -> Self {
        Self {
            polled: false,
            shared: Arc::default(),
        }
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        // A clone is not ready, whatever the original is.
        Self {
            polled: false,
            shared: Arc::clone(&self.shared),
        }
    }
}

#[derive(Debug, PartialEq)]
struct InnerError(&'static str);

impl std::fmt::Display for InnerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InnerError {}

impl Service<Request> for Strict {
    type Response = Response;
    type Error = InnerError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, InnerError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), InnerError>> {
        if self.shared.busy.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.polled = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        assert!(
            std::mem::take(&mut self.polled),
            "called an instance that was not polled ready"
        );
        let shared = Arc::clone(&self.shared);
        let path = request.uri().path().to_owned();
        assert!(path != "/panic-in-call", "told to panic in call");
        Box::pin(async move {
            match &*path {
                "/hang" => std::future::pending().await,
                "/panic-in-poll" => panic!("told to panic in poll"),
                "/error" => Err(InnerError("told to fail")),
                "/open-body" => {
                    let (pieces, body) = tokio::sync::mpsc::unbounded_channel();
                    shared.bodies.lock().expect("no panic").push(pieces);
                    Ok(Response::new(Body::new(Open(body))))
                }
                "/101" => {
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                    Ok(response)
                }
                "/503" => {
                    let mut response = Response::new(Body::from("busy"));
                    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    Ok(response)
                }
                _ => Ok(Response::new(Body::from("done"))),
            }
        })
    }
}

/// A body that ends when the test says so.
struct Open(tokio::sync::mpsc::UnboundedReceiver<Piece>);

impl http_body::Body for Open {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }
}

type Boxed = BoxCloneSyncService<Request, Response, BoxError>;

/// One layer, ready to be put around an inner service as often as a test likes.
struct Subject {
    name: &'static str,
    /// Calls `layer` once more.
    wrap: Box<dyn Fn(Strict) -> Boxed>,
    /// Who counts the permits, if the layer has any. Its limit is 1.
    shedder: Option<Shedder>,
    /// Whether an inner service that is not ready shows through. Under axum it does not: a
    /// Router is always ready, and polls its handlers when they are called.
    transparent: bool,
}

fn wrapped<L, B>(layer: L) -> Box<dyn Fn(Strict) -> Boxed>
where
    L: Layer<Strict> + 'static,
    L::Service: Service<Request, Response = http::Response<B>, Error = InnerError>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as Service<Request>>::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |inner| {
        // The bound above is a law: the error type stays the inner service's.
        let service = layer.layer(inner);
        BoxCloneSyncService::new(
            service
                .map_response(|response: http::Response<B>| response.map(Body::new))
                .map_err(BoxError::from),
        )
    })
}

fn subjects() -> Vec<Subject> {
    let shed = ShedLayer::new(Shed::fixed(1), Explain::default()).expect("valid");
    let life = Arc::new(Lifecycle::new(tokio::time::Instant::now().into_std()));
    let build = || {
        Guard::builder()
            .shed(Shed::fixed(1))
            .build()
            .expect("valid")
    };
    let (guard, protecting) = (build(), build());
    let payments = Dependency::builder("payments").build().expect("valid");
    let layer: GuardLayer = guard.layer();
    vec![
        Subject {
            name: "ShedLayer",
            shedder: Some(shed.shedder()),
            wrap: wrapped(shed),
            transparent: true,
        },
        Subject {
            name: "DrainLayer",
            shedder: None,
            wrap: wrapped(DrainLayer::new(life, Explain::default())),
            transparent: true,
        },
        Subject {
            name: "DependencyGate",
            shedder: None,
            wrap: wrapped(payments.gate()),
            transparent: true,
        },
        Subject {
            name: "ExplainLayer",
            shedder: None,
            wrap: wrapped(ExplainLayer::default()),
            transparent: true,
        },
        Subject {
            name: "GuardLayer",
            shedder: Some(guard.control().shedder().clone()),
            wrap: wrapped(layer),
            transparent: true,
        },
        Subject {
            name: "Guarded",
            shedder: Some(protecting.control().shedder().clone()),
            wrap: Box::new(move |inner| {
                // A Router's services cannot fail; its panics and bodies are as everywhere.
                let inner = inner.map_err(|error| -> Infallible { panic!("{error}") });
                let app = protecting.protect(Router::new().fallback_service(inner));
                BoxCloneSyncService::new(ServiceExt::<Request>::map_err(app, BoxError::from))
            }),
            transparent: false,
        },
    ]
}

fn to(path: &str) -> Request {
    common::get(path)
}

/// Polls a service ready, as a caller must.
async fn ready(service: &mut Boxed) {
    service.ready().await.expect("ready");
}

#[tokio::test]
async fn a_call_uses_the_instance_that_was_polled_and_a_clone_inherits_no_readiness() {
    for subject in subjects() {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let mut clone = service.clone();
        let answer = service.call(to("/")).await.expect(subject.name);
        assert_eq!(answer.status(), 200, "{}", subject.name);
        drop(answer);
        let unpolled = std::panic::AssertUnwindSafe(async move { clone.call(to("/")).await });
        let outcome = unpolled.catch_unwind().await;
        assert_eq!(
            outcome.is_err(),
            subject.transparent,
            "{}: a clone is not ready",
            subject.name
        );
    }
}

#[tokio::test]
async fn an_inner_service_that_is_not_ready_is_waited_for() {
    for subject in subjects().into_iter().filter(|subject| subject.transparent) {
        let inner = Strict::new();
        inner.shared.busy.store(true, Ordering::SeqCst);
        let shared = Arc::clone(&inner.shared);
        let mut service = (subject.wrap)(inner);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(service.poll_ready(&mut cx).is_pending(), "{}", subject.name);
        shared.busy.store(false, Ordering::SeqCst);
        assert!(service.poll_ready(&mut cx).is_ready(), "{}", subject.name);
    }
}

#[tokio::test]
async fn the_inner_error_arrives_as_it_is() {
    for subject in subjects().into_iter().filter(|subject| subject.transparent) {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let error = service.call(to("/error")).await.expect_err("it fails");
        let inner = error.downcast_ref::<InnerError>();
        assert_eq!(inner, Some(&InnerError("told to fail")), "{}", subject.name);
        if let Some(shedder) = subject.shedder {
            assert_eq!(
                shedder.in_flight(),
                0,
                "{}: an error returns the permit",
                subject.name
            );
        }
    }
}

/// The laws of permits, for the layers that hold some.
fn holders() -> impl Iterator<Item = (Subject, Shedder)> {
    subjects()
        .into_iter()
        .filter_map(|mut subject| subject.shedder.take().map(|shedder| (subject, shedder)))
}

#[tokio::test]
async fn two_services_of_one_layer_share_one_limit() {
    for (subject, shedder) in holders() {
        let (mut first, mut second) =
            ((subject.wrap)(Strict::new()), (subject.wrap)(Strict::new()));
        ready(&mut first).await;
        let mut running = first.call(to("/hang"));
        assert!(poll_once(Pin::new(&mut running)).is_pending());
        ready(&mut second).await;
        let refused = second.call(to("/")).await.expect(subject.name);
        assert_eq!(refused.status(), 503, "{}", subject.name);
        drop(running);
        assert_eq!(
            shedder.in_flight(),
            0,
            "{}: a dropped future returns it",
            subject.name
        );
        ready(&mut second).await;
        let served = second.call(to("/")).await.expect(subject.name);
        assert_eq!(served.status(), 200, "{}", subject.name);
    }
}

#[tokio::test]
async fn two_services_of_one_drain_layer_follow_one_life() {
    let now = tokio::time::Instant::now().into_std();
    let life = Arc::new(Lifecycle::new(now));
    let layer = DrainLayer::new(Arc::clone(&life), Explain::default());
    let wrap = wrapped(layer);
    let (mut first, mut second) = (wrap(Strict::new()), wrap(Strict::new()));
    life.advance(Phase::Stopped, now);
    for service in [&mut first, &mut second] {
        ready(service).await;
        assert_eq!(service.call(to("/")).await.expect("answered").status(), 503);
    }
}

#[tokio::test]
async fn two_services_of_one_gate_refuse_for_one_dependency_in_call() {
    let payments = Dependency::builder("payments").build().expect("valid");
    let wrap = wrapped(payments.gate());
    let (mut first, mut second) = (wrap(Strict::new()), wrap(Strict::new()));
    payments.set_mode(BreakerMode::ForcedOpen);
    for service in [&mut first, &mut second] {
        ready(service).await;
        // The path says that the inner service would panic if it were called.
        let refused = service.call(to("/panic-in-call")).await.expect("answered");
        assert_eq!(refused.status(), 503);
    }
    payments.set_mode(BreakerMode::Auto);
    ready(&mut first).await;
    assert_eq!(first.call(to("/")).await.expect("answered").status(), 200);
}

#[tokio::test]
async fn two_services_of_one_explain_layer_write_into_one_ledger() {
    let explain = Explain::default();
    let wrap = wrapped(ExplainLayer::new(explain.clone()));
    for mut service in [wrap(Strict::new()), wrap(Strict::new())] {
        ready(&mut service).await;
        assert_eq!(
            service.call(to("/503")).await.expect("answered").status(),
            503
        );
    }
    assert_eq!(explain.ledger().count(steadfast::Cause::Application), 2);
}

/// Goal: the decision is made in `call`. A full gate still says that it is ready, also when
/// the task has used up its budget, which makes every polled semaphore look full.
#[tokio::test]
async fn a_gate_decides_in_call_and_not_in_poll_ready() {
    for (subject, shedder) in holders() {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let mut running = service.call(to("/hang"));
        assert!(poll_once(Pin::new(&mut running)).is_pending());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(
            service.poll_ready(&mut cx).is_ready(),
            "{}: full, and ready",
            subject.name
        );
        let refused = service.call(to("/")).await.expect(subject.name);
        assert_eq!(refused.status(), 503, "{}", subject.name);
        drop(running);
        assert_eq!(shedder.in_flight(), 0, "{}", subject.name);
    }
}

#[tokio::test]
async fn a_task_without_budget_is_admitted_all_the_same() {
    for (subject, shedder) in holders() {
        let mut service = (subject.wrap)(Strict::new());
        let admitted = tokio::spawn(std::future::poll_fn(move |cx| {
            while tokio::task::coop::has_budget_remaining() {
                let Poll::Ready(progress) = tokio::task::coop::poll_proceed(cx) else {
                    break;
                };
                progress.made_progress();
            }
            let is_ready = service.poll_ready(cx).is_ready();
            let mut answer = service.call(to("/hang"));
            let hangs = Pin::new(&mut answer).poll(cx).is_pending();
            Poll::Ready((is_ready, hangs, answer))
        }));
        let (is_ready, hangs, running) = admitted.await.expect("no panic");
        assert!(is_ready && hangs, "{}", subject.name);
        assert_eq!(
            shedder.in_flight(),
            1,
            "{}: admitted, not refused",
            subject.name
        );
        drop(running);
    }
}

#[tokio::test]
async fn a_panic_returns_the_permit() {
    for path in ["/panic-in-call", "/panic-in-poll"] {
        for (subject, shedder) in holders() {
            let mut service = (subject.wrap)(Strict::new());
            ready(&mut service).await;
            let running = std::panic::AssertUnwindSafe(async move { service.call(to(path)).await });
            assert!(
                running.catch_unwind().await.is_err(),
                "{}: not swallowed",
                subject.name
            );
            assert_eq!(shedder.in_flight(), 0, "{} {path}", subject.name);
        }
    }
}

/// Starts a response whose body stays open, and returns it with the body's other end.
async fn open_body(subject: &Subject) -> (Response, tokio::sync::mpsc::UnboundedSender<Piece>) {
    let inner = Strict::new();
    let shared = Arc::clone(&inner.shared);
    let mut service = (subject.wrap)(inner);
    ready(&mut service).await;
    let response = service.call(to("/open-body")).await.expect("a response");
    let pieces = shared
        .bodies
        .lock()
        .expect("no panic")
        .pop()
        .expect("a body");
    (response, pieces)
}

#[tokio::test]
async fn a_permit_is_held_to_the_end_of_the_body() {
    for (subject, shedder) in holders() {
        let (mut response, pieces) = open_body(&subject).await;
        pieces.send(Ok(Frame::data("half".into()))).expect("open");
        response
            .body_mut()
            .frame()
            .await
            .expect("a frame")
            .expect("data");
        assert_eq!(shedder.in_flight(), 1, "{}: half-way", subject.name);
        drop(pieces);
        assert!(response.body_mut().frame().await.is_none());
        assert_eq!(shedder.in_flight(), 0, "{}: at its end", subject.name);
    }
}

#[tokio::test]
async fn a_dropped_body_returns_its_permit() {
    for (subject, shedder) in holders() {
        let (response, _pieces) = open_body(&subject).await;
        assert_eq!(shedder.in_flight(), 1, "{}", subject.name);
        drop(response);
        assert_eq!(shedder.in_flight(), 0, "{}", subject.name);
    }
}

#[tokio::test]
async fn a_body_that_fails_returns_its_permit() {
    for (subject, shedder) in holders() {
        let (mut response, pieces) = open_body(&subject).await;
        pieces
            .send(Err(std::io::Error::other("cut")))
            .expect("open");
        assert!(response.body_mut().frame().await.expect("a frame").is_err());
        assert_eq!(
            shedder.in_flight(),
            0,
            "{}: while it still exists",
            subject.name
        );
    }
}

#[tokio::test]
async fn a_101_gives_its_permit_back_at_the_head() {
    for (subject, shedder) in holders() {
        let mut service = (subject.wrap)(Strict::new());
        ready(&mut service).await;
        let response = service.call(to("/101")).await.expect("a response");
        assert_eq!(response.status(), 101, "{}", subject.name);
        assert_eq!(
            shedder.in_flight(),
            0,
            "{}: the response still exists",
            subject.name
        );
    }
}

/// Method: `tower_test::mock`, polled by hand: nothing is sent inside before it is asked for,
/// and a refused request never reaches the inner service.
#[tokio::test]
async fn a_refused_request_never_reaches_the_inner_service() {
    let layer = ShedLayer::new(Shed::fixed(1), Explain::default()).expect("valid");
    let shedder = layer.shedder();
    let (mut service, mut inside) =
        tower_test::mock::spawn_with(|inner: tower_test::mock::Mock<Request, Response>| {
            layer.clone().layer(inner)
        });
    inside.allow(2);
    assert!(service.poll_ready().is_ready());
    let mut first = tokio_test_task(service.call(to("/first")));
    assert!(first.as_mut().now_or_never().is_none());
    let (seen, respond) = inside.next_request().await.expect("the first");
    assert_eq!(seen.uri().path(), "/first");

    assert!(service.poll_ready().is_ready());
    let refused = service.call(to("/second")).await.expect("answered");
    assert_eq!(refused.status(), 503);
    assert!(
        inside.next_request().now_or_never().is_none(),
        "nothing came inside"
    );

    respond.send_response(Response::new(Body::empty()));
    assert_eq!(first.await.expect("answered").status(), 200);
    assert_eq!(shedder.in_flight(), 0);
}

fn tokio_test_task<F: Future>(future: F) -> Pin<Box<F>> {
    Box::pin(future)
}

/// A handler that shows how many run and waits to be let go.
#[derive(Clone, Debug)]
struct Floor {
    running: Arc<std::sync::atomic::AtomicUsize>,
    go: Arc<Semaphore>,
}

impl Floor {
    fn new() -> Self {
        Self {
            running: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }

    async fn work(self) -> &'static str {
        self.running.fetch_add(1, Ordering::SeqCst);
        let _go = self.go.acquire().await.expect("open");
        "done"
    }
}

async fn with_state(State(floor): State<Floor>) -> &'static str {
    floor.work().await
}

/// Routers that give the same guard's layer to axum in every way there is. Each serves
/// `GET` and `POST` of `/a`, `/b` and `/n/a`.
fn routers(guard: &Guard, floor: &Floor) -> Vec<(&'static str, Router)> {
    let work = {
        let floor = floor.clone();
        move || floor.clone().work()
    };
    let plain = || {
        let nested = Router::new().route("/a", any(work.clone()));
        Router::new()
            .route("/a", get(work.clone()).post(work.clone()))
            .route("/b", any(work.clone()))
            .nest("/n", nested)
    };
    let one_method = || -> MethodRouter {
        let reads: MethodRouter = get(work.clone()).layer(guard.layer());
        reads.merge(post(work.clone()).layer(guard.layer()))
    };
    let stateful = Router::new()
        .route("/a", any(with_state))
        .route("/b", any(with_state))
        .nest("/n", Router::new().route("/a", any(with_state)));
    vec![
        ("Router::layer", plain().layer(guard.layer())),
        ("Router::route_layer", plain().route_layer(guard.layer())),
        (
            "MethodRouter::layer",
            Router::new()
                .route("/a", one_method())
                .route("/b", one_method())
                .nest("/n", Router::new().route("/a", one_method())),
        ),
        (
            "nested, each with its own layer",
            Router::new()
                .route("/a", any(work.clone()))
                .route("/b", any(work.clone()))
                .layer(guard.layer())
                .nest(
                    "/n",
                    Router::new()
                        .route("/a", any(work.clone()))
                        .layer(guard.layer()),
                ),
        ),
        (
            "layer before with_state",
            stateful
                .clone()
                .layer(guard.layer())
                .with_state(floor.clone()),
        ),
        (
            "layer after with_state",
            stateful
                .clone()
                .with_state(floor.clone())
                .layer(guard.layer()),
        ),
        ("protect, as a Router", guard.protect(plain()).into_router()),
        (
            "protect, with state",
            guard
                .protect(stateful.with_state(floor.clone()))
                .into_router(),
        ),
    ]
}

/// Goal: one limit across routes, methods and connections, however the Router is built.
/// Method: 12 requests on 12 real connections against a limit of 3; the 9 answers that come
/// while everything waits must be refusals, and then the 3 are let go.
#[tokio::test]
async fn one_limit_holds_across_routes_methods_and_connections() {
    const LIMIT: usize = 3;
    for at in 0..8 {
        let guard = Guard::builder()
            .shed(Shed::fixed(3))
            .build()
            .expect("valid");
        let floor = Floor::new();
        let (how, router) = routers(&guard, &floor).swap_remove(at);
        let server = common::serve(|listener| axum::serve(listener, router).into_future()).await;
        let mut answers = FuturesUnordered::new();
        for path in ["/a", "/b", "/n/a"] {
            for method in ["GET", "POST", "GET", "POST"] {
                let address = server.address;
                answers.push(async move {
                    let request = common::request(method, path, &[]);
                    Connection::open(address).await.ask(request).await
                });
            }
        }
        for _ in 0..12 - LIMIT {
            let answer = common::soon(how, answers.next()).await.expect("an answer");
            assert_eq!(
                (answer.status.as_u16(), answer.cause()),
                (503, "overloaded"),
                "{how}"
            );
        }
        common::until(how, || floor.running.load(Ordering::SeqCst) == LIMIT).await;
        assert_eq!(guard.control().shedder().in_flight(), 3, "{how}");
        floor.go.add_permits(LIMIT);
        while let Some(answer) = common::soon(how, answers.next()).await {
            assert_eq!(
                (answer.status.as_u16(), &*answer.body),
                (200, "done"),
                "{how}"
            );
        }
        common::until(how, || guard.control().shedder().in_flight() == 0).await;
    }
}

/// `Router::layer` also wraps a Router's fallback, so probes answer there too.
#[tokio::test(start_paused = true)]
async fn a_router_layered_with_the_guard_answers_probes() {
    let guard = Guard::builder().without_signals().build().expect("valid");
    let _running = guard.start().expect("started");
    let app = Router::new()
        .route("/", get(|| async { "hello" }))
        .layer(guard.layer());
    for (path, status) in [
        ("/ready/", 200),
        ("/health", 200),
        ("/", 200),
        ("/none", 404),
    ] {
        let response = app.clone().oneshot(to(path)).await.expect("infallible");
        assert_eq!(response.status(), status, "{path}");
    }
    tokio::time::advance(Duration::from_millis(1)).await;
}
