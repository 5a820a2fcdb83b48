//! Whether a server accepts connections, told without the driver.

use std::sync::Mutex;

pub(crate) use steadfast_pool::reach::{Endpoint, Reach};

use crate::classify;

/// Connects, and notes in `seen` how far it has come, so that one who stops waiting knows.
pub(crate) async fn reach(endpoint: &Endpoint, seen: &Mutex<Reach>) {
    steadfast_pool::reach::reach(endpoint, seen, classify::io, None).await;
}
