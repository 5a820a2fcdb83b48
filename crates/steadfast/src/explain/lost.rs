//! Notices a refusal that an application's error type turned into something else.
//!
//! A refusal made inside a handler is answered by whatever the handler's error type makes
//! of it. If that is a bare 500, the client is told a lie and nobody learns it. So a
//! dependency that refuses leaves a note in a thread-local that belongs to the request
//! being polled, and the explain layer compares it with the answer.
//!
//! Work that the handler moved to another task is not seen; that is a missed note, never
//! a wrong one.

use std::cell::RefCell;

use steadfast_core::{Cause, Name, Refusal};

std::thread_local! {
    static NOTE: RefCell<Option<Note>> = const { RefCell::new(None) };
}

/// What was refused inside the request being polled.
#[derive(Clone, Debug)]
pub(super) struct Note {
    pub(super) cause: Cause,
    pub(super) source: Name,
}

/// Leaves a note for the request that this thread is polling.
pub(crate) fn note_refusal_in_handler(refusal: &Refusal) {
    let note = Note {
        cause: refusal.cause(),
        source: refusal.source().clone(),
    };
    let _ = NOTE.try_with(|slot| *slot.borrow_mut() = Some(note));
}

/// Runs `poll`, and collects the note that was left meanwhile into `found`.
pub(super) fn collecting<R>(found: &mut Option<Note>, poll: impl FnOnce() -> R) -> R {
    // What an outer request had noted is put back, also when `poll` panics.
    struct Restore(Option<Note>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if self.0.is_some() {
                let _ = NOTE.try_with(|slot| *slot.borrow_mut() = self.0.take());
            }
        }
    }
    let restore = Restore(take());
    let result = poll();
    if let Some(note) = take() {
        *found = Some(note);
    }
    drop(restore);
    result
}

fn take() -> Option<Note> {
    NOTE.try_with(|slot| slot.try_borrow_mut().ok().and_then(|mut slot| slot.take()))
        .ok()
        .flatten()
}
