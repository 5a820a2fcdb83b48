//! What all sessions of a guard share to judge by.

use std::{sync::Arc, time::Duration};

use steadfast_core::{CallPermit, DependencyState, stripe};

use crate::clock;

/// How long a query may be silent, unless set: by then the proxies in front of a service have
/// answered for it (60 s are nginx's `proxy_read_timeout` and the idle timeout of AWS' load
/// balancers), so whoever asked has gone.
pub const SILENCE_MAX_DEFAULT: Duration = Duration::from_secs(60);

/// A permit for one query.
pub(super) type Permit = CallPermit<Arc<DependencyState>>;

/// Where the sessions of one guard tell what they see.
#[derive(Debug)]
pub(super) struct Observer {
    pub(super) state: Arc<DependencyState>,
    pub(super) silence_max: Duration,
}

impl Observer {
    /// Asks for a permit to judge one query by. `None` while the breaker lets nothing pass:
    /// the query runs all the same, because who has a connection is in the middle of
    /// something, and is no evidence.
    pub(super) fn permit(&self) -> Option<Permit> {
        let now = clock::now();
        if self.state.refuses(|| now) {
            return None;
        }
        let state = Arc::clone(&self.state);
        DependencyState::try_acquire(state, now, stripe::current(), fastrand::u64(..)).ok()
    }
}
