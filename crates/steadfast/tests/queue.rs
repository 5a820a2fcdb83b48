//! Requests that wait for a permit: the order, the bounds, what they are told, and that a
//! place and a permit come back from wherever a request stops.
//!
//! Method: the inner service notes what it was asked and hangs until it is told to end, so
//! that a test decides every moment itself. Time is paused.

#![cfg(feature = "axum")]

mod common;

use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll},
    time::Duration,
};

use axum::{Router, body::Body, extract::Request, response::Response, routing::get};
use common::{Answer, request};
use futures_util::FutureExt;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use steadfast::{
    Cause, Evidence, Explain, Guard, GuardBuilder, Queue, RouteClass, Rule, Shed, ShedLayer,
    ShedSnapshot, Shedder, test_util::poll_once,
};
use tokio::sync::Semaphore;
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxCloneSyncService};

const MS: Duration = Duration::from_millis(1);

/// Hangs until it is let go, and writes down in which order it was entered.
#[derive(Debug)]
struct Inner {
    polled: bool,
    seen: Arc<Mutex<Vec<String>>>,
    go: Arc<Semaphore>,
}

impl Inner {
    fn new() -> Self {
        Self {
            polled: false,
            seen: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Clone for Inner {
    fn clone(&self) -> Self {
        Self {
            polled: false,
            seen: Arc::clone(&self.seen),
            go: Arc::clone(&self.go),
        }
    }
}

impl Service<Request> for Inner {
    type Response = Response;
    type Error = std::io::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, std::io::Error>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        self.polled = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        assert!(std::mem::take(&mut self.polled), "called before ready");
        let path = request.uri().path().to_owned();
        assert_ne!(path, "/panic-in-call");
        self.seen.lock().expect("no panic").push(path.clone());
        let go = Arc::clone(&self.go);
        Box::pin(async move {
            assert_ne!(path, "/panic-in-poll");
            go.acquire().await.expect("open").forget();
            Ok(Response::new(Body::from("done")))
        })
    }
}

type Boxed = BoxCloneSyncService<Request, Response, BoxError>;
type Asked = Pin<Box<dyn Future<Output = Result<Response, BoxError>> + Send>>;

/// A service with a limit of 2 and a queue of `len`, made by the layer or by the guard.
struct Subject {
    name: &'static str,
    service: Boxed,
    shedder: Shedder,
    inner: Inner,
    guard: Option<Guard>,
}

impl Subject {
    fn all(shed: impl Fn() -> Shed) -> [Self; 2] {
        let layer = ShedLayer::new(shed(), Explain::default()).expect("valid");
        let guard = builder(shed()).build().expect("valid");
        let (alone, inside) = (Inner::new(), Inner::new());
        let boxed = |response: http::Response<steadfast::ShedBody<Body>>| response.map(Body::new);
        let guarded =
            |response: http::Response<steadfast::GuardBody<Body>>| response.map(Body::new);
        [
            Self {
                name: "ShedLayer",
                shedder: layer.shedder(),
                service: BoxCloneSyncService::new(
                    layer
                        .layer(alone.clone())
                        .map_response(boxed)
                        .map_err(BoxError::from),
                ),
                inner: alone,
                guard: None,
            },
            Self {
                name: "GuardLayer",
                shedder: guard.control().shedder().clone(),
                service: BoxCloneSyncService::new(
                    guard
                        .layer()
                        .layer(inside.clone())
                        .map_response(guarded)
                        .map_err(BoxError::from),
                ),
                inner: inside,
                guard: Some(guard),
            },
        ]
    }

    /// Sends a request and polls it once.
    fn send(&self, request: Request) -> Asked {
        let mut asked: Asked = Box::pin(self.service.clone().oneshot(request));
        assert!(poll_once(asked.as_mut()).is_pending(), "{}", self.name);
        asked
    }

    fn get(&self, path: &str) -> Asked {
        self.send(common::get(path))
    }

    /// Lets one that runs come to its end.
    fn end_one(&self) {
        self.inner.go.add_permits(1);
    }

    fn seen(&self) -> Vec<String> {
        self.inner.seen.lock().expect("no panic").clone()
    }

    fn snapshot(&self) -> ShedSnapshot {
        self.shedder.snapshot()
    }

    fn waiting(&self) -> u32 {
        self.snapshot().queue.expect("a queue").len
    }

    async fn answer(&self, asked: &mut Asked) -> Answer {
        let response = common::soon("an answer", asked).await;
        Answer::read(response.expect(self.name)).await
    }
}

fn builder(shed: Shed) -> GuardBuilder {
    Guard::builder().without_signals().shed(shed)
}

fn queued(len: u32) -> Shed {
    Shed::fixed(2)
        .queue(Queue::default().len_max(len))
        .route("/pay", RouteClass::critical())
        .route("/crawl", RouteClass::background())
}

/// Milliseconds since a moment.
fn since(began: tokio::time::Instant) -> u128 {
    (tokio::time::Instant::now() - began).as_millis()
}

fn rule(answer: &Answer) -> Option<Rule> {
    let why = answer.header("why-503");
    let (_, rest) = why.split_once(";rule=")?;
    Rule::from_code(rest.split(',').next()?)
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_served_in_turn_and_the_body_is_not_touched_before() {
    for subject in Subject::all(|| queued(4)) {
        let mut running = [subject.get("/1"), subject.get("/2")];
        let mut waiting = [
            subject.get("/3"),
            subject.get("/crawl"),
            subject.get("/pay"),
        ];
        assert_eq!(subject.seen(), ["/1", "/2"], "{}", subject.name);
        assert_eq!((subject.waiting(), subject.shedder.in_flight()), (3, 2));
        subject.end_one();
        assert_eq!(subject.answer(&mut running[0]).await.status, 200);
        assert!(poll_once(waiting[0].as_mut()).is_pending());
        assert!(poll_once(waiting[2].as_mut()).is_pending());
        // Neither whoever came first nor whoever is asked first: the critical one.
        assert_eq!(subject.seen().last().map(String::as_str), Some("/pay"));
        subject.end_one();
        assert_eq!(subject.answer(&mut running[1]).await.status, 200);
        assert!(poll_once(waiting[0].as_mut()).is_pending());
        assert_eq!(subject.seen().last().map(String::as_str), Some("/3"));
        (0..3).for_each(|_| subject.end_one());
        for asked in &mut waiting {
            assert_eq!(subject.answer(asked).await.status, 200, "{}", subject.name);
        }
        let seen = subject.snapshot();
        assert_eq!((seen.admitted, seen.refused, seen.in_flight), (5, 0, 0));
        assert_eq!(seen.queue.expect("a queue").waits.served, 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_who_would_be_served_last() {
    for subject in Subject::all(|| queued(1)) {
        let _running = [subject.get("/1"), subject.get("/2")];
        let mut displaced = subject.get("/crawl");
        let mut refused: Asked = Box::pin(subject.service.clone().oneshot(common::get("/crawl")));
        let answer = subject.answer(&mut refused).await;
        assert_eq!(
            (answer.status.as_u16(), rule(&answer)),
            (503, Some(Rule::QueueFull))
        );
        assert!(answer.header("why-503").contains("safe-to-retry"));
        let _critical = subject.get("/pay");
        let answer = subject.answer(&mut displaced).await;
        assert_eq!(
            (answer.cause(), rule(&answer)),
            ("overloaded", Some(Rule::QueueFull))
        );
        assert_eq!(subject.seen(), ["/1", "/2"], "{}", subject.name);
    }
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_after_the_interval_and_a_lasting_queue_after_the_target() {
    for subject in Subject::all(|| queued(4)) {
        let _running = [subject.get("/1"), subject.get("/2")];
        let began = tokio::time::Instant::now();
        let mut first = subject.get("/3");
        tokio::time::advance(60 * MS).await;
        let mut second = subject.get("/4");
        let answer = subject.answer(&mut first).await;
        assert_eq!(rule(&answer), Some(Rule::QueueTimeout));
        assert_eq!(since(began), 100);
        // The second is there still, so the queue has now lasted for longer than 100 ms.
        tokio::time::advance(MS).await;
        let mut third = subject.get("/5");
        let answer = subject.answer(&mut third).await;
        assert_eq!(rule(&answer), Some(Rule::QueueTimeout));
        assert_eq!(since(began), 106, "{}", subject.name);
        let answer = subject.answer(&mut second).await;
        assert_eq!(rule(&answer), Some(Rule::QueueTimeout));
        assert_eq!(since(began), 160);
        assert_eq!(subject.waiting(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_deadline_ends_the_wait_and_is_named_with_its_numbers() {
    for subject in Subject::all(|| queued(4)) {
        let _running = [subject.get("/1"), subject.get("/2")];
        let hasty = || request("GET", "/3", &[("grpc-timeout", "30m")]);
        let began = tokio::time::Instant::now();
        let mut asked = subject.send(hasty());
        let answer = subject.answer(&mut asked).await;
        assert_eq!(rule(&answer), Some(Rule::Deadline), "{}", subject.name);
        assert_eq!(since(began), 30);
        let Some(guard) = &subject.guard else {
            continue;
        };
        let found = guard.control().explain().ledger().find(&answer.id());
        let Evidence::Overloaded(seen) = found[0].refusal.evidence() else {
            panic!("{found:?}")
        };
        let queue = seen.queue.expect("a queue");
        assert_eq!((queue.len, queue.max, queue.waited), (1, 4, 30 * MS));
        assert_eq!(queue.deadline_left, Some(Duration::ZERO));
    }
}

#[tokio::test(start_paused = true)]
async fn a_request_that_stops_anywhere_gives_back_its_place_and_its_permit() {
    for subject in Subject::all(|| queued(4)) {
        // While it waits.
        let running = [subject.get("/1"), subject.get("/2")];
        drop(subject.get("/3"));
        assert_eq!(subject.waiting(), 0, "{}", subject.name);
        // Before its first poll.
        drop(
            subject
                .service
                .clone()
                .ready()
                .await
                .expect("ready")
                .call(common::get("/3")),
        );
        assert_eq!(subject.waiting(), 0, "{}", subject.name);
        // After it was given a permit, before it has heard of it: the next one gets it.
        let (given, mut next) = (subject.get("/3"), subject.get("/4"));
        drop(running);
        drop(given);
        assert!(poll_once(next.as_mut()).is_pending());
        assert_eq!(subject.seen(), ["/1", "/2", "/4"]);
        assert_eq!((subject.waiting(), subject.shedder.in_flight()), (0, 1));
        // After it has begun.
        drop(next);
        assert_eq!(subject.shedder.in_flight(), 0);
    }
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_who_waited_gives_back_the_permit() {
    for subject in Subject::all(|| queued(4)) {
        for path in ["/panic-in-call", "/panic-in-poll"] {
            let running = [subject.get("/1"), subject.get("/2")];
            let waiting = subject.get(path);
            drop(running);
            let outcome = std::panic::AssertUnwindSafe(waiting).catch_unwind().await;
            assert!(outcome.is_err(), "{} {path}", subject.name);
            assert_eq!(subject.shedder.in_flight(), 0, "{} {path}", subject.name);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_closes_the_service_while_a_request_waits_is_what_it_is_told() {
    let [_, subject] = Subject::all(|| queued(4));
    let guard = subject.guard.as_ref().expect("the guard");
    let running = [subject.get("/1"), subject.get("/2")];
    let (mut given, mut late) = (subject.get("/3"), subject.get("/4"));
    guard.control().begin_maintenance("a test", None);
    drop(running.into_iter().next());
    // One whose turn came, and one whose wait ran out.
    for asked in [&mut given, &mut late] {
        let answer = subject.answer(asked).await;
        assert_eq!(answer.cause(), Cause::Maintenance.code());
        assert!(answer.header("why-503").contains("safe-to-retry"));
    }
    assert_eq!(subject.seen(), ["/1", "/2"]);
    assert_eq!((subject.waiting(), subject.shedder.in_flight()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn who_waits_is_told_at_once_that_the_service_closes() {
    let [_, subject] = Subject::all(|| queued(4));
    let control = subject.guard.as_ref().expect("the guard").control().clone();
    let _running = [subject.get("/1"), subject.get("/2")];
    let asked = subject.get("/3");
    let began = tokio::time::Instant::now();
    // A task of its own, which nothing wakes but what it waits for.
    let told = tokio::spawn(async move {
        let response = asked.await.expect("an answer");
        (Answer::read(response).await, since(began))
    });
    tokio::time::sleep(5 * MS).await;
    control.begin_maintenance("a test", None);
    let (answer, waited) = common::soon("an answer", told).await.expect("no panic");
    // Nobody ends, and the wait would last for 100 ms.
    assert_eq!((answer.cause(), waited), (Cause::Maintenance.code(), 5));
    assert_eq!((subject.waiting(), subject.shedder.in_flight()), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn how_long_requests_wait_is_published() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _local = metrics::set_default_local_recorder(&recorder);
    let [_, subject] = Subject::all(|| queued(4));
    let guard = subject.guard.as_ref().expect("the guard");
    let _background = guard.start().expect("started");
    tokio::time::sleep(1000 * MS).await;
    let running = subject.get("/1");
    let _hangs = subject.get("/2");
    let mut waits = subject.get("/3");
    tokio::time::sleep(30 * MS).await;
    drop(running);
    assert!(poll_once(waits.as_mut()).is_pending(), "it runs");
    tokio::time::sleep(1500 * MS).await;
    let seen = snapshotter.snapshot().into_vec();
    let (.., value) = seen
        .iter()
        .find(|(key, ..)| key.key().name() == "steadfast_queue_seconds")
        .expect("published each second");
    assert!(
        matches!(value, DebugValue::Gauge(secs) if (0.03..0.04).contains(&secs.into_inner())),
        "{value:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn real_requests_that_wait_are_all_served_and_never_too_many_run() {
    use std::sync::atomic::{AtomicU32, Ordering};
    let (running, most) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
    let queue = Queue::default()
        .len_max(1000)
        .target(Duration::from_secs(1))
        .interval(Duration::from_secs(1));
    let guard = builder(Shed::fixed(3).queue(queue)).build().expect("valid");
    let seen = (Arc::clone(&running), Arc::clone(&most));
    let app = guard.protect(Router::new().route(
        "/",
        get(move || {
            let (running, most) = seen.clone();
            async move {
                let now = running.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(now, Ordering::SeqCst);
                tokio::task::yield_now().await;
                running.fetch_sub(1, Ordering::SeqCst);
                "done"
            }
        }),
    ));
    let ask = |_| {
        let app = app.clone();
        tokio::spawn(async move { common::ask(&app, common::get("/")).await })
    };
    let answers = futures_util::future::join_all((0..200).map(ask)).await;
    let served = answers
        .iter()
        .flatten()
        .filter(|answer| answer.status == 200)
        .count();
    assert_eq!(served, 200);
    assert!(most.load(Ordering::SeqCst) <= 3);
    assert_eq!(guard.control().shedder().in_flight(), 0);
}
