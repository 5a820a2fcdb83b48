//! The application itself. It does not know whether its pool has a guard.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use serde::{Deserialize, Serialize};

use super::{Db, Tx, unexpected};

/// What handlers share.
#[derive(Clone, Debug)]
struct App {
    db: Db,
}

/// An order, as it is read.
#[derive(Debug, Serialize)]
pub struct Order {
    id: i64,
    item: String,
    quantity: i64,
}

/// An order, as it is placed.
#[derive(Debug, Deserialize)]
pub struct NewOrder {
    item: String,
    quantity: i64,
}

/// What a handler answers when it cannot do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is no such order.
    #[error("no such order")]
    Unknown,
    /// Nobody orders less than one.
    #[error("quantity {0} is below 1")]
    Quantity(i64),
    /// The database said something else.
    #[error(transparent)]
    Database(sqlx::Error),
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        match error {
            sqlx::Error::RowNotFound => Self::Unknown,
            other => Self::Database(other),
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown => (StatusCode::NOT_FOUND, self.to_string()).into_response(),
            Self::Quantity(_) => (StatusCode::BAD_REQUEST, self.to_string()).into_response(),
            Self::Database(error) => unexpected(error),
        }
    }
}

/// Makes the tables that are missing.
///
/// # Errors
/// The database says no.
pub async fn schema(db: &Db) -> sqlx::Result<()> {
    sqlx::query(
        "CREATE TABLE IF NOT EXISTS orders \
         (id INTEGER PRIMARY KEY, item TEXT NOT NULL, quantity INTEGER NOT NULL)",
    )
    .execute(db)
    .await?;
    sqlx::query("CREATE TABLE IF NOT EXISTS journal (order_id INTEGER NOT NULL)")
        .execute(db)
        .await?;
    Ok(())
}

/// Makes the routes.
pub fn router(db: Db) -> Router {
    Router::new()
        .route("/orders", get(list).post(place))
        .route("/orders/{id}", get(read))
        .with_state(App { db })
}

async fn list(State(app): State<App>) -> Result<Json<Vec<Order>>, AppError> {
    let orders = sqlx::query_as!(Order, "SELECT id, item, quantity FROM orders ORDER BY id")
        .fetch_all(&app.db)
        .await?;
    Ok(Json(orders))
}

async fn read(State(app): State<App>, Path(id): Path<i64>) -> Result<Json<Order>, AppError> {
    let order = sqlx::query_as!(
        Order,
        "SELECT id, item, quantity FROM orders WHERE id = ?",
        id
    )
    .fetch_one(&app.db)
    .await?;
    Ok(Json(order))
}

async fn place(
    State(app): State<App>,
    Json(order): Json<NewOrder>,
) -> Result<(StatusCode, String), AppError> {
    let mut tx = app.db.begin().await?;
    let id = insert(&mut tx, &order).await?;
    journal(&mut tx, id).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, id.to_string()))
}

/// What is wrong with the order is found here, and the transaction is rolled back by its drop.
async fn insert(tx: &mut Tx, order: &NewOrder) -> Result<i64, AppError> {
    if order.quantity < 1 {
        return Err(AppError::Quantity(order.quantity));
    }
    let done = sqlx::query!(
        "INSERT INTO orders (item, quantity) VALUES (?, ?)",
        order.item,
        order.quantity
    )
    .execute(&mut **tx)
    .await?;
    Ok(done.last_insert_rowid())
}

async fn journal(tx: &mut Tx, id: i64) -> Result<(), AppError> {
    sqlx::query!("INSERT INTO journal (order_id) VALUES (?)", id)
        .execute(&mut **tx)
        .await?;
    Ok(())
}
