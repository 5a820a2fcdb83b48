//! The one reason that readiness, the operator's view and a refusal all give.

use std::{fmt, sync::Arc, time::Duration};

use super::pools::PoolPressure;
use crate::{
    FailureClass,
    dependency::breaker::{BreakerDoubt, BreakerMode, BreakerReason, BreakerState},
};

/// Why a dependency is believed to be as it is. Display is a sentence with its numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DependencyReason {
    /// A rule of the breaker, or a person, keeps calls away.
    Breaker {
        /// Where the breaker is.
        state: BreakerState,
        /// What began the outage.
        reason: BreakerReason,
    },
    /// The check failed, and no call goes through the breaker that could tell more.
    CheckFailing {
        /// Failures in a row.
        failures: u32,
        /// Of what kind.
        class: FailureClass,
    },
    /// The check fails while calls succeed: one of the two is wrong.
    CheckDisagrees {
        /// Failures of the check in a row.
        failures: u32,
        /// Of what kind.
        class: FailureClass,
        /// Calls that succeeded in the window.
        succeeded: u32,
        /// The length of the window.
        window: Duration,
    },
    /// The check passed with a warning.
    CheckWarns(Option<FailureClass>),
    /// The check has not answered, or not lately.
    CheckSilent(Option<FailureClass>),
    /// Calls fail or wait, too few or for too short a time to refuse anybody.
    Doubt(BreakerDoubt),
    /// No connection can be opened, and none of a pool in front of it works.
    NoConnection {
        /// Of what kind the failure is.
        class: FailureClass,
        /// What was found out, redacted.
        error: Arc<str>,
    },
    /// Some of its keys have a breaker that is not closed.
    Keys {
        /// How many.
        out: u32,
        /// Of how many that are known.
        known: u32,
    },
    /// A pool in front of it has nothing to give.
    Pool {
        /// How the pool stands.
        pressure: PoolPressure,
        /// Connections lent out.
        in_use: u32,
        /// Most connections it may have.
        max: u32,
        /// Callers that wait.
        waiting: u32,
    },
    /// It serves reads and takes no writes.
    ReadOnly {
        /// What the server said, redacted.
        error: Arc<str>,
    },
    /// New sessions are refused while old ones go on.
    SessionsRefused {
        /// Of what kind the refusal is.
        class: FailureClass,
        /// What the server said, redacted.
        error: Arc<str>,
        /// Old sessions that still serve.
        still_serving: u32,
    },
}

impl DependencyReason {
    /// Returns the stable token, for logs.
    #[must_use]
    pub const fn code(&self) -> &'static str {
        match self {
            Self::Breaker { reason, .. } => reason.code(),
            Self::CheckFailing { .. } => "check-failed",
            Self::CheckDisagrees { .. } => "check-disagrees",
            Self::CheckWarns(_) => "check-warns",
            Self::CheckSilent(_) => "check-silent",
            Self::Doubt(BreakerDoubt::Failing { .. }) => "calls-fail",
            Self::Doubt(BreakerDoubt::Silent { .. }) => "calls-wait",
            Self::NoConnection { .. } => "no-connection",
            Self::Keys { .. } => "keys-out",
            Self::ReadOnly { .. } => "read-only",
            Self::SessionsRefused { .. } => "sessions-refused",
            Self::Pool { pressure, .. } => match pressure {
                PoolPressure::Stuck => "pool-stuck",
                PoolPressure::None | PoolPressure::Saturated => "pool-saturated",
            },
        }
    }

    /// Whether it is more than the check's own answer.
    #[must_use]
    pub const fn is_of_traffic(&self) -> bool {
        matches!(
            self,
            Self::Breaker { .. }
                | Self::CheckDisagrees { .. }
                | Self::Doubt(_)
                | Self::NoConnection { .. }
                | Self::Keys { .. }
                | Self::Pool { .. }
                | Self::ReadOnly { .. }
                | Self::SessionsRefused { .. }
        )
    }

    /// Returns the error that the sentence contains, where it does: nobody has to add one.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::ReadOnly { error }
            | Self::SessionsRefused { error, .. }
            | Self::NoConnection { error, .. } => Some(error),
            _ => None,
        }
    }

    /// Returns the kind of failure, where the reason has one of its own.
    #[must_use]
    pub const fn class(&self) -> Option<FailureClass> {
        match self {
            Self::Breaker {
                reason: BreakerReason::CheckFailed(class) | BreakerReason::ProbeFailed(class),
                ..
            }
            | Self::CheckFailing { class, .. }
            | Self::CheckDisagrees { class, .. }
            | Self::NoConnection { class, .. }
            | Self::SessionsRefused { class, .. } => Some(*class),
            Self::Doubt(BreakerDoubt::Silent { .. }) => Some(FailureClass::Timeout),
            Self::CheckWarns(class) | Self::CheckSilent(class) => *class,
            Self::Pool {
                pressure: PoolPressure::Stuck,
                ..
            } => Some(FailureClass::Stuck),
            Self::Pool { .. } => Some(FailureClass::Saturated),
            Self::ReadOnly { .. } => Some(FailureClass::ReadOnly),
            Self::Breaker { .. } | Self::Doubt(_) | Self::Keys { .. } => None,
        }
    }
}

impl fmt::Display for DependencyReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Breaker {
                reason: BreakerReason::Mode(BreakerMode::ForcedOpen),
                ..
            } => f.write_str("forced open by hand"),
            Self::Breaker { state, reason } => match state {
                BreakerState::Probing => write!(f, "{reason}; probing"),
                BreakerState::Ramping => write!(f, "{reason}; traffic is let back in"),
                BreakerState::Closed | BreakerState::Open => reason.fmt(f),
            },
            Self::CheckFailing { failures, class } => {
                write!(f, "{failures} checks in a row failed ({class})")
            }
            Self::CheckDisagrees {
                failures,
                class,
                succeeded,
                window,
            } => write!(
                f,
                "{failures} checks in a row failed ({class}), but {succeeded} calls succeeded in {window:?}"
            ),
            Self::CheckWarns(Some(class)) => write!(f, "the check warns ({class})"),
            Self::CheckWarns(None) => f.write_str("the check warns"),
            Self::CheckSilent(Some(class)) => write!(f, "the check gives no answer ({class})"),
            Self::CheckSilent(None) => f.write_str("the check has not answered yet"),
            Self::ReadOnly { error } => write!(f, "read-only: {error}"),
            Self::Doubt(doubt) => doubt.fmt(f),
            Self::NoConnection { error, .. } => {
                write!(
                    f,
                    "no connection of the pool works, and none can be had: {error}"
                )
            }
            Self::SessionsRefused {
                error,
                still_serving,
                ..
            } => {
                write!(f, "new sessions are refused: {error}; ")?;
                match still_serving {
                    0 => f.write_str("no old one serves"),
                    1 => f.write_str("1 old one still serves"),
                    old => write!(f, "{old} old ones still serve"),
                }
            }
            Self::Keys { out, known } => write!(f, "calls to {out} of {known} keys are refused"),
            Self::Pool {
                pressure,
                in_use,
                max,
                waiting,
            } => {
                write!(f, "{in_use} of {max} connections lent out, {waiting} wait")?;
                match pressure {
                    PoolPressure::Stuck => f.write_str(", none comes back"),
                    PoolPressure::None | PoolPressure::Saturated => Ok(()),
                }
            }
        }
    }
}
