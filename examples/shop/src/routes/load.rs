//! Requests that cost something: `/report` a connection, `/work` time, `/spin` a CPU.

use std::{hint, sync::Arc, time::Duration};

use axum::extract::State;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use crate::{
    app::Shop,
    problem::{Failure, Problem, Query},
};

const WAIT_MS_MAX: u64 = 60_000;
const SPIN_MS_MAX: u64 = 10_000;

const fn default_ms() -> u64 {
    100
}

/// `?ms=N`; 100 without it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Length {
    #[serde(default = "default_ms")]
    ms: u64,
}

impl Length {
    fn within(&self, max: u64) -> Result<Duration, Problem> {
        if self.ms > max {
            return Err(Problem::unprocessable(format!(
                "ms {}; allowed is 0 to {max}",
                self.ms
            )));
        }
        Ok(Duration::from_millis(self.ms))
    }
}

/// What it took.
#[derive(Debug, Serialize)]
pub(crate) struct Took {
    ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    orders: Option<i64>,
}

pub(crate) async fn report(
    State(shop): State<Arc<Shop>>,
    Query(length): Query<Length>,
) -> Result<axum::Json<Took>, Failure> {
    let wait = length.within(WAIT_MS_MAX)?;
    shop.orders_db.require()?;
    let orders = shop.store.report(wait).await?;
    Ok(axum::Json(Took {
        ms: length.ms,
        orders: Some(orders),
    }))
}

pub(crate) async fn work(Query(length): Query<Length>) -> Result<axum::Json<Took>, Problem> {
    tokio::time::sleep(length.within(WAIT_MS_MAX)?).await;
    Ok(axum::Json(Took {
        ms: length.ms,
        orders: None,
    }))
}

/// It blocks a thread of the runtime on purpose: that is what too much work in a handler
/// does.
pub(crate) async fn spin(Query(length): Query<Length>) -> Result<axum::Json<Took>, Problem> {
    let until = Instant::now() + length.within(SPIN_MS_MAX)?;
    while Instant::now() < until {
        hint::spin_loop();
    }
    Ok(axum::Json(Took {
        ms: length.ms,
        orders: None,
    }))
}
