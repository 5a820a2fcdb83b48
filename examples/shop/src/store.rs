//! The database: SQLite in a file of its own unless `DATABASE_URL` names a PostgreSQL.
//!
//! The statements are written once and run on both; what differs is the pool's type.

mod orders;
mod refused;

use std::{str::FromStr, time::Duration};

use serde::Serialize;
use sqlx::{
    PgPool, SqlitePool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use tempfile::TempDir;

use crate::Fatal;

pub(crate) use orders::{CreateError, NewOrder, Order};
pub(crate) use refused::{ORDERS_DB, StoreError};

/// The tables, and the goods in the window.
pub(crate) static MIGRATIONS: Migrator = sqlx::migrate!();

/// Longest wait for a connection. Well under the 30 s that sqlx waits, because the person
/// who asked has gone by then.
const ACQUIRE_MAX: Duration = Duration::from_secs(2);

const CONNECTIONS_MAX: u32 = 10;

/// Longest wait of one SQLite writer for another.
const BUSY_MAX: Duration = Duration::from_secs(2);

/// A pool, of one of the two kinds.
#[derive(Clone, Debug)]
pub(crate) enum Pool {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

/// Runs the same code with the pool of either kind.
macro_rules! with_pool {
    ($store:expr, $pool:ident => $code:expr) => {
        match &$store.pool {
            $crate::store::Pool::Sqlite($pool) => $code,
            $crate::store::Pool::Postgres($pool) => $code,
        }
    };
}
use with_pool;

/// The database. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Store {
    pub(crate) pool: Pool,
}

/// Something to buy.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Product {
    id: i64,
    name: String,
    price_cents: i64,
}

impl Store {
    /// Makes the pool of `DATABASE_URL`; nothing is connected yet, so a database that is
    /// down does not keep the service from starting and saying so.
    pub(crate) fn open(url: &str) -> Result<Self, Fatal> {
        let scheme = url.split(':').next().unwrap_or_default();
        match scheme {
            "postgres" | "postgresql" => Self::open_postgres(url),
            "sqlite" => match SqliteConnectOptions::from_str(url) {
                Ok(options) => Ok(Self::open_sqlite(options)),
                Err(error) => Err(Fatal::new(format!("DATABASE_URL: {error}"))),
            },
            // The value is not repeated: it may hold a password.
            _ => Err(Fatal::new(
                "DATABASE_URL has an unknown scheme; allowed are postgres:// and sqlite:",
            )),
        }
    }

    /// Makes a database of its own in a directory that goes with the process.
    pub(crate) fn open_temporary(directory: &TempDir) -> Self {
        let file = directory.path().join("shop.db");
        Self::open_sqlite(SqliteConnectOptions::new().filename(file))
    }

    fn open_sqlite(options: SqliteConnectOptions) -> Self {
        let options = options
            .create_if_missing(true)
            // Readers do not wait for the writer.
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Normal)
            .busy_timeout(BUSY_MAX);
        let pool = SqlitePoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_MAX)
            .connect_lazy_with(options);
        Self {
            pool: Pool::Sqlite(pool),
        }
    }

    fn open_postgres(url: &str) -> Result<Self, Fatal> {
        let options = PgConnectOptions::from_str(url).map_err(|_| {
            // The error may repeat a part of the URL, and with it the password.
            Fatal::new("DATABASE_URL is no URL of a PostgreSQL; allowed is postgres://[user[:password]@]host[:port]/database")
        })?;
        let pool = PgPoolOptions::new()
            .max_connections(CONNECTIONS_MAX)
            .acquire_timeout(ACQUIRE_MAX)
            .connect_lazy_with(options.application_name("shop"));
        Ok(Self {
            pool: Pool::Postgres(pool),
        })
    }

    /// Whether it is a server, which may be down now and up later.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self.pool, Pool::Postgres(_))
    }

    /// Brings the tables up to date.
    pub(crate) async fn migrate(&self) -> Result<(), MigrateError> {
        with_pool!(self, pool => MIGRATIONS.run(pool).await)
    }

    pub(crate) async fn products(&self) -> Result<Vec<Product>, StoreError> {
        let list = "select id, name, price_cents from products order by id";
        let list = with_pool!(self, pool => sqlx::query_as(list).fetch_all(pool).await);
        list.map_err(|error| self.explained(error))
    }

    /// Holds a connection for as long as a slow report would, and counts the orders.
    pub(crate) async fn report(&self, length: Duration) -> Result<i64, StoreError> {
        let orders = match &self.pool {
            Pool::Sqlite(pool) => report_sqlite(pool, length).await,
            Pool::Postgres(pool) => report_postgres(pool, length).await,
        };
        orders.map_err(|error| self.explained(error))
    }

    pub(crate) async fn close(&self) {
        with_pool!(self, pool => pool.close().await);
    }
}

const COUNT: &str = "select count(*) from orders";

/// SQLite has no query that waits, so the waiting is done before one.
async fn report_sqlite(pool: &SqlitePool, length: Duration) -> Result<i64, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    tokio::time::sleep(length).await;
    sqlx::query_scalar(COUNT).fetch_one(&mut *connection).await
}

async fn report_postgres(pool: &PgPool, length: Duration) -> Result<i64, sqlx::Error> {
    let mut connection = pool.acquire().await?;
    let wait = sqlx::query("select pg_sleep($1)").bind(length.as_secs_f64());
    wait.execute(&mut *connection).await?;
    sqlx::query_scalar(COUNT).fetch_one(&mut *connection).await
}
