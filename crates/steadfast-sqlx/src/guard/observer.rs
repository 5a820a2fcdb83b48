//! What all sessions of a guard share to judge by.

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::{Duration, Instant},
};

use steadfast_core::{CallPermit, DependencyState, Failure, Refusal};

use super::{
    cut::Looks,
    error,
    scout::{self, Scout},
};
use crate::clock;

/// How long a query may be silent, unless set: by then the proxies in front of a service have
/// answered for it (60 s are nginx's `proxy_read_timeout` and the idle timeout of AWS' load
/// balancers), so whoever asked has gone.
pub const SILENCE_MAX_DEFAULT: Duration = Duration::from_secs(60);

/// A permit for one query.
pub(super) type Permit = CallPermit<Arc<DependencyState>>;

/// Where the sessions of one guard tell what they see.
pub(super) struct Observer {
    pub(super) state: Arc<DependencyState>,
    pub(super) silence_max: Duration,
    pub(super) scout: Arc<dyn Scout>,
    /// Taken by whoever tells the server something on a session beside the pool.
    pub(super) telling: tokio::sync::Mutex<()>,
    /// How often the server looks whether its clients are there.
    pub(super) looks: tokio::sync::Mutex<Looks>,
    sessions: Mutex<Sessions>,
}

#[derive(Debug, Default)]
struct Sessions {
    /// How often it turned out that new sessions lead to a better server.
    generation: u64,
    /// Whether somebody looks for that.
    is_scouted: bool,
}

impl Observer {
    pub(super) fn new(
        state: Arc<DependencyState>,
        silence_max: Duration,
        scout: Arc<dyn Scout>,
    ) -> Self {
        let sessions = Mutex::default();
        Self {
            state,
            silence_max,
            scout,
            telling: tokio::sync::Mutex::default(),
            looks: tokio::sync::Mutex::default(),
            sessions,
        }
    }

    /// Asks for a permit to judge one query by. `None` while the breaker lets nothing pass:
    /// the query runs all the same, because who has a connection is in the middle of
    /// something, and is no evidence.
    pub(super) fn permit(&self) -> Option<Permit> {
        steadfast_pool::permit(&self.state, clock::now())
    }

    /// Asks whether a write may be sent.
    pub(super) fn admit_write(&self) -> sqlx::Result<()> {
        let refused = self.state.admit_write(clock::now());
        refused.map_err(|refusal| error::refused(refusal.entered()))
    }

    /// Notes that a write was refused because the server takes none; returns the refusal that
    /// explains it, once that is known. One who was told to take none has been replaced,
    /// maybe: then somebody looks.
    pub(super) fn read_only(
        self: &Arc<Self>,
        failure: &Failure,
        by_role: bool,
        now: Instant,
    ) -> Option<Refusal> {
        self.state.note_read_only(failure, now);
        if by_role && !std::mem::replace(&mut self.sessions().is_scouted, true) {
            scout::send(self, failure.clone());
        }
        self.state.read_only_refusal(now)
    }

    /// Returns the generation of sessions that are lent now.
    pub(super) fn generation(&self) -> u64 {
        self.sessions().generation
    }

    /// Says that new sessions lead to a better server than all that are lent.
    pub(super) fn next_generation(&self) {
        self.sessions().generation += 1;
    }

    /// Says that nobody looks for a better server any more.
    pub(super) fn scouted(&self) {
        self.sessions().is_scouted = false;
    }

    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions
            .lock()
            .expect("nothing panics while it is held")
    }
}

impl std::fmt::Debug for Observer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Observer")
            .field("state", &self.state)
            .field("silence_max", &self.silence_max)
            .finish_non_exhaustive()
    }
}
