//! The application on a pool of sqlx, for each of its databases.

use axum::{Router, routing::get};
use sqlx::{Database, Pool, pool::PoolOptions};
use steadfast::Dependency;

use super::{App, Side, bare_answer};

/// A path, and the statement that its handler runs.
pub(crate) type Routes = &'static [(&'static str, &'static str)];

/// A statement that begins with this goes by the simple protocol, as it has to behind a
/// proxy that gives each of a statement's round trips to another session.
pub(crate) const SIMPLE: &str = "/* simple */";

/// The name of the dependency.
pub(crate) const NAME: &str = "orders-db";

macro_rules! database {
    ($name:ident, $database:ty) => {
        pub(crate) mod $name {
            use super::*;

            pub(crate) type Options = PoolOptions<$database>;

            /// The application on the driver's own pool.
            pub(crate) fn bare(pool: &Pool<$database>, routes: Routes) -> Router {
                let mut router = Router::new();
                for &(path, sql) in routes {
                    let pool = pool.clone();
                    let handler = move || {
                        let pool = pool.clone();
                        async move {
                            let result = if sql.starts_with(SIMPLE) {
                                sqlx::raw_sql(sql).fetch_all(&pool).await
                            } else {
                                sqlx::query(sql).fetch_all(&pool).await
                            };
                            bare_answer(&result.map(drop))
                        }
                    };
                    router = router.route(path, get(handler));
                }
                router
            }

            /// The dependency as our documentation shows it.
            pub(crate) fn dependency(pool: &Pool<$database>) -> Dependency {
                let dependency = Dependency::builder(NAME).check(steadfast_sqlx::ping(pool));
                dependency.build().expect("the settings are right")
            }

            /// The application on the guarded pool.
            pub(crate) fn guarded(
                pool: &Pool<$database>,
                dependency: &Dependency,
                routes: Routes,
            ) -> Router {
                let guard = steadfast_sqlx::guard(pool, dependency).build();
                let guard = guard.expect("the settings are right");
                let mut router = Router::new();
                for &(path, sql) in routes {
                    let guard = guard.clone();
                    let handler = move || {
                        let guard = guard.clone();
                        async move {
                            if sql.starts_with(SIMPLE) {
                                sqlx::raw_sql(sql).fetch_all(&guard).await?;
                            } else {
                                sqlx::query(sql).fetch_all(&guard).await?;
                            }
                            Ok::<_, steadfast::Error>("served")
                        }
                    };
                    router = router.route(path, get(handler));
                }
                router
            }

            /// One of the two on a pool.
            pub(crate) fn app(side: Side, pool: &Pool<$database>, routes: Routes) -> App {
                match side {
                    Side::Bare => App::Bare(bare(pool, routes)),
                    Side::Guarded => {
                        let dependency = dependency(pool);
                        App::guarded(guarded(pool, &dependency, routes), &[&dependency])
                    }
                }
            }

            /// Says how large a pool is; everything else is the driver's default.
            pub(crate) fn pool(size: u32, url: &str) -> Pool<$database> {
                Options::new()
                    .max_connections(size)
                    .connect_lazy(url)
                    .expect("the URL is one")
            }
        }
    };
}

database!(postgres, sqlx::Postgres);
database!(mysql, sqlx::MySql);
database!(sqlite, sqlx::Sqlite);

/// Opens so many connections of a pool, and leaves them idle.
pub(crate) async fn warm<DB: Database>(pool: Pool<DB>, open: u32) -> Pool<DB> {
    let mut held = Vec::new();
    for _ in 0..open {
        held.push(pool.acquire().await.expect("the server is up"));
    }
    for mut connection in held {
        // Given back before anybody asks, not in the background.
        connection.return_to_pool().await;
    }
    pool
}
