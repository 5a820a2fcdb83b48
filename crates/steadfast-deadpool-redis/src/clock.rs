//! The one place that reads the clock.

use std::time::Instant;

/// Returns the moment, on tokio's clock, so that a test can pause it.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
