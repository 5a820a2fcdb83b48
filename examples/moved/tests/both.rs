//! The same requests to the application before and after, and what its move changed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use axum::{
    body::Body,
    http::{Request, StatusCode, header},
    response::Response,
};
use http_body_util::BodyExt;
use sqlx::{SqlitePool, sqlite::SqlitePoolOptions};
use tower::{Service, ServiceExt};

async fn pool() -> SqlitePool {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .acquire_timeout(Duration::from_millis(200));
    pool.connect("sqlite::memory:").await.unwrap()
}

async fn ask<S>(app: &S, method: &str, path: &str, body: &str) -> (StatusCode, String, String)
where
    S: Service<Request<Body>, Response = Response> + Clone,
    S::Error: std::fmt::Debug,
{
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body.to_owned()))
        .unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let why = response.headers().get("why-503");
    let why = why.map_or("", |why| why.to_str().unwrap()).to_owned();
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap(), why)
}

/// What any client may ask, and what the answers must be.
async fn behaves<S>(app: &S)
where
    S: Service<Request<Body>, Response = Response> + Clone,
    S::Error: std::fmt::Debug,
{
    for (method, path, body, status, answer) in [
        ("GET", "/orders", "", 200, "[]"),
        (
            "POST",
            "/orders",
            r#"{"item":"tea","quantity":2}"#,
            201,
            "1",
        ),
        (
            "POST",
            "/orders",
            r#"{"item":"tea","quantity":0}"#,
            400,
            "quantity 0 is below 1",
        ),
        (
            "GET",
            "/orders/1",
            "",
            200,
            r#"{"id":1,"item":"tea","quantity":2}"#,
        ),
        ("GET", "/orders/2", "", 404, "no such order"),
        (
            "GET",
            "/orders",
            "",
            200,
            r#"[{"id":1,"item":"tea","quantity":2}]"#,
        ),
    ] {
        let found = ask(app, method, path, body).await;
        let wanted = StatusCode::from_u16(status).unwrap();
        assert_eq!(
            (found.0, found.1.as_str()),
            (wanted, answer),
            "{method} {path}"
        );
    }
}

#[tokio::test]
async fn before_and_after_answer_alike() {
    behaves(&moved::before::build(pool().await).await.unwrap()).await;
    let (guard, app) = moved::after::build(pool().await).await.unwrap();
    let _running = guard.start().unwrap();
    behaves(&app).await;
}

/// Goal: when nobody gets a connection, only one of the two says why. Method: the pool has
/// one connection, and the test keeps it.
#[tokio::test]
async fn what_was_a_bare_500_is_an_explained_503() {
    let busy = pool().await;
    let app = moved::before::build(busy.clone()).await.unwrap();
    let kept = busy.acquire().await.unwrap();
    assert_eq!(ask(&app, "GET", "/orders", "").await.0, 500);
    drop(kept);

    let busy = pool().await;
    let (guard, app) = moved::after::build(busy.clone()).await.unwrap();
    let _running = guard.start().unwrap();
    assert_eq!(ask(&app, "GET", "/orders", "").await.0, 200);
    let _kept = busy.acquire().await.unwrap();
    let (status, _, why) = ask(&app, "GET", "/orders", "").await;
    assert_eq!(status, 503);
    assert!(why.starts_with("cause=pool-exhausted"), "{why}");
}

/// Goal: the documentation shows what differs, to the line. Method: each line of its block
/// stands in the file that it is said to come from, and every line that only one file has
/// stands in the block.
#[test]
fn the_documentation_shows_every_line_that_changed() {
    let docs = include_str!("../../../docs/moving.md");
    let block = docs.split("```diff\n").nth(1).unwrap();
    let block = block.split("```").next().unwrap();
    let before = code(include_str!("../src/before.rs"));
    let after = code(include_str!("../src/after.rs"));
    let marked = |mark| -> Vec<&str> {
        let lines = block.lines();
        lines.filter_map(|line| line.strip_prefix(mark)).collect()
    };
    assert_eq!(marked('-'), only_in(&before, &after));
    assert_eq!(marked('+'), only_in(&after, &before));
}

/// The lines that are code.
fn code(text: &str) -> Vec<&str> {
    let lines = text.lines();
    lines
        .filter(|line| !line.trim_start().starts_with("//") && !line.is_empty())
        .collect()
}

fn only_in<'a>(these: &[&'a str], others: &[&str]) -> Vec<&'a str> {
    let mut others = others.to_vec();
    let lines = these.iter().filter(|line| {
        let found = others.iter().position(|other| other == *line);
        found.map(|at| others.remove(at)).is_none()
    });
    lines.copied().collect()
}
