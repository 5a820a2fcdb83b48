//! Drives a pursuit: one timer, and a task for what outlives its request.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use deadpool::managed::Object;
use deadpool_redis::{
    PoolError as DriverError,
    redis::{self, RedisError},
};
use steadfast_core::{
    Deadline, Failure, PoolDriver, PoolEnd, PoolFuture, PoolGate, PoolLease, PoolMeaning,
    PoolPursuit, PoolStep,
};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use super::sessions::{Session, Sessions};
use crate::{
    classify::{classify, closed},
    clock,
    probe::is_broken,
};

/// The connections of a pool.
pub(super) struct Connections {
    pub(super) sessions: Arc<Sessions>,
    pub(super) gate: Arc<PoolGate>,
}

impl PoolDriver for Connections {
    type Connection = Session;
    type Error = DriverError;

    fn connect(&self) -> PoolFuture<Result<Session, DriverError>> {
        // deadpool tests idle connections, and not new ones; and the driver opens one that a
        // full or loading server will not serve without a word.
        let is_doubtful = self.idle() == 0 || self.gate.has_trouble(clock::now());
        let sessions = Arc::clone(&self.sessions);
        Box::pin(async move {
            let mut session = sessions.take().await?;
            if is_doubtful {
                let ping = redis::cmd("PING");
                if let Err(error) = ping.query_async::<()>(&mut *session).await {
                    // It is closed, and not given back.
                    drop(Object::take(session));
                    return Err(DriverError::Backend(error));
                }
            }
            Ok(session)
        })
    }

    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>> {
        let sessions = Arc::clone(&self.sessions);
        Box::pin(async move { sessions.ask(until).await })
    }

    fn idle(&self) -> u32 {
        let pool = &self.sessions.pool;
        let status = pool.status();
        // What is being opened counts as in use there, and not as part of the pool, so the
        // idle ones are more than that if any is.
        let idle = if status.available > 0 || status.size == 0 {
            status.available
        } else {
            pool.retain(|_, _| true).retained
        };
        u32::try_from(idle).unwrap_or(u32::MAX)
    }

    fn in_use(&self) -> u32 {
        let status = self.sessions.pool.status();
        u32::try_from(status.size.saturating_sub(status.available)).unwrap_or(u32::MAX)
    }

    fn meaning(&self, error: &DriverError) -> PoolMeaning {
        match error {
            DriverError::Timeout(_) => PoolMeaning::Silence,
            DriverError::Backend(error) => meaning(error),
            DriverError::Closed
            | DriverError::NoRuntimeSpecified
            | DriverError::PostCreateHook(_) => PoolMeaning::Other,
        }
    }

    fn give_back(self: Arc<Self>, connection: Session, lease: PoolLease) {
        // It is back when it is dropped.
        drop(connection);
        lease.give_back(clock::now());
    }
}

/// Says what an error of a new or tested connection means.
fn meaning(error: &RedisError) -> PoolMeaning {
    if error.is_timeout() {
        return PoolMeaning::Silence;
    }
    PoolMeaning::Failure(if is_broken(error) {
        closed("the server")
    } else {
        classify(error)
    })
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
