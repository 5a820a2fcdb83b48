//! A pool behind its guard, in a guarded application: what a request with a deadline is
//! told, and what the operator sees. On SQLite, which needs no server.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::time::Duration;

use axum::{
    Router, body::Body, extract::Request, http::StatusCode, response::IntoResponse, routing::get,
};
use http_body_util::BodyExt;
use serde_json::Value;
use sqlx::{Sqlite, sqlite::SqlitePoolOptions};
use steadfast::{Deadlines, Dependency, Guard, Guarded};
use steadfast_sqlx::{PoolGuard, guard};
use tokio::time::Instant;
use tower::ServiceExt;

const TOKEN: (&str, &str) = ("authorization", "Bearer 0123456789abcdef-test");

/// Longer than a test lasts: a wait that ends was ended by something else.
const LONG: Duration = Duration::from_secs(3600);

const MS: Duration = Duration::from_millis(1);

struct Answer {
    status: StatusCode,
    why: String,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

/// An application with a pool of two, of which each request takes one.
async fn app() -> (Guarded, PoolGuard<Sqlite>) {
    let pool = SqlitePoolOptions::new()
        .max_connections(2)
        .connect("sqlite::memory:")
        .await
        .unwrap();
    let orders_db = Dependency::builder("orders-db").build().unwrap();
    let db = guard(&pool, &orders_db).wait_max(LONG).connect_max(LONG);
    let db = db.build().unwrap();
    let outer = Guard::builder()
        .without_signals()
        .token(TOKEN.1.trim_start_matches("Bearer "))
        .deadlines(Deadlines::default().header("x-timeout"))
        .dependency(&orders_db)
        .build()
        .unwrap();
    let held = db.clone();
    let orders = get(async move || match held.acquire().await {
        Ok(_) => "served".into_response(),
        Err(error) => steadfast::Error::from(error).into_response(),
    });
    (outer.protect(Router::new().route("/orders", orders)), db)
}

async fn ask(app: &Guarded, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder().uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    let why = response.headers().get("why-503");
    let why = why.map(|why| why.to_str().unwrap().to_owned());
    let status = response.status();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    Answer {
        status,
        why: why.unwrap_or_default(),
        body: String::from_utf8(body.to_vec()).unwrap(),
    }
}

/// Goal: the wait for a connection ends with the request, and the refusal says why.
#[tokio::test]
async fn a_requests_deadline_ends_its_wait_for_a_connection() {
    let (app, db) = app().await;
    let line = line!() + 1;
    let mut held = vec![db.acquire().await.unwrap(), db.acquire().await.unwrap()];
    // From here on nobody works on a connection, so only the clock can end anything.
    tokio::time::pause();
    tokio::time::advance(250 * MS).await;
    let began = Instant::now();
    let refused = ask(&app, "/orders", &[("x-timeout", "150ms")]).await;
    assert_eq!(refused.status, StatusCode::SERVICE_UNAVAILABLE);
    assert!(
        refused.why.starts_with("cause=pool-exhausted"),
        "{}",
        refused.why
    );
    assert!(!refused.why.contains("safe-to-retry"), "a handler ran");
    assert!(!refused.body.contains("orders-db"), "{}", refused.body);
    // tokio's timers have steps of a millisecond.
    let took = Instant::now() - began;
    assert!(took <= 151 * MS, "{took:?}");

    let page = ask(&app, "/why503/", &[TOKEN]).await.json();
    let incident = &page["incidents"][0];
    assert_eq!(incident["cause"], "pool-exhausted", "{incident}");
    assert_eq!(incident["source"], "orders-db");
    let evidence = &incident["evidence"];
    assert_eq!(
        (&evidence["in_use"], &evidence["max"]),
        (&2.into(), &2.into())
    );
    assert_eq!(evidence["class"], "saturated", "{evidence}");
    let waited = evidence["waited_ms"].as_u64().unwrap();
    assert!((150..=151).contains(&waited), "{evidence}");
    let place = format!("guarded_app.rs:{line}");
    assert!(evidence.to_string().contains(&place), "{evidence}");
    assert_eq!(db.snapshot().waiting, 0, "it has left the queue");

    // With a place there is an answer, with the same deadline.
    tokio::time::resume();
    drop(held.pop());
    while db.snapshot().in_use > 1 {
        tokio::task::yield_now().await;
    }
    let served = ask(&app, "/orders", &[("x-timeout", "1h")]).await;
    assert_eq!(served.status, StatusCode::OK, "{}", served.body);
}

#[tokio::test]
async fn the_operator_sees_the_pools_numbers_and_a_stranger_does_not() {
    let (app, db) = app().await;
    let held = db.acquire().await.unwrap();
    let expect = |pool: &Value, from: &str| {
        assert_eq!(pool["max"], 2, "{from}: {pool}");
        assert_eq!(pool["in_use"], 1, "{from}: {pool}");
        assert_eq!(pool["waiting"], 0, "{from}: {pool}");
        assert_eq!(pool["pressure"], "none", "{from}: {pool}");
        assert_eq!(pool["leaked"], 0, "{from}: {pool}");
        assert!(pool["longest_held_ms"].is_u64(), "{from}: {pool}");
    };
    let health = ask(&app, "/health/", &[TOKEN]).await.json();
    expect(
        &health["checks"]["orders-db:responseTime"][0]["pool"],
        "/health/",
    );
    let page = ask(&app, "/why503/", &[TOKEN]).await.json();
    expect(&page["dependencies"][0]["pool"], "/why503/");
    let stranger = ask(&app, "/health/", &[]).await.body;
    assert!(
        !stranger.contains("pool") && !stranger.contains("orders-db"),
        "{stranger}"
    );
    drop(held);
}
