//! `/metrics` for Prometheus, on a listener of its own: numbers are for colleagues, and a
//! scrape must not wait behind customers.
//!
//! Any recorder of the crate `metrics` takes what Steadfast publishes, and what the
//! application counts itself. It is installed before the guard is started, because what is
//! counted before it is there is lost.

use std::net::SocketAddr;

use axum::{Router, http::header, routing::get};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

use crate::{Fatal, listen::listen};

/// The text format of Prometheus.
const TEXT: (header::HeaderName, &str) = (header::CONTENT_TYPE, "text/plain; version=0.0.4");

/// Installs the recorder and answers `/metrics` until the process ends, through the drain to
/// its last moment. Returns where.
pub(crate) async fn serve(addr: SocketAddr) -> Result<SocketAddr, Fatal> {
    let recorder = PrometheusBuilder::new().install_recorder();
    let recorder = recorder.map_err(Fatal::new)?;
    let listener = listen("METRICS_ADDR", &addr.to_string()).await?;
    let address = listener.local_addr().map_err(Fatal::new)?;
    let app = Router::new()
        .route("/metrics", get(scrape))
        .with_state(recorder);
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

async fn scrape(
    axum::extract::State(recorder): axum::extract::State<PrometheusHandle>,
) -> ([(header::HeaderName, &'static str); 1], String) {
    ([TEXT], recorder.render())
}
