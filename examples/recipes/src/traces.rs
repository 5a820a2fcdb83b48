//! OpenTelemetry: the span of a request that was refused says why, and by which id the
//! refusal is found at `/why503/`.
//!
//! Put the layer outside the guard, `guard.protect(app).layer(traces::layer())`, so that what
//! the guard refuses has a span, too. The fields are declared empty; Steadfast writes those
//! of a refusal, and the layer the status. `tracing-opentelemetry` exports all of them as
//! attributes, under the trace of whoever asked.

use std::time::Duration;

use http::{HeaderMap, Request, Response};
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use tower_http::{
    classify::{ServerErrorsAsFailures, SharedClassifier},
    trace::{MakeSpan, OnResponse, TraceLayer},
};
use tracing::{Span, field::Empty};
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// Gives each request a span.
#[must_use]
pub fn layer()
-> TraceLayer<SharedClassifier<ServerErrorsAsFailures>, RequestSpan, (), Status, (), (), ()> {
    TraceLayer::new_for_http()
        .make_span_with(RequestSpan)
        .on_request(())
        .on_response(Status)
        .on_body_chunk(())
        .on_eos(())
        .on_failure(())
}

/// Makes the span of a request, under the trace that its `traceparent` names.
#[derive(Clone, Copy, Debug)]
pub struct RequestSpan;

impl<B> MakeSpan<B> for RequestSpan {
    fn make_span(&mut self, request: &Request<B>) -> Span {
        let span = tracing::info_span!(
            "request",
            otel.kind = "server",
            http.request.method = %request.method(),
            // Without the query, which may hold what no trace should.
            url.path = request.uri().path(),
            http.response.status_code = Empty,
            otel.status_code = Empty,
            error.type = Empty,
            steadfast.rule = Empty,
            steadfast.source = Empty,
            steadfast.refusal_id = Empty,
        );
        let parent = TraceContextPropagator::new().extract(&Headers(request.headers()));
        // It fails only for a span that has begun already or that nobody exports.
        let _ = span.set_parent(parent);
        span
    }
}

/// Writes how a request was answered.
#[derive(Clone, Copy, Debug)]
pub struct Status;

impl<B> OnResponse<B> for Status {
    fn on_response(self, response: &Response<B>, _latency: Duration, span: &Span) {
        let status = response.status();
        span.record("http.response.status_code", status.as_u16());
        if !status.is_server_error() {
            return;
        }
        span.record("otel.status_code", "ERROR");
        // Of what was refused, Steadfast has written the cause.
        if !response.headers().contains_key("why-503") {
            span.record("error.type", status.as_str());
        }
    }
}

struct Headers<'a>(&'a HeaderMap);

impl Extractor for Headers<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key)?.to_str().ok()
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(http::HeaderName::as_str).collect()
    }
}
