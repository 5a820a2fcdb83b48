//! The operator's page: what it says in each of its forms, who may read it and who may order.

#![cfg(feature = "axum")]

#[path = "../common/mod.rs"]
mod common;

mod access;
mod events;
mod flood;
mod history;
mod hostile;
mod json;

use std::time::Duration;

use axum::{Router, body::Body, extract::Request, routing::get};
use common::{Answer, TOKEN, ask, get as to, request, with_token};
use steadfast::{Guard, GuardBuilder, Guarded, Probes, Shed, test_util};

const SECOND: Duration = Duration::from_secs(1);

/// What a browser says that it takes.
const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

fn builder() -> GuardBuilder {
    let probes = Probes::default().service("shop", "1.2.3");
    Guard::builder()
        .without_signals()
        .token(TOKEN)
        .probes(probes)
}

fn app() -> Router {
    let sorry = || async { http::StatusCode::SERVICE_UNAVAILABLE };
    Router::new()
        .route("/", get(|| async { "served" }))
        .route("/sorry", get(sorry))
}

/// A guard under maintenance, which refuses everything.
fn refusing() -> (Guard, Guarded) {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    guard.control().begin_maintenance("moving house", None);
    (guard, app)
}

/// Posts a form as a browser does.
fn form(path: &str, fields: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = request("POST", path, headers);
    let kind = "application/x-www-form-urlencoded"
        .parse()
        .expect("a value");
    request.headers_mut().insert("content-type", kind);
    *request.body_mut() = Body::from(fields.to_owned());
    request
}

/// Types the token, and returns the cookie.
async fn sign_in(app: &Guarded) -> String {
    let answer = ask(app, form("/why503/", &format!("token={TOKEN}"), &[HTML])).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert_eq!(answer.header("location"), "./");
    let cookie = answer.header("set-cookie").to_owned();
    assert!(!cookie.contains(TOKEN), "{cookie}");
    cookie.split(';').next().expect("a first part").to_owned()
}
