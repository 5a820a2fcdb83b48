//! What a service that uses Steadfast says of itself: `why-503`, the problem body, `/health/`, `/ready/` and `/why503/`.

use crate::collect::{Collected, Job};

/// Looks, and says what it found and what it could not look at.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let _ = job;
    Collected::default()
}
