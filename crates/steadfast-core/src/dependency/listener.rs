//! Who hears what moves a dependency.

use std::{sync::Arc, time::Instant};

use super::{
    DependencyState, LISTENERS_MAX, keys, read_only::ReadOnlyView, sessions::SessionsRefusedView,
};
use crate::{dependency::breaker::BreakerTransition, sync::lock};

/// Hears what moves a dependency: the shell writes it into the ledger and the log.
pub trait DependencyListener: Send + Sync + 'static {
    /// The breaker moved. Called on the thread of the call, check or tick that moved it,
    /// so it must not wait.
    fn moved(&self, dependency: &DependencyState, transition: &BreakerTransition);

    /// Something else than the breaker changed what is believed. Called as
    /// [`DependencyListener::moved`] is.
    fn noticed(&self, dependency: &DependencyState, notice: &DependencyNotice, now: Instant) {
        let _ = (dependency, notice, now);
    }

    /// Whether nobody is left who listens. Such a listener is forgotten.
    fn is_gone(&self) -> bool {
        false
    }
}

/// What changed, beside the breaker.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DependencyNotice {
    /// The server refused a write because it takes none; told once when that begins, and
    /// once when later writes are refused for it.
    ReadOnly(ReadOnlyView),
    /// It takes writes again; with what was known last.
    Writable(ReadOnlyView),
    /// The server refused a new session; told once when that begins.
    SessionsRefused(SessionsRefusedView),
    /// A new session was opened again; with what was known last.
    SessionsOpen(SessionsRefusedView),
}

impl DependencyState {
    /// Hears of every change from now on. Returns `false` if [`LISTENERS_MAX`] listen
    /// already.
    pub fn listen(&self, listener: Arc<dyn DependencyListener>) -> bool {
        // Whether one is gone, and its end, are foreign code: outside the lock.
        let gone: Vec<_> = lock(&self.listeners).clone();
        let gone: Vec<_> = gone.into_iter().filter(|it| it.is_gone()).collect();
        let mut listeners = lock(&self.listeners);
        listeners.retain(|it| !gone.iter().any(|gone| Arc::ptr_eq(it, gone)));
        let has_room = listeners.len() < LISTENERS_MAX;
        if has_room {
            listeners.push(listener);
        }
        has_room
    }

    #[cold]
    pub(super) fn tell(&self, moved: &BreakerTransition) {
        for listener in self.listeners() {
            listener.moved(self, moved);
        }
    }

    #[cold]
    pub(super) fn notice(&self, notice: &DependencyNotice, now: Instant) {
        for listener in self.listeners() {
            listener.noticed(self, notice, now);
        }
    }

    /// Returns those who listen, to be told outside the lock: a listener may look at the
    /// dependency.
    fn listeners(&self) -> Vec<Arc<dyn DependencyListener>> {
        let owner = self.key.as_ref().map_or(self, keys::Key::whole);
        lock(&owner.listeners).clone()
    }
}
