//! What leaves the process beside the page: metrics, log and spans, each against what the
//! documentation says of it, and against texts of strangers.

#![cfg(feature = "axum")]

mod lines;
mod log;
mod numbers;
mod spans;

use std::time::Duration;

use axum::{Router, body::Body, routing::get};
use http::{Request, Response};
use steadfast::{Guard, GuardBuilder, Guarded};
use tower::ServiceExt;

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> GuardBuilder {
    Guard::builder()
        .without_signals()
        .start_hold(Duration::ZERO)
}

fn hello(guard: &Guard) -> Guarded {
    guard.protect(Router::new().route("/", get(|| async { "hello" })))
}

async fn ask(app: &Guarded, path: &str) -> Response<()> {
    let request = Request::get(path).body(Body::empty()).expect("a request");
    let answer = app.clone().oneshot(request).await.expect("infallible");
    answer.map(|_| ())
}

/// Texts that do something where they are shown.
fn hostile() -> Vec<String> {
    vec![
        "\u{1b}[31mred\u{1b}]0;title\u{7}".to_owned(),
        "a\0b".to_owned(),
        "one\ntwo\r\nERROR steadfast: forged".to_owned(),
        "pay\u{202e}gpj.exe\u{2066}x\u{200b}".to_owned(),
        "\" } steadfast_forged 1 # \\".to_owned(),
        "<script>alert(1)</script>".to_owned(),
        "x".repeat(1 << 20),
    ]
}

/// Whether a text only shows: no control, nothing that turns the direction or has no width.
fn is_inert(text: &str) -> bool {
    steadfast_core::plumbing::inert(text) == text
}
