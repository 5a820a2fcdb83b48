//! What the driver does in one place of the pool: a connection is tested, or opened.
//!
//! It belongs to a request ([`PoolAcquire`](super::PoolAcquire)) until that has a connection,
//! goes or is refused, and to nobody afterwards ([`PoolDetached`](super::PoolDetached)). A connect that is slow goes on
//! either way: what it opens serves whoever waits then. A short deadline cuts the wait of one
//! request, and says nothing about the server.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    PROBE_AFTER, PoolDriver, PoolFuture, PoolLease, PoolMeaning,
    server_probe::{Finding, ServerProbe},
    ticket::Start,
};
use crate::dependency::{
    CallPermit, DependencyState,
    breaker::{CallFailure, CallOutcome},
    check::{FailureClass, failure::Failure},
};

/// How long a connect may go on for whoever may need it: as long as the pool of sqlx waits,
/// and longer than a connect takes that is only slow. What is silent for longer keeps a place
/// that a new attempt could have.
const OPEN_MAX: Duration = Duration::from_secs(30);

/// The breaker's permit.
pub(super) type Permit = CallPermit<Arc<DependencyState>>;

/// The attempt, with its place.
pub(super) struct Attempt<D: PoolDriver> {
    pub(super) lease: PoolLease,
    /// Whether a connection is opened, for all that was known.
    pub(super) is_new: bool,
    answer: PoolFuture<Result<D::Connection, D::Error>>,
    since: Instant,
    /// Until when it is not late at all.
    usual_until: Instant,
    silent_at: Instant,
    until: Instant,
    probe: ServerProbe,
    /// Whether somebody beside the gate had all that the driver's pool may have.
    is_full_elsewhere: bool,
    is_late: bool,
    is_silent: bool,
}

/// What comes of it.
pub(super) enum Event<D: PoolDriver> {
    /// There is a connection.
    Acquired(D::Connection),
    /// The driver says that there is none; the gate knows.
    Failed(Failure),
    /// Somebody found out that there is none, and the gate knows; the driver goes on.
    Heard(Failure),
    /// An error that says nothing about the server.
    Driver(D::Error),
    /// It takes longer than is usual; the driver goes on.
    Late,
    /// It takes longer than it may; the driver goes on.
    Silent,
    /// The time is over.
    Over,
}

impl<D: PoolDriver> Attempt<D> {
    pub(super) fn new(start: Start, driver: &D, now: Instant) -> Self {
        let Start { lease, is_new } = start;
        let is_full_elsewhere = lease.asks_driver(driver.in_use());
        let settings = lease.gate().settings();
        let connect_max = settings.connect_max;
        let open_max = settings.connect_slow_max.max(connect_max).max(OPEN_MAX);
        let late_at = now + lease.gate().late_after(is_new);
        let silent_at = now + connect_max;
        Self {
            lease,
            is_new,
            answer: driver.connect(),
            since: now,
            usual_until: silent_at,
            silent_at,
            until: now + open_max,
            // Whoever asks the server leaves it time to answer.
            probe: ServerProbe::new(now, late_at, silent_at.max(late_at + PROBE_AFTER)),
            is_full_elsewhere,
            is_late: false,
            is_silent: false,
        }
    }

    pub(super) fn poll(
        &mut self,
        driver: &D,
        state: &DependencyState,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<Event<D>> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(cx) {
            return Poll::Ready(match answer {
                Ok(connection) => {
                    if self.is_new {
                        state.note_session_opened(now);
                    }
                    Event::Acquired(connection)
                }
                Err(error) => match driver.meaning(&error) {
                    PoolMeaning::Failure(failure) => {
                        let idle = driver.idle();
                        let gate = self.lease.gate();
                        gate.note_failed(&failure, self.since, idle, now);
                        self.note_refused(state, &failure, idle, now);
                        Event::Failed(failure)
                    }
                    PoolMeaning::Silence => Event::Over,
                    PoolMeaning::Other => Event::Driver(error),
                },
            });
        }
        if now >= self.until {
            return Poll::Ready(Event::Over);
        }
        loop {
            match self.probe.poll(driver, &mut self.lease, cx, now) {
                // That others hear nothing either is no news, as long as that is no failure.
                Poll::Ready(Finding::Heard(failure) | Finding::Asked(failure))
                    if !is_answer(&failure) && self.may_be_slow(now) => {}
                Poll::Ready(Finding::Heard(failure)) => return Poll::Ready(Event::Heard(failure)),
                Poll::Ready(Finding::Asked(failure)) => {
                    self.note_refused(state, &failure, driver.idle(), now);
                    return Poll::Ready(Event::Heard(failure));
                }
                Poll::Ready(Finding::Evicted) => return Poll::Ready(Event::Over),
                Poll::Pending => break,
            }
        }
        if self.probe.is_late() && !std::mem::replace(&mut self.is_late, true) {
            return Poll::Ready(Event::Late);
        }
        if now >= self.usual_until && !self.is_silent {
            self.silent_at = self.since + self.patience();
            self.is_silent = now >= self.silent_at;
            if self.is_silent {
                return Poll::Ready(Event::Silent);
            }
        }
        Poll::Pending
    }

    /// Returns how long it may be silent. Only a connect may be slow, and only one that nothing
    /// was heard of: a server that answers others has let it wait.
    fn patience(&self) -> Duration {
        let gate = self.lease.gate();
        if self.is_new && !self.server_answers() {
            gate.connect_patience()
        } else {
            gate.settings().connect_max
        }
    }

    /// Whether it may take longer than is usual, and has time still.
    fn may_be_slow(&self, now: Instant) -> bool {
        let patience = self.patience();
        patience > self.lease.gate().settings().connect_max && now < self.since + patience
    }

    /// Tells the dependency of a session that was refused while others serve.
    fn note_refused(&self, state: &DependencyState, failure: &Failure, idle: u32, now: Instant) {
        let serving = self.lease.gate().serving(idle, now);
        if serving > 0 && is_answer(failure) {
            state.note_new_sessions_refused(failure.class(), failure, serving, now);
        }
    }

    /// Returns when it began.
    pub(super) const fn since(&self) -> Instant {
        self.since
    }

    /// Whether it has taken longer than it may.
    pub(super) const fn is_silent(&self) -> bool {
        self.is_silent
    }

    /// Whether the server answers others meanwhile.
    pub(super) const fn server_answers(&self) -> bool {
        self.probe.server_answers()
    }

    /// Whether it waits for a connection that somebody has, be it one who has not asked the
    /// gate: that nothing is heard says nothing about the server then.
    pub(super) fn is_busy(&self, driver: &D) -> bool {
        let size = self.lease.gate().settings().size;
        self.server_answers() || self.is_full_elsewhere && driver.in_use() >= size
    }

    pub(super) fn wake_at(&self) -> Instant {
        let end = if self.is_silent {
            self.until
        } else {
            self.silent_at.min(self.until)
        };
        let late = self.probe.wake_at();
        late.map_or(end, |late| late.min(end))
    }

    /// Says what it means that nothing was heard.
    pub(super) fn silence(&self, now: Instant) -> Failure {
        let ms = now.saturating_duration_since(self.since).as_millis();
        let text = format!("no connection of the pool has answered for {ms} ms");
        Failure::new(FailureClass::Timeout, text)
    }
}

/// Whether a failure is an answer: one that is only silence leaves open what a connect that
/// goes on will come to.
pub(super) fn is_answer(failure: &Failure) -> bool {
    !matches!(
        failure.class(),
        FailureClass::Timeout | FailureClass::Stuck | FailureClass::Saturated
    )
}

/// Tells the breaker that a connection could not be had, which is evidence only while none
/// works.
pub(super) fn settle(permit: Permit, failure: &Failure, works: bool, now: Instant) {
    if works {
        permit.settle(CallOutcome::Neutral, now);
    } else {
        permit.fail_inside(failure.class().into(), failure, now);
    }
}

/// Tells the breaker that others have the connections, which is no evidence.
pub(super) fn settle_busy(permit: Permit, now: Instant) {
    let busy = CallFailure::new(FailureClass::Saturated);
    permit.settle(CallOutcome::Failure(busy), now);
}
