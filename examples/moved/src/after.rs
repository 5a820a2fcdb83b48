//! The application behind a guard.

#[path = "app.rs"]
pub mod app;

use axum::response::{IntoResponse, Response};
use sqlx::{Sqlite, SqlitePool};
use steadfast::{Dependency, Guard, Guarded};
use steadfast_sqlx::{GuardedTransaction, PoolGuard};

/// The pool that handlers use.
pub type Db = PoolGuard<Sqlite>;

/// What functions take that work in a transaction.
pub type Tx = GuardedTransaction<Sqlite>;

/// Makes the application, with the guard that serves it.
///
/// # Errors
/// The schema cannot be made, or a setting is wrong.
pub async fn build(pool: SqlitePool) -> Result<(Guard, Guarded), Box<dyn std::error::Error>> {
    let orders_db = Dependency::builder("orders-db")
        .check(steadfast_sqlx::ping(&pool))
        .build()?;
    let db = steadfast_sqlx::guard(&pool, &orders_db).build()?;
    app::schema(&db).await?;
    let guard = Guard::builder().dependency(&orders_db).build()?;
    let app = guard.protect(app::router(db));
    Ok((guard, app))
}

/// Answers for what no handler expected: an explained 503 where a request was refused.
fn unexpected(error: sqlx::Error) -> Response {
    steadfast::Error::from(error).into_response()
}
