//! Attempts that go on without their request: what comes of one is told, and a connection is
//! given back, so that the next who asks finds it.

use std::{
    fmt,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use super::{
    PoolDriver, PoolGate, PoolStep,
    attempt::{Attempt, Event, Permit, is_answer, settle, settle_busy},
};
use crate::dependency::{DependencyState, breaker::CallOutcome, check::failure::Failure};

/// Attempts that go on without their request. There are never more of these than places,
/// because each keeps its own.
#[must_use = "an attempt that is dropped is cut, and costs the pool a connection"]
pub struct PoolDetached<D: PoolDriver> {
    driver: Arc<D>,
    state: Arc<DependencyState>,
    gate: Arc<PoolGate>,
    attempts: Vec<Attempt<D>>,
    /// The request's, if it was not settled before it went.
    permit: Option<Permit>,
}

impl<D: PoolDriver> PoolDetached<D> {
    pub(super) const fn new(
        driver: Arc<D>,
        state: Arc<DependencyState>,
        gate: Arc<PoolGate>,
        attempts: Vec<Attempt<D>>,
        permit: Option<Permit>,
    ) -> Self {
        Self {
            driver,
            state,
            gate,
            attempts,
            permit,
        }
    }

    /// Goes on until this attempt waits; `false` once it has ended.
    fn go_on(&mut self, at: usize, cx: &mut Context<'_>, now: Instant) -> bool {
        while let Poll::Ready(event) = self.attempts[at].poll(&*self.driver, &self.state, cx, now) {
            match event {
                Event::Acquired(connection) => {
                    let mut attempt = self.attempts.swap_remove(at);
                    if let Some(permit) = self.permit.take() {
                        permit.settle(CallOutcome::Success, now);
                    }
                    attempt.lease.connected_for_nobody(now);
                    Arc::clone(&self.driver).give_back(connection, attempt.lease);
                    return false;
                }
                Event::Failed(failure) => return self.end(at, &failure, now),
                Event::Heard(failure) if is_answer(&failure) => {
                    return self.end(at, &failure, now);
                }
                Event::Heard(failure) => self.settle(&failure, now),
                Event::Driver(_) => {
                    if let Some(permit) = self.permit.take() {
                        permit.settle(CallOutcome::Neutral, now);
                    }
                    self.attempts.swap_remove(at).lease.fell_through(now);
                    return false;
                }
                Event::Late => {}
                Event::Silent => self.was_silent(at, now),
                Event::Over => {
                    self.was_silent(at, now);
                    self.attempts.swap_remove(at).lease.fell_through(now);
                    return false;
                }
            }
        }
        true
    }

    fn end(&mut self, at: usize, failure: &Failure, now: Instant) -> bool {
        self.settle(failure, now);
        self.attempts.swap_remove(at).lease.fell_through(now);
        false
    }

    fn settle(&mut self, failure: &Failure, now: Instant) {
        if let Some(permit) = self.permit.take() {
            settle(permit, failure, self.gate.works(now), now);
        }
    }

    fn was_silent(&mut self, at: usize, now: Instant) {
        if self.permit.is_none() {
            return;
        }
        let attempt = &mut self.attempts[at];
        if attempt.is_busy(&self.driver) {
            if let Some(permit) = self.permit.take() {
                settle_busy(permit, now);
            }
            return;
        }
        let silence = attempt.silence(now);
        if !self.gate.works(now) {
            let idle = self.driver.idle();
            self.gate.note_failed(&silence, attempt.since(), idle, now);
            attempt.lease.heard();
        }
        self.settle(&silence, now);
    }
}

impl<D: PoolDriver> PoolStep for PoolDetached<D> {
    type Output = ();

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        let mut at = 0;
        while at < self.attempts.len() {
            if self.go_on(at, cx, now) {
                at += 1;
            }
        }
        if self.attempts.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        self.attempts.iter().map(Attempt::wake_at).min()
    }
}

impl<D: PoolDriver> fmt::Debug for PoolDetached<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolDetached")
            .field("attempts", &self.attempts.len())
            .finish_non_exhaustive()
    }
}
