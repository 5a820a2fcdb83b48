//! A request that runs until the test says so.

use std::sync::{
    Arc, Mutex,
    atomic::{AtomicUsize, Ordering},
    mpsc,
};

use axum::routing::{self, MethodRouter};

use crate::PATIENCE;

/// Ends requests that run. Dropped, it ends them all.
#[derive(Debug)]
pub struct Hold {
    release: mpsc::Sender<()>,
    entered: Arc<AtomicUsize>,
}

impl Hold {
    /// Ends one request, which answers `true`.
    ///
    /// # Panics
    /// If there is no such handler any more.
    pub fn release(&self) {
        self.release.send(()).expect("the handler is there");
    }

    /// How many requests have come.
    #[must_use]
    pub fn entered(&self) -> usize {
        self.entered.load(Ordering::Relaxed)
    }
}

/// Makes a handler whose requests run until they are released, one after the other, and
/// answer whether they were.
pub fn hold() -> (Hold, MethodRouter) {
    let (release, held) = mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let entered = Arc::new(AtomicUsize::new(0));
    let has_entered = Arc::clone(&entered);
    let handler = move || {
        let held = Arc::clone(&held);
        has_entered.fetch_add(1, Ordering::Relaxed);
        async move {
            let wait = move || {
                let held = held.lock().expect("no panic");
                held.recv_timeout(PATIENCE).is_ok()
            };
            let waited = tokio::task::spawn_blocking(wait).await;
            waited.unwrap_or(false).to_string()
        }
    };
    (Hold { release, entered }, routing::get(handler))
}
