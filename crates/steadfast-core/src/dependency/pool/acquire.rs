//! Acquires a connection for one request: its turn, the breaker's permit, the driver's
//! answer, and what is made of silence.
//!
//! An acquire waits for nothing by itself. It is polled with the time, and says at which
//! moment it wants to be polled again at the latest, so an adapter needs one timer and one
//! loop around it, and a test needs neither.
//!
//! What it does that a driver's pool does not:
//! - It waits for a new connection and for one that comes back at the same time, in the place
//!   of the queue in which it came. A connect that is slow or fails sends it back to wait, and
//!   the driver's attempt goes on for whoever needs it then.
//! - It asks the breaker twice: before it lines up, so that nobody waits in vain for a
//!   server that is down, and with a permit when it has its turn.
//! - It waits for as long as the driver's pool would, while waiting may help, and no longer
//!   (`patience.rs`): a connect that is under way is no failure, and a pool to which nothing comes
//!   back is not waited for.
//! - It waits [`PROBE_AFTER`](super::PROBE_AFTER) for the pool's answer, or twice as long as tests
//!   of idle connections have taken lately where that is longer. Then one of those who wait asks the
//!   server itself, because a driver that retries a refused connect is silent until its
//!   time is over; the answer is told to all. A server that was there a moment ago may be on
//!   its way back, and is waited for while the driver goes on (`restart.rs`).
//! - It tells the breaker that a connection cannot be had, which is a failure while none
//!   works, and not that all are in use, which is none. That there is one is told by whoever
//!   gets it.
//! - It ends with its request, by its deadline or a drop, and the driver's attempt does not:
//!   cut half-way, that would cost the pool a connection for each request that is cancelled
//!   or in a hurry. [`PoolAcquire::detach`] hands the attempt on, which then goes to its own
//!   end and gives the connection back.
//!
//! Until its first poll it is nobody: one that was made and forgotten has no place.

mod give_up;
mod restart;

use std::{
    fmt,
    panic::Location,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    PoolGate, PoolLease, PoolTicket,
    attempt::{Attempt, Event, Permit, is_answer, settle},
    detached::PoolDetached,
    driver::{PoolAcquired, PoolDriver, PoolEnd, PoolError, PoolStep},
    ticket::Start,
};
use crate::{
    dependency::{
        DependencyState,
        breaker::CallOutcome,
        check::{FailureClass, failure::Failure},
    },
    refusal::Refusal,
    request::{deadline::Deadline, spent::Spent},
    sync::stripe,
};

/// Most that the driver does at a time for one request: a new connection, and an idle one that
/// turns out to be late, and one more. Whatever is late beyond that is not one connection.
const ATTEMPTS_MAX: usize = 3;

/// Acquires a connection for one request.
#[must_use = "an acquire does nothing unless polled"]
pub struct PoolAcquire<D: PoolDriver> {
    driver: Arc<D>,
    state: Arc<DependencyState>,
    gate: Arc<PoolGate>,
    /// When the request has no use for a connection any more.
    deadline: Option<Deadline>,
    place: &'static Location<'static>,
    random: u64,
    /// When it was polled first.
    since: Option<Instant>,
    /// Where it came; `None` before and after.
    ticket: Option<PoolTicket>,
    /// What the driver does for it: as a rule once, or twice if that takes long.
    attempts: Vec<Attempt<D>>,
    /// The breaker's, while the driver works or the connection is not handed over yet.
    permit: Option<Permit>,
    /// Whether an idle connection did not answer it.
    has_tried_idle: bool,
    /// What it has heard of a server that may be on its way back, and until when it waits that
    /// out.
    restart: Option<(Instant, Failure)>,
    /// Until when it waits, if nothing happens.
    patient_until: Option<Instant>,
    is_over: bool,
}

impl<D: PoolDriver> PoolAcquire<D> {
    /// Makes the acquire of a connection of the pool behind `gate`, on behalf of whoever is
    /// at `place`; it starts when it is polled. `random` is uniform over `u64`; the
    /// breaker needs it.
    pub fn new(
        driver: Arc<D>,
        state: Arc<DependencyState>,
        gate: Arc<PoolGate>,
        deadline: Option<Deadline>,
        place: &'static Location<'static>,
        random: u64,
    ) -> Self {
        Self {
            driver,
            state,
            gate,
            deadline,
            place,
            random,
            since: None,
            ticket: None,
            attempts: Vec::new(),
            permit: None,
            has_tried_idle: false,
            restart: None,
            patient_until: None,
            is_over: false,
        }
    }

    /// Says that the request has gone, or has been answered. Returns the attempts that
    /// should not be cut, if there are any: they are to be polled to their end.
    #[must_use]
    pub fn detach(mut self, now: Instant) -> Option<PoolDetached<D>> {
        if let Some(ticket) = self.ticket.take() {
            ticket.leave(now);
        }
        let attempts = std::mem::take(&mut self.attempts);
        (!attempts.is_empty()).then(|| {
            let permit = self.permit.take();
            PoolDetached::new(self.driver, self.state, self.gate, attempts, permit)
        })
    }

    fn start(&mut self, now: Instant) -> Result<(), Refusal> {
        if let Some(refusal) = self.state.refusal(now) {
            return Err(refusal.entered());
        }
        let idle = self.driver.idle();
        let (ticket, start) = self.gate.admit(idle, self.deadline, self.place, now)?;
        self.ticket = Some(ticket);
        start.map_or(Ok(()), |start| self.attempt(start, now))
    }

    /// Has the driver attempt it, in a place of the pool.
    fn attempt(&mut self, start: Start, now: Instant) -> Result<(), Refusal> {
        if self.is_past_deadline(now) {
            return Err(self.cut(now));
        }
        if self.permit.is_none() {
            self.permit = Some(self.ask_breaker(now)?);
        }
        self.attempts.push(Attempt::new(start, &*self.driver, now));
        Ok(())
    }

    fn ask_breaker(&self, now: Instant) -> Result<Permit, Refusal> {
        let state = Arc::clone(&self.state);
        let permit = DependencyState::try_acquire(state, now, stripe::current(), self.random);
        permit.map_err(Refusal::entered)
    }

    /// Whether the request has no use for a connection any more.
    fn is_past_deadline(&self, now: Instant) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline.remaining(now).is_zero())
    }

    fn waited(&self, now: Instant) -> Duration {
        let since = self.since.unwrap_or(now);
        now.saturating_duration_since(since)
    }

    /// Looks at all that the driver does; is ready with the end, if it has come.
    fn poll_attempts(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<PoolEnd<D>> {
        let mut at = 0;
        while let Some(attempt) = self.attempts.get_mut(at) {
            let Poll::Ready(event) = attempt.poll(&*self.driver, &self.state, cx, now) else {
                at += 1;
                continue;
            };
            let ends = match event {
                Event::Acquired(connection) => {
                    let lease = self.attempts.swap_remove(at).lease;
                    return Poll::Ready(self.acquired(connection, lease, now));
                }
                Event::Driver(error) => {
                    self.attempts.swap_remove(at).lease.fell_through(now);
                    self.settle_neutral(now);
                    return Poll::Ready(Err(PoolError::Driver(error)));
                }
                Event::Failed(failure) => self.failed(at, &failure, now),
                Event::Heard(failure) if is_answer(&failure) => self.heard(at, failure, now),
                Event::Heard(silence) => {
                    let others = self.gate.works(now) || self.has_idle_to_try();
                    (!others).then(|| self.refuse(&silence, now))
                }
                Event::Late => {
                    self.has_tried_idle |= !attempt.is_new;
                    if self.attempts.len() < ATTEMPTS_MAX {
                        self.stand(now);
                    }
                    None
                }
                Event::Silent => {
                    let (silence, since) = (attempt.silence(now), attempt.since());
                    let answers = attempt.is_busy(&self.driver);
                    self.was_silent(&silence, since, answers, now)
                }
                Event::Over => {
                    let (silence, since) = (attempt.silence(now), attempt.since());
                    let answers = attempt.is_busy(&self.driver);
                    let was_silent = attempt.is_silent();
                    self.abandon(at, now);
                    match was_silent {
                        true => None,
                        false => self.was_silent(&silence, since, answers, now),
                    }
                }
            };
            if let Some(refusal) = ends {
                return Poll::Ready(Err(PoolError::Refused(refusal)));
            }
        }
        Poll::Pending
    }

    fn acquired(
        &mut self,
        connection: D::Connection,
        mut lease: PoolLease,
        now: Instant,
    ) -> PoolEnd<D> {
        let permit = match self.permit.take() {
            Some(permit) => Ok(permit),
            None => self.ask_breaker(now),
        };
        match permit {
            Ok(permit) => {
                lease.connected(now);
                if let Some(ticket) = self.ticket.take() {
                    ticket.served(now);
                }
                Ok(PoolAcquired {
                    connection,
                    lease,
                    permit,
                })
            }
            Err(refusal) => {
                lease.connected_for_nobody(now);
                Arc::clone(&self.driver).give_back(connection, lease);
                Err(PoolError::Refused(refusal))
            }
        }
    }

    /// The attempt has come to nothing. Whoever asked waits for a connection that works, if any
    /// may; else it is refused, and that is evidence.
    fn failed(&mut self, at: usize, failure: &Failure, now: Instant) -> Option<Refusal> {
        self.abandon(at, now);
        if self.may_yet_be_served(failure.class(), now) {
            if self.attempts.is_empty() {
                self.settle_neutral(now);
            }
            return None;
        }
        Some(self.refuse(failure, now))
    }

    /// Refuses because no connection can be had, which is evidence.
    fn refuse(&mut self, failure: &Failure, now: Instant) -> Refusal {
        if let Some(permit) = self.permit.take() {
            settle(permit, failure, false, now);
        }
        self.gate.refuse_failed(failure, self.waited(now), now)
    }

    fn has_idle_to_try(&self) -> bool {
        !self.has_tried_idle && self.driver.idle() > 0
    }

    /// Whether there is something to wait for.
    fn may_yet_be_served(&self, class: FailureClass, now: Instant) -> bool {
        let is_full = class == FailureClass::RefusedByServer;
        self.attempts.iter().any(|attempt| !attempt.is_silent())
            || self.has_idle_to_try()
            || self.gate.works(now)
            // A server without room for all may have had it for the others, and has it for those
            // that are on their way back.
            || is_full && (self.gate.opening(now) > 0 || self.gate.has_lent())
    }

    /// An attempt has been silent for as long as it may.
    fn was_silent(
        &mut self,
        silence: &Failure,
        since: Instant,
        answers: bool,
        now: Instant,
    ) -> Option<Refusal> {
        if answers || self.restart.is_some() {
            return None;
        }
        if self.may_yet_be_served(silence.class(), now) {
            self.settle_neutral(now);
            return None;
        }
        self.gate
            .note_failed(silence, since, self.driver.idle(), now);
        for attempt in &mut self.attempts {
            attempt.lease.heard();
        }
        Some(self.refuse(silence, now))
    }

    /// Gives back the place of an attempt that has come to nothing, and stands without one.
    fn abandon(&mut self, at: usize, now: Instant) {
        let attempt = self.attempts.swap_remove(at);
        self.has_tried_idle |= !attempt.is_new;
        attempt.lease.fell_through(now);
        self.stand(now);
    }

    /// Stands in the queue, with a place of its own or without.
    fn stand(&mut self, now: Instant) {
        let is_served = !self.attempts.is_empty();
        if let Some(ticket) = &mut self.ticket {
            ticket.stand(is_served, now);
        }
    }

    fn settle_neutral(&mut self, now: Instant) {
        if let Some(permit) = self.permit.take() {
            permit.settle(CallOutcome::Neutral, now);
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Start> {
        match &mut self.ticket {
            Some(ticket) => ticket.poll_start(self.driver.idle(), cx, now),
            None => Poll::Pending,
        }
    }

    fn go_on(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<PoolEnd<D>> {
        let refused = |refusal| Poll::Ready(Err(PoolError::Refused(refusal)));
        if self.since.is_none() {
            self.since = Some(now);
            if let Err(refusal) = self.start(now) {
                return refused(refusal);
            }
        }
        loop {
            if let Poll::Ready(end) = self.poll_attempts(cx, now) {
                return Poll::Ready(end);
            }
            if let Some(refusal) = self.is_no_restart(now) {
                return refused(refusal);
            }
            match self.poll_turn(cx, now) {
                Poll::Ready(start) => {
                    if let Err(refusal) = self.attempt(start, now) {
                        return refused(refusal);
                    }
                }
                Poll::Pending if self.is_patience_over(now) => return refused(self.give_up(now)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }
}

impl<D: PoolDriver> PoolStep for PoolAcquire<D> {
    type Output = PoolEnd<D>;

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<PoolEnd<D>> {
        assert!(!self.is_over, "an acquire is not polled after it was ready");
        let end = self.go_on(cx, now);
        if end.is_pending() {
            Spent::waits_for(self.state.name());
        } else {
            self.is_over = true;
            // A refusal ends the wait, and is counted as one.
            if let Some(ticket) = self.ticket.take() {
                ticket.refused(now);
            }
        }
        end
    }

    fn wake_at(&self) -> Option<Instant> {
        if self.is_over {
            return None;
        }
        let attempts = self.attempts.iter().map(Attempt::wake_at);
        let ticket = self.ticket.as_ref();
        let look = ticket.and_then(PoolTicket::look_at);
        let has_turn = self.attempts.iter().any(|attempt| !attempt.is_silent());
        let until = self.patient_until.filter(|_| !has_turn);
        let own = self.deadline.filter(|_| ticket.is_some());
        let own = own.map(Deadline::instant);
        let restart = self.restart.as_ref().map(|(until, _)| *until);
        attempts
            .chain(look)
            .chain(until)
            .chain(own)
            .chain(restart)
            .min()
    }
}

impl<D: PoolDriver> fmt::Debug for PoolAcquire<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PoolAcquire")
            .field("pool", self.state.name())
            .field("has_started", &self.since.is_some())
            .field("attempts", &self.attempts.len())
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
