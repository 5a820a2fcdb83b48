//! Who listens, and how the process and the host fare.

use crate::collect::{Collected, Job};

/// Looks, and says what it found and what it could not look at.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let _ = job;
    Collected::default()
}
