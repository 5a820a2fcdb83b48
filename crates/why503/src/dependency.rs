//! What stands behind the service, by its own protocol: databases, caches, queues, upstreams, DNS and TLS.

use crate::collect::{Collected, Job};

/// Looks, and says what it found and what it could not look at.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let _ = job;
    Collected::default()
}
