//! The cache, if `REDIS_URL` names one. The shop works without it, only slower: whatever
//! goes wrong here is logged and the database is asked instead.

use std::time::Duration;

use deadpool_redis::{Config, PoolConfig, Runtime, redis};
use steadfast::{ConfigError, Dependency};
use steadfast_deadpool_redis::{PoolGuard, guard};

use crate::Fatal;

/// Longest wait for the cache. Past it, the database would have answered already.
const WAIT_MAX: Duration = Duration::from_millis(250);

const CONNECTIONS_MAX: usize = 10;

/// How long a cached list may be out of date.
const FRESH_SECONDS: u64 = 10;

const PRODUCTS: &str = "shop:products";

/// The pool of `REDIS_URL`.
pub(crate) struct Pool(deadpool_redis::Pool);

impl Pool {
    /// Makes the pool; nothing is connected yet. It has no timeouts of its own, because
    /// every connection comes through the guard.
    pub(crate) fn open(url: &str) -> Result<Self, Fatal> {
        // The error would repeat the URL, and with it the password.
        let fault = || {
            Fatal::new(
                "REDIS_URL is no URL that Redis is reached by; allowed is redis://[user:password@]host[:port][/database]",
            )
        };
        redis::Client::open(url).map_err(|_| fault())?;
        let mut config = Config::from_url(url);
        config.pool = Some(PoolConfig::new(CONNECTIONS_MAX));
        let pool = config
            .create_pool(Some(Runtime::Tokio1))
            .map_err(|_| fault())?;
        Ok(Self(pool))
    }

    /// Returns what the check asks.
    pub(crate) const fn inner(&self) -> &deadpool_redis::Pool {
        &self.0
    }

    /// Puts the guard in front. While the cache is down its breaker refuses at once, so a
    /// request loses no time on it.
    pub(crate) fn guard(&self, cache: &Dependency) -> Result<Cache, ConfigError> {
        let guard = guard(&self.0, cache).wait_max(WAIT_MAX).build()?;
        Ok(Cache(guard))
    }
}

/// The cache behind the guard of its pool. Clones share it.
#[derive(Clone)]
pub(crate) struct Cache(PoolGuard);

impl Cache {
    /// Returns the list of products as it was last written here.
    pub(crate) async fn products(&self) -> Option<String> {
        self.ask(redis::cmd("GET").arg(PRODUCTS)).await.flatten()
    }

    pub(crate) async fn put_products(&self, list: &str) {
        let mut set = redis::cmd("SET");
        let set = set.arg(PRODUCTS).arg(list).arg("EX").arg(FRESH_SECONDS);
        let _: Option<()> = self.ask(set).await;
    }

    async fn ask<T: redis::FromRedisValue>(&self, command: &redis::Cmd) -> Option<T> {
        let asked = async {
            let mut connection = self.0.acquire().await?;
            Ok::<T, steadfast_deadpool_redis::Error>(command.query_async(&mut connection).await?)
        };
        match tokio::time::timeout(WAIT_MAX, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                // A refusal too: that there is no cache is no reason to refuse the request.
                tracing::debug!(%error, "the cache did not help");
                None
            }
            Err(_) => {
                tracing::debug!("the cache took too long");
                None
            }
        }
    }
}
