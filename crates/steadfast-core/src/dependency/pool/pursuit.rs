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
//! - It ends with its request, by its deadline or a drop, and the driver's work does not:
//!   cut half-way, that would cost the pool a connection for each request that is cancelled
//!   or in a hurry. [`PoolPursuit::outlive`] hands the work on, which then goes to its own
//!   end and gives the connection back.
//!
//! Until its first poll it is nobody: one that was made and forgotten has no place.

use std::{
    fmt,
    future::Future,
    panic::Location,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use super::{
    PoolEntry, PoolGate, PoolLease, PoolSilence, PoolTicket,
    work::{End, PoolRest, Work},
};
use crate::{
    CallFailure, CallOutcome, CallPermit, Deadline, DependencyState, Failure, FailureClass,
    Refusal, sync::stripe,
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

    /// Gives a connection back that nobody wants any more, and then its place.
    fn give_back(self: Arc<Self>, connection: Self::Connection, lease: PoolLease);
}

/// What is polled with the time, and says when it wants to be polled again: an adapter needs
/// one timer and one loop for all of it.
pub trait PoolStep {
    /// What comes of it.
    type Output;

    /// Goes on until something has to be waited for.
    ///
    /// # Panics
    /// May panic if it is polled after it was ready.
    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<Self::Output>;

    /// Returns the moment at which it must be polled again, whatever happens before.
    fn wake_at(&self) -> Option<Instant>;
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
    gate: Arc<PoolGate>,
    /// When the request has no use for a connection any more.
    deadline: Option<Deadline>,
    place: &'static Location<'static>,
    random: u64,
    /// When it was polled first.
    since: Option<Instant>,
    stage: Stage<D>,
}

enum Stage<D: PoolDriver> {
    Idle,
    Waiting(PoolTicket),
    Working(Box<Work<D>>),
    /// The request has been refused at its deadline; the driver works on.
    Cut(Box<Work<D>>),
    Over,
}

impl<D: PoolDriver> PoolPursuit<D> {
    /// Makes the pursuit of a connection of the pool behind `gate`, on behalf of whoever is
    /// at `place`; it sets out when it is polled. `random` is uniform over `u64`; the
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
            stage: Stage::Idle,
        }
    }

    /// Says that the request has gone, or has been answered. Returns the work that should
    /// not be cut, if there is any: it is to be polled to its end, which comes when the
    /// longest connect is over, at the latest.
    #[must_use]
    pub fn outlive(self, now: Instant) -> Option<PoolRest<D>> {
        match self.stage {
            Stage::Waiting(ticket) => {
                ticket.leave(now);
                None
            }
            Stage::Working(work) | Stage::Cut(work) => Some(PoolRest::new(self.driver, work)),
            Stage::Idle | Stage::Over => None,
        }
    }

    fn set_out(&self, now: Instant) -> Result<Stage<D>, Refusal> {
        if let Some(refusal) = self.state.refusal(now) {
            return Err(refusal.entered());
        }
        match self.gate.enter(self.deadline, self.place, now) {
            PoolEntry::Lend(lease) => self.begin(lease, now),
            PoolEntry::Wait(ticket) => Ok(Stage::Waiting(ticket)),
            PoolEntry::Refuse(refusal) => Err(refusal),
        }
    }

    /// Has the driver begin its work, in a place of the pool.
    fn begin(&self, lease: PoolLease, now: Instant) -> Result<Stage<D>, Refusal> {
        if self.is_over(now) {
            return Err(self.cut(&lease, now, false, now));
        }
        let stripe = stripe::current();
        let state = Arc::clone(&self.state);
        let permit = match DependencyState::try_acquire(state, now, stripe, self.random) {
            Ok(permit) => permit,
            Err(refusal) => return Err(refusal.entered()),
        };
        let work = Work::new(lease, permit, self.driver.connect(), now);
        Ok(Stage::Working(Box::new(work)))
    }

    /// Whether the request has no use for a connection any more.
    fn is_over(&self, now: Instant) -> bool {
        self.deadline
            .is_some_and(|deadline| deadline.remaining(now).is_zero())
    }

    fn waited(&self, now: Instant) -> Duration {
        let since = self.since.unwrap_or(now);
        now.saturating_duration_since(since)
    }

    fn end(&self, work: Work<D>, end: End<D>, now: Instant) -> PoolEnd<D> {
        let Work {
            mut lease, permit, ..
        } = work;
        let waited = self.waited(now);
        Err(match end {
            End::Caught(connection) => {
                lease.connected(now);
                return Ok(PoolCatch {
                    connection,
                    lease,
                    permit,
                });
            }
            End::Failed(failure) => {
                let refusal = lease.failed(&failure, waited, now);
                permit.fail(failure.class().into(), &failure, now);
                PoolError::Refused(refusal)
            }
            End::Busy => {
                let busy = CallFailure::new(FailureClass::Saturated);
                permit.settle(CallOutcome::Failure(busy), now);
                let in_use = self.driver.in_use();
                PoolError::Refused(lease.refuse(PoolSilence::Busy { in_use }, waited, now))
            }
            End::Driver(error) => {
                permit.settle(CallOutcome::Neutral, now);
                PoolError::Driver(error)
            }
        })
    }

    /// Refuses the request at its own deadline, with a turn since `turn_at`.
    ///
    /// One that spent most of its time in the queue was refused by the queue, although its
    /// turn came in the end: that the server did not answer in what was left says nothing.
    fn cut(
        &self,
        lease: &PoolLease,
        turn_at: Instant,
        server_answers: bool,
        now: Instant,
    ) -> Refusal {
        let (queued, worked) = (self.waited(turn_at), now.saturating_duration_since(turn_at));
        let why = if server_answers || queued > worked {
            let in_use = self.driver.in_use();
            PoolSilence::Busy { in_use }
        } else {
            PoolSilence::Cut
        };
        lease.refuse(why, self.waited(now), now)
    }
}

impl<D: PoolDriver> PoolStep for PoolPursuit<D> {
    type Output = PoolEnd<D>;

    fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<PoolEnd<D>> {
        self.since.get_or_insert(now);
        loop {
            let next = match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Idle => self.set_out(now),
                Stage::Waiting(mut ticket) => match ticket.poll_lease(cx, now) {
                    Poll::Ready(lease) => self.begin(lease, now),
                    Poll::Pending if ticket.until().remaining(now).is_zero() => {
                        Err(ticket.refuse(now))
                    }
                    Poll::Pending => {
                        self.stage = Stage::Waiting(ticket);
                        return Poll::Pending;
                    }
                },
                Stage::Working(mut work) => match work.poll(&*self.driver, cx, now) {
                    Poll::Ready(end) => return Poll::Ready(self.end(*work, end, now)),
                    Poll::Pending if self.is_over(now) => {
                        let answers = work.server_answers();
                        let refusal = self.cut(&work.lease, work.since(), answers, now);
                        self.stage = Stage::Cut(work);
                        return Poll::Ready(Err(PoolError::Refused(refusal)));
                    }
                    Poll::Pending => {
                        self.stage = Stage::Working(work);
                        return Poll::Pending;
                    }
                },
                Stage::Cut(_) | Stage::Over => panic!("a pursuit is not polled after it was ready"),
            };
            match next {
                Ok(stage) => self.stage = stage,
                Err(refusal) => return Poll::Ready(Err(PoolError::Refused(refusal))),
            }
        }
    }

    fn wake_at(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting(ticket) => Some(ticket.until().instant()),
            Stage::Working(work) => {
                let work = work.wake_at();
                let own = self.deadline.map(Deadline::instant);
                Some(own.map_or(work, |own| own.min(work)))
            }
            Stage::Idle | Stage::Cut(_) | Stage::Over => None,
        }
    }
}

impl<D: PoolDriver> fmt::Debug for PoolPursuit<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stage = match &self.stage {
            Stage::Idle => "idle",
            Stage::Waiting(_) => "waiting",
            Stage::Working(_) => "working",
            Stage::Cut(_) => "cut",
            Stage::Over => "over",
        };
        f.debug_struct("PoolPursuit")
            .field("pool", self.state.name())
            .field("stage", &stage)
            .finish_non_exhaustive()
    }
}
