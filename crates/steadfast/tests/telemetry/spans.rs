//! Spans: a refused request says so on its own span, if that has room for it.

use std::sync::{Arc, Mutex};

use steadfast::Shed;
use tower_http::trace::TraceLayer;
use tracing::{
    Subscriber,
    field::{Empty, Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
};

use super::*;

type Written = Arc<Mutex<Vec<(String, String)>>>;

/// Keeps what is recorded on spans after they were made.
struct Keep(Written);

impl<S: Subscriber + for<'a> LookupSpan<'a>> tracing_subscriber::Layer<S> for Keep {
    fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {}

    fn on_record(&self, _: &Id, values: &Record<'_>, _: Context<'_, S>) {
        values.record(&mut Into(&self.0));
    }
}

struct Into<'a>(&'a Written);

impl Visit for Into<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let written = (
            field.name().to_owned(),
            format!("{value:?}").trim_matches('"').to_owned(),
        );
        self.0.lock().expect("no panic").push(written);
    }
}

/// What is written onto the span of one request to an application that has one place, taken
/// if `full`.
async fn written(full: bool, span: fn() -> tracing::Span) -> (Vec<(String, String)>, String) {
    let kept = Written::default();
    let subscriber = tracing_subscriber::registry().with(Keep(Arc::clone(&kept)));
    let _keep = tracing::subscriber::set_default(subscriber);
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let wait = get(|| async { tokio::time::sleep(60 * SECOND).await });
    let app = guard.protect(
        Router::new()
            .route("/", get(|| async { "hello" }))
            .route("/wait", wait),
    );
    let held = full.then(|| {
        let request = Request::get("/wait")
            .body(Body::empty())
            .expect("a request");
        tokio::spawn(app.clone().oneshot(request))
    });
    tokio::time::sleep(SECOND).await;
    let app = app.layer(
        TraceLayer::new_for_http()
            .make_span_with(move |_: &Request<Body>| span())
            .on_request(())
            .on_response(())
            .on_failure(())
            .on_eos(())
            .on_body_chunk(()),
    );
    let request = Request::get("/").body(Body::empty()).expect("a request");
    let answer = app.oneshot(request).await.expect("infallible");
    drop(held);
    let why = answer.headers().get("why-503");
    let why = why.map_or("", |why| why.to_str().expect("text")).to_owned();
    let written = kept.lock().expect("no panic").clone();
    (written, why)
}

fn roomy() -> tracing::Span {
    tracing::info_span!(
        "request",
        error.type = Empty,
        steadfast.rule = Empty,
        steadfast.source = Empty,
        steadfast.refusal_id = Empty,
    )
}

#[tokio::test(start_paused = true)]
async fn a_refused_request_says_its_cause_and_id_on_its_span() {
    let (written, why) = written(true, roomy).await;
    let of = |name: &str| {
        let found = written.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value)
    };
    assert_eq!(of("error.type"), "overloaded");
    assert_eq!(
        (of("steadfast.rule"), of("steadfast.source")),
        ("limit", "shed")
    );
    let id = of("steadfast.refusal_id");
    assert!(!id.is_empty() && why.contains(id), "{id} in {why}");
}

#[tokio::test(start_paused = true)]
async fn a_span_without_room_and_a_request_that_is_served_are_left_alone() {
    let (served, _) = written(false, roomy).await;
    assert_eq!(served, []);
    let (narrow, why) = written(true, || tracing::info_span!("request")).await;
    assert!(why.contains("cause=overloaded"), "{why}");
    assert_eq!(narrow, []);
}
