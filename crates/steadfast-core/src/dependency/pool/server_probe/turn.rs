//! Who finds out whether the server can be reached.
//!
//! A driver that retries a refused connect says nothing until its time is over. So one of
//! those who wait for an answer asks the server itself; only one at a time, because a
//! server in trouble must not be asked by everybody who needs it.

use std::{fmt, sync::Arc, time::Instant};

use super::super::{PoolGate, slots::WakeList};
use crate::{dependency::check::failure::Failure, sync::lock};

/// The turn to ask the server, given to one at a time.
///
/// When it is dropped, those who wait for news are woken, so that one of them can take over.
#[must_use = "the turn ends when this is dropped"]
pub struct ServerProbeTurn {
    gate: Arc<PoolGate>,
    asked_at: Instant,
}

impl PoolGate {
    /// Takes the turn to ask the server, unless somebody has it.
    #[must_use]
    pub fn probe_turn(self: &Arc<Self>, now: Instant) -> Option<ServerProbeTurn> {
        let mut slots = lock(&self.slots);
        if std::mem::replace(&mut slots.is_probing, true) {
            return None;
        }
        drop(slots);
        Some(ServerProbeTurn {
            gate: Arc::clone(self),
            asked_at: now,
        })
    }
}

impl ServerProbeTurn {
    /// Ends the turn with the server's answer, while so many connections lie idle: the news
    /// first, and then the end, so that nobody asks again for nothing.
    pub(super) fn end(self, answer: Result<&(), &Failure>, idle: u32, now: Instant) {
        let mut wakes = WakeList::default();
        let mut slots = lock(&self.gate.slots);
        match answer {
            Ok(&()) => slots.answered(self.asked_at, now, &mut wakes),
            Err(failure) => slots.failed(failure.clone(), self.asked_at, idle, now, &mut wakes),
        }
        drop(slots);
        wakes.wake();
    }
}

impl Drop for ServerProbeTurn {
    fn drop(&mut self) {
        let mut wakes = WakeList::default();
        let mut slots = lock(&self.gate.slots);
        slots.is_probing = false;
        slots.wake_for_news(&mut wakes);
        drop(slots);
        wakes.wake();
    }
}

impl fmt::Debug for ServerProbeTurn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerProbeTurn")
            .field(&self.gate.name)
            .finish()
    }
}
