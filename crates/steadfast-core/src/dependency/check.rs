//! The active side of a dependency: one async question with a deadline.
//!
//! A [`Check`] is asked by a scheduler, never by a request, so it may do I/O; what it
//! must not do is take from its subject what traffic needs. It answers with a
//! [`CheckOutcome`]: passed, passed with a warning, or failed with a [`FailureClass`],
//! a message (redacted on the way in) and the numbers it saw.
//!
//! The class matters more than the message: it tells *unreachable* from *saturated* from
//! *stuck* from *refused by the server*, and it tells a cause that every instance shares
//! from one that only this instance has, which decides whether taking this instance out
//! of rotation can help at all ([`FailureClass::is_shared`]).
//!
//! ```
//! use std::time::Duration;
//! use steadfast_core::{Check, CheckOutcome, CheckRun, FailureClass};
//!
//! struct DiskFree {
//!     free_ratio: fn() -> f64,
//! }
//!
//! impl Check for DiskFree {
//!     async fn run(&self, _run: CheckRun) -> CheckOutcome {
//!         let free = (self.free_ratio)();
//!         let outcome = if free < 0.02 {
//!             CheckOutcome::fail(FailureClass::Saturated, "under 2 % free")
//!         } else {
//!             CheckOutcome::pass()
//!         };
//!         outcome.number("free_ratio", free)
//!     }
//!
//!     fn kind(&self) -> &'static str {
//!         "disk"
//!     }
//! }
//! ```

pub(crate) mod failure;
pub(crate) mod settings;
pub(crate) mod state;

use std::future::Future;

use crate::{redact::redact, request::deadline::Deadline};

/// Most numbers one outcome carries; more are dropped. Pools report five, the most of any check.
pub const NUMBERS_MAX: usize = 12;

/// A question about one dependency, asked in the background.
///
/// # Cancel safety
/// The scheduler drops the future when [`CheckRun::deadline`] has passed. An
/// implementation that holds a connection across an `.await` must close it when it is
/// dropped, not hand it back in an unknown state.
pub trait Check: Send + Sync + 'static {
    /// Asks once.
    ///
    /// An implementation should answer before `run.deadline`, because only it can tell
    /// *why* the answer is late; a check cut by the scheduler is *unknown*, which does
    /// not count as a failure.
    fn run(&self, run: CheckRun) -> impl Future<Output = CheckOutcome> + Send;

    /// Returns what is asked, for people: `"postgres"`, `"http"`, `"closure"`.
    fn kind(&self) -> &'static str {
        "custom"
    }
}

/// What the scheduler tells a check about this run.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct CheckRun {
    /// When the answer is worth nothing any more.
    pub deadline: Deadline,
    /// Whether this is a check's first run since the process started; work that is only
    /// worth doing once (pending migrations) happens here.
    pub first: bool,
}

impl CheckRun {
    /// Describes a run that must end by `deadline`.
    #[must_use]
    pub const fn new(deadline: Deadline) -> Self {
        Self {
            deadline,
            first: false,
        }
    }

    /// Marks the run as the first of its process.
    #[must_use]
    pub const fn first(mut self, first: bool) -> Self {
        self.first = first;
        self
    }
}

/// Whether a check passed.
///
/// Complete: a check passes, warns, fails, or is not known to have done any of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckStatus {
    /// All is well.
    Pass,
    /// It works, but somebody should look.
    Warn,
    /// It does not work.
    Fail,
    /// The check itself gave no answer: cut by the scheduler, panicked, or stale.
    /// It counts neither as a failure nor as a success.
    Unknown,
}

impl CheckStatus {
    /// Returns the word of `application/health+json`, with `unknown` for what it lacks.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
        }
    }
}

/// What kind of failure it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureClass {
    /// The credentials were not accepted.
    Auth,
    /// The name did not resolve.
    Dns,
    /// The dependency is up but still loading its data.
    Loading,
    /// The settings of this instance are wrong (no such database, pending migrations).
    Misconfigured,
    /// Anything else.
    Other,
    /// The dependency itself says that it has too much to do.
    Overloaded,
    /// The check, or the caller itself, panicked.
    Panicked,
    /// The dependency answers, but takes no writes (replica, full disk, out of memory).
    ReadOnly,
    /// The server took the connection and refused the session (no slot free).
    RefusedByServer,
    /// Everything is in use and working.
    Saturated,
    /// No answer has come for longer than the stale window.
    Stale,
    /// Everything is in use and nothing has come back for a while, or a connection is
    /// accepted and never answered.
    Stuck,
    /// It took longer than the deadline.
    Timeout,
    /// TLS could not be agreed.
    Tls,
    /// It answered, and the answer says that it is not well.
    Unhealthy,
    /// Nobody listens, or the network does not reach it.
    Unreachable,
}

impl FailureClass {
    /// Returns the stable token.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Dns => "dns",
            Self::Loading => "loading",
            Self::Misconfigured => "misconfigured",
            Self::Other => "other",
            Self::Overloaded => "overloaded",
            Self::Panicked => "panicked",
            Self::ReadOnly => "read-only",
            Self::RefusedByServer => "refused-by-server",
            Self::Saturated => "saturated",
            Self::Stale => "stale",
            Self::Stuck => "stuck",
            Self::Timeout => "timeout",
            Self::Tls => "tls",
            Self::Unhealthy => "unhealthy",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether other instances most likely see the same, so that taking this one out of
    /// rotation moves no request to a better place.
    ///
    /// An instance cannot see its peers; the class is the best witness it has. A name
    /// that does not resolve, a certificate, a password and a setting are this
    /// instance's own; a server that is down, slow or full is everybody's.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        !matches!(
            self,
            Self::Auth | Self::Dns | Self::Misconfigured | Self::Panicked | Self::Stale | Self::Tls
        )
    }
}

impl std::fmt::Display for FailureClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code())
    }
}

/// A number that a check saw. The name carries the unit: `ping_ms`, `pool_size`.
///
/// Complete: a name and a value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Number {
    /// What was counted or measured, with its unit.
    pub name: &'static str,
    /// How much; always finite.
    pub value: f64,
}

/// What a check answered.
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct CheckOutcome {
    status: CheckStatus,
    class: Option<FailureClass>,
    message: Box<str>,
    numbers: Vec<Number>,
}

impl CheckOutcome {
    /// All is well.
    pub fn pass() -> Self {
        Self::new(CheckStatus::Pass, None, "")
    }

    /// It works, but somebody should look. The message is redacted.
    pub fn warn(class: FailureClass, message: impl AsRef<str>) -> Self {
        Self::new(CheckStatus::Warn, Some(class), message.as_ref())
    }

    /// It does not work. The message is redacted.
    pub fn fail(class: FailureClass, message: impl AsRef<str>) -> Self {
        Self::new(CheckStatus::Fail, Some(class), message.as_ref())
    }

    /// The check gave no answer. The message is redacted.
    pub fn unknown(class: FailureClass, message: impl AsRef<str>) -> Self {
        Self::new(CheckStatus::Unknown, Some(class), message.as_ref())
    }

    fn new(status: CheckStatus, class: Option<FailureClass>, message: &str) -> Self {
        Self {
            status,
            class,
            message: redact(message).into(),
            numbers: Vec::new(),
        }
    }

    /// Adds a number that was seen. One that is not finite is dropped, because JSON has
    /// no word for it, and so is any beyond [`NUMBERS_MAX`].
    pub fn number(mut self, name: &'static str, value: impl Into<f64>) -> Self {
        let value = value.into();
        if value.is_finite() && self.numbers.len() < NUMBERS_MAX {
            self.numbers.push(Number { name, value });
        }
        self
    }

    /// Returns whether it passed.
    #[must_use]
    pub const fn status(&self) -> CheckStatus {
        self.status
    }

    /// Returns the kind of failure or warning, `None` for a pass.
    #[must_use]
    pub const fn class(&self) -> Option<FailureClass> {
        self.class
    }

    /// Returns the redacted message, empty for a pass.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what was counted and measured.
    #[must_use]
    pub fn numbers(&self) -> &[Number] {
        &self.numbers
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_redacted_and_a_number_is_finite() {
        let outcome = CheckOutcome::fail(FailureClass::Unreachable, "no postgres://a:b@h/d")
            .number("size", 4)
            .number("bad_ratio", f64::NAN);
        assert_eq!(outcome.message(), "no postgres://***@h/d");
        assert_eq!(
            outcome.numbers(),
            [Number {
                name: "size",
                value: 4.0
            }]
        );
    }
}
