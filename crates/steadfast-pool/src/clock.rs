//! The one place that reads the clock.

use std::time::Instant;

/// Returns the moment, on tokio's clock, so that a test can pause it.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}
