//! Writes that finish whether or not their client waits for them.

use std::{future::Future, panic, time::Duration};

use tokio_util::task::TaskTracker;

/// How long the last writes may take once nobody is served any more.
const LAST_WRITES_MAX: Duration = Duration::from_secs(3);

/// Runs writes on tasks of their own.
///
/// When a client leaves, axum drops the handler's future wherever it happens to wait. A
/// transaction must not be cut there: `Pool::begin` of sqlx 0.8.4 to 0.9.0, dropped at the
/// wrong moment on PostgreSQL, hands the connection back with its transaction still open,
/// and the next borrower's writes are rolled back with it. And a payment that was made and
/// not written down is worse than either. So the handler awaits a task instead, which goes
/// on without it.
///
/// There is no queue that could grow here: a task waits for a connection no longer than
/// the pool's own bound.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(TaskTracker);

impl Writes {
    /// Runs `write` to its end and returns what it made. A panic in it is the handler's.
    pub(crate) async fn finish<T: Send + 'static>(
        &self,
        write: impl Future<Output = T> + Send + 'static,
    ) -> T {
        match self.0.spawn(write).await {
            Ok(made) => made,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => panic::resume_unwind(panic),
                // Only the end of the runtime cancels it, and nobody waits any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Waits, within a bound, for the writes whose clients have left.
    pub(crate) async fn wait(&self) {
        self.0.close();
        if tokio::time::timeout(LAST_WRITES_MAX, self.0.wait())
            .await
            .is_err()
        {
            let left = self.0.len();
            tracing::warn!(left, "writes are cut, because they take too long");
        }
    }
}
