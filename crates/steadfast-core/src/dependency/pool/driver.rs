//! What a driver's pool must be able to do, and what it is asked through.

use std::{
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::PoolLease;
use crate::{
    dependency::{CallPermit, DependencyState, breaker::CallOutcome, check::failure::Failure},
    refusal::Refusal,
    request::deadline::Deadline,
};

/// How long a pool may take to answer before somebody asks the server itself. An idle
/// connection answers within a few round trips; a new one to a server far away takes
/// longer, and then one question more does no harm.
pub const PROBE_AFTER: Duration = Duration::from_millis(100);

/// A future in a box, as drivers hand them out.
pub type PoolFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// How an acquire ends.
pub type PoolEnd<D> =
    Result<PoolAcquired<<D as PoolDriver>::Connection>, PoolError<<D as PoolDriver>::Error>>;

/// What an acquire needs from the pool of a driver.
///
/// Open: the adapter of any pool implements it. What is asked here cannot be guessed, so nothing
/// has a default; whatever is added later has one.
pub trait PoolDriver: Send + Sync + 'static {
    /// A connection of the pool.
    type Connection: Send + 'static;
    /// What the driver says when there is none.
    type Error: Send + 'static;

    /// Takes a connection from the pool: tests an idle one, or opens one. It takes an idle
    /// one, if there is any, when it is polled first.
    fn connect(&self) -> PoolFuture<Result<Self::Connection, Self::Error>>;

    /// Asks the server itself whether it gives a connection, and says why not, before
    /// `until`.
    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>>;

    /// Returns how many connections lie idle in the driver's pool.
    fn idle(&self) -> u32;

    /// Returns how many connections the driver's pool has lent or is taking back. It may be
    /// more than the gate has lent: a query that nobody waits for any more keeps its
    /// connection until it ends.
    fn in_use(&self) -> u32;

    /// Says what an error means.
    fn meaning(&self, error: &Self::Error) -> PoolMeaning;

    /// Gives a connection back that nobody wants any more, and then its place.
    fn give_back(self: Arc<Self>, connection: Self::Connection, lease: PoolLease);
}

/// What is polled with the time, and says when it wants to be polled again: an adapter needs
/// one timer and one loop for all of it.
pub trait PoolStep {
    /// What comes of it.
    type Output;

    /// Goes on until something has to be waited for.
    ///
    /// # Panics
    /// May panic if it is polled after it was ready.
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Self::Output>;

    /// Returns the moment at which it must be polled again, whatever happens before.
    fn wake_at(&self) -> Option<Instant>;
}

/// What an error of a driver means.
///
/// Complete: a driver says one of these of each error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolMeaning {
    /// The server gives no connection.
    Failure(Failure),
    /// The driver's own time is over: nobody has answered.
    Silence,
    /// It says nothing about the server: the application has closed the pool.
    Other,
}

/// Why there is no connection.
///
/// Complete: whoever asks has to handle each.
#[derive(Debug)]
pub enum PoolError<E> {
    /// The request is refused, with the reason.
    Refused(Refusal),
    /// The driver's own error, which is no refusal.
    Driver(E),
}

/// A connection, its place in the pool, and the breaker's permit.
///
/// Complete: drivers make it.
#[derive(Debug)]
#[must_use = "a permit that is not settled is no evidence"]
pub struct PoolAcquired<C> {
    /// The connection; it has just answered.
    pub connection: C,
    /// Its place, to be given back with it.
    pub lease: PoolLease,
    /// To be settled: at once as a success by [`PoolAcquired::settle`], or with what becomes of
    /// the first use by one who sees that.
    pub permit: CallPermit<Arc<DependencyState>>,
}

impl<C> PoolAcquired<C> {
    /// Tells the breaker that there was a connection.
    pub fn settle(self, now: Instant) -> (C, PoolLease) {
        self.permit.settle(CallOutcome::Success, now);
        (self.connection, self.lease)
    }
}
