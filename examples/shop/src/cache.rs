//! The cache, if `REDIS_URL` names one. The shop works without it, only slower: whatever
//! goes wrong here is logged and the database is asked instead.

use std::time::Duration;

use deadpool_redis::{Config, Pool, PoolConfig, Runtime, Timeouts, redis};

use crate::Fatal;

/// Longest wait for the cache. Past it, the database would have answered already.
const WAIT_MAX: Duration = Duration::from_millis(250);

const CONNECTIONS_MAX: usize = 10;

/// How long a cached list may be out of date.
const FRESH_SECONDS: u64 = 10;

const PRODUCTS: &str = "shop:products";

#[derive(Clone)]
pub(crate) struct Cache(Pool);

impl Cache {
    /// Makes the pool; nothing is connected yet.
    pub(crate) fn open(url: &str) -> Result<Self, Fatal> {
        // The error would repeat the URL, and with it the password.
        let fault = || {
            Fatal::new(
                "REDIS_URL is no URL that Redis is reached by; allowed is redis://[user:password@]host[:port][/database]",
            )
        };
        redis::Client::open(url).map_err(|_| fault())?;
        let mut config = Config::from_url(url);
        let mut pool = PoolConfig::new(CONNECTIONS_MAX);
        pool.timeouts = Timeouts {
            wait: Some(WAIT_MAX),
            create: Some(WAIT_MAX),
            recycle: Some(WAIT_MAX),
        };
        config.pool = Some(pool);
        let pool = config
            .create_pool(Some(Runtime::Tokio1))
            .map_err(|_| fault())?;
        Ok(Self(pool))
    }

    pub(crate) const fn pool(&self) -> &Pool {
        &self.0
    }

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
            let mut connection = self.0.get().await.map_err(|error| error.to_string())?;
            let answer = command.query_async(&mut connection).await;
            answer.map_err(|error| error.to_string())
        };
        match tokio::time::timeout(WAIT_MAX, asked).await {
            Ok(Ok(answer)) => Some(answer),
            Ok(Err(error)) => {
                tracing::debug!(error, "the cache did not help");
                None
            }
            Err(_) => {
                tracing::debug!("the cache took too long");
                None
            }
        }
    }
}
