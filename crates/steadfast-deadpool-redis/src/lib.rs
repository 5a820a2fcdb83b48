//! Guards and checks for [`deadpool_redis`] pools that say *what* is wrong, and never wait in the pool.
//!
//! The obvious check, `pool.get()` and a PING, waits for ever by default: deadpool's own
//! wait, create and recycle timeouts are all `None`. It also waits in the queue that it
//! measures, so a busy service looks like a dead Redis. [`ping`] keeps one connection of
//! its own beside the pool (count two more per instance in `maxclients`), opened with the
//! pool's own settings, and reads the pool's gauges without touching it.
//!
//! [`ping`] needs nothing but the pool, in whose settings stands where the server is. So it
//! tells a server that hangs from one that is gone, and quotes what a full server says.
//! [`ping_url`] is told the address, for a pool that leads to another place.
//!
//! ```
//! use std::time::{Duration, Instant};
//! use deadpool_redis::{Config, Runtime};
//! use steadfast_core::{Check, CheckRun, Deadline, FailureClass};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Nobody listens on this port.
//! let pool = Config::from_url("redis://127.0.0.1:1/").create_pool(Some(Runtime::Tokio1))?;
//! let check = steadfast_deadpool_redis::ping(&pool);
//!
//! // Steadfast's scheduler does this every few seconds.
//! let run = CheckRun::new(Deadline::at(Instant::now() + Duration::from_secs(1)));
//! assert_eq!(check.run(run).await.class(), Some(FailureClass::Unreachable));
//! # Ok(())
//! # }
//! ```
//!
//! Without a wait timeout of deadpool's a request that finds the pool empty waits until
//! somebody gives a connection back, however long that is. A [`guard()`] waits no longer
//! than its request or in vain, and says why there is no connection.

mod classify;
mod gauges;
pub mod guard;
mod ping;
mod probe;
mod reach;
mod verdict;

use steadfast_pool::{clock, fresh};

pub use classify::classify;
pub use guard::{
    Acquire, Error, GuardedConnection, PoolGuard, PoolGuardBuilder, SILENCE_MAX_DEFAULT, Unguarded,
    guard,
};
pub use ping::{Ping, ping, ping_url};
pub use verdict::outcome;
