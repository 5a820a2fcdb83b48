//! A call that nobody waits for any more, as an error.

use std::{error::Error, fmt, time::Duration};

use crate::name::Name;

/// A call that was cut because it took too long.
///
/// Whoever cuts a call puts it into the error that the caller gets, so that the shell can
/// tell *late* (a 504) from *failed*.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallTimedOut {
    dependency: Name,
    after: Duration,
}

impl CallTimedOut {
    /// Says that `dependency` did not answer within `after`.
    #[must_use]
    pub const fn new(dependency: Name, after: Duration) -> Self {
        Self { dependency, after }
    }

    /// Returns who did not answer.
    #[must_use]
    pub const fn dependency(&self) -> &Name {
        &self.dependency
    }

    /// Returns how long the call was given.
    #[must_use]
    pub const fn after(&self) -> Duration {
        self.after
    }
}

impl fmt::Display for CallTimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no answer within {:?}", self.after)
    }
}

impl Error for CallTimedOut {}
