//! The one place of this program that reads the clock.

use std::time::Instant;

/// Returns the moment.
#[expect(
    clippy::disallowed_methods,
    reason = "a benchmark is the one place whose business is the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Returns the seconds since a moment.
pub(crate) fn secs_since(then: Instant) -> f64 {
    now().saturating_duration_since(then).as_secs_f64()
}
