//! Who watches a session: how each query ends, and for how long it may be silent.
//!
//! That a connection was lent proves nothing: a proxy in front of a dead server lends them
//! gladly. So the breaker hears of each query, once: a success, a failure of the server, or
//! nothing, where the server has answered what it would have to anybody who asks so.
//!
//! A query may be silent for as long as its request listens, and for no longer than the
//! guard's setting. Rows that come make it a new silence, because a stream that goes on is
//! well however long it takes.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use steadfast_core::{
    CallOutcome, Deadline, Failure, FailureClass, Refusal, plumbing::CallTimedOut,
};
use tokio::time::{Sleep, sleep_until};

use super::{
    error,
    judged::Step,
    observer::{Observer, Permit},
};
use crate::{
    clock,
    heard::{Heard, Said},
};

/// Watches one session, one query after the other.
#[derive(Debug)]
pub(super) struct Watcher {
    observer: Arc<Observer>,
    /// Whether the connection was had to find out if the dependency is back: whatever is
    /// asked first decides it.
    is_probe: bool,
    /// Until when its holder has said that it will be silent.
    expected: Option<Instant>,
    /// Whether nobody should have this session after its holder.
    is_over: bool,
    /// Whether a transaction may have begun of which the driver does not know.
    is_unsure: bool,
    /// Whether its holder has said that it writes.
    writes: bool,
    /// Whether it was asked something that nobody waited for to the end.
    has_unanswered: bool,
    /// Which generation of the pool's sessions it is of.
    generation: u64,
}

/// Whose patience bounds a query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// The request's, until the first answer; afterwards the guard's setting.
    OfRequest,
    /// The guard's setting: what must not be left half-way although its request has gone.
    OfServer,
}

impl Watcher {
    pub(super) fn new(observer: Arc<Observer>) -> Self {
        Self {
            generation: observer.generation(),
            observer,
            is_probe: false,
            expected: None,
            is_over: false,
            is_unsure: false,
            writes: false,
            has_unanswered: false,
        }
    }

    /// Takes the permit with which the connection was had, and gives it back: that there was
    /// a connection is no success, and who asks the server on it asks for a permit too, be
    /// it a query or a call around one.
    pub(super) fn acquired(&mut self, permit: Permit) {
        self.is_probe = permit.is_probe();
        permit.hand_back();
    }

    /// Says that what follows is not seen. For one who decides whether the dependency is back,
    /// that there was a connection is then all that will be known.
    pub(super) fn looks_away(&mut self) {
        if !std::mem::take(&mut self.is_probe) {
            return;
        }
        if let Some(probe) = self.observer.permit().filter(Permit::is_probe) {
            probe.succeed(clock::now());
        }
    }

    /// Expects to be silent for so long.
    pub(super) fn expect_up_to(&mut self, hold: Duration, now: Instant) {
        self.expected = Some(Deadline::after(now, hold).instant());
    }

    /// Whether the session is to be closed instead of given back.
    pub(super) fn is_over(&self) -> bool {
        self.is_over || self.is_unsure || self.generation < self.observer.generation()
    }

    /// Whether the server may still work on something that nobody waits for. What has to come
    /// to its own end, a commit, is none.
    pub(super) const fn has_unanswered(&self) -> bool {
        self.has_unanswered
    }

    /// Says that what is asked writes: what succeeds shows that the server takes writes.
    pub(super) const fn set_writes(&mut self) {
        self.writes = true;
    }

    /// Says whether a transaction may have begun of which the driver does not know.
    pub(super) const fn set_unsure(&mut self, is_unsure: bool) {
        self.is_unsure = is_unsure;
    }

    /// Begins to watch one query.
    pub(super) fn watch(&mut self, patience: Patience) -> Watch<'_> {
        self.is_probe = false;
        self.has_unanswered = patience == Patience::OfRequest;
        let permit = self.observer.permit();
        Watch {
            permit,
            // Read here, because a stream may be polled outside of its request.
            deadline: match patience {
                Patience::OfRequest => Deadline::current(),
                Patience::OfServer => None,
            },
            watcher: self,
            since: None,
            is_moving: false,
            has_row: false,
            timer: None,
        }
    }
}

/// Watches one query. Dropped before its end, the query was abandoned.
#[derive(Debug)]
pub(super) struct Watch<'s> {
    watcher: &'s mut Watcher,
    permit: Option<Permit>,
    deadline: Option<Deadline>,
    /// Since when it is silent; from its first wait on.
    since: Option<Instant>,
    /// Whether something came.
    is_moving: bool,
    /// Whether the statement that is being answered has returned a row.
    has_row: bool,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Watch<'_> {
    /// Says that something came and that there may be more.
    pub(super) fn moved(&mut self, step: Step) {
        match step {
            Step::Row => self.has_row = true,
            Step::End { touched_rows } => {
                // A statement that counts rows and returns none has changed them.
                if touched_rows && !self.has_row {
                    self.watcher.observer.state.note_writable(clock::now());
                }
                self.has_row = false;
            }
        }
        if self.deadline.is_some() || !self.is_moving {
            // Who gets rows has been answered: the request's own deadline cuts its handler.
            self.deadline = None;
            self.is_moving = true;
            if let Some(permit) = &mut self.permit {
                permit.answered(clock::now());
            }
        }
        self.since = None;
    }

    /// Waits until the query has been silent for too long, and says for how long it might.
    pub(super) fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Duration> {
        let now = clock::now();
        let since = *self.since.get_or_insert(now);
        let until = self.until(since);
        let bound = until.saturating_duration_since(since);
        if now >= until {
            return Poll::Ready(bound);
        }
        let timer = match &mut self.timer {
            Some(timer) => {
                if timer.deadline() != until.into() {
                    timer.as_mut().reset(until.into());
                }
                timer
            }
            None => self.timer.insert(Box::pin(sleep_until(until.into()))),
        };
        timer.as_mut().poll(cx).map(|()| bound)
    }

    fn until(&self, since: Instant) -> Instant {
        let usual = since + self.watcher.observer.silence_max;
        if let Some(expected) = self.watcher.expected {
            return usual.max(expected);
        }
        let deadline = self.deadline.map(Deadline::instant);
        deadline.map_or(usual, |deadline| deadline.min(usual))
    }

    /// Ends well.
    pub(super) fn succeeded(&mut self) {
        let now = clock::now();
        self.watcher.has_unanswered = false;
        if self.watcher.writes {
            self.watcher.observer.state.note_writable(now);
        }
        if let Some(permit) = self.permit.take() {
            permit.succeed(now);
        }
    }

    /// Ends with an error, and returns what the caller is told.
    pub(super) fn failed(&mut self, error: sqlx::Error) -> sqlx::Error {
        let now = clock::now();
        self.watcher.has_unanswered = false;
        let Heard { said, ends_session } = Heard::of(&error);
        self.watcher.is_over |= ends_session;
        let permit = self.permit.take();
        let failure = match said {
            Said::Nothing => {
                settle(permit, CallOutcome::Neutral, now);
                return error;
            }
            Said::Slow => {
                settle(permit, CallOutcome::Slow, now);
                return error;
            }
            Said::ReadOnly { failure, by_role } => {
                // It has answered, and those who read are served.
                settle(permit, CallOutcome::Success, now);
                let refusal = self.watcher.observer.read_only(&failure, by_role, now);
                return explained(refusal, error);
            }
            Said::FileFailure(failure)
                if self.watcher.writes || self.watcher.observer.state.has_served_lately(now) =>
            {
                // A file that cannot be written, or no journal beside it: reads go on.
                settle(permit, CallOutcome::Neutral, now);
                let refusal = self.watcher.observer.read_only(&failure, false, now);
                return explained(refusal, error);
            }
            Said::FileFailure(failure) | Said::Failure(failure) => failure,
        };
        self.fail(permit, &failure, now);
        self.explain(error, failure.class(), now)
    }

    /// Ends because it was silent for so long, and returns what the caller is told.
    ///
    /// The query still runs in the server, so the session is of no use before it has ended:
    /// the test on its way back to the pool waits for that, and closes it if that takes long.
    pub(super) fn cut(&mut self, after: Duration) -> sqlx::Error {
        let now = clock::now();
        let late = CallTimedOut::new(self.watcher.observer.state.name().clone(), after);
        let permit = self.permit.take();
        if after < self.watcher.observer.silence_max {
            // One short deadline cannot tell a server that hangs from a caller in a hurry.
            settle(permit, CallOutcome::Abandoned { elapsed: after }, now);
        } else {
            let failure = Failure::new(FailureClass::Timeout, late.to_string());
            self.fail(permit, &failure, now);
        }
        self.explain(error::late(late), FailureClass::Timeout, now)
    }

    fn fail(&self, permit: Option<Permit>, failure: &Failure, now: Instant) {
        match permit {
            Some(permit) => permit.fail_inside(failure.class().into(), failure, now),
            // The breaker has its verdict; whoever reads it wants the latest words.
            None => {
                let state = &self.watcher.observer.state;
                state.note_failure(failure.class(), failure, now);
            }
        }
    }

    /// Adds the refusal that explains an error, once what is behind it is known.
    fn explain(&self, error: sqlx::Error, class: FailureClass, now: Instant) -> sqlx::Error {
        let state = &self.watcher.observer.state;
        explained(state.explanation_of(class, now), error)
    }
}

fn explained(refusal: Option<Refusal>, said: sqlx::Error) -> sqlx::Error {
    match refusal {
        Some(refusal) => error::explained(refusal.entered(), said),
        None => said,
    }
}

fn settle(permit: Option<Permit>, outcome: CallOutcome, now: Instant) {
    if let Some(permit) = permit {
        permit.settle(outcome, now);
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            let now = clock::now();
            let elapsed = permit.waited(now);
            permit.settle(CallOutcome::Abandoned { elapsed }, now);
        }
    }
}
