//! The ways to ask a pool, on the bare one and on the guarded one: the same lines twice.

use std::process::ExitCode;

use deadpool_redis::redis::cmd;
use sqlx::postgres::{PgPool, PgPoolOptions};
use steadfast_sqlx::PoolGuard;

use crate::stack::{Side, redis, sql};

/// A way to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// A connection is lent, and asked for a row.
    PgAcquire,
    /// The pool itself is asked.
    PgQuery,
    /// A row within a transaction.
    PgTransaction,
    /// A connection to Redis is lent, and asked for a key.
    RedisAcquire,
}

impl Way {
    pub(crate) const ALL: [Self; 4] = [
        Self::PgAcquire,
        Self::PgQuery,
        Self::PgTransaction,
        Self::RedisAcquire,
    ];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::PgAcquire => "postgres-acquire",
            Self::PgQuery => "postgres-query",
            Self::PgTransaction => "postgres-transaction",
            Self::RedisAcquire => "redis-acquire",
        }
    }

    pub(crate) const fn is_redis(self) -> bool {
        matches!(self, Self::RedisAcquire)
    }
}

/// A pool that is asked in one way.
#[derive(Clone)]
pub(crate) struct Asks {
    way: Way,
    pool: Pool,
}

#[derive(Clone)]
enum Pool {
    Pg(PgPool),
    GuardedPg(PoolGuard<sqlx::Postgres>),
    Redis(deadpool_redis::Pool),
    GuardedRedis(steadfast_deadpool_redis::PoolGuard),
}

/// Connections for one client: it need not wait until the one before is back, and both are
/// open soon.
const ALONE: u32 = 2;

/// What is wrong with it ends the benchmark: nothing could be asked at all.
const ANSWERS: &str = "the server answers";

const ROW: &str = "select 1";

/// Asks a pool of sqlx; both sides are the same lines. The row, or why there is none.
macro_rules! ask_pg {
    ($way:expr, $pool:expr) => {
        match $way {
            Way::PgAcquire => {
                let mut connection = $pool.acquire().await.map_err(why)?;
                let row = sqlx::query_scalar(ROW).fetch_one(&mut *connection);
                row.await.map_err(why)?
            }
            Way::PgQuery => {
                let row = sqlx::query_scalar(ROW).fetch_one($pool);
                row.await.map_err(why)?
            }
            Way::PgTransaction => {
                let mut transaction = $pool.begin().await.map_err(why)?;
                let row = sqlx::query_scalar(ROW).fetch_one(&mut *transaction);
                let row = row.await.map_err(why)?;
                transaction.commit().await.map_err(why)?;
                row
            }
            Way::RedisAcquire => unreachable!("it is no way to ask sqlx"),
        }
    };
}

fn why(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Asks {
    /// Opens a pool with so many connections.
    pub(crate) async fn new(way: Way, side: Side, url: &str, connections: u32) -> Self {
        let pool = if way.is_redis() {
            let pool = redis::pool(connections as usize, url);
            match side {
                Side::Bare => Pool::Redis(pool),
                Side::Guarded => {
                    let dependency = redis::dependency(&pool, url);
                    let guard = steadfast_deadpool_redis::guard(&pool, &dependency).url(url);
                    Pool::GuardedRedis(guard.build().expect("the settings are right"))
                }
            }
        } else {
            let pool = PgPoolOptions::new().max_connections(connections);
            let pool = pool.connect(url).await.expect(ANSWERS);
            match side {
                Side::Bare => Pool::Pg(pool),
                Side::Guarded => {
                    let dependency = sql::postgres::dependency(&pool);
                    let guard = steadfast_sqlx::guard(&pool, &dependency);
                    Pool::GuardedPg(guard.build().expect("the settings are right"))
                }
            }
        };
        Self { way, pool }
    }

    /// Asks once.
    ///
    /// # Errors
    /// Why there is no answer. On a machine that stands still for a moment a driver or the guard
    /// may have waited for too long.
    pub(crate) async fn ask(&self) -> Result<(), String> {
        let row: i32 = match &self.pool {
            Pool::Pg(pool) => ask_pg!(self.way, pool),
            Pool::GuardedPg(pool) => ask_pg!(self.way, pool),
            Pool::Redis(pool) => {
                let mut connection = pool.get().await.map_err(why)?;
                let asked = cmd("GET").arg("a").query_async(&mut connection).await;
                asked.map(|_: Option<i32>| 1).map_err(why)?
            }
            Pool::GuardedRedis(pool) => {
                let mut connection = pool.acquire().await.map_err(why)?;
                let asked = cmd("GET").arg("a").query_async(&mut connection).await;
                asked.map(|_: Option<i32>| 1).map_err(why)?
            }
        };
        assert_eq!(row, 1);
        Ok(())
    }
}

/// What callgrind runs: `pool-asks WAY SIDE URL CALLS`.
pub(crate) fn main(way: &str, side: &str, url: &str, calls: &str) -> ExitCode {
    let way = Way::ALL.into_iter().find(|it| it.name() == way);
    let mut sides = [Side::Bare, Side::Guarded].into_iter();
    let side = sides.find(|it| it.name() == side);
    let (Some(way), Some(side), Ok(calls)) = (way, side, calls.parse::<u32>()) else {
        eprintln!("no such way, side or number of calls");
        return ExitCode::from(64);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(async {
        let asks = Asks::new(way, side, url, ALONE).await;
        for _ in 0..calls {
            asks.ask().await.expect(ANSWERS);
        }
    });
    ExitCode::SUCCESS
}
