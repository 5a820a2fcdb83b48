//! Drives a pursuit: one timer, and a task for what outlives its request.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use sqlx::Pool;
use steadfast_core::{
    Deadline, Failure, PoolDriver, PoolEnd, PoolFuture, PoolMeaning, PoolPursuit,
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use crate::{classify::classify, clock, driver::Driver, gauges::Gauges, probe};

/// How a connection is taken from the pool, with or without a transaction on it.
pub(super) type Take<C> = Box<dyn Fn() -> PoolFuture<sqlx::Result<C>> + Send + Sync>;

/// The connections of a pool.
pub(super) struct Connections<DB: Driver, C> {
    pool: Pool<DB>,
    take: Take<C>,
}

impl<DB: Driver, C> Connections<DB, C> {
    pub(super) fn new(pool: &Pool<DB>, take: Take<C>) -> Self {
        let pool = pool.clone();
        Self { pool, take }
    }
}

impl<DB: Driver, C: Send + 'static> PoolDriver for Connections<DB, C> {
    type Connection = C;
    type Error = sqlx::Error;

    fn connect(&self) -> PoolFuture<sqlx::Result<C>> {
        (self.take)()
    }

    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>> {
        Box::pin(probe::ask_beside(self.pool.clone(), until))
    }

    fn in_use(&self) -> u32 {
        Gauges::read(&self.pool).in_use()
    }

    fn meaning(&self, error: &sqlx::Error) -> PoolMeaning {
        match error {
            sqlx::Error::PoolTimedOut => PoolMeaning::Silence,
            sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
            | sqlx::Error::InvalidSavePointStatement => PoolMeaning::Other,
            error => PoolMeaning::Failure(classify(error)),
        }
    }
}

/// A pursuit with a timer.
///
/// Dropped half-way it goes on as a task, if it has work that should not be cut. There are
/// never more of those than places in the pool, because each keeps its place, and none
/// lasts longer than the longest connect.
pub(super) struct Drive<D: PoolDriver> {
    pursuit: Option<PoolPursuit<D>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Whether the request has gone. A task that is ended with its runtime must not begin
    /// another one.
    is_rest: bool,
}

impl<D: PoolDriver> Drive<D> {
    pub(super) const fn new(pursuit: PoolPursuit<D>) -> Self {
        Self {
            pursuit: Some(pursuit),
            timer: None,
            is_rest: false,
        }
    }
}

impl<D: PoolDriver> Future for Drive<D> {
    type Output = PoolEnd<D>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let pursuit = this
            .pursuit
            .as_mut()
            .expect("it is not polled after it was ready");
        loop {
            if let Poll::Ready(end) = pursuit.poll(cx, clock::now()) {
                this.pursuit = None;
                return Poll::Ready(end);
            }
            let Some(at) = pursuit.wake_at() else {
                return Poll::Pending;
            };
            let timer = match &mut this.timer {
                Some(timer) => {
                    timer.as_mut().reset(at.into());
                    timer
                }
                None => this.timer.insert(Box::pin(sleep_until(at.into()))),
            };
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl<D: PoolDriver> Drop for Drive<D> {
    fn drop(&mut self) {
        let Some(mut pursuit) = self.pursuit.take() else {
            return;
        };
        if self.is_rest || !pursuit.outlive(clock::now()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            let rest = Self {
                pursuit: Some(pursuit),
                timer: None,
                is_rest: true,
            };
            runtime.spawn(async move {
                if let Ok(caught) = rest.await {
                    // The connection goes back to the pool, and then its place.
                    drop(caught.settle(clock::now()));
                }
            });
        }
    }
}

impl<D: PoolDriver> fmt::Debug for Drive<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Drive").field(&self.pursuit).finish()
    }
}
