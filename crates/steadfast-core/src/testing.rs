//! What unit tests share: the one clock read of this crate.

use std::time::Instant;

/// Returns some moment to count from; tests add to it.
#[allow(
    clippy::disallowed_methods,
    reason = "an Instant can only be had from the clock; tests need one and never compare it with the next"
)]
pub(crate) fn origin() -> Instant {
    Instant::now()
}
