//! What an application has to change to move behind a guard: the type of its pool, the types
//! in the signatures of functions that take a connection, and nothing at a call site.
//!
//! Goal: the code below is written as for a pool of sqlx. Method: it compiles with either
//! type, and a few lines of it run.
#![cfg(feature = "sqlite")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use axum::{
    Router,
    body::Body,
    extract::{Path, Request, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::get,
};
use sqlx::{Executor, FromRow, Row, Sqlite, sqlite::SqlitePoolOptions};
use steadfast::Dependency;
use steadfast_sqlx::guard;
use tower::ServiceExt;

/// With sqlx alone: `type Db = sqlx::Pool<Sqlite>`.
type Db = steadfast_sqlx::PoolGuard<Sqlite>;

/// With sqlx alone: `type Tx<'t> = sqlx::Transaction<'t, Sqlite>`.
type Tx = steadfast_sqlx::GuardedTransaction<Sqlite>;

/// With sqlx alone: `type Connection = sqlx::SqliteConnection`.
type Connection = steadfast_sqlx::GuardedSession<Sqlite>;

#[derive(Clone)]
struct App {
    db: Db,
}

#[derive(Debug, FromRow, PartialEq)]
struct Good {
    id: i64,
    name: String,
    price_cents: i64,
}

/// An application's own error, which knows nothing of guards.
#[derive(Debug)]
enum AppError {
    Taken,
    Sql(sqlx::Error),
}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(answer) if answer.is_unique_violation() => Self::Taken,
            _ => Self::Sql(error),
        }
    }
}

impl IntoResponse for AppError {
    fn into_response(self) -> Response {
        match self {
            Self::Taken => StatusCode::CONFLICT.into_response(),
            Self::Sql(sqlx::Error::RowNotFound) => StatusCode::NOT_FOUND.into_response(),
            Self::Sql(error) => steadfast::Error::from(error).into_response(),
        }
    }
}

async fn by_macro(app: &App, id: i64) -> Result<Option<String>, AppError> {
    let row = sqlx::query!("SELECT id, name, price_cents FROM goods WHERE id = ?", id);
    let row = row.fetch_optional(&app.db).await?;
    Ok(row.map(|row| row.name))
}

async fn by_macro_as(db: &Db, id: i64) -> Result<Good, AppError> {
    let query = sqlx::query_as!(
        Good,
        "SELECT id, name, price_cents FROM goods WHERE id = ?",
        id
    );
    Ok(query.fetch_one(db).await?)
}

async fn names(db: &Db) -> Result<Vec<String>, AppError> {
    let names = sqlx::query_scalar!("SELECT name FROM goods ORDER BY id");
    Ok(names.fetch_all(db).await?)
}

/// A function that is generic over executors takes the guard and all it lends.
async fn count<'e, E>(executor: E) -> sqlx::Result<i64>
where
    E: Executor<'e, Database = Sqlite>,
{
    sqlx::query_scalar("SELECT count(*) FROM goods")
        .fetch_one(executor)
        .await
}

async fn insert(tx: &mut Tx, name: &str, price_cents: i64) -> Result<(), AppError> {
    sqlx::query!(
        "INSERT INTO goods (name, price_cents) VALUES (?, ?)",
        name,
        price_cents
    )
    .execute(&mut **tx)
    .await?;
    Ok(())
}

async fn price(connection: &mut Connection, id: i64) -> sqlx::Result<i64> {
    let row = sqlx::query("SELECT price_cents FROM goods WHERE id = ?").bind(id);
    let row = connection.fetch_one(row).await?;
    row.try_get("price_cents")
}

async fn create(app: &App, name: &str) -> Result<i64, AppError> {
    let mut tx = app.db.begin().await?;
    insert(&mut tx, name, 100).await?;
    let id = sqlx::query_scalar("SELECT max(id) FROM goods")
        .fetch_one(&mut *tx)
        .await?;
    let mut nested = tx.begin().await?;
    sqlx::query("DELETE FROM goods")
        .execute(&mut *nested)
        .await?;
    nested.rollback().await?;
    let _ = price(&mut tx, id).await?;
    let _ = count(&mut *tx).await?;
    tx.commit().await?;
    Ok(id)
}

async fn on_one_connection(db: &Db) -> Result<i64, AppError> {
    let mut connection = db.acquire().await?;
    let before = count(&mut *connection).await?;
    let price = price(&mut connection, 1).await?;
    let statement = connection
        .prepare("SELECT count(*) FROM goods".into_sql())
        .await?;
    let rows = sqlx::Statement::query(&statement)
        .fetch_all(&mut *connection)
        .await?;
    let mut tx = connection.begin().await?;
    let inside = count(&mut *tx).await?;
    tx.rollback().await?;
    Ok(before + inside + price + rows.len() as i64)
}

/// What `SqlSafeStr` is in one method, for a literal.
trait IntoSql {
    fn into_sql(self) -> sqlx::SqlStr;
}

impl IntoSql for &'static str {
    fn into_sql(self) -> sqlx::SqlStr {
        sqlx::SqlSafeStr::into_sql_str(self)
    }
}

async fn streamed(db: &Db) -> sqlx::Result<(Vec<i64>, usize)> {
    use futures_util::TryStreamExt;
    let goods = sqlx::query_as::<_, Good>("SELECT * FROM goods ORDER BY id").fetch(db);
    let ids = goods.map_ok(|good| good.id).try_collect().await?;
    let mut steps = db.fetch_many("SELECT 1; SELECT 2");
    let mut count = 0;
    while let Some(step) = steps.try_next().await? {
        count += usize::from(step.is_right());
    }
    Ok((ids, count))
}

async fn good(State(app): State<App>, Path(id): Path<i64>) -> Result<String, AppError> {
    Ok(by_macro_as(&app.db, id).await?.name)
}

async fn make(State(app): State<App>, Path(name): Path<String>) -> Result<String, AppError> {
    Ok(create(&app, &name).await?.to_string())
}

/// A handler whose future must be `Send`, spawned.
async fn in_background(app: App) -> i64 {
    let task = tokio::spawn(async move {
        let mut tx = app.db.begin().await?;
        let counted = count(&mut *tx).await;
        tx.commit().await?;
        counted
    });
    task.await.unwrap().unwrap()
}

async fn app() -> App {
    let pool = SqlitePoolOptions::new()
        .max_connections(1)
        .connect("sqlite::memory:")
        .await
        .unwrap();
    let orders_db = Dependency::builder("orders-db").build().unwrap();
    let db = guard(&pool, &orders_db).build().unwrap();
    db.execute(
        "CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, \
         price_cents INTEGER NOT NULL)",
    )
    .await
    .unwrap();
    App { db }
}

#[tokio::test]
async fn an_applications_usual_code_moves_by_a_type() {
    let app = app().await;
    assert_eq!(create(&app, "tea").await.unwrap(), 1);
    assert!(matches!(create(&app, "tea").await, Err(AppError::Taken)));
    assert_eq!(create(&app, "milk").await.unwrap(), 2);
    assert_eq!(by_macro(&app, 1).await.unwrap().as_deref(), Some("tea"));
    assert_eq!(by_macro(&app, 9).await.unwrap(), None);
    assert_eq!(names(&app.db).await.unwrap(), ["tea", "milk"]);
    assert_eq!(count(&app.db).await.unwrap(), 2);
    assert_eq!(on_one_connection(&app.db).await.unwrap(), 2 + 2 + 100 + 1);
    assert_eq!(streamed(&app.db).await.unwrap(), (vec![1, 2], 2));
    assert_eq!(in_background(app.clone()).await, 2);

    let router = Router::new()
        .route("/goods/{id}", get(good).post(make))
        .with_state(app);
    let ask = async |path: &str, method: &str| {
        let request = Request::builder().uri(path).method(method);
        let request = request.body(Body::empty()).unwrap();
        router.clone().oneshot(request).await.unwrap().status()
    };
    assert_eq!(ask("/goods/1", "GET").await, StatusCode::OK);
    assert_eq!(ask("/goods/7", "GET").await, StatusCode::NOT_FOUND);
    assert_eq!(ask("/goods/milk", "POST").await, StatusCode::CONFLICT);
}
