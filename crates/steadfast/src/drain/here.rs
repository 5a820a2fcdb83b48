//! Whose request this thread is polling.
//!
//! Under [`crate::Guard::serve`] and [`crate::DrainLayer`] a request carries its
//! [`DrainToken`]. Where the guard is served by somebody else, putting one beside every request
//! would cost each some allocations for the few that ask. So the guard says around the poll
//! of its application whose it is, and the extractor asks. Work that was moved to another
//! task has left this thread.

use std::cell::RefCell;

use steadfast_core::Local;

use super::{DrainToken, Room};

std::thread_local! {
    static HERE: RefCell<Option<(Local<Room>, bool)>> = const { RefCell::new(None) };
}

/// Runs `poll` for a request behind the guard of this room. `finishes` is whether its route's
/// answers are waited for.
#[inline]
pub(crate) fn here<R>(room: &Local<Room>, finishes: bool, poll: impl FnOnce() -> R) -> R {
    // An outer guard's is put back, also when `poll` panics.
    struct Restore(Option<(Local<Room>, bool)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            swap(self.0.take());
        }
    }
    let _restore = Restore(swap(Some((room.clone(), finishes))));
    poll()
}

#[inline]
fn swap(room: Option<(Local<Room>, bool)>) -> Option<(Local<Room>, bool)> {
    HERE.try_with(|here| here.replace(room)).ok().flatten()
}

/// Returns a token of the request that this thread polls.
pub(super) fn token() -> Option<DrainToken> {
    let found = HERE.try_with(|here| here.borrow().clone()).ok().flatten();
    found.map(|(room, finishes)| DrainToken::new(room).finishes(finishes))
}
