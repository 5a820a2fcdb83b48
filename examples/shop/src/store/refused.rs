//! What sqlx calls `PoolTimedOut`, told apart: every connection is in use, or none can be
//! made. Both are refusals with numbers, and not a 500.

use std::error::Error;

use steadfast::{DependencyDown, Evidence, FailureClass, Name, PoolExhausted, Refusal};
use tokio::time::Instant;

use super::{ACQUIRE_MAX, CONNECTIONS_MAX, Store, with_pool};

/// An error of the database, or the refusal that it amounts to. `?` into
/// [`steadfast::Error`] finds the refusal in it.
pub(crate) type StoreError = Box<dyn Error + Send + Sync>;

/// The dependency's name.
pub(crate) const ORDERS_DB: Name = Name::from_static("orders-db");

impl Store {
    pub(super) fn explained(&self, error: sqlx::Error) -> StoreError {
        if !matches!(error, sqlx::Error::PoolTimedOut) {
            return error.into();
        }
        let (size, idle) = with_pool!(self, pool => (pool.size(), pool.num_idle()));
        let in_use = size.saturating_sub(u32::try_from(idle).unwrap_or(u32::MAX));
        let evidence = if in_use >= CONNECTIONS_MAX {
            Evidence::PoolExhausted(PoolExhausted {
                dependency: ORDERS_DB,
                in_use,
                max: CONNECTIONS_MAX,
                waiting: 0,
                waited: ACQUIRE_MAX,
                class: FailureClass::Saturated,
                mean_hold: None,
                longest: None,
                last_error: None,
            })
        } else {
            let error =
                format!("no connection could be made; {in_use} of {CONNECTIONS_MAX} are in use");
            Evidence::DependencyDown(DependencyDown::new(
                ORDERS_DB,
                ACQUIRE_MAX,
                FailureClass::Unreachable,
                error,
            ))
        };
        // Whoever waited in vain need not come back sooner than they would have waited.
        let now = Instant::now().into_std();
        Refusal::new(ORDERS_DB, evidence, ACQUIRE_MAX, now)
            .entered()
            .into()
    }
}
