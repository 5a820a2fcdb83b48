//! The log, on standard error, and the access log in it.

use std::{
    io::{self, IsTerminal},
    time::Duration,
};

use axum::http::{Request, Response};
use tower_http::{
    classify::{ServerErrorsAsFailures, SharedClassifier},
    trace::{MakeSpan, OnResponse, TraceLayer},
};
use tracing::Span;
use tracing_subscriber::{filter::Targets, layer::SubscriberExt, util::SubscriberInitExt};

/// Sends events to standard error; `RUST_LOG` filters, for example `shop=debug,warn`.
pub(crate) fn begin() {
    let asked = std::env::var("RUST_LOG").ok();
    let filter = asked
        .and_then(|filter| filter.parse::<Targets>().ok())
        .unwrap_or_else(|| Targets::new().with_default(tracing::Level::INFO));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    // There is one already only if somebody calls this twice, and then it serves as well.
    let _ = tracing_subscriber::registry()
        .with(lines)
        .with(filter)
        .try_init();
}

/// One line for each request, refusals included, because it is outside the guard.
pub(crate) fn access()
-> TraceLayer<SharedClassifier<ServerErrorsAsFailures>, RequestSpan, (), AccessLog, (), (), ()> {
    TraceLayer::new_for_http()
        .make_span_with(RequestSpan)
        .on_request(())
        .on_response(AccessLog)
        .on_body_chunk(())
        .on_eos(())
        .on_failure(())
}

/// The context of everything that is logged for a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RequestSpan;

impl<B> MakeSpan<B> for RequestSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        let id = request.headers().get("x-request-id");
        let id = id.and_then(|id| id.to_str().ok()).unwrap_or("-");
        // The path without its query, which may hold what no log should.
        tracing::info_span!("request", method = %request.method(), path = request.uri().path(), id)
    }
}

/// Says how a request was answered, and why it was not served.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AccessLog;

impl<B> OnResponse<B> for AccessLog {
    fn on_response(self, response: &Response<B>, latency: Duration, _span: &Span) {
        let status = response.status().as_u16();
        let ms = latency.as_micros() as f64 / 1000.0;
        let why = response.headers().get("why-503");
        match why.and_then(|why| why.to_str().ok()) {
            Some(why) => tracing::info!(target: "access", status, ms, why_503 = why, "refused"),
            None => tracing::info!(target: "access", status, ms, "answered"),
        }
    }
}
