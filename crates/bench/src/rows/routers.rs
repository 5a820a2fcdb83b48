//! The bare Router, our guard around it, the usual tower stack around it, and both when they
//! refuse.
//!
//! Every service is used as hyper uses it: cloned for each request, made ready, called, and
//! the answer's body read to its end. The request has the headers that a client sends.

use std::convert::Infallible;

use axum::{Router, body::Body, error_handling::HandleErrorLayer, http::StatusCode, routing::get};
use futures_util::FutureExt;
use http::{Request, Response};
use steadfast::{Drain, Guard, Shed};
use tower::{Service, ServiceBuilder, ServiceExt, limit::GlobalConcurrencyLimitLayer};

use super::{Bench, Row};

pub(crate) const ROWS: &[Row] = &[
    Row::new("router", "axum", router),
    Row::new("guarded", "steadfast", guarded),
    Row::new("guarded-refuses", "steadfast", guarded_refuses),
    Row::new("guarded-ready-probe", "steadfast", ready_probe),
    Row::new("handle-error-load-shed-limit", "tower", tower_stack),
    Row::new(
        "handle-error-load-shed-limit-refuses",
        "tower",
        tower_refuses,
    ),
];

fn app() -> Router {
    Router::new().route("/", get(|| async { "hello" }))
}

fn router() -> Box<dyn Bench> {
    Calls::of(app(), "/", 200)
}

fn guarded() -> Box<dyn Bench> {
    let guard = Guard::builder()
        .shed(Shed::fixed(1000))
        .build()
        .expect("valid settings");
    Calls::of(guard.protect(app()), "/", 200)
}

fn guarded_refuses() -> Box<dyn Bench> {
    let guard = Guard::builder()
        .shed(Shed::fixed(1))
        .build()
        .expect("valid settings");
    let app = guard.protect(Router::new().route("/", get(std::future::pending::<()>)));
    // One request that never ends holds the only permit for as long as the row runs.
    let held = app.clone().oneshot(request("/"));
    Box::new(Holding {
        calls: Calls {
            service: app,
            path: "/",
            status: 503,
        },
        held: Held::new(held),
    })
}

fn ready_probe() -> Box<dyn Bench> {
    let guard = Guard::builder()
        .drain(Drain::default())
        .build()
        .expect("valid settings");
    Calls::of(guard.protect(app()), "/ready/", 503)
}

fn tower_limit(app: Router, limit: usize) -> Router {
    app.layer(
        ServiceBuilder::new()
            .layer(HandleErrorLayer::new(|_: tower::BoxError| async {
                StatusCode::SERVICE_UNAVAILABLE
            }))
            .load_shed()
            .layer(GlobalConcurrencyLimitLayer::new(limit)),
    )
}

fn tower_stack() -> Box<dyn Bench> {
    Calls::of(tower_limit(app(), 1000), "/", 200)
}

fn tower_refuses() -> Box<dyn Bench> {
    let app = tower_limit(Router::new().route("/", get(std::future::pending::<()>)), 1);
    let held = app.clone().oneshot(request("/"));
    Box::new(Holding {
        calls: Calls {
            service: app,
            path: "/",
            status: 503,
        },
        held: Held::new(held),
    })
}

fn request(path: &str) -> Request<Body> {
    Request::get(path)
        .header("host", "localhost")
        .header("user-agent", "bench")
        .header("accept", "*/*")
        .body(Body::empty())
        .expect("a valid request")
}

struct Calls<S> {
    service: S,
    path: &'static str,
    status: u16,
}

impl<S> Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    fn of(service: S, path: &'static str, status: u16) -> Box<dyn Bench> {
        Box::new(Self {
            service,
            path,
            status,
        })
    }
}

impl<S> Bench for Calls<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    fn run(&self, calls: u32) {
        // A connection's own clone, as a server has it.
        let connection = self.service.clone();
        for _ in 0..calls {
            let response = connection
                .clone()
                .oneshot(request(self.path))
                .now_or_never();
            let response = response
                .expect("answers at once")
                .unwrap_or_else(|never| match never {});
            assert_eq!(response.status(), self.status);
            let body = axum::body::to_bytes(response.into_body(), 4096).now_or_never();
            std::hint::black_box(body);
        }
    }

    fn again(&self) -> Box<dyn Bench> {
        Self::of(self.service.clone(), self.path, self.status)
    }
}

/// A request that never ends: it keeps its permit for as long as this lives.
struct Held {
    _future: std::sync::Mutex<futures_util::future::BoxFuture<'static, ()>>,
}

impl Held {
    fn new(future: impl Future + Send + 'static) -> std::sync::Arc<Self> {
        let mut future = async { drop(future.await) }.boxed();
        assert!(
            (&mut future).now_or_never().is_none(),
            "it holds its permit"
        );
        std::sync::Arc::new(Self {
            _future: std::sync::Mutex::new(future),
        })
    }
}

struct Holding<S> {
    calls: Calls<S>,
    held: std::sync::Arc<Held>,
}

impl<S> Bench for Holding<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>
        + Clone
        + Send
        + Sync
        + 'static,
    S::Future: Send,
{
    fn run(&self, calls: u32) {
        self.calls.run(calls);
    }

    fn again(&self) -> Box<dyn Bench> {
        let Calls {
            service,
            path,
            status,
        } = &self.calls;
        let calls = Calls {
            service: service.clone(),
            path,
            status: *status,
        };
        Box::new(Self {
            calls,
            held: std::sync::Arc::clone(&self.held),
        })
    }
}
