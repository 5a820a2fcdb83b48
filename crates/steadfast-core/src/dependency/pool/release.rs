//! A connection on its way back to the pool.
//!
//! A query that was abandoned runs on in the server, so its connection is not free before it
//! has ended, and its place is taken until then. But a driver may also be silent because the
//! server has gone, or because it opens a new connection for one that was broken (sqlx does
//! for `min_connections`, for up to five minutes). Then the place stands for nothing, and
//! keeping it tells everybody that all connections are in use, where none can be had. So a
//! release that takes longer than a connect may is asked about, as every other silence.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    PoolDriver, PoolFuture, PoolLease, PoolStep,
    server_probe::{Finding, ServerProbe},
};
use crate::dependency::check::FailureClass;

/// How long a connection may take to come back. Past this it is closed, so that a path which
/// died without a word does not keep it for ever; longer than any query that is meant to run
/// for a request, and than the time after which a hold is reported.
pub const RELEASE_MAX: Duration = Duration::from_secs(30);

/// A connection on its way back, and its place, which is free when it has arrived, or when
/// it turns out that the server gives no connection.
#[must_use = "a release that is dropped closes its connection"]
pub struct PoolRelease<D: PoolDriver> {
    driver: Arc<D>,
    back: PoolFuture<()>,
    /// `None` once the place is free.
    lease: Option<PoolLease>,
    probe: ServerProbe,
    until: Instant,
}

impl<D: PoolDriver> PoolRelease<D> {
    /// Begins with what the driver does to take the connection back.
    pub fn new(driver: Arc<D>, mut lease: PoolLease, back: PoolFuture<()>, now: Instant) -> Self {
        let usual = lease.gate().settings().connect_max;
        lease.begin_release();
        Self {
            driver,
            back,
            lease: Some(lease),
            probe: ServerProbe::new(now, now + usual, now + 2 * usual),
            until: now + RELEASE_MAX,
        }
    }

    fn free(&mut self, now: Instant) {
        if let Some(lease) = self.lease.take() {
            lease.give_back(now);
        }
    }
}

impl<D: PoolDriver> PoolStep for PoolRelease<D> {
    type Output = ();

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if now >= self.until || self.back.as_mut().poll(cx).is_ready() {
            self.free(now);
            return Poll::Ready(());
        }
        while let Some(lease) = &mut self.lease {
            match self.probe.poll(&*self.driver, lease, cx, now) {
                // A server without room for more has said nothing of those that it gave.
                Poll::Ready(Finding::Heard(failure) | Finding::Asked(failure))
                    if failure.class() == FailureClass::RefusedByServer => {}
                // The connection may come back yet, when the server does.
                Poll::Ready(_) => self.free(now),
                Poll::Pending => break,
            }
        }
        Poll::Pending
    }

    fn wake_at(&self) -> Option<Instant> {
        let late = self.lease.as_ref().and(self.probe.wake_at());
        Some(late.map_or(self.until, |late| late.min(self.until)))
    }
}

impl<D: PoolDriver> fmt::Debug for PoolRelease<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolRelease")
            .field("lease", &self.lease)
            .finish_non_exhaustive()
    }
}
