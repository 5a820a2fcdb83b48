//! The permit of one question on a session that is lent already.

use std::{sync::Arc, time::Instant};

use steadfast_core::{CallPermit, DependencyState, plumbing::stripe};

/// Returns a permit by which what is asked on a lent session is judged. `None` while the
/// breaker lets nothing pass: the question is asked all the same, because who has a session is
/// in the middle of something, and is no evidence.
#[must_use]
pub fn permit(
    state: &Arc<DependencyState>,
    now: Instant,
) -> Option<CallPermit<Arc<DependencyState>>> {
    if state.refuses(|| now) {
        return None;
    }
    let state = Arc::clone(state);
    DependencyState::try_acquire(state, now, stripe::current(), fastrand::u64(..)).ok()
}
