//! A driver that answers when the test says so.

use std::sync::Mutex;

use super::*;
use crate::{Deadline, DependencyState, Failure, Trip};

pub(super) const MS: Duration = Duration::from_millis(1);

/// What the driver says when there is no connection.
#[derive(Debug)]
pub(super) enum Fault {
    Down(Failure),
    TimedOut,
    Closed,
}

/// An answer that has come, or has not yet.
#[derive(Debug)]
pub(super) struct Answer<T>(Arc<Mutex<Option<T>>>);

impl<T> Answer<T> {
    fn ask() -> (Self, PoolFuture<T>)
    where
        T: Send + 'static,
    {
        let answer = Arc::new(Mutex::new(None));
        let asked = Arc::clone(&answer);
        let future = std::future::poll_fn(move |_| {
            let said = asked.lock().expect("no panic").take();
            said.map_or(Poll::Pending, Poll::Ready)
        });
        (Self(answer), Box::pin(future))
    }

    /// Answers; the test polls whoever waits.
    pub(super) fn say(&self, said: T) {
        *self.0.lock().expect("no panic") = Some(said);
    }

    /// Whether nobody waits for it any more.
    pub(super) fn is_cut(&self) -> bool {
        Arc::strong_count(&self.0) == 1
    }
}

/// One question about the server, and until when its answer is wanted.
pub(super) type Question = (Deadline, Answer<Result<(), Failure>>);

#[derive(Debug, Default)]
pub(super) struct Scripted {
    pub(super) idle: AtomicU32,
    /// How many it says that it has lent.
    pub(super) in_use: AtomicU32,
    pub(super) connects: Mutex<Vec<Answer<Result<u32, Fault>>>>,
    pub(super) questions: Mutex<Vec<Question>>,
    /// The connections that came back, with their places, which are taken until the end.
    pub(super) given_back: Mutex<Vec<(u32, PoolLease)>>,
}

impl PoolDriver for Scripted {
    type Connection = u32;
    type Error = Fault;

    fn connect(&self) -> PoolFuture<Result<u32, Fault>> {
        let (answer, future) = Answer::ask();
        self.connects.lock().expect("no panic").push(answer);
        future
    }

    fn ask(&self, until: Deadline) -> PoolFuture<Result<(), Failure>> {
        let (answer, future) = Answer::ask();
        self.questions
            .lock()
            .expect("no panic")
            .push((until, answer));
        future
    }

    fn idle(&self) -> u32 {
        self.idle.load(Ordering::Relaxed)
    }

    fn in_use(&self) -> u32 {
        self.in_use.load(Ordering::Relaxed)
    }

    fn meaning(&self, error: &Fault) -> PoolMeaning {
        match error {
            Fault::Down(failure) => PoolMeaning::Failure(failure.clone()),
            Fault::TimedOut => PoolMeaning::Silence,
            Fault::Closed => PoolMeaning::Other,
        }
    }

    fn give_back(self: Arc<Self>, connection: u32, lease: PoolLease) {
        let mut given_back = self.given_back.lock().expect("no panic");
        given_back.push((connection, lease));
    }
}

/// A pool; if nobody says otherwise of four, whose longest wait is two seconds and whose longest
/// connect is one.
pub(super) struct Pool {
    pub(super) driver: Arc<Scripted>,
    pub(super) state: Arc<DependencyState>,
    pub(super) gate: Arc<PoolGate>,
}

impl Pool {
    pub(super) fn new(now: Instant) -> Self {
        let settings = PoolSettings::new(4).wait_max(2 * SECOND);
        Self::with(&settings.connect_max(SECOND), now)
    }

    pub(super) fn with(settings: &PoolSettings, now: Instant) -> Self {
        let rules = Trip::default().build().expect("the defaults are valid");
        let name = Name::from_static("orders-db");
        Self {
            driver: Arc::default(),
            state: Arc::new(DependencyState::new(name, rules, 1, now)),
            gate: gate(settings, now),
        }
    }

    /// Begins to acquire, with this deadline if it has one.
    pub(super) fn acquire(&self, until: Option<Instant>) -> PoolAcquire<Scripted> {
        PoolAcquire::new(
            Arc::clone(&self.driver),
            Arc::clone(&self.state),
            Arc::clone(&self.gate),
            until.map(Deadline::at),
            Location::caller(),
            7,
        )
    }

    /// Answers the connect that was begun as this one.
    pub(super) fn connect(&self, nth: usize, answer: Result<u32, Fault>) {
        self.driver.connects.lock().expect("no panic")[nth].say(answer);
    }

    /// Answers the question that was asked as this one.
    pub(super) fn answer(&self, nth: usize, answer: Result<(), Failure>) {
        let questions = self.driver.questions.lock().expect("no panic");
        questions[nth].1.say(answer);
    }

    pub(super) fn connects(&self) -> usize {
        self.driver.connects.lock().expect("no panic").len()
    }

    pub(super) fn questions(&self) -> usize {
        self.driver.questions.lock().expect("no panic").len()
    }

    /// Returns how many places are taken, with a connection and without.
    pub(super) fn taken(&self, now: Instant) -> (u32, u32) {
        let seen = self.gate.snapshot(now);
        (seen.in_use, seen.connecting)
    }
}

pub(super) fn step<S: PoolStep>(step: &mut S, now: Instant) -> Poll<S::Output> {
    let waker = Waker::from(Arc::new(Bell::default()));
    step.poll(&mut Context::from_waker(&waker), now)
}

/// Polls what is expected to wait.
#[track_caller]
pub(super) fn waits<S: PoolStep>(it: &mut S, now: Instant) {
    assert!(step(it, now).is_pending());
}

/// Polls what is expected to be refused.
#[track_caller]
pub(super) fn is_refused(acquire: &mut PoolAcquire<Scripted>, now: Instant) -> Refusal {
    match step(acquire, now) {
        Poll::Ready(Err(PoolError::Refused(refusal))) => refusal,
        other => panic!("not refused: {other:?}"),
    }
}

/// Polls what is expected to have its connection.
#[track_caller]
pub(super) fn acquired(acquire: &mut PoolAcquire<Scripted>, now: Instant) -> PoolAcquired<u32> {
    match step(acquire, now) {
        Poll::Ready(Ok(acquired)) => acquired,
        other => panic!("not acquired: {other:?}"),
    }
}
