//! An application that needs the upstream on some of its routes, and calls it in each way
//! that there is.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use axum::{
    Router,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::Bytes;
use http::Request;
use http_body_util::Empty;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use steadfast::{BreakerSnapshot, Dependency, Error, classifier};
use steadfast_core::DependencyState;
use tower::{Layer, ServiceExt};

/// How long a call may take unless a test says otherwise: short, because some tests wait
/// for it a few times.
pub const HANG: Duration = Duration::from_secs(1);

type Http = Client<HttpConnector, Empty<Bytes>>;

#[derive(Clone)]
struct Shop {
    client: Http,
    payments: Dependency,
    address: SocketAddr,
}

/// Makes the client that a service would make: pooled, without a timeout of its own.
#[must_use]
pub fn client() -> Http {
    Client::builder(TokioExecutor::new()).build_http()
}

/// Makes the application.
///
/// `/call` calls through [`Dependency::call_by`], `/layer` through a client with a
/// `BreakerLayer` around it, `/gated` does so behind the gate, and `/hello` needs nobody.
pub fn app(payments: &Dependency, address: SocketAddr) -> Router {
    let shop = Shop {
        client: client(),
        payments: payments.clone(),
        address,
    };
    Router::new()
        .route("/call", get(call))
        .route("/layer", get(layer))
        .route("/gated", get(call).layer(payments.gate()))
        .route("/hello", get(|| async { "hello" }))
        .with_state(shop)
}

async fn call(State(shop): State<Shop>) -> Result<Response, Error> {
    let asked = shop.client.request(shop.request());
    let answer = shop.payments.call_by(classifier::Http, asked).await?;
    Ok(passed_on(answer.status()))
}

async fn layer(State(shop): State<Shop>) -> Result<Response, Error> {
    let client = shop.payments.layer().layer(shop.client.clone());
    let answer = client.oneshot(shop.request()).await?;
    Ok(passed_on(answer.status()))
}

impl Shop {
    fn request(&self) -> Request<Empty<Bytes>> {
        Request::get(format!("http://{}/charge", self.address))
            .body(Empty::new())
            .expect("a valid request")
    }
}

/// What the upstream answered, in the words of this service.
fn passed_on(status: StatusCode) -> Response {
    if status.is_success() {
        "paid".into_response()
    } else {
        StatusCode::BAD_GATEWAY.into_response()
    }
}

/// Describes the dependency's breaker now, `None` before the first call.
#[must_use]
pub fn snapshot(payments: &Dependency) -> Option<BreakerSnapshot> {
    let state: &DependencyState = payments.as_ref();
    state
        .breaker()
        .map(|breaker| breaker.snapshot(Instant::now()))
}
