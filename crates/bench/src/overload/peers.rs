//! The limiters, each wired so that one state serves every route and connection.
//!
//! Most are not when used the obvious way: `Router::layer` makes a service for each route,
//! and their state is born with the service. Here each limiter wraps the whole Router once,
//! and a server clones that one service. Where a limiter queues in `poll_ready`, tower's
//! `LoadShed` stands before it, which makes it refuse; errors become a bare 503 in the
//! cheapest way there is. Settings are each crate's defaults unless the name says more.

use std::{convert::Infallible, time::Duration};

use axum::{Router, body::Body};
use http::{Request, Response};
use little_loadshedder::{LoadShedLayer, LoadShedResponse};
use steadfast::{Connections, Guard, Shed};
use tower::{
    Layer, Service, ServiceBuilder, ServiceExt, layer::layer_fn, limit::ConcurrencyLimitLayer,
    util::BoxCloneSyncService,
};
use tower_resilience_adaptive::{AdaptiveLimiterLayer, Aimd, Gradient2, Vegas};
use tower_resilience_bulkhead::BulkheadLayer;

use super::backend::Backend;
use crate::{
    answering::{Answering, refusal},
    congestion,
};

/// A whole application behind its limiter.
pub(crate) type App = BoxCloneSyncService<Request<Body>, Response<Body>, Infallible>;

/// The limit that people write when they do not know one.
const COMMON_LIMIT: usize = 100;

/// little-loadshedder needs a target: an average of ten times what a request takes. Its
/// README's own weight of a new value is 0.01.
const LITTLE_TARGET: Duration = Duration::from_millis(100);
const LITTLE_WEIGHT: f64 = 0.01;

/// In the order of the table.
pub(crate) const NAMES: [&str; 13] = [
    "bare",
    "tower-100",
    "tower-oracle",
    "resilience-aimd",
    "resilience-vegas",
    "resilience-gradient2",
    "resilience-bulkhead-100",
    "acc-gradient2",
    "acc-vegas",
    "little-100ms",
    "congestion-vegas",
    "congestion-window-50ms",
    "steadfast",
];

/// Ours with one limit for all backends, for who asks for it.
pub(crate) const ONE_LIMIT: &str = "steadfast-one-limit";

/// What stands in the table for a name.
pub(crate) fn version(name: &str) -> &'static str {
    match name.split('-').next() {
        Some("tower") => "tower 0.5.3",
        Some("resilience") => "tower-resilience 0.14.0",
        Some("acc") => "tower-acc 0.1.1",
        Some("little") => "little-loadshedder 0.2.0",
        Some("congestion") => "congestion-limiter 0.1.0",
        Some("steadfast") => "this",
        _ => "axum 0.8.9",
    }
}

/// Ours without pacing, for what pacing is worth.
pub(crate) const UNPACED: &str = "steadfast-unpaced";

/// Ours: `None` of the others.
pub(crate) fn guard(name: &str) -> Option<Guard> {
    let (shed, connections) = (Shed::adaptive(), Connections::default());
    let (shed, connections) = match name {
        "steadfast" => (shed, connections),
        ONE_LIMIT => (shed.by_backend(false), connections),
        UNPACED => (shed, connections.pacing(false)),
        _ => return None,
    };
    let guard = Guard::builder().shed(shed).connections(connections).build();
    Some(guard.expect("the defaults are valid"))
}

/// Puts an application behind a peer, with a probe that its limiter does not see; `None`
/// if there is no peer of this name. `tower-N` is any other fixed limit.
pub(crate) fn app(name: &str, backend: Backend, router: Router) -> Option<Router> {
    let limited = limited(name, backend, router)?;
    let ready = axum::routing::get(async || "ready");
    Some(
        Router::new()
            .route("/ready/", ready)
            .fallback_service(limited),
    )
}

fn limited(name: &str, backend: Backend, router: Router) -> Option<App> {
    let fixed = name.strip_prefix("tower-").and_then(|n| n.parse().ok());
    Some(match name {
        "bare" => App::new(router),
        "tower-100" => shedding(ConcurrencyLimitLayer::new(COMMON_LIMIT), router),
        "tower-oracle" => shedding(ConcurrencyLimitLayer::new(backend.oracle()), router),
        "resilience-aimd" => shedding(
            AdaptiveLimiterLayer::new(Aimd::builder().build().ok()?),
            router,
        ),
        "resilience-vegas" => shedding(
            AdaptiveLimiterLayer::new(Vegas::builder().build().ok()?),
            router,
        ),
        "resilience-gradient2" => shedding(
            AdaptiveLimiterLayer::new(Gradient2::builder().build().ok()?),
            router,
        ),
        "resilience-bulkhead-100" => {
            let bulkhead = BulkheadLayer::builder().max_concurrent_calls(COMMON_LIMIT);
            App::new(Answering(
                bulkhead.reject_when_full().build().ok()?.layer(router),
            ))
        }
        "acc-gradient2" => shedding(
            tower_acc::ConcurrencyLimitLayer::new(tower_acc::Gradient2::default()),
            router,
        ),
        "acc-vegas" => shedding(
            tower_acc::ConcurrencyLimitLayer::new(tower_acc::Vegas::default()),
            router,
        ),
        "little-100ms" => {
            let little = LoadShedLayer::new(LITTLE_WEIGHT, LITTLE_TARGET).layer(router);
            App::new(ServiceExt::<Request<Body>>::map_response(
                little,
                |answer| match answer {
                    LoadShedResponse::Inner(response) => response,
                    LoadShedResponse::Overload => refusal(),
                },
            ))
        }
        "congestion-vegas" => App::new(layer_fn(congestion::vegas).layer(router)),
        "congestion-window-50ms" => App::new(layer_fn(congestion::windowed).layer(router)),
        _ => shedding(ConcurrencyLimitLayer::new(fixed?), router),
    })
}

/// tower's `LoadShed` before a limiter that queues.
fn shedding<L>(limiter: L, router: Router) -> App
where
    L: Layer<Router>,
    L::Service: Service<Request<Body>, Response = Response<Body>> + Clone + Send + Sync + 'static,
    <L::Service as Service<Request<Body>>>::Error: Into<tower::BoxError>,
    <L::Service as Service<Request<Body>>>::Future: Send,
{
    let limited = ServiceBuilder::new()
        .load_shed()
        .layer(limiter)
        .service(router);
    App::new(Answering(limited))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::StatusCode;

    /// The limit of each peer holds for two connections together: whoever shares no state
    /// would be measured without a limit.
    #[tokio::test]
    async fn every_fixed_peer_shares_its_state() {
        let pending =
            || Router::new().route("/work", axum::routing::get(std::future::pending::<()>));
        let request = || {
            Request::get("/work")
                .body(Body::empty())
                .expect("a valid request")
        };
        for (name, limit) in [
            ("tower-3", 3),
            ("tower-100", 100),
            ("resilience-bulkhead-100", 100),
        ] {
            let app = app(name, Backend::Workers, pending()).expect("a peer of this name");
            let mut held = Vec::new();
            for _ in 0..limit {
                let mut future = Box::pin(app.clone().oneshot(request()));
                assert!(futures_util::poll!(&mut future).is_pending(), "{name}");
                held.push(future);
            }
            let refused = app.clone().oneshot(request()).await.expect("infallible");
            assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE, "{name}");
        }
    }

    #[tokio::test]
    async fn every_peer_refuses_when_far_too_many_run() {
        for name in NAMES
            .into_iter()
            .filter(|name| !["bare", "steadfast"].contains(name))
        {
            let pending =
                Router::new().route("/work", axum::routing::get(std::future::pending::<()>));
            let app = app(name, Backend::Workers, pending).expect("a peer of this name");
            let mut held = Vec::new();
            let mut refused = false;
            for _ in 0..1_000 {
                let request = Request::get("/work")
                    .body(Body::empty())
                    .expect("a valid request");
                let mut future = Box::pin(app.clone().oneshot(request));
                // A peer may need a turn or a tick of the clock to refuse.
                let tick = Duration::from_millis(if held.len() > 90 { 5 } else { 0 });
                match tokio::time::timeout(tick, &mut future).await {
                    Ok(answer) => {
                        let status = answer.expect("infallible").status();
                        refused |= status == StatusCode::SERVICE_UNAVAILABLE;
                        break;
                    }
                    Err(_) => held.push(future),
                }
            }
            assert!(refused, "{name} let {} run", held.len());
        }
    }
}
