//! Drives a pursuit: one timer, and a task for what outlives its request.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use sqlx::{Pool, SqlStr, pool::PoolConnection};
use steadfast_core::{
    Deadline, Failure, FailureClass, PoolDriver, PoolEnd, PoolFuture, PoolLease, PoolMeaning,
    PoolPursuit, PoolStep,
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use super::{GuardedSession, GuardedTransaction, observer::Observer, transaction::begin};
use crate::{classify::classify, clock, driver::Driver, gauges::Gauges, probe};

/// The connections of a pool.
pub(super) struct Connections<DB: Driver> {
    pub(super) pool: Pool<DB>,
    how: How,
    pub(super) observer: Arc<Observer>,
}

impl<DB: Driver> fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").finish_non_exhaustive()
    }
}

/// How a connection is wanted.
#[derive(Clone)]
pub(super) enum How {
    Bare,
    /// In a transaction that has begun, with this statement if there is one.
    Begun(Option<SqlStr>),
}

impl<DB: Driver> Connections<DB> {
    pub(super) fn new(pool: &Pool<DB>, how: How, observer: Arc<Observer>) -> Self {
        let pool = pool.clone();
        Self {
            pool,
            how,
            observer,
        }
    }
}

impl<DB: Driver> PoolDriver for Connections<DB> {
    type Connection = PoolConnection<DB>;
    type Error = Fault;

    fn connect(&self) -> PoolFuture<Result<PoolConnection<DB>, Fault>> {
        let acquired = self.pool.acquire();
        let how = self.how.clone();
        Box::pin(async move {
            let connection = acquired.await.map_err(Fault::Connect)?;
            match how {
                How::Bare => Ok(connection),
                How::Begun(statement) => begin(connection, statement).await.map_err(Fault::Begin),
            }
        })
    }

    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>> {
        Box::pin(probe::ask_beside(self.pool.clone(), until))
    }

    fn idle(&self) -> u32 {
        Gauges::read(&self.pool).idle
    }

    fn in_use(&self) -> u32 {
        Gauges::read(&self.pool).in_use()
    }

    fn meaning(&self, fault: &Fault) -> PoolMeaning {
        match fault {
            Fault::Connect(sqlx::Error::PoolTimedOut) => PoolMeaning::Silence,
            Fault::Connect(sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed)
            | Fault::Begin(
                sqlx::Error::WorkerCrashed
                | sqlx::Error::BeginFailed
                | sqlx::Error::InvalidSavePointStatement,
            ) => PoolMeaning::Other,
            Fault::Connect(error) => PoolMeaning::Failure(classify(error)),
            Fault::Begin(error) => begin_meaning(error),
        }
    }

    fn give_back(self: Arc<Self>, connection: PoolConnection<DB>, lease: PoolLease) {
        let is_begun = matches!(self.how, How::Begun(_));
        let session = GuardedSession::new(connection, lease, self);
        if is_begun {
            drop(GuardedTransaction::new(session));
        }
    }
}

/// An error of sqlx, by what was being done.
#[derive(Debug)]
pub(super) enum Fault {
    /// A connection was taken from the pool.
    Connect(sqlx::Error),
    /// A transaction began on it.
    Begin(sqlx::Error),
}

impl Fault {
    pub(super) fn into_error(self) -> sqlx::Error {
        match self {
            Self::Connect(error) | Self::Begin(error) => error,
        }
    }
}

/// A server that refuses the statement has answered: that is the caller's matter (a lock that
/// another writer has, a level that it does not know) and says nothing against the server,
/// unless it says that it is going away or coming up.
fn begin_meaning(error: &sqlx::Error) -> PoolMeaning {
    let failure = classify(error);
    let leaves = matches!(
        failure.class(),
        FailureClass::Unreachable | FailureClass::Loading
    );
    if matches!(error, sqlx::Error::Database(_)) && !leaves {
        return PoolMeaning::Other;
    }
    PoolMeaning::Failure(failure)
}

/// A step with a timer.
pub(super) struct Timed<S> {
    step: S,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    pub(super) const fn new(step: S) -> Self {
        Self { step, timer: None }
    }
}

impl<S: PoolStep + Unpin> Future for Timed<S> {
    type Output = S::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Output> {
        let this = &mut *self;
        loop {
            if let Poll::Ready(end) = this.step.poll(cx, clock::now()) {
                return Poll::Ready(end);
            }
            let Some(at) = this.step.wake_at() else {
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

/// A pursuit with a timer, for as long as its request waits.
///
/// When that is over, by an answer, a deadline or a drop, the work that should not be cut
/// goes on as a task. There are never more of those than places in the pool, because each
/// keeps its place, and none lasts longer than the longest connect.
pub(super) struct Drive<D: PoolDriver>(Option<Timed<PoolPursuit<D>>>);

impl<D: PoolDriver> Drive<D> {
    pub(super) const fn new(pursuit: PoolPursuit<D>) -> Self {
        Self(Some(Timed::new(pursuit)))
    }

    fn let_go(&mut self) {
        let Some(timed) = self.0.take() else { return };
        if let Some(rest) = timed.step.outlive(clock::now())
            && let Ok(runtime) = Handle::try_current()
        {
            runtime.spawn(Timed::new(rest));
        }
    }
}

impl<D: PoolDriver> Future for Drive<D> {
    type Output = PoolEnd<D>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let timed = self.0.as_mut();
        let timed = timed.expect("it is not polled after it was ready");
        let end = ready!(Pin::new(timed).poll(cx));
        self.let_go();
        Poll::Ready(end)
    }
}

impl<D: PoolDriver> Drop for Drive<D> {
    fn drop(&mut self) {
        self.let_go();
    }
}

impl<D: PoolDriver> fmt::Debug for Drive<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pursuit = self.0.as_ref().map(|timed| &timed.step);
        f.debug_tuple("Drive").field(&pursuit).finish()
    }
}
