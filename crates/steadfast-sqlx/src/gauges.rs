//! What the pool and the server count.

use sqlx::{Database, Pool};
use steadfast_pool::counts::Counts;

/// Reads the pool's own numbers.
pub(crate) fn read<DB: Database>(pool: &Pool<DB>) -> Counts {
    let size = pool.size();
    // The two are not read in one step, so idle may have overtaken size.
    let idle = u32::try_from(pool.num_idle()).unwrap_or(u32::MAX).min(size);
    let max = pool.options().get_max_connections();
    Counts { size, idle, max }
}

/// What the server says about the pool's sessions.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sessions {
    /// How many there are.
    pub(crate) count: u64,
    /// How long ago the last of them did anything.
    pub(crate) quiet_secs: f64,
    /// How long the one that has done nothing for longest has done nothing.
    pub(crate) longest_secs: f64,
    /// What that one is at, in the server's words.
    pub(crate) longest_state: String,
}
