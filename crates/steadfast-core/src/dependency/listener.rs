//! Who hears what moves a dependency.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    DependencyState, LISTENERS_MAX, keys, read_only::ReadOnlyView, sessions::SessionsRefusedView,
};
use crate::{
    dependency::breaker::{Breaker, BreakerReason, BreakerState, BreakerTransition},
    sync::lock,
};

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

    /// Tells of a step, except of most retries where those come several times a second.
    #[cold]
    pub(super) fn tell(&self, moved: &BreakerTransition) {
        let is_eager = self.breaker.get().is_some_and(Breaker::retries_often);
        let news = lock(&self.retries).news(*moved, is_eager);
        for moved in news.iter().flatten() {
            for listener in self.listeners() {
                listener.moved(self, moved);
            }
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

/// Which retries have been told of.
#[derive(Debug, Default)]
pub(super) struct Retries {
    /// When the last one was that has been told, in this outage.
    told_at: Option<Instant>,
    /// The beginning of the one that is under way, if nobody has been told of it.
    silent: Option<BreakerTransition>,
}

impl Retries {
    /// Returns what is to be told now that it has moved so, in this order.
    fn news(&mut self, moved: BreakerTransition, is_eager: bool) -> [Option<BreakerTransition>; 2] {
        let is_soon = |told| moved.at.saturating_duration_since(told) < RETOLD_AFTER;
        match (moved.from, moved.to) {
            (BreakerState::Open, BreakerState::Probing)
                if moved.reason == BreakerReason::ProbeDue =>
            {
                if is_eager && self.told_at.is_some_and(is_soon) {
                    self.silent = Some(moved);
                    return [None, None];
                }
                self.told_at = Some(moved.at);
                self.silent = None;
                [None, Some(moved)]
            }
            (BreakerState::Probing, BreakerState::Open) => match self.silent.take() {
                Some(_) => [None, None],
                None => [None, Some(moved)],
            },
            // What a retry that nobody has been told of leads to begins with it.
            _ => [std::mem::take(self).silent, Some(moved)],
        }
    }
}

/// How often a dependency that is asked again and again, and fails as before, is told of.
const RETOLD_AFTER: Duration = Duration::from_secs(5);

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{FailureClass, dependency::breaker::BreakerMode, testing::origin};

    #[test]
    fn retries_in_quick_succession_are_told_now_and_then_and_the_last_one_always() {
        let start = origin();
        let step = |ms, from, to, reason| BreakerTransition {
            from,
            to,
            mode: BreakerMode::Auto,
            reason,
            at: start + Duration::from_millis(ms),
            generation: 1,
        };
        let (open, probing) = (BreakerState::Open, BreakerState::Probing);
        let begins = |ms| step(ms, open, probing, BreakerReason::ProbeDue);
        let fails = |ms| {
            let class = FailureClass::Unreachable;
            step(ms, probing, open, BreakerReason::ProbeFailed(class))
        };
        let mut retries = Retries::default();
        let mut told = 0;
        for at in 0..40 {
            told += retries
                .news(begins(at * 250), true)
                .iter()
                .flatten()
                .count();
            told += retries.news(fails(at * 250), true).iter().flatten().count();
        }
        assert_eq!(told, 4, "two of forty retries, each with its end");
        assert_eq!(
            retries.news(begins(10_000), true),
            [None, Some(begins(10_000))]
        );
        assert_eq!(
            retries.news(fails(10_000), true),
            [None, Some(fails(10_000))]
        );
        assert_eq!(retries.news(begins(10_250), true), [None, None]);
        let reason = BreakerReason::ProbesPassed { probes: 2 };
        let passes = step(10_300, probing, BreakerState::Ramping, reason);
        let both = [Some(begins(10_250)), Some(passes)];
        assert_eq!(retries.news(passes, true), both);
    }
}
