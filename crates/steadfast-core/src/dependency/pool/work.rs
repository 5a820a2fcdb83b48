//! What the driver does in one place of the pool: a connection is tested, or opened.
//!
//! It belongs to a request ([`PoolPursuit`](super::PoolPursuit)) until that goes or is
//! refused at its deadline, and to nobody afterwards ([`PoolRest`]). Either way it ends by
//! its own time, the longest connect, and what comes of it is told to the breaker: a short
//! deadline cuts the wait of one request, and says nothing about the server.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    KNOCK_AFTER, PoolDriver, PoolFuture, PoolLease, PoolMeaning, PoolStep, inquiry::Inquiry,
};
use crate::{CallFailure, CallOutcome, CallPermit, DependencyState, Failure, FailureClass};

/// The work, with its place and the breaker's permit.
pub(super) struct Work<D: PoolDriver> {
    pub(super) lease: PoolLease,
    pub(super) permit: CallPermit<Arc<DependencyState>>,
    answer: PoolFuture<Result<D::Connection, D::Error>>,
    since: Instant,
    until: Instant,
    inquiry: Inquiry,
}

/// How it ends.
pub(super) enum End<D: PoolDriver> {
    Caught(D::Connection),
    Failed(Failure),
    /// The pool is silent, but the server answers: others have the connections.
    Busy,
    /// An error that says nothing about the server.
    Driver(D::Error),
}

impl<D: PoolDriver> Work<D> {
    pub(super) fn new(
        lease: PoolLease,
        permit: CallPermit<Arc<DependencyState>>,
        answer: PoolFuture<Result<D::Connection, D::Error>>,
        now: Instant,
    ) -> Self {
        let until = now + lease.gate().settings().connect_max;
        Self {
            lease,
            permit,
            answer,
            since: now,
            until,
            inquiry: Inquiry::new(now + KNOCK_AFTER, until),
        }
    }

    pub(super) fn poll(&mut self, driver: &D, cx: &mut Context<'_>, now: Instant) -> Poll<End<D>> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(cx) {
            return Poll::Ready(match answer {
                Ok(connection) => End::Caught(connection),
                Err(error) => match driver.meaning(&error) {
                    PoolMeaning::Failure(failure) => End::Failed(failure),
                    PoolMeaning::Silence => self.silence(now),
                    PoolMeaning::Other => End::Driver(error),
                },
            });
        }
        if let Poll::Ready(failure) = self.inquiry.poll(driver, &self.lease, cx, now) {
            return Poll::Ready(End::Failed(failure));
        }
        if now >= self.until {
            return Poll::Ready(self.silence(now));
        }
        Poll::Pending
    }

    /// Returns when it began.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Whether the server answers others meanwhile.
    pub(super) const fn server_answers(&self) -> bool {
        self.inquiry.server_answers()
    }

    pub(super) fn wake_at(&self) -> Instant {
        let late = self.inquiry.wake_at();
        late.map_or(self.until, |late| late.min(self.until))
    }

    fn silence(&self, now: Instant) -> End<D> {
        if self.server_answers() {
            return End::Busy;
        }
        let ms = now.saturating_duration_since(self.since).as_millis();
        let text = format!("no connection of the pool has answered for {ms} ms");
        End::Failed(Failure::new(FailureClass::Timeout, text))
    }
}

/// Work that goes on without its request: what comes of it is told, and a connection is
/// given back. There are never more of these than places, because each keeps its own.
#[must_use = "work that is dropped is cut, and costs the pool a connection"]
pub struct PoolRest<D: PoolDriver> {
    driver: Arc<D>,
    /// `None` once it has ended.
    work: Option<Box<Work<D>>>,
}

impl<D: PoolDriver> PoolRest<D> {
    pub(super) const fn new(driver: Arc<D>, work: Box<Work<D>>) -> Self {
        let work = Some(work);
        Self { driver, work }
    }
}

impl<D: PoolDriver> PoolStep for PoolRest<D> {
    type Output = ();

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let Some(work) = &mut self.work else {
            return Poll::Ready(());
        };
        let Poll::Ready(end) = work.poll(&*self.driver, cx, now) else {
            return Poll::Pending;
        };
        let Some(work) = self.work.take() else {
            return Poll::Ready(());
        };
        let Work {
            mut lease, permit, ..
        } = *work;
        match end {
            End::Caught(connection) => {
                permit.settle(CallOutcome::Success, now);
                lease.connected_for_nobody(now);
                Arc::clone(&self.driver).give_back(connection, lease);
            }
            End::Failed(failure) => {
                lease.gate().connect_failed(failure.clone(), now);
                permit.fail(failure.class().into(), &failure, now);
            }
            End::Busy => {
                let busy = CallFailure::new(FailureClass::Saturated);
                permit.settle(CallOutcome::Failure(busy), now);
            }
            End::Driver(_) => permit.settle(CallOutcome::Neutral, now),
        }
        Poll::Ready(())
    }

    fn wake_at(&self) -> Option<Instant> {
        self.work.as_ref().map(|work| work.wake_at())
    }
}

impl<D: PoolDriver> fmt::Debug for PoolRest<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolRest")
            .field("is_over", &self.work.is_none())
            .finish_non_exhaustive()
    }
}
