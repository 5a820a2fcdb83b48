//! The database: SQLite in a file of its own unless `DATABASE_URL` names a PostgreSQL.
//!
//! The statements are written once and run on both; what differs is the pool's type. The
//! guard stands where a pool would, as an executor, so a request that gets no connection is
//! refused with the reason, none waits for long, and each query tells how the database is.

mod orders;

use std::{str::FromStr, time::Duration};

use serde::Serialize;
use sqlx::{
    PgPool, Postgres, Sqlite, SqlitePool,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use steadfast::{ConfigError, Dependency};
use steadfast_sqlx::{PoolGuard, guard};
use tempfile::TempDir;

use crate::Fatal;

pub(crate) use orders::{CreateError, NewOrder, Order};

/// An error of the database, or the refusal that it amounts to. `?` into
/// [`steadfast::Error`] finds the refusal in it.
pub(crate) type StoreError = sqlx::Error;

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

/// Runs the same code with a value of either kind.
macro_rules! with_either {
    ($kind:ident, $either:expr, $it:ident => $code:expr) => {
        match $either {
            $crate::store::$kind::Sqlite($it) => $code,
            $crate::store::$kind::Postgres($it) => $code,
        }
    };
}
use with_either;

/// The database behind the guard of its pool. Clones share it.
#[derive(Clone, Debug)]
pub(crate) enum Store {
    Sqlite(PoolGuard<Sqlite>),
    Postgres(PoolGuard<Postgres>),
}

/// Something to buy.
#[derive(Debug, Serialize, sqlx::FromRow)]
pub(crate) struct Product {
    id: i64,
    name: String,
    price_cents: i64,
}

impl Pool {
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
        Self::Sqlite(pool)
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
        Ok(Self::Postgres(pool))
    }

    /// Whether it is a server, which may be down now and up later.
    pub(crate) const fn is_remote(&self) -> bool {
        matches!(self, Self::Postgres(_))
    }

    /// Brings the tables up to date.
    pub(crate) async fn migrate(&self) -> Result<(), MigrateError> {
        with_either!(Pool, self, pool => MIGRATIONS.run(pool).await)
    }

    /// Puts the guard in front, which tells the dependency what it sees.
    pub(crate) fn guard(&self, orders_db: &Dependency) -> Result<Store, ConfigError> {
        Ok(match self {
            // A writer that waits for another one has its turn already.
            Self::Sqlite(pool) => {
                Store::Sqlite(guard(pool, orders_db).connect_max(BUSY_MAX).build()?)
            }
            Self::Postgres(pool) => Store::Postgres(guard(pool, orders_db).build()?),
        })
    }

    pub(crate) async fn close(&self) {
        with_either!(Pool, self, pool => pool.close().await);
    }
}

impl Store {
    pub(crate) async fn products(&self) -> Result<Vec<Product>, StoreError> {
        let list = "select id, name, price_cents from products order by id";
        with_either!(Store, self, db => sqlx::query_as(list).fetch_all(db).await)
    }

    /// Holds a connection for as long as a slow report would, and counts the orders.
    pub(crate) async fn report(&self, length: Duration) -> Result<i64, StoreError> {
        match self {
            // SQLite has no query that waits, so the waiting is done before one.
            Self::Sqlite(db) => {
                let mut connection = db.acquire().await?;
                tokio::time::sleep(length).await;
                sqlx::query_scalar(COUNT).fetch_one(&mut *connection).await
            }
            Self::Postgres(db) => {
                let mut connection = db.acquire().await?;
                let wait = sqlx::query("select pg_sleep($1)").bind(length.as_secs_f64());
                wait.execute(&mut *connection).await?;
                sqlx::query_scalar(COUNT).fetch_one(&mut *connection).await
            }
        }
    }
}

const COUNT: &str = "select count(*) from orders";
