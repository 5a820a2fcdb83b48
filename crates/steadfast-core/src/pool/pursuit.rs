//! The way of one request to a connection: its turn, the breaker's permit, the driver's
//! answer, and what is made of silence.
//!
//! A pursuit waits for nothing by itself. It is polled with the time, and says at which
//! moment it wants to be polled again at the latest, so an adapter needs one timer and one
//! loop around it, and a test needs neither.
//!
//! What it does that a driver's pool does not:
//! - It asks the breaker twice: before it lines up, so that nobody waits in vain for a
//!   server that is down, and with a permit when it has its turn.
//! - It waits [`KNOCK_AFTER`] for the pool's answer. Then one of those who wait asks the
//!   server itself, because a driver that retries a refused connect is silent until its
//!   time is over; the answer is told to all.
//! - It tells the breaker that a connection cannot be had, which is a failure, and not that
//!   all are in use, which is none. That there is one is told by whoever catches it.
//! - Dropped half-way, it must not cut the driver's work, which would close a connection
//!   for each request that is cancelled. [`PoolPursuit::outlive`] says that it goes on
//!   without its request, until the longest connect is over.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{KnockTurn, PoolEntry, PoolGate, PoolLease, PoolSilence, PoolTicket};
use crate::{
    CallFailure, CallOutcome, CallPermit, Deadline, DependencyState, Failure, FailureClass,
    Refusal, stripe,
};

/// How long a pool may take to answer before somebody asks the server itself. An idle
/// connection answers within a few round trips; a new one to a server far away takes
/// longer, and then one question more does no harm.
pub const KNOCK_AFTER: Duration = Duration::from_millis(100);

/// A future in a box, as drivers hand them out.
pub type PoolFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// How a pursuit ends.
pub type PoolEnd<D> =
    Result<PoolCatch<<D as PoolDriver>::Connection>, PoolError<<D as PoolDriver>::Error>>;

/// What a pursuit needs from the pool of a driver.
pub trait PoolDriver: Send + Sync + 'static {
    /// A connection of the pool.
    type Connection: Send + 'static;
    /// What the driver says when there is none.
    type Error: Send + 'static;

    /// Takes a connection from the pool: tests an idle one, or opens one.
    fn connect(&self) -> PoolFuture<Result<Self::Connection, Self::Error>>;

    /// Asks the server itself whether it gives a connection, and says why not, before
    /// `until`.
    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>>;

    /// Returns how many connections the driver's pool has lent or is taking back. It may be
    /// more than the gate has lent: a query that nobody waits for any more keeps its
    /// connection until it ends.
    fn in_use(&self) -> u32;

    /// Says what an error means.
    fn meaning(&self, error: &Self::Error) -> PoolMeaning;
}

/// What an error of a driver means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PoolMeaning {
    /// The server gives no connection.
    Failure(Failure),
    /// The driver's own time is over: nobody has answered.
    Silence,
    /// It says nothing about the server: the application has closed the pool.
    Other,
}

/// Why there is no connection.
#[derive(Debug)]
pub enum PoolError<E> {
    /// The request is refused, with the reason.
    Refused(Refusal),
    /// The driver's own error, which is no refusal.
    Driver(E),
}

/// A connection, its place in the pool, and the breaker's permit.
#[derive(Debug)]
#[must_use = "a permit that is not settled is no evidence"]
pub struct PoolCatch<C> {
    /// The connection; it has just answered.
    pub connection: C,
    /// Its place, to be given back with it.
    pub lease: PoolLease,
    /// To be settled: at once as a success by [`PoolCatch::settle`], or with what becomes of
    /// the first use by one who sees that.
    pub permit: CallPermit<Arc<DependencyState>>,
}

impl<C> PoolCatch<C> {
    /// Tells the breaker that there was a connection.
    pub fn settle(self, now: Instant) -> (C, PoolLease) {
        self.permit.settle(CallOutcome::Success, now);
        (self.connection, self.lease)
    }
}

/// One request on its way to a connection.
#[must_use = "a pursuit does nothing unless polled"]
pub struct PoolPursuit<D: PoolDriver> {
    driver: Arc<D>,
    state: Arc<DependencyState>,
    random: u64,
    since: Instant,
    /// When the request has no use for a connection any more.
    deadline: Option<Deadline>,
    stage: Stage<D>,
}

enum Stage<D: PoolDriver> {
    Refused(Refusal),
    Waiting(PoolTicket),
    Placed(PoolLease),
    Connecting(Box<Connecting<D>>),
    Over,
}

struct Connecting<D: PoolDriver> {
    lease: PoolLease,
    permit: CallPermit<Arc<DependencyState>>,
    answer: PoolFuture<Result<D::Connection, D::Error>>,
    since: Instant,
    until: Deadline,
    /// Whether the request's deadline is what ends it, and not the longest connect.
    is_cut: bool,
    asking: Option<(KnockTurn, PoolFuture<Result<(), Failure>>)>,
    server_answers: bool,
    /// Whether the time to ask has come; the next moment is then the end.
    is_late: bool,
}

impl<D: PoolDriver> PoolPursuit<D> {
    /// Sets out for a connection of the pool behind `gate`, on behalf of whoever is at
    /// `place`. `random` is uniform over `u64`; the breaker needs it.
    pub fn new(
        driver: Arc<D>,
        state: Arc<DependencyState>,
        gate: &Arc<PoolGate>,
        deadline: Option<Deadline>,
        place: &'static Location<'static>,
        now: Instant,
        random: u64,
    ) -> Self {
        let stage = match state.refusal(now) {
            Some(refusal) => Stage::Refused(refusal.entered()),
            None => match gate.enter(deadline, place, now) {
                PoolEntry::Lend(lease) => Stage::Placed(lease),
                PoolEntry::Wait(ticket) => Stage::Waiting(ticket),
                PoolEntry::Refuse(refusal) => Stage::Refused(refusal),
            },
        };
        Self {
            driver,
            state,
            random,
            since: now,
            deadline,
            stage,
        }
    }

    /// Goes on until something has to be waited for.
    ///
    /// # Panics
    /// If it is polled after it was ready.
    pub fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<PoolEnd<D>> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Refused(refusal) => return refused(refusal),
                Stage::Waiting(mut ticket) => match ticket.poll_lease(cx, now) {
                    Poll::Ready(lease) => self.stage = Stage::Placed(lease),
                    Poll::Pending if ticket.until().remaining(now).is_zero() => {
                        return refused(ticket.refuse(now));
                    }
                    Poll::Pending => {
                        self.stage = Stage::Waiting(ticket);
                        return Poll::Pending;
                    }
                },
                Stage::Placed(lease) => match self.connect(lease, now) {
                    Ok(connecting) => self.stage = Stage::Connecting(Box::new(connecting)),
                    Err(refusal) => return refused(refusal),
                },
                Stage::Connecting(mut connecting) => {
                    let waited = now.saturating_duration_since(self.since);
                    match connecting.poll(&*self.driver, cx, now) {
                        Poll::Ready(end) => {
                            return Poll::Ready(connecting.end(&*self.driver, end, waited, now));
                        }
                        Poll::Pending => {
                            self.stage = Stage::Connecting(connecting);
                            return Poll::Pending;
                        }
                    }
                }
                Stage::Over => panic!("a pursuit is not polled after it was ready"),
            }
        }
    }

    /// Returns the moment at which it must be polled again, whatever happens before.
    #[must_use]
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting(ticket) => Some(ticket.until().instant()),
            Stage::Connecting(connecting) => Some(connecting.wake_at()),
            Stage::Refused(_) | Stage::Placed(_) | Stage::Over => None,
        }
    }

    /// Says that the request has gone. Returns whether there is work that should not be
    /// cut: then it is to be polled to its end, and what it catches is to be given back.
    /// It ends when the longest connect is over, at the latest.
    #[must_use]
    pub fn outlive(&mut self, now: Instant) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Waiting(ticket) => ticket.leave(now),
            Stage::Connecting(mut connecting) => {
                let longest = connecting.lease.gate().settings().connect_max;
                connecting.until = Deadline::at(connecting.since + longest);
                connecting.is_cut = false;
                self.stage = Stage::Connecting(connecting);
                return true;
            }
            // A place that nothing has been done with is given back by its drop.
            Stage::Refused(_) | Stage::Placed(_) | Stage::Over => {}
        }
        false
    }

    fn connect(&self, lease: PoolLease, now: Instant) -> Result<Connecting<D>, Refusal> {
        let gone = |deadline: Deadline| deadline.remaining(now).is_zero();
        if self.deadline.is_some_and(gone) {
            // What the driver began for it would be cut at once, and its connection with it.
            let waited = now.saturating_duration_since(self.since);
            return Err(lease.refuse(PoolSilence::Cut, waited, now));
        }
        let stripe = stripe::current();
        let state = Arc::clone(&self.state);
        let permit = match DependencyState::try_acquire(state, now, stripe, self.random) {
            Ok(permit) => permit,
            Err(refusal) => {
                lease.give_back(now);
                return Err(refusal.entered());
            }
        };
        let own = Deadline::at(now + lease.gate().settings().connect_max);
        let until = self.deadline.map_or(own, |deadline| deadline.min(own));
        Ok(Connecting {
            lease,
            permit,
            answer: self.driver.connect(),
            since: now,
            until,
            is_cut: until < own,
            asking: None,
            server_answers: false,
            is_late: false,
        })
    }
}

/// How the wait for the driver's answer ended.
enum End<C, E> {
    Answer(Result<C, E>),
    Failure(Failure),
    Silence,
}

impl<D: PoolDriver> Connecting<D> {
    fn poll(
        &mut self,
        driver: &D,
        cx: &mut Context<'_>,
        now: Instant,
    ) -> Poll<End<D::Connection, D::Error>> {
        if let Poll::Ready(answer) = self.answer.as_mut().poll(cx) {
            return Poll::Ready(End::Answer(answer));
        }
        self.is_late = self.is_late || now >= self.since + KNOCK_AFTER;
        if self.is_late {
            if let Poll::Ready(failure) = self.ask(driver, cx, now) {
                return Poll::Ready(End::Failure(failure));
            }
        }
        if self.until.remaining(now).is_zero() {
            return Poll::Ready(End::Silence);
        }
        Poll::Pending
    }

    /// Finds out why the pool is silent: from another who asks, or by asking.
    fn ask(&mut self, driver: &D, cx: &mut Context<'_>, now: Instant) -> Poll<Failure> {
        if let Poll::Ready(failure) = self.lease.poll_trouble(cx) {
            return Poll::Ready(failure);
        }
        if self.asking.is_none() && !self.server_answers {
            // Everybody who waits hears the answer, so it has the time that the server has, and
            // not what one request has left: a short deadline is no evidence.
            let own = Deadline::at(self.since + self.lease.gate().settings().connect_max);
            let turn = self.lease.gate().knock();
            self.asking = turn.map(|turn| (turn, driver.ask(own.with_margin(now))));
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
                self.lease.gate().connect_worked();
                self.server_answers = true;
                self.asking = None;
                Poll::Pending
            }
            Err(failure) => {
                self.lease.gate().connect_failed(failure.clone(), now);
                self.asking = None;
                Poll::Ready(failure)
            }
        }
    }

    fn wake_at(&self) -> Instant {
        let until = self.until.instant();
        if self.is_late {
            until
        } else {
            until.min(self.since + KNOCK_AFTER)
        }
    }

    fn end(
        self,
        driver: &D,
        end: End<D::Connection, D::Error>,
        waited: Duration,
        now: Instant,
    ) -> PoolEnd<D> {
        let failure = match end {
            End::Answer(Ok(connection)) => {
                let mut lease = self.lease;
                lease.connected(now);
                return Ok(PoolCatch {
                    connection,
                    lease,
                    permit: self.permit,
                });
            }
            End::Answer(Err(error)) => match driver.meaning(&error) {
                PoolMeaning::Failure(failure) => Some(failure),
                PoolMeaning::Silence => None,
                PoolMeaning::Other => {
                    self.permit.settle(CallOutcome::Neutral, now);
                    self.lease.give_back(now);
                    return Err(PoolError::Driver(error));
                }
            },
            End::Failure(failure) => Some(failure),
            End::Silence => None,
        };
        Err(PoolError::Refused(match failure {
            Some(failure) => self.fail(&failure, waited, now),
            None => self.fall_silent(driver.in_use(), waited, now),
        }))
    }

    fn fail(self, failure: &Failure, waited: Duration, now: Instant) -> Refusal {
        let refusal = self.lease.failed(failure, waited, now);
        self.permit.fail(failure.class().into(), failure, now);
        refusal
    }

    fn fall_silent(self, in_use: u32, waited: Duration, now: Instant) -> Refusal {
        let elapsed = now.saturating_duration_since(self.since);
        if self.server_answers {
            let busy = CallFailure::new(FailureClass::Saturated);
            self.permit.settle(CallOutcome::Failure(busy), now);
            return self.lease.refuse(PoolSilence::Busy { in_use }, waited, now);
        }
        if self.is_cut {
            self.permit.settle(CallOutcome::Abandoned { elapsed }, now);
            return self.lease.refuse(PoolSilence::Cut, waited, now);
        }
        let ms = elapsed.as_millis();
        let text = format!("no connection of the pool has answered for {ms} ms");
        self.fail(&Failure::new(FailureClass::Timeout, text), waited, now)
    }
}

fn refused<C, E>(refusal: Refusal) -> Poll<Result<PoolCatch<C>, PoolError<E>>> {
    Poll::Ready(Err(PoolError::Refused(refusal)))
}

impl<D: PoolDriver> fmt::Debug for PoolPursuit<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Refused(_) => "refused",
            Stage::Waiting(_) => "waiting",
            Stage::Placed(_) => "placed",
            Stage::Connecting(_) => "connecting",
            Stage::Over => "over",
        };
        f.debug_struct("PoolPursuit")
            .field("pool", self.state.name())
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
