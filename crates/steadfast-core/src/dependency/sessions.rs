//! A server that refuses new sessions while those that are open go on serving.
//!
//! A rotated password, no slot left, a certificate that has run out: whoever has a
//! connection is served, and a pool that needs another gets none. Asked through an old
//! session, the server is well; asked for a new one, it is down. Neither is the whole
//! truth, so it is a health of its own: the dependency *warns*, in the server's words and
//! with the number of sessions that still serve, before the last of them is gone.
//!
//! Told by whoever opens sessions, a pool or a check
//! ([`DependencyState::note_new_sessions_refused`],
//! [`DependencyState::note_session_opened`]). It refuses nobody: who finds no connection
//! that works is refused by the pool, and the breaker hears of that.
//!
//! This file uses atomics: one flag that spares the lock. It guards no memory.

use std::{fmt, sync::Arc, time::Instant};

use super::{
    DependencyState, listener::DependencyNotice, passive::ERROR_KEPT, reason::DependencyReason,
};
use crate::{
    FailureClass,
    redact::redact,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering::Relaxed},
        lock, try_lock,
    },
};

/// A dependency that refuses new sessions, at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionsRefusedView {
    /// When the first was refused.
    pub since: Instant,
    /// When the last one was.
    pub last_at: Instant,
    /// Of what kind the last refusal was.
    pub class: FailureClass,
    /// What the server said last, redacted and cut.
    pub error: Arc<str>,
    /// Sessions that were open before and still served when the last one was refused.
    pub still_serving: u32,
    /// How many were refused.
    pub refused: u64,
}

#[derive(Debug, Default)]
pub(super) struct Sessions {
    /// Whether something is noted: whoever opens a session looks here first.
    noted: AtomicBool,
    seen: Mutex<Option<Seen>>,
}

#[derive(Debug)]
struct Seen {
    view: SessionsRefusedView,
    told_at: Instant,
}

impl Sessions {
    #[inline]
    pub(super) fn is_noted(&self) -> bool {
        // Relaxed: only a hint to look under the lock.
        self.noted.load(Relaxed)
    }

    /// Returns what is known, without waiting for a lock.
    pub(super) fn refresh(&self, view: &mut Option<SessionsRefusedView>) {
        if !self.is_noted() {
            *view = None;
        } else if let Some(seen) = try_lock(&self.seen) {
            *view = seen.as_ref().map(|seen| seen.view.clone());
        }
    }

    pub(super) fn view(&self) -> Option<SessionsRefusedView> {
        self.is_noted()
            .then(|| lock(&self.seen).as_ref().map(|seen| seen.view.clone()))?
    }
}

impl DependencyState {
    /// Says that the server, or the way to it, refused a new session while `still_serving`
    /// that were open before go on serving. Call it for each refusal.
    ///
    /// A check that finds this out answers with a warning and not with a failure while
    /// `still_serving` is above zero: a failure opens the breaker, which would take the
    /// sessions that work from those who use them.
    pub fn note_new_sessions_refused(
        &self,
        class: FailureClass,
        error: &dyn fmt::Display,
        still_serving: u32,
        now: Instant,
    ) {
        let keeps_text = lock(&self.sessions.seen).as_ref().is_some_and(|seen| {
            seen.view.class == class && now.saturating_duration_since(seen.told_at) < ERROR_KEPT
        });
        // The text is foreign code, so it is made outside the lock.
        let text = (!keeps_text).then(|| Arc::from(&*redact(&error.to_string())));
        let mut sessions = lock(&self.sessions.seen);
        let begins = sessions.is_none();
        let seen = sessions.get_or_insert_with(|| Seen {
            view: SessionsRefusedView {
                since: now,
                last_at: now,
                class,
                error: "".into(),
                still_serving,
                refused: 0,
            },
            told_at: now,
        });
        if let Some(text) = text {
            seen.view.error = text;
            seen.told_at = now;
        }
        seen.view.class = class;
        seen.view.last_at = now;
        seen.view.still_serving = still_serving;
        seen.view.refused += 1;
        let view = begins.then(|| seen.view.clone());
        self.sessions.noted.store(true, Relaxed);
        drop(sessions);
        if let Some(view) = view {
            self.notice(&DependencyNotice::SessionsRefused(view), now);
        }
    }

    /// Says that a new session was opened. Costs one look while none is refused.
    #[inline]
    pub fn note_session_opened(&self, now: Instant) {
        if self.sessions.is_noted() {
            self.end_sessions_refused(now);
        }
    }

    #[cold]
    fn end_sessions_refused(&self, now: Instant) {
        let mut sessions = lock(&self.sessions.seen);
        let seen = sessions.take();
        self.sessions.noted.store(false, Relaxed);
        drop(sessions);
        if let Some(seen) = seen {
            self.notice(&DependencyNotice::SessionsOpen(seen.view), now);
        }
    }
}

impl SessionsRefusedView {
    pub(super) fn reason(&self) -> DependencyReason {
        DependencyReason::SessionsRefused {
            class: self.class,
            error: Arc::clone(&self.error),
            still_serving: self.still_serving,
        }
    }
}
