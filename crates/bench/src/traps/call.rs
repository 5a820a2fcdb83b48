//! A call whose end the trap decides, polled by hand: nothing here waits, so a trap says
//! exactly what happened in which order.

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
};

/// How a trap lets a call end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The dependency did its work.
    Good,
    /// The dependency failed.
    Bad,
    /// The dependency answered, and the answer says nothing about its health.
    NotFound,
    /// Nothing was free in the caller's own pool, and the dependency was never asked.
    OwnPool,
    /// The code of the call panicked.
    Panic,
}

/// What a call that ended without success was about, for the classifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Down,
    NotFound,
    OwnPool,
}

impl Fault {
    /// What every peer's classifier is told: only this is the dependency's failure.
    pub(crate) fn is_failure(self) -> bool {
        self == Self::Down
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Down => "the dependency is down",
            Self::NotFound => "not found",
            Self::OwnPool => "no connection is free",
        })
    }
}

/// What the caller sees in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Served,
    Failed,
    /// The breaker refused, and said so with a type of its own.
    Refused,
    Panicked,
}

/// The dependency's side of one call.
#[derive(Clone, Debug, Default)]
pub(crate) struct Script(Arc<Mutex<Progress>>);

#[derive(Debug, Default)]
struct Progress {
    reached: bool,
    end: Option<End>,
}

impl Script {
    /// The work that a breaker guards: it ends when the trap says so, and how.
    pub(crate) fn work(self) -> impl Future<Output = Result<(), Fault>> + Send + 'static {
        std::future::poll_fn(move |_| {
            let mut progress = self.progress();
            progress.reached = true;
            let end = progress.end;
            drop(progress);
            match end {
                None => Poll::Pending,
                Some(End::Good) => Poll::Ready(Ok(())),
                Some(End::Bad) => Poll::Ready(Err(Fault::Down)),
                Some(End::NotFound) => Poll::Ready(Err(Fault::NotFound)),
                Some(End::OwnPool) => Poll::Ready(Err(Fault::OwnPool)),
                // Unlike `panic!`, this does not print a message for each.
                Some(End::Panic) => resume_unwind(Box::new("the call panicked")),
            }
        })
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A call on its way, whatever its breaker makes of it.
pub(crate) type Flight = Pin<Box<dyn Future<Output = Answer>>>;

/// One call through a breaker. Dropping it is what a client does that goes away.
pub(crate) struct Call {
    script: Script,
    future: Flight,
    answer: Option<Answer>,
}

impl Call {
    /// Makes the call and polls it once, as its caller does before it waits.
    pub(crate) fn start(call: impl FnOnce(Script) -> Flight) -> Self {
        let script = Script::default();
        let mut call = Self {
            future: call(script.clone()),
            script,
            answer: None,
        };
        call.poll();
        call
    }

    /// Whether it got through to the dependency.
    pub(crate) fn reached(&self) -> bool {
        self.script.progress().reached
    }

    pub(crate) fn is_refused(&self) -> bool {
        self.answer == Some(Answer::Refused)
    }

    /// Lets the dependency end it so.
    pub(crate) fn end(mut self, end: End) -> Answer {
        self.script.progress().end = Some(end);
        self.poll();
        self.answer.expect("a call whose work has ended ends")
    }

    fn poll(&mut self) {
        if self.answer.is_some() {
            return;
        }
        let mut context = Context::from_waker(Waker::noop());
        let polled = catch_unwind(AssertUnwindSafe(|| self.future.as_mut().poll(&mut context)));
        self.answer = match polled {
            Ok(Poll::Pending) => None,
            Ok(Poll::Ready(answer)) => Some(answer),
            Err(_) => {
                // The stack of the panicking call is gone, and with it what it held.
                self.future = Box::pin(std::future::pending());
                Some(Answer::Panicked)
            }
        };
    }
}
