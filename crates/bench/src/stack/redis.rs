//! The application on a pool of deadpool-redis.

use axum::{Router, routing::get};
use deadpool_redis::{Config, Pool, PoolConfig, Runtime, redis};
use steadfast::Dependency;

use super::{App, Side, bare_answer};

/// A path, and the command that its handler sends, its words separated by spaces.
pub(crate) type Routes = &'static [(&'static str, &'static str)];

/// The name of the dependency.
pub(crate) const NAME: &str = "cache";

/// Says how large a pool is; everything else is the driver's default.
pub(crate) fn pool(size: usize, url: &str) -> Pool {
    let mut config = Config::from_url(url);
    config.pool = Some(PoolConfig::new(size));
    let pool = config.create_pool(Some(Runtime::Tokio1));
    pool.expect("the URL is one")
}

/// A pool of this size with so many connections open.
pub(crate) async fn warm(size: usize, open: usize, url: &str) -> Pool {
    let pool = pool(size, url);
    let mut held = Vec::new();
    for _ in 0..open {
        held.push(pool.get().await.expect("the server is up"));
    }
    drop(held);
    pool
}

/// One of the two on a pool.
pub(crate) fn app(side: Side, pool: &Pool, url: &str, routes: Routes) -> App {
    match side {
        Side::Bare => App::Bare(bare(pool, routes)),
        Side::Guarded => {
            let dependency = dependency(pool, url);
            App::guarded(guarded(pool, url, &dependency, routes), &[&dependency])
        }
    }
}

/// The dependency as our documentation shows it.
pub(crate) fn dependency(pool: &Pool, url: &str) -> Dependency {
    let check = steadfast_deadpool_redis::ping_url(url, pool);
    let dependency = Dependency::builder(NAME).check(check);
    dependency.build().expect("the settings are right")
}

fn bare(pool: &Pool, routes: Routes) -> Router {
    let mut router = Router::new();
    for &(path, words) in routes {
        let pool = pool.clone();
        let handler = move || {
            let pool = pool.clone();
            async move { bare_answer(&ask(&pool, words).await) }
        };
        router = router.route(path, get(handler));
    }
    router
}

async fn ask(pool: &Pool, words: &str) -> Result<(), steadfast::Error> {
    let mut connection = pool.get().await?;
    let _: redis::Value = command(words).query_async(&mut connection).await?;
    Ok(())
}

/// The application on the guarded pool.
pub(crate) fn guarded(pool: &Pool, url: &str, dependency: &Dependency, routes: Routes) -> Router {
    let guard = steadfast_deadpool_redis::guard(pool, dependency)
        .url(url)
        .build();
    let guard = guard.expect("the settings are right");
    let mut router = Router::new();
    for &(path, words) in routes {
        let guard = guard.clone();
        let handler = move || {
            let guard = guard.clone();
            async move {
                let mut connection = guard.acquire().await?;
                let _: redis::Value = command(words).query_async(&mut connection).await?;
                Ok::<_, steadfast::Error>("served")
            }
        };
        router = router.route(path, get(handler));
    }
    router
}

fn command(words: &str) -> redis::Cmd {
    let mut words = words.split(' ');
    let mut command = redis::cmd(words.next().unwrap_or_default());
    for word in words {
        command.arg(word);
    }
    command
}
