//! A server that was there a moment ago may be back in a moment.
//!
//! A database that is restarted is gone for a second or two. A driver's pool that retries a
//! refused connect waits that out, and everybody is served; to refuse at once, because the
//! server refuses connects *now*, makes failures of which the bare pool knows nothing. A server
//! that is gone for good looks the same at first. So whoever asks for a connection in the first
//! [`RESTART_MAX`] of an outage waits, for as long as the driver itself goes on trying; health
//! says meanwhile what is wrong. Whoever comes later is told as soon as it is known.
//!
//! A server that has never given a connection is no restart, and what a driver gives up by
//! itself is not waited for. Pure.

use std::time::{Duration, Instant};

use super::{PROBE_AFTER, PoolGate, slots::Slots};
use crate::{
    dependency::check::{FailureClass, failure::Failure},
    sync::lock,
};

/// How long an outage may be taken for a restart: longer than a database takes for one, and
/// shorter than the patience of most who ask.
pub(super) const RESTART_MAX: Duration = Duration::from_secs(3);

/// How long whoever waits for a turn waits at least before it is told of an outage: until it
/// would have heard of one that is over.
const HEARS_WITHIN: Duration = PROBE_AFTER.saturating_mul(2);

/// Since when a server is gone that was there.
#[derive(Debug, Default)]
pub(super) struct Restart {
    has_served: bool,
    gone_since: Option<Instant>,
}

impl Restart {
    /// Notes that the server serves.
    pub(super) fn served(&mut self) {
        self.has_served = true;
        self.gone_since = None;
    }

    /// Notes a failure.
    pub(super) fn failed(&mut self, failure: &Failure, now: Instant) {
        if self.has_served && is_of_restart(failure) {
            self.gone_since.get_or_insert(now);
        }
    }

    /// Returns until when it may be a restart; `None` while the server is not known to be gone.
    pub(super) fn ends_at(&self) -> Option<Instant> {
        self.gone_since.map(|since| since + RESTART_MAX)
    }
}

/// Whether a server that is restarted fails so: nobody listens, or it is on its way up.
fn is_of_restart(failure: &Failure) -> bool {
    matches!(
        failure.class(),
        FailureClass::Unreachable | FailureClass::Loading
    )
}

impl Slots {
    /// Returns when one who waits for a turn since then waits in vain because the server is
    /// gone; `None` if it is not, or somebody has a connection still.
    pub(super) fn gone_for_good_at(&self, since: Instant) -> Option<Instant> {
        let ends_at = self.restart().ends_at().filter(|_| self.lent() == 0)?;
        Some(ends_at.max(since + HEARS_WITHIN))
    }
}

impl PoolGate {
    /// Returns until when this failure may be that of a server that is restarted.
    pub(super) fn restarts_until(&self, failure: &Failure, now: Instant) -> Option<Instant> {
        if !is_of_restart(failure) {
            return None;
        }
        lock(&self.slots)
            .restart()
            .ends_at()
            .filter(|ends_at| now < *ends_at)
    }

    /// Whether the server is gone that was there.
    pub(super) fn is_gone(&self) -> bool {
        lock(&self.slots).restart().ends_at().is_some()
    }
}
