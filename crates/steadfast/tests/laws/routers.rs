//! The guard around real Routers, in every way in which axum takes a layer.

use std::time::Duration;

use crate::common::Connection;
use axum::{
    extract::State,
    routing::{MethodRouter, post},
};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::sync::Semaphore;

use super::*;

/// A handler that shows how many run and waits to be let go.
#[derive(Clone, Debug)]
struct Floor {
    running: Arc<AtomicUsize>,
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
