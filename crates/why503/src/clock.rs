//! The one place that reads time, so that every other room is handed it.

use tokio::time::Instant;

/// This moment.
pub(crate) fn now() -> Instant {
    Instant::now()
}
