//! Drives an acquire: one timer, and a task for what outlives its request.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use steadfast_core::plumbing::{PoolAcquire, PoolDriver, PoolEnd, PoolStep};
use tokio::{
    runtime::Handle,
    time::{Sleep, sleep_until},
};

use crate::clock::now;

/// A step with a timer.
#[derive(Debug)]
#[must_use = "a step is taken only when this is polled"]
pub struct Timed<S> {
    step: S,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<S> Timed<S> {
    /// Begins with a step, which is taken when this is polled.
    pub const fn new(step: S) -> Self {
        Self { step, timer: None }
    }
}

impl<S: PoolStep + Unpin> Future for Timed<S> {
    type Output = S::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<S::Output> {
        let this = &mut *self;
        loop {
            if let Poll::Ready(end) = this.step.poll(cx, now()) {
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

/// An acquire with a timer, for as long as its request waits.
///
/// When that is over, by an answer, a deadline or a drop, the attempt that should not be cut
/// goes on as a task. There are never more of those than places in the pool, because each
/// keeps its place.
///
/// # Cancel safety
/// Dropped, it leaves the queue, and closes no connection.
#[must_use = "an acquire does nothing unless polled"]
pub struct Drive<D: PoolDriver>(Option<Timed<PoolAcquire<D>>>);

impl<D: PoolDriver> Drive<D> {
    /// Begins with an acquire, which starts when this is polled.
    pub const fn new(acquire: PoolAcquire<D>) -> Self {
        Self(Some(Timed::new(acquire)))
    }

    fn let_go(&mut self) {
        let Some(timed) = self.0.take() else { return };
        let Some(detached) = timed.step.detach(now()) else {
            return;
        };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(Timed::new(detached));
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
        let acquire = self.0.as_ref().map(|timed| &timed.step);
        f.debug_tuple("Drive").field(&acquire).finish()
    }
}
