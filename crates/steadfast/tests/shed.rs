//! Load shedding over real HTTP: how many run, what the others are told, and that every
//! permit comes back.

#![cfg(feature = "axum")]

mod common;

use std::{
    convert::Infallible,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{
    Router,
    body::{Body, Bytes},
    response::Response,
    routing::get,
};
use common::{Answer, Connection, TOKEN, ask, soon, until};
use futures_util::{StreamExt, stream::FuturesUnordered};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use steadfast::{
    Cause, Evidence, Explain, Guard, Guarded, Shed, ShedLayer, ShedMode, test_util::assert_refused,
};
use tokio::sync::{Notify, Semaphore, mpsc};
use tower::ServiceExt;

/// An application whose handlers wait: in the handler (`/slow`), or with an open body
/// (`/stream`); `/panic` waits and then panics.
#[derive(Clone)]
struct Slow {
    running: Arc<AtomicUsize>,
    most: Arc<AtomicUsize>,
    go: Arc<Semaphore>,
    end_of_bodies: Arc<Notify>,
}

impl Slow {
    fn new() -> Self {
        Self {
            running: Arc::default(),
            most: Arc::default(),
            go: Arc::new(Semaphore::new(0)),
            end_of_bodies: Arc::default(),
        }
    }

    async fn wait(&self) {
        let now = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most.fetch_max(now, Ordering::SeqCst);
        self.go.acquire().await.expect("open").forget();
        self.running.fetch_sub(1, Ordering::SeqCst);
    }

    fn stream(&self) -> Response {
        let ends = Arc::clone(&self.end_of_bodies);
        let (pieces, body) = mpsc::channel::<Result<Frame<Bytes>, Infallible>>(1);
        tokio::spawn(async move {
            let ended = ends.notified();
            let _ = pieces.send(Ok(Frame::data("first".into()))).await;
            // Until the test lets it end, or the reader is gone.
            tokio::select! { () = ended => {}, () = pieces.closed() => {} }
        });
        let body = futures_util::stream::unfold(body, |mut body| async move {
            body.recv().await.map(|piece| (piece, body))
        });
        Response::new(Body::new(StreamBody::new(body)))
    }

    fn app(&self, guard: &Guard) -> Guarded {
        let (slow, stream, panics) = (self.clone(), self.clone(), self.clone());
        guard.protect(
            Router::new()
                .route(
                    "/slow",
                    get(move || {
                        let slow = slow.clone();
                        async move {
                            slow.wait().await;
                            "done"
                        }
                    }),
                )
                .route("/stream", get(move || async move { stream.stream() }))
                .route(
                    "/panic",
                    get(move || {
                        let slow = panics.clone();
                        async move {
                            slow.wait().await;
                            panic!("told to panic");
                            #[allow(unreachable_code, reason = "it gives the handler a type")]
                            ""
                        }
                    }),
                )
                .route("/quick", get(|| async { "quick" })),
        )
    }
}

fn guard(shed: Shed) -> Guard {
    Guard::builder()
        .without_signals()
        .token(TOKEN)
        .shed(shed)
        .build()
        .expect("valid")
}

fn in_flight(guard: &Guard) -> u32 {
    guard.control().shedder().in_flight()
}

/// Goal: with 100 concurrent slow requests and a limit of 10, exactly 10 run and 90 are told
/// why at once, and probes answer meanwhile.
/// Method: nothing is let go before all 90 refusals have been read.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_a_hundred_slow_requests_ten_run_and_ninety_are_told_why_at_once() {
    let (guard, slow) = (guard(Shed::fixed(10)), Slow::new());
    let _running = guard.start().expect("started");
    let app = slow.app(&guard);
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let address = server.address;
    let mut answers: FuturesUnordered<_> = (0..100)
        .map(|_| tokio::spawn(async move { common::fetch(address, common::get("/slow")).await }))
        .collect();
    for _ in 0..90 {
        let answer = soon("a refusal", answers.next())
            .await
            .expect("90")
            .expect("no panic");
        assert_eq!(answer.status, 503);
        let why = answer.header("why-503");
        assert!(
            why.starts_with("cause=overloaded;rule=limit, id=\""),
            "{why}"
        );
        assert!(why.ends_with(", safe-to-retry"), "{why}");
        assert!(
            answer
                .header("retry-after")
                .parse::<u64>()
                .expect("seconds")
                >= 1
        );
        assert_eq!(answer.json()["cause"], "overloaded");
    }
    until("ten to run", || slow.running.load(Ordering::SeqCst) == 10).await;
    assert_eq!(in_flight(&guard), 10);
    for path in ["/ready/", "/health/"] {
        assert_eq!(
            common::fetch(address, common::get(path)).await.status,
            200,
            "{path}"
        );
    }
    slow.go.add_permits(10);
    while let Some(answer) = soon("an answer", answers.next()).await {
        assert_eq!(answer.expect("no panic").status, 200);
    }
    until("the count to be zero", || in_flight(&guard) == 0).await;
    assert_eq!(slow.most.load(Ordering::SeqCst), 10);
    let control = guard.control();
    let ledger = control.explain().ledger();
    let seen: u64 = ledger.view().incidents.iter().map(|it| it.count).sum();
    // Two threads may refuse at once, and neither waits for the other's page.
    assert_eq!(seen + ledger.dropped(), 90);
}

#[tokio::test]
async fn a_body_holds_its_permit_over_http_until_it_ends() {
    let (guard, slow) = (guard(Shed::fixed(2)), Slow::new());
    let app = slow.app(&guard);
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let mut connection = Connection::open(server.address).await;
    let mut response = connection.send(common::get("/stream")).await;
    let first = response.frame().await.expect("a frame").expect("data");
    assert_eq!(first.into_data().ok(), Some("first".into()));
    assert_eq!(in_flight(&guard), 1, "the handler has long returned");
    slow.end_of_bodies.notify_waiters();
    assert!(soon("the end", response.frame()).await.is_none());
    until("the permit", || in_flight(&guard) == 0).await;
}

#[tokio::test]
async fn a_client_that_leaves_half_way_gives_its_permit_back() {
    let (guard, slow) = (guard(Shed::fixed(20)), Slow::new());
    let app = slow.app(&guard);
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let mut clients = Vec::new();
    for _ in 0..10 {
        let mut connection = Connection::open(server.address).await;
        let mut response = connection.send(common::get("/stream")).await;
        response.frame().await.expect("a frame").expect("data");
        clients.push((connection, response));
    }
    assert_eq!(in_flight(&guard), 10);
    drop(clients);
    until("ten permits from bodies", || in_flight(&guard) == 0).await;
    // And while the handler still runs.
    let address = server.address;
    let waiting: Vec<_> = (0..10)
        .map(|_| tokio::spawn(async move { common::fetch(address, common::get("/slow")).await }))
        .collect();
    until("ten to run", || in_flight(&guard) == 10).await;
    for client in waiting {
        client.abort();
    }
    until("ten permits from handlers", || in_flight(&guard) == 0).await;
}

#[tokio::test]
async fn a_handler_that_panics_gives_its_permit_back() {
    let (guard, slow) = (guard(Shed::fixed(10)), Slow::new());
    let app = slow.app(&guard);
    let mut clients = Vec::new();
    for _ in 0..10 {
        let app = app.clone();
        clients.push(tokio::spawn(async move {
            app.oneshot(common::get("/panic")).await
        }));
    }
    until("ten to run", || in_flight(&guard) == 10).await;
    slow.go.add_permits(10);
    for client in clients {
        assert!(
            client.await.expect_err("it panics").is_panic(),
            "panics are never swallowed"
        );
    }
    assert_eq!(in_flight(&guard), 0);
}

#[tokio::test]
async fn observing_refuses_nothing_and_counts_what_it_would_have() {
    let (guard, slow) = (guard(Shed::fixed(2).observe()), Slow::new());
    let app = slow.app(&guard);
    let mut clients = Vec::new();
    for _ in 0..5 {
        let app = app.clone();
        clients.push(tokio::spawn(async move {
            ask(&app, common::get("/slow")).await
        }));
    }
    until("five to run", || in_flight(&guard) == 5).await;
    let seen = guard.control().shedder().snapshot();
    assert_eq!(
        (seen.would_refuse, seen.refused, seen.mode),
        (3, 0, ShedMode::Observe)
    );
    let page = ask(&app, common::with_token("/why503/", &[])).await.json();
    assert_eq!(page["shed"]["would_refuse"], 3);
    slow.go.add_permits(5);
    for client in clients {
        assert_eq!(client.await.expect("no panic").status, 200);
    }
    assert_eq!(in_flight(&guard), 0);
}

#[tokio::test]
async fn without_a_shed_line_nothing_is_refused() {
    let guard = Guard::builder().build().expect("valid");
    assert_eq!(guard.control().shedder().snapshot().mode, ShedMode::Observe);
}

#[tokio::test]
async fn a_limit_changes_while_it_is_in_use() {
    let (guard, slow) = (guard(Shed::fixed(1)), Slow::new());
    let app = slow.app(&guard);
    let control = guard.control();
    let shedder = control.shedder();
    let begin = |count: u32| {
        let before = in_flight(&guard);
        let clients: Vec<_> = (0..count)
            .map(|_| {
                tokio::spawn({
                    let app = app.clone();
                    async move { ask(&app, common::get("/slow")).await }
                })
            })
            .collect();
        (before + count, clients)
    };
    let (all, mut clients) = begin(1);
    until("one", || in_flight(&guard) == all).await;
    assert_eq!(ask(&app, common::get("/quick")).await.status, 503);
    shedder.set_limit(3);
    let (all, more) = begin(2);
    clients.extend(more);
    until("three", || in_flight(&guard) == all).await;
    assert_eq!(ask(&app, common::get("/quick")).await.status, 503);
    shedder.set_limit(2);
    assert_eq!(in_flight(&guard), 3, "nobody is cut");
    slow.go.add_permits(1);
    until("two", || in_flight(&guard) == 2).await;
    let refused = ask(&app, common::get("/quick")).await;
    assert_eq!(refused.status, 503, "two run, and two may");
    shedder.set_mode(ShedMode::Observe);
    assert_eq!(ask(&app, common::get("/quick")).await.status, 200);
    slow.go.add_permits(2);
    for client in clients {
        assert_eq!(client.await.expect("no panic").status, 200);
    }
    shedder.set_limit(0);
    assert_eq!(shedder.snapshot().limit, Some(1), "one may always run");
}

/// "All workers busy" often means that handlers hang: the route that hangs is evidence.
#[tokio::test(start_paused = true)]
async fn a_request_that_is_held_too_long_is_named_in_the_evidence() {
    let (guard, slow) = (
        guard(Shed::fixed(1).held_max(Duration::from_secs(5))),
        Slow::new(),
    );
    let app = slow.app(&guard);
    let hung = tokio::spawn({
        let app = app.clone();
        async move { ask(&app, common::get("/slow?customer=secret")).await }
    });
    until("one to run", || in_flight(&guard) == 1).await;
    assert_eq!(ask(&app, common::get("/quick")).await.status, 503);
    let evidence = |at: usize| match guard.control().explain().ledger().view().recent[at]
        .refusal
        .evidence()
    {
        Evidence::Overloaded(overloaded) => overloaded.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!(evidence(0).stuck, None, "it is young");
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert_eq!(ask(&app, common::get("/quick")).await.status, 503);
    let stuck = evidence(0).stuck.expect("old enough");
    assert_eq!(stuck.route, "/slow", "without its query");
    assert!(stuck.age >= Duration::from_secs(20));
    let page = ask(&app, common::with_token("/why503/", &[])).await.json();
    assert_eq!(page["recent"][0]["evidence"]["oldest_route"], "/slow");
    assert!(page["recent"][0]["evidence"]["oldest_age_ms"].as_u64() >= Some(20_000));
    assert_eq!(page["shed"]["oldest"]["route"], "/slow");
    slow.go.add_permits(1);
    assert_eq!(hung.await.expect("no panic").status, 200);
}

#[tokio::test(start_paused = true)]
async fn a_request_timeout_cuts_what_hangs_and_frees_its_place() {
    let guard = Guard::builder()
        .shed(Shed::fixed(1))
        .request_timeout(Duration::from_secs(3))
        .build()
        .expect("valid");
    let slow = Slow::new();
    let app = slow.app(&guard);
    let answer = ask(&app, common::get("/slow")).await;
    assert_eq!(answer.status, 504);
    assert_eq!(in_flight(&guard), 0);
    assert_eq!(ask(&app, common::get("/quick")).await.status, 200);
}

/// The layer works without the guard and without axum's Router.
#[tokio::test]
async fn the_layer_works_alone_in_a_tower_stack() {
    let layer = ShedLayer::new(Shed::fixed(1), Explain::default()).expect("valid");
    let shedder = layer.shedder();
    let service = tower::ServiceBuilder::new().layer(layer).service_fn(
        |_request: http::Request<Body>| async {
            Ok::<_, Infallible>(http::Response::new(http_body_util::Full::<Bytes>::from(
                "hi",
            )))
        },
    );
    let first = service
        .clone()
        .oneshot(common::get("/"))
        .await
        .expect("infallible");
    let second = service
        .clone()
        .oneshot(common::get("/"))
        .await
        .expect("infallible");
    assert_refused(&second, Cause::Overloaded);
    assert_eq!(Answer::read(first).await.body, "hi");
    assert_eq!(shedder.in_flight(), 0);
    let third = service.oneshot(common::get("/")).await.expect("infallible");
    assert_eq!(third.status(), 200);
}
