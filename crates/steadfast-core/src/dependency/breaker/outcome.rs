//! How a call ended, as far as the dependency's health is concerned.

use std::time::Duration;

use crate::FailureClass;

/// How a call ended. Complete: a call is good, bad, late, no evidence, or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallOutcome {
    /// The dependency did what it was asked for. If it took longer than the slow limit,
    /// the breaker counts it as [`CallOutcome::Slow`].
    ///
    /// A connection that a pool lends is no success: it may lead to nobody, and as a
    /// success it would outvote a check that fails and calls that do. A permit that got a
    /// connection goes on to the first answer over it, or is dropped, which is no evidence.
    Success,
    /// The dependency failed.
    Failure(CallFailure),
    /// The dependency did what it was asked for, but too slowly for the caller's own
    /// measure. Without a slow limit this is a success.
    Slow,
    /// The dependency answered, and the answer says nothing about its health (a 404).
    ///
    /// A failure for reasons of this process (no connection free in the pool) is not
    /// neutral but a [`CallFailure`] of the class [`FailureClass::Saturated`], because
    /// nothing was answered.
    Neutral,
    /// The caller left before the answer: its request was cancelled, or a timeout outside
    /// the call struck.
    ///
    /// It counts as a failure from the stall limit on and as slow from the slow limit on.
    /// Below both, one call cannot tell a hung dependency from an impatient client, and it
    /// is no evidence; many of them without a single answer for a whole window are.
    Abandoned {
        /// How long the call had been running.
        elapsed: Duration,
    },
}

/// What kind of failure a call met, and whether the dependency said when to come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CallFailure {
    /// What kind of failure it was.
    pub class: FailureClass,
    /// How long the dependency asked to be left alone (`Retry-After`).
    pub retry_after: Option<Duration>,
}

impl CallFailure {
    /// Describes a failure.
    ///
    /// Three classes are special. [`FailureClass::Saturated`] is this process's own pool
    /// with nothing free, which is no evidence against the dependency.
    /// [`FailureClass::ReadOnly`] is a server that answers and takes no writes: the breaker
    /// takes it for a success, and the dependency warns
    /// ([`DependencyState::note_read_only`](crate::DependencyState::note_read_only)). And
    /// [`FailureClass::Overloaded`], the dependency's 429, counts for the failure ratio
    /// but not as one of the failures in a row (as in linkerd2-proxy: one throttled
    /// tenant makes long rows in front of a healthy server).
    #[must_use]
    pub const fn new(class: FailureClass) -> Self {
        Self {
            class,
            retry_after: None,
        }
    }

    /// Adds how long the dependency asked to be left alone. A breaker that trips on this
    /// call stays open for as long, up to [`Trip::retry_after_max`](crate::Trip::retry_after_max).
    #[must_use]
    pub const fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<FailureClass> for CallFailure {
    fn from(class: FailureClass) -> Self {
        Self::new(class)
    }
}
