//! Two guarded pools, and routes that are told apart by the one whose connections they hold. On
//! SQLite, which needs no server.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use std::num::NonZeroU32;

use axum::{Router, body::Body, extract::Request, http::StatusCode, routing::get};
use sqlx::{Sqlite, sqlite::SqlitePoolOptions};
use steadfast::{
    Dependency, Guard, Guarded, Shed,
    limit::{Fixed, Limit},
};
use steadfast_sqlx::{PoolGuard, guard};
use tower::ServiceExt;

/// Keeps SQLite busy for some milliseconds.
const QUERY: &str = "with recursive numbers(n) as \
                     (select 1 union all select n + 1 from numbers where n < 50000) \
                     select count(*) from numbers";

async fn pool(name: &str) -> (PoolGuard<Sqlite>, Dependency) {
    let pool = SqlitePoolOptions::new().max_connections(2);
    let pool = pool.connect("sqlite::memory:").await.unwrap();
    let dependency = Dependency::builder(name).build().unwrap();
    let guarded = guard(&pool, &dependency).build().unwrap();
    (guarded, dependency)
}

async fn ask(app: &Guarded, path: &str) {
    let request = Request::builder().uri(path).body(Body::empty()).unwrap();
    let response = app.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "{path}");
}

#[tokio::test]
async fn routes_are_told_apart_by_whose_connections_they_hold() {
    let (orders, orders_db) = pool("orders-db").await;
    let (reports, reports_db) = pool("reports-db").await;
    // While there is a limit every request is asked.
    let places = NonZeroU32::new(64).unwrap();
    let make = move |_| -> Box<dyn Limit> { Box::new(Fixed::new(places)) };
    let outer = Guard::builder()
        .without_signals()
        .shed(Shed::algorithm("64 places", make).by_backend(true))
        .dependency(&orders_db)
        .dependency(&reports_db)
        .build()
        .unwrap();
    // On a connection that is lent, and by the guard itself.
    let lent = get(async move || {
        let mut connection = orders.acquire().await.unwrap();
        sqlx::query(QUERY).execute(&mut *connection).await.unwrap();
    });
    let by_guard = get(async move || {
        sqlx::query(QUERY).execute(&reports).await.unwrap();
    });
    let routes = Router::new()
        .route("/orders/{id}", lent)
        .route("/report", by_guard)
        .route("/own", get(async || "done"));
    let app = outer.protect(routes);
    // Whichever is known first: who is preempted holds a connection for longer.
    let mut apart = Vec::new();
    for _ in 0..200 {
        for path in ["/orders/7", "/report", "/own"] {
            ask(&app, path).await;
        }
        let backends = outer.control().shedder().snapshot().backends.into_iter();
        apart = backends
            .map(|it| (it.backend.to_string(), it.routes.join(" ")))
            .collect();
        apart.sort();
        if apart.len() == 2 {
            break;
        }
    }
    let expected = [("orders-db", "/orders/*"), ("reports-db", "/report")];
    assert_eq!(
        apart,
        expected.map(|(name, route)| (name.to_owned(), route.to_owned()))
    );
}
