//! The recipe for traces: what is exported of a request that was refused, of one that failed
//! and of one that was served.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use axum::{Router, body::Body, routing::get};
use http::{Request, Response, StatusCode};
use opentelemetry::trace::{Status, TracerProvider};
use opentelemetry_sdk::trace::{InMemorySpanExporter, SdkTracerProvider, SpanData};
use steadfast::{Guard, Shed};
use tower::ServiceExt;
use tracing_subscriber::layer::SubscriberExt;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// An attribute as text, empty if it is not there.
fn attribute(span: &SpanData, name: &str) -> String {
    let found = span.attributes.iter().find(|it| it.key.as_str() == name);
    found.map_or_else(String::new, |it| it.value.to_string())
}

/// Asks once under a trace, and returns the answer and the span that was exported.
async fn traced(app: Router, path: &str) -> (Response<Body>, SpanData) {
    let exporter = InMemorySpanExporter::default();
    let provider = SdkTracerProvider::builder()
        .with_simple_exporter(exporter.clone())
        .build();
    let exports = tracing_opentelemetry::layer().with_tracer(provider.tracer("test"));
    let _traces = tracing::subscriber::set_default(tracing_subscriber::registry().with(exports));
    let request =
        Request::get(path).header("traceparent", format!("00-{TRACE}-00f067aa0ba902b7-01"));
    let answer = app.oneshot(request.body(Body::empty()).unwrap()).await;
    let (head, body) = answer.unwrap().into_parts();
    // The span ends with the body.
    let body = axum::body::to_bytes(body, 1 << 20).await.unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(spans.len(), 1, "{spans:#?}");
    let answer = Response::from_parts(head, Body::from(body));
    (answer, spans[0].clone())
}

fn app(guard: &Guard) -> Router {
    let fails = || async { StatusCode::INTERNAL_SERVER_ERROR };
    let routes = Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/fails", get(fails));
    guard
        .protect(routes)
        .into_router()
        .layer(recipes::traces::layer())
}

fn guard() -> Guard {
    let guard = Guard::builder().shed(Shed::fixed(4)).without_signals();
    guard.start_hold(std::time::Duration::ZERO).build().unwrap()
}

#[tokio::test]
async fn a_refused_request_is_exported_with_cause_and_id_under_its_trace() {
    let guard = guard();
    let _running = guard.start().unwrap();
    guard.control().begin_maintenance("moving house", None);
    let (answer, span) = traced(app(&guard), "/").await;
    assert_eq!(answer.status(), 503);
    assert_eq!(attribute(&span, "error.type"), "maintenance");
    assert_eq!(attribute(&span, "steadfast.source"), "lifecycle");
    assert_eq!(attribute(&span, "http.response.status_code"), "503");
    assert_eq!(span.span_context.trace_id().to_string(), TRACE);
    assert_eq!(span.parent_span_id.to_string(), "00f067aa0ba902b7");
    assert!(
        matches!(span.status, Status::Error { .. }),
        "{:?}",
        span.status
    );
    let id = attribute(&span, "steadfast.refusal_id");
    let told = answer.headers()["why-503"].to_str().unwrap();
    assert!(id.len() == 36 && told.contains(&id), "{id} in {told}");
    // All three find the refusal: id, trace, and what the client was told.
    let ledger = guard.control();
    let ledger = ledger.explain().ledger();
    assert_eq!((ledger.find(&id).len(), ledger.find(TRACE).len()), (1, 1));
}

#[tokio::test]
async fn what_fails_by_itself_has_its_status_and_what_is_served_no_error() {
    let guard = guard();
    let _running = guard.start().unwrap();
    let (_, failed) = traced(app(&guard), "/fails").await;
    assert_eq!(attribute(&failed, "error.type"), "500");
    assert_eq!(attribute(&failed, "steadfast.refusal_id"), "");
    let (_, served) = traced(app(&guard), "/").await;
    assert_eq!(attribute(&served, "error.type"), "");
    assert_eq!(attribute(&served, "http.response.status_code"), "200");
}
