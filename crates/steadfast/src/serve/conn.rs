//! One connection, for those who share it: the socket's wrapper, the service, the
//! connection's task and the drain.
//!
//! They write into its [`State`]; the task reads when the next bound falls due, and the drain
//! reads what it has to cut. The lock is a connection's own and held for arithmetic only.

use std::{
    sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError},
    task::Waker,
    time::Instant,
};

use steadfast_core::Local;
use tokio::task::AbortHandle;

use super::{
    limits::Connections,
    slow::Slow,
    state::{Mode, Protocol, State, Why},
    unacknowledged::Ends,
};
use crate::{
    clock,
    drain::{DrainState, Stage, Tally},
    gate::shed::Shedder,
    instance::around::Around,
    probe::paths::Paths,
};

/// What the connection's task has to do at the moment that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    /// Poll it once more: a read returns EOF now.
    Poll,
    /// Say over HTTP/2 that the connection ends.
    Goaway,
    /// Drop it.
    Drop,
    /// Nothing; look again at the next moment.
    Nothing,
}

/// Which requests are probes, and where it is kept what became of them outside the guard.
#[derive(Debug)]
pub(super) struct Probes {
    pub(super) paths: Paths,
    pub(super) around: Arc<Around>,
}

#[derive(Debug)]
pub(super) struct Conn {
    pub(super) drain: Local<DrainState>,
    pub(super) limits: Connections,
    pub(super) slow: Arc<Slow>,
    /// What is looked at in answers to probes.
    pub(super) probes: Arc<Probes>,
    ends: Option<Ends>,
    /// Knows the classes of routes, and whether hasty clients are paced.
    pub(super) shedder: Shedder,
    /// Set once it has rested: hardly ever, and it is asked for on each read.
    has_rested: OnceLock<()>,
    /// Set once a read that finds nothing has to look at the state: hardly ever, and it is
    /// asked for on each.
    eventful: OnceLock<()>,
    state: Mutex<State>,
}

impl Conn {
    pub(super) fn new(
        drain: Local<DrainState>,
        limits: Connections,
        slow: Arc<Slow>,
        probes: Arc<Probes>,
        ends: Option<Ends>,
        shedder: Shedder,
        now: Instant,
    ) -> Arc<Self> {
        let state = Mutex::new(State::new(&limits, now));
        Arc::new(Self {
            drain,
            limits,
            slow,
            probes,
            ends,
            shedder,
            has_rested: OnceLock::new(),
            eventful: OnceLock::new(),
            state,
        })
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a read that finds nothing may have to end, to fail, or to be woken by others.
    pub(super) fn is_eventful(&self) -> bool {
        self.eventful.get().is_some()
    }

    pub(super) fn becomes_eventful(&self) {
        let _ = self.eventful.set(());
    }

    /// A request has ended, and was refused or not. A client that is refused again and again
    /// and does not wait is paced, unless the process leaves.
    pub(super) fn answered(&self, state: &mut State, refused: bool) {
        if !refused || !self.limits.pacing {
            state.haste.answered();
            return;
        }
        let now = clock::now();
        let Some(after) = state.haste.refused(now) else {
            return;
        };
        self.shedder.refused_again(after);
        if self.drain.is_leaving() {
            return;
        }
        let Some(pause) = self.shedder.pause() else {
            return;
        };
        // Not all at once again.
        let pause = pause.mul_f64(1.0 + PAUSE_SPREAD * (fastrand::f64() - 0.5));
        state.haste.rests(pause, now);
        let _ = self.has_rested.set(());
    }

    /// Whether the connection is not to be read yet. Its task is woken when it is.
    pub(super) fn is_resting(&self) -> bool {
        if self.has_rested.get().is_none() {
            return false;
        }
        self.state().is_resting(clock::now())
    }

    /// An answer said 101, or opened a tunnel.
    pub(super) fn upgrades(&self, slot: usize, now: Instant) {
        self.becomes_eventful();
        self.state().upgrades(slot, now);
    }

    /// Keeps the handle that can end the connection's task.
    pub(super) fn runs_as(&self, task: AbortHandle) {
        self.state().task = Some(task);
    }

    /// The connection's task has just polled hyper, and will look at the bounds at `armed`.
    /// Returns when it has to look earlier, if it has to.
    pub(super) fn polled(&self, armed: Instant, task: &Waker) -> Option<Instant> {
        let mut state = self.state();
        let next = state.next_due(&self.limits, &self.drain);
        let earlier = next.map(|it| it.0).filter(|at| *at < armed);
        state.looks_at(earlier.unwrap_or(armed), task);
        earlier
    }

    /// Returns what is due at this moment.
    pub(super) fn due(&self, now: Instant) -> Due {
        let is_due = |state: &State| {
            let next = state.next_due(&self.limits, &self.drain);
            next.filter(|(at, _)| *at <= now).map(|(_, next)| next)
        };
        let asks = is_due(&self.state()).is_some_and(|next| next.concerns_writes());
        // The kernel is asked without the lock.
        let unacknowledged = match &self.ends {
            Some(ends) if asks => ends.unacknowledged(),
            _ => None,
        };
        let (due, slow) = {
            let mut state = self.state();
            let Some(next) = is_due(&state) else {
                return Due::Nothing;
            };
            let taken = state.take(next, &self.limits, unacknowledged, now);
            if state.mode != Mode::Open {
                self.becomes_eventful();
            }
            taken
        };
        for (bound, path) in slow {
            self.slow.ended(bound, &path);
        }
        due
    }

    /// Returns since when it is idle, if it is and has not been asked to give way.
    pub(super) fn idle_since(&self) -> Option<Instant> {
        self.state().idle_since()
    }

    /// Makes room for others, if it is idle: by the same steps as when it has been for long.
    pub(super) fn gives_way(&self, now: Instant) {
        self.state().gives_way(now);
    }

    /// Follows the drain: from now on, other bounds hold.
    pub(super) fn follow(&self, stage: Stage, now: Instant) {
        let mut state = self.state();
        if stage != Stage::Serving {
            state.haste.goes_on(now);
        }
        match stage {
            Stage::LameDuck { since, until } if state.protocol == Protocol::Http2 => {
                // Spread over the lame duck, or over what is left of it for one that is new.
                let left = until.saturating_duration_since(since.max(now));
                let at = since.max(now) + left.mul_f64(fastrand::f64() * GOAWAY_SPREAD);
                state.goaway.at.get_or_insert(at);
            }
            Stage::Closing { since, .. } => {
                state.closing = Some(since);
                if state.protocol == Protocol::Http2 {
                    state.goaway.at = Some(now);
                }
            }
            _ => {}
        }
    }

    /// Writes down what this connection loses by being cut, and cuts it.
    pub(super) fn cut(&self, tally: &mut Tally, now: Instant) {
        let (task, streams, reader, writer) = {
            let mut state = self.state();
            state.write_down(tally, now);
            state.mode = Mode::Cut;
            self.becomes_eventful();
            let streams = state.slots.take_tasks();
            (
                state.task.take(),
                streams,
                state.reader.take(),
                state.writer.take(),
            )
        };
        task.iter().chain(&streams).for_each(AbortHandle::abort);
        reader.into_iter().chain(writer).for_each(Waker::wake);
    }

    /// Counts how the connection ended, if the process is leaving.
    pub(super) fn ended(&self, failed: bool) {
        if !self.drain.is_leaving() {
            return;
        }
        // The tally first: whoever cuts has it when it asks for the state, and in the other
        // order the two would wait for each other for good.
        let mut tally = self.drain.tally();
        let state = self.state();
        if state.mode == Mode::Cut {
            // Counted by whoever cut it.
            return;
        }
        let closed = &mut tally.closed;
        let count = match state.why {
            _ if state.upgraded.is_some() => &mut closed.upgraded,
            Some(Why::TooSlow) => &mut closed.too_slow,
            Some(Why::GoawayUnacknowledged) => &mut closed.goaway_unacknowledged,
            _ if state.peer_reset || failed => &mut closed.reset_by_peer,
            _ if state.told_by_header => &mut closed.told_by_header,
            _ if state.goaway.sent.is_some() => &mut closed.told_by_goaway,
            Some(Why::Idle) => &mut closed.idle,
            Some(Why::Unused) => &mut closed.unused,
            None => &mut closed.by_peer,
        };
        *count += 1;
    }
}

/// How much the pauses of those who are paced differ.
const PAUSE_SPREAD: f64 = 0.5;

/// The part of the lame duck in which HTTP/2 connections are told; those that get no word
/// from it are told at its end.
const GOAWAY_SPREAD: f64 = 0.8;
