//! Notices a refusal that an application's error type turned into something else.
//!
//! A refusal made inside a handler is answered by whatever the handler's error type makes
//! of it. If that is a bare 500, the client is told a lie and nobody learns it. So a
//! dependency that refuses leaves a note in a thread-local that belongs to the request
//! being polled, and the explain layer compares it with the answer.
//!
//! Work that the handler moved to another task is not seen; that is a missed note. A handler that
//! recovers from a refusal and then fails with a 500 of another cause is noted too: the note
//! says that a refusal came before, not that it was the reason.

use std::cell::{Cell, RefCell};

use steadfast_core::{Cause, Name, Refusal};

std::thread_local! {
    static SLOT: Slot = const { Slot { full: Cell::new(false), note: RefCell::new(None) } };
}

/// The note of the request being polled; the flag answers "is there one?" without a look.
struct Slot {
    full: Cell<bool>,
    note: RefCell<Option<Note>>,
}

/// What was refused inside the request being polled.
#[derive(Clone, Debug)]
pub(crate) struct Note {
    pub(super) cause: Cause,
    pub(super) source: Name,
}

/// Leaves a note for the request that this thread is polling.
pub(crate) fn note_refusal_in_handler(refusal: &Refusal) {
    let note = Note {
        cause: refusal.cause(),
        source: refusal.refused_by().clone(),
    };
    put(note);
}

/// Runs `poll`, and collects the note that was left meanwhile into `found`.
#[inline]
pub(crate) fn collecting<R>(found: &mut Option<Box<Note>>, poll: impl FnOnce() -> R) -> R {
    // What an outer request had noted is put back, also when `poll` panics.
    struct Restore(Option<Note>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(note) = self.0.take() {
                put(note);
            }
        }
    }
    let restore = Restore(take());
    let result = poll();
    if let Some(note) = take() {
        *found = Some(Box::new(note));
    }
    drop(restore);
    result
}

#[cold]
fn put(note: Note) {
    let _ = SLOT.try_with(|slot| {
        *slot.note.borrow_mut() = Some(note);
        slot.full.set(true);
    });
}

#[inline]
fn take() -> Option<Note> {
    SLOT.try_with(|slot| {
        if !slot.full.replace(false) {
            return None;
        }
        slot.note.borrow_mut().take()
    })
    .ok()
    .flatten()
}
