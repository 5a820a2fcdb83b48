//! What the shop needs, as the guard sees it.

use steadfast::{Check, Dependency, DependencyBuilder};
use steadfast_sqlx::{migrations, ping};

use crate::{
    Fatal, cache,
    store::{MIGRATIONS, Pool},
};

/// The database: needed to start; while it is down later, the instance stays in rotation,
/// because every other instance needs the same database.
pub(crate) fn orders_db(pool: &Pool) -> Result<Dependency, Fatal> {
    let dependency = Dependency::builder("orders-db");
    match pool {
        Pool::Sqlite(pool) => build(dependency, ping(pool)),
        Pool::Postgres(pool) => build(dependency, ping(pool)),
    }
}

/// The tables: those that this build was made for.
pub(crate) fn schema(pool: &Pool) -> Result<Dependency, Fatal> {
    let dependency = Dependency::builder("schema");
    match pool {
        Pool::Sqlite(pool) => build(dependency, migrations(pool, &MIGRATIONS)),
        Pool::Postgres(pool) => build(dependency, migrations(pool, &MIGRATIONS)),
    }
}

/// The cache: without it the shop is slower and works.
pub(crate) fn cache(pool: &cache::Pool) -> Result<Dependency, Fatal> {
    let dependency = Dependency::builder("cache").degrades();
    build(dependency, steadfast_deadpool_redis::ping(pool.inner()))
}

fn build(dependency: DependencyBuilder, check: impl Check) -> Result<Dependency, Fatal> {
    dependency.check(check).build().map_err(Fatal::config)
}
