//! The application, and the guard around it.

use std::{io, sync::Arc};

use axum::{
    Router,
    http::{HeaderName, Method, header},
    routing::{get, post, put},
};
use steadfast::{Control, Dependency, DrainReport, Guard};
use tokio::net::TcpListener;
use tower_http::{
    cors::{Any, CorsLayer},
    request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer},
};

use crate::{
    cache::Cache,
    log,
    payments::{Payments, stand_in::StandIn},
    problem, routes,
    store::Store,
    writes::Writes,
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const WHY_503: HeaderName = HeaderName::from_static("why-503");

/// Largest body that is read: an order has no more lines than fit.
const BODY_LEN_MAX: usize = 64 * 1024;

/// What the handlers share.
pub(crate) struct Shop {
    pub(crate) store: Store,
    /// The database, as the guard sees it.
    pub(crate) orders_db: Dependency,
    pub(crate) cache: Option<Cache>,
    pub(crate) payments: Payments,
    pub(crate) stand_in: Option<StandIn>,
    pub(crate) token: String,
    pub(crate) writes: Writes,
    pub(crate) control: Control,
}

/// The routes, without anything around them.
pub(crate) fn router(shop: Arc<Shop>) -> Router {
    // While payments is down, paying is refused at once, and nothing else is.
    let pay = post(routes::pay::pay).layer(shop.payments.dependency.gate());
    let mut routes = Router::new()
        .route("/products", get(routes::products::list))
        .route("/orders", post(routes::orders::create))
        .route("/orders/{id}", get(routes::orders::show))
        .route("/pay/{id}", pay)
        .route("/report", get(routes::load::report))
        .route("/work", get(routes::load::work))
        .route("/spin", get(routes::load::spin))
        .route("/events", get(routes::live::events))
        .route("/ws", get(routes::live::ws));
    if shop.stand_in.is_some() {
        routes = routes.route("/stand-in/payments", put(routes::pay::switch));
    }
    routes
        .fallback(problem::not_found)
        .method_not_allowed_fallback(problem::method_not_allowed)
        .layer(axum::extract::DefaultBodyLimit::max(BODY_LEN_MAX))
        .with_state(shop)
}

/// Serves the application behind the guard until the end of the drain, and returns its
/// report. Outside the guard stands what must also see the requests that it refuses; the
/// last layer sees a request first.
pub(crate) async fn serve(
    guard: &Guard,
    listener: TcpListener,
    app: Router,
) -> io::Result<DrainReport> {
    let app = guard
        .protect(app)
        // A browser's preflight is answered here, so it is never refused; and a page of
        // another origin can read why its request was.
        .layer(cors())
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(log::access())
        .layer(SetRequestIdLayer::new(REQUEST_ID, MakeRequestUuid));
    guard.serve(listener, app).await
}

fn cors() -> CorsLayer {
    CorsLayer::new()
        .allow_origin(Any)
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([header::ACCEPT, header::CONTENT_TYPE, REQUEST_ID])
        .expose_headers([header::RETRY_AFTER, WHY_503, REQUEST_ID])
}
