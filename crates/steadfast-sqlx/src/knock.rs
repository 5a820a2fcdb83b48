//! Whether anybody opens the door, told without the driver.

use std::sync::Mutex;

pub(crate) use steadfast_pool::knock::{Endpoint, Knock};

use crate::classify;

/// Knocks, and notes in `seen` how far it has come, so that one who stops waiting knows.
pub(crate) async fn knock(endpoint: &Endpoint, seen: &Mutex<Knock>) {
    steadfast_pool::knock::knock(endpoint, seen, classify::io, None).await;
}
