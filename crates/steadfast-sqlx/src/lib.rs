//! Guards and checks for [`sqlx`] pools that say *what* is wrong.
//!
//! A pool that hands out no connection says `PoolTimedOut` for at least four different
//! things: the server is down, the server hangs, the server has no slot free, or every
//! connection is in use and all is well with the server. Each needs another answer from
//! the person who is woken up. [`ping`] tells them apart, and [`migrations`] says at
//! start whether the schema is the one that this build was made for.
//!
//! The obvious check, `timeout(1s, pool.acquire())`, is not used here for two reasons. It
//! waits in the queue that it measures, so a busy service looks dead; and a cancelled
//! `acquire` drops the connection that it had already taken, so the check itself closes
//! connections exactly when there are too few. [`ping`] keeps one connection of its own
//! beside the pool (count two more per instance in the server's limit), and reads the
//! pool's gauges without touching it.
//!
//! ```
//! # #[cfg(feature = "sqlite")]
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), sqlx::Error> {
//! use std::time::{Duration, Instant};
//! use steadfast_core::{Check, CheckRun, CheckStatus, Deadline};
//!
//! let pool = sqlx::SqlitePool::connect("sqlite::memory:").await?;
//! let check = steadfast_sqlx::ping(&pool);
//!
//! // Steadfast's scheduler does this every few seconds.
//! let run = CheckRun::new(Deadline::at(Instant::now() + Duration::from_secs(1)));
//! assert_eq!(check.run(run).await.status(), CheckStatus::Pass);
//! # Ok(())
//! # }
//! # #[cfg(not(feature = "sqlite"))]
//! # fn main() {}
//! ```
//!
//! What a request meets is the business of the [`guard()`]: it bounds the wait for a
//! connection, says why there is none, and judges every query, because it is an `Executor`.
//!
//! # Hazards
//! Behind a proxy that multiplexes sessions (PgBouncer) a pass says that the proxy and one
//! of its server connections work, and not that it has one to spare.

#![cfg_attr(
    not(any(feature = "postgres", feature = "mysql", feature = "sqlite")),
    allow(dead_code, reason = "without a database there is nobody who asks")
)]

mod classify;
mod driver;
mod gauges;
pub mod guard;
mod heard;
mod judge;
mod migrations;
mod ping;
mod probe;
mod reach;
mod version;

use steadfast_pool::{clock, fresh};

pub use classify::classify;
pub use driver::Driver;
pub use guard::{
    Error, GuardedConnection, GuardedSavepoint, GuardedSession, GuardedTransaction, PoolGuard,
    PoolGuardBuilder, SILENCE_MAX_DEFAULT, Unguarded, Writes, guard, underlying,
};
pub use heard::outcome;
pub use migrations::{Migrations, migrations};
pub use ping::{Ping, STUCK_AFTER, ping};
#[cfg(sqlx_08)]
pub use version::SqlSafeStr;
