//! The server probe: why a driver is silent, from another who asks, or by asking the server.
//!
//! Only one at a time asks the server (see [`ServerProbeTurn`]), and everybody who is late hears
//! the answer. Who only hears of a failure does not note it again: an outage that was seen
//! once would else be renewed by everybody who is told of it.

mod turn;

use std::{
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{PROBE_AFTER, PoolDriver, PoolFuture, PoolLease, lease::News};
use crate::{dependency::check::failure::Failure, request::deadline::Deadline};

pub use self::turn::ServerProbeTurn;

/// Longest time that the server needs for silence to be held against it: the first packet of
/// a connect that is lost is sent again after a second (RFC 6298), and a machine that is busy
/// takes some tenths of one to give each side its turn.
pub const FAIR_MAX: Duration = Duration::from_secs(1);

/// What is found out for one who has a place and hears nothing.
pub(super) struct ServerProbe {
    since: Instant,
    late_at: Instant,
    until: Deadline,
    asking: Option<(ServerProbeTurn, PoolFuture<Result<(), Failure>>)>,
    has_asked: bool,
    server_answers: bool,
    is_late: bool,
}

/// What was found out.
#[derive(Debug)]
pub(super) enum Finding {
    /// The server gives no connection, as others say.
    Heard(Failure),
    /// The same, as it said itself; the gate knows.
    Asked(Failure),
    /// Whoever waits is to make room.
    Evicted,
}

impl ServerProbe {
    /// Asks at `late_at` for one who waits since then, and wants to know well before `until`.
    ///
    /// Everybody who waits hears the answer, so that is the time which the server has, and
    /// not what one request has left: a short deadline is no evidence.
    pub(super) const fn new(since: Instant, late_at: Instant, until: Instant) -> Self {
        Self {
            since,
            late_at,
            until: Deadline::at(until),
            asking: None,
            has_asked: false,
            server_answers: false,
            is_late: false,
        }
    }

    /// Returns until when the server may answer. One whose turn to ask comes late asks for
    /// everybody all the same, so the server has [`FAIR_MAX`], or half of the whole time where
    /// that is shorter, whoever asks and however late.
    fn fair_until(&self, now: Instant) -> Deadline {
        let fair = (self.until.remaining(self.late_at) / 2).min(FAIR_MAX);
        self.until.with_margin(now).max(Deadline::at(now + fair))
    }

    /// Whether the server was asked and has answered.
    pub(super) const fn server_answers(&self) -> bool {
        self.server_answers
    }

    /// Whether it is late.
    pub(super) const fn is_late(&self) -> bool {
        self.is_late
    }

    /// Returns when it wants to be polled; `None` once it only waits for an answer.
    pub(super) fn wake_at(&self) -> Option<Instant> {
        (!self.is_late).then_some(self.late_at)
    }

    /// Is ready when something is found out that may end the wait.
    pub(super) fn poll<D: PoolDriver>(
        &mut self,
        driver: &D,
        lease: &mut PoolLease,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Finding> {
        self.is_late = self.is_late || now >= self.late_at;
        if !self.is_late {
            return Poll::Pending;
        }
        match lease.poll_news(self.since, !self.server_answers, cx) {
            Poll::Ready(News::Evicted) => return Poll::Ready(Finding::Evicted),
            Poll::Ready(News::Trouble(failure)) => {
                lease.heard();
                self.asking = None;
                return Poll::Ready(Finding::Heard(failure));
            }
            Poll::Ready(News::Answered) => {
                self.server_answers = true;
                self.asking = None;
                // Whatever else becomes known is wanted still.
                return self.poll(driver, lease, cx, now);
            }
            Poll::Pending => {}
        }
        let has_time = self.until.remaining(now) >= PROBE_AFTER;
        if self.asking.is_none() && !self.server_answers && !self.has_asked && has_time {
            let turn = lease.gate().probe_turn(now);
            let until = self.fair_until(now);
            self.asking = turn.map(|turn| (turn, driver.ask(until)));
        }
        let Some((turn, mut asking)) = self.asking.take() else {
            return Poll::Pending;
        };
        let Poll::Ready(answer) = asking.as_mut().poll(cx) else {
            self.asking = Some((turn, asking));
            return Poll::Pending;
        };
        self.has_asked = true;
        turn.end(answer.as_ref(), driver.idle(), now);
        match answer {
            Ok(()) => {
                self.server_answers = true;
                self.poll(driver, lease, cx, now)
            }
            Err(failure) => {
                lease.heard();
                Poll::Ready(Finding::Asked(failure))
            }
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    #[test]
    fn who_asks_late_leaves_the_server_half_of_the_time_all_the_same() {
        let start = origin();
        let ms = |ms| start + Duration::from_millis(ms);
        let probe = ServerProbe::new(start, ms(100), ms(1100));
        let until = |now| probe.fair_until(ms(now)).instant();
        assert_eq!(until(100), ms(1000));
        assert_eq!(until(1000), ms(1500));
        assert_eq!(until(2000), ms(2500));
    }
}
