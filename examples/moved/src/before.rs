//! The application on sqlx alone.

#[path = "app.rs"]
pub mod app;

use axum::{
    Router,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use sqlx::{Sqlite, SqlitePool};

/// The pool that handlers use.
pub type Db = SqlitePool;

/// What functions take that work in a transaction.
pub type Tx = sqlx::Transaction<'static, Sqlite>;

/// Makes the application.
///
/// # Errors
/// The schema cannot be made.
pub async fn build(pool: SqlitePool) -> Result<Router, Box<dyn std::error::Error>> {
    app::schema(&pool).await?;
    Ok(app::router(pool))
}

/// Answers for what no handler expected.
fn unexpected(error: sqlx::Error) -> Response {
    tracing::error!(%error, "a handler failed");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}
