//! Whose request this thread is polling.
//!
//! Under [`crate::Guard::serve`] and [`crate::DrainLayer`] a request carries its
//! [`DrainToken`]. Where the guard is served by somebody else, putting one beside every request
//! would cost each some allocations for the few that ask. So the guard says around the poll
//! of its application whose it is, and the extractor asks. Work that was moved to another
//! task has left this thread.

use std::cell::RefCell;

use steadfast_core::Local;

use super::{DrainState, DrainToken};

std::thread_local! {
    static HERE: RefCell<Option<(Local<DrainState>, bool)>> = const { RefCell::new(None) };
}

/// Runs `poll` for a request behind the guard of this drain. `finishes` is whether its route's
/// answers are waited for.
#[inline]
pub(crate) fn here<R>(drain: &Local<DrainState>, finishes: bool, poll: impl FnOnce() -> R) -> R {
    // An outer guard's is put back, also when `poll` panics.
    struct Restore(Option<(Local<DrainState>, bool)>);
    impl Drop for Restore {
        fn drop(&mut self) {
            swap(self.0.take());
        }
    }
    let _restore = Restore(swap(Some((drain.clone(), finishes))));
    poll()
}

#[inline]
fn swap(drain: Option<(Local<DrainState>, bool)>) -> Option<(Local<DrainState>, bool)> {
    HERE.try_with(|here| here.replace(drain)).ok().flatten()
}

/// Returns a token of the request that this thread polls.
pub(super) fn token() -> Option<DrainToken> {
    let found = HERE.try_with(|here| here.borrow().clone()).ok().flatten();
    found.map(|(drain, finishes)| DrainToken::new(drain).finishes(finishes))
}
