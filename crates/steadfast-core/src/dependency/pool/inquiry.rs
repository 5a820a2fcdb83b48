//! Why a driver is silent: from another who asks, or by asking.
//!
//! Only one at a time asks the server (see [`KnockTurn`]), and everybody who is late hears
//! the answer.

use std::{
    task::{Context, Poll},
    time::Instant,
};

use super::{KnockTurn, PoolDriver, PoolFuture, PoolLease};
use crate::{Deadline, Failure};

/// What is found out for one who has a place and hears nothing.
pub(super) struct Inquiry {
    late_at: Instant,
    until: Deadline,
    asking: Option<(KnockTurn, PoolFuture<Result<(), Failure>>)>,
    server_answers: bool,
    is_late: bool,
}

impl Inquiry {
    /// Asks at `late_at`, and wants to know well before `until`.
    ///
    /// Everybody who waits hears the answer, so that is the time which the server has, and
    /// not what one request has left: a short deadline is no evidence.
    pub(super) const fn new(late_at: Instant, until: Instant) -> Self {
        Self {
            late_at,
            until: Deadline::at(until),
            asking: None,
            server_answers: false,
            is_late: false,
        }
    }

    /// Whether the server was asked and has answered.
    pub(super) const fn server_answers(&self) -> bool {
        self.server_answers
    }

    /// Returns when it wants to be polled; `None` once it only waits for an answer.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        (!self.is_late).then_some(self.late_at)
    }

    /// Is ready when the server gives no connection.
    pub(super) fn poll<D: PoolDriver>(
        &mut self,
        driver: &D,
        lease: &PoolLease,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Failure> {
        self.is_late = self.is_late || now >= self.late_at;
        if !self.is_late {
            return Poll::Pending;
        }
        if let Poll::Ready(failure) = lease.poll_trouble(cx) {
            return Poll::Ready(failure);
        }
        if self.asking.is_none() && !self.server_answers {
            let turn = lease.gate().knock();
            self.asking = turn.map(|turn| (turn, driver.ask(self.until.with_margin(now))));
        }
        let Some((_, asking)) = &mut self.asking else {
            return Poll::Pending;
        };
        let Poll::Ready(answer) = asking.as_mut().poll(cx) else {
            return Poll::Pending;
        };
        // The news first, and then the end of the turn, so that nobody asks again for nothing.
        match answer {
            Ok(()) => {
                lease.gate().connect_worked();
                self.server_answers = true;
                self.asking = None;
                Poll::Pending
            }
            Err(failure) => {
                lease.gate().connect_failed(failure.clone(), now);
                self.asking = None;
                Poll::Ready(failure)
            }
        }
    }
}
