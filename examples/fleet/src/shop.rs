//! One instance: a shop with a way of its own to the database, which can be blocked.

use std::net::SocketAddr;

use example_testing::{Caller, Example, eventually};
use http::Method;
use support::{Postgres, Relay};

/// Opens the operator's page of each instance.
pub const TOKEN: &str = "a-token-that-nobody-guesses";

/// How many requests an instance may run at once: few, so that little load is too much.
const LIMIT: &str = "4";

/// A shop that runs.
#[derive(Debug)]
pub struct Instance {
    shop: Example,
    /// The way to the database.
    database: Relay,
    metrics: SocketAddr,
}

impl Instance {
    pub(crate) async fn start(program: &str, postgres: &Postgres) -> Self {
        let database = Relay::start(postgres.port());
        let url = postgres.admin_url_at(database.port());
        let environment = [
            ("WHY503_TOKEN", TOKEN),
            ("DATABASE_URL", url.as_str()),
            ("METRICS_ADDR", "127.0.0.1:0"),
            ("RUST_LOG", "warn"),
            ("STEADFAST__SHED__LIMIT", LIMIT),
            // Until it is told to go on: whoever looks has time.
            ("STEADFAST__DRAIN__LAME_DUCK_MIN", "60s"),
            ("STEADFAST__DRAIN__LAME_DUCK_MAX", "60s"),
            ("STEADFAST__DEPENDENCY__ORDERS_DB__INTERVAL", "1s"),
            ("STEADFAST__DEPENDENCY__ORDERS_DB__TIMEOUT", "500ms"),
        ];
        let shop = Example::start(program, &environment).await.ready().await;
        let metrics = eventually("it says where its metrics are", || async {
            let said = shop.said();
            let (_, after) = said.split_once("metrics on http://")?;
            after.split('/').next()?.parse().ok()
        });
        let metrics = metrics.await;
        Self {
            shop,
            database,
            metrics,
        }
    }

    /// What Prometheus calls it: the address of its operator's page.
    #[must_use]
    pub fn name(&self) -> &str {
        self.shop.url().trim_start_matches("http://")
    }

    /// The link that opens its page.
    #[must_use]
    pub fn page(&self) -> String {
        format!("{}/why503/#token={TOKEN}", self.shop.url())
    }

    /// A client of this instance, past HAProxy.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.shop.caller()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.name().parse().expect("it said its address")
    }

    pub(crate) const fn metrics(&self) -> SocketAddr {
        self.metrics
    }

    /// Nothing passes between it and the database any more, as if that were paused.
    pub fn pause_database(&self) {
        self.database.pause();
    }

    /// The database answers again.
    pub fn resume_database(&self) {
        self.database.resume();
    }

    /// Orders it to leave, as an operator does.
    pub async fn drain(&self) {
        self.order(Method::POST, "/why503/drain").await;
    }

    /// Takes it out on purpose, as an operator does.
    pub async fn declare_maintenance(&self) {
        self.order(Method::PUT, "/why503/maintenance?reason=moving")
            .await;
    }

    async fn order(&self, method: Method, path: &str) {
        let bearer = format!("Bearer {TOKEN}");
        let headers = [("authorization", bearer.as_str())];
        let answer = self.shop.ask(method, path, &headers, "").await;
        assert!(answer.status < 300, "{answer:?}");
    }
}
