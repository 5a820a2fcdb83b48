//! Why a handler got no answer of the database: a refusal, or an error of the driver.

use std::{fmt, io};

use deadpool_redis::{PoolError as DriverError, redis::RedisError};
use steadfast_core::{Refusal, plumbing::PoolError};
use steadfast_pool::{CommandError, Explained};

use super::acquire::Fault;
use crate::classify::io_below;

/// A refusal, or an error of the driver.
///
/// `?` takes both into it, and it passes on what it is: `steadfast::Error` and
/// [`Refusal::find`] find the refusal in it, however deep it was wrapped.
#[derive(Debug)]
pub struct Error(CommandError<DriverError>);

impl Error {
    /// Returns the refusal, if it is one, or if it is explained by one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal()
    }

    /// Returns the driver's error, if there is one.
    #[must_use]
    pub const fn driver(&self) -> Option<&DriverError> {
        self.0.driver()
    }

    /// Returns both by value. One of the two is there at least: a command that failed in an
    /// outage that is known has both.
    #[must_use]
    pub fn into_parts(self) -> (Option<Refusal>, Option<DriverError>) {
        self.0.into_parts()
    }
}

/// Makes an error of the driver that carries a refusal, because a command can end with no
/// other.
pub(super) fn refused(refusal: Refusal) -> RedisError {
    carry(CommandError::Refused(refusal))
}

/// Adds the refusal that explains an error of the driver.
pub(super) fn explained(refusal: Refusal, error: RedisError) -> RedisError {
    carry(CommandError::Explained(Explained { refusal, error }))
}

fn carry(error: CommandError<RedisError>) -> RedisError {
    io::Error::other(Carried(error)).into()
}

/// What stands between the driver's error and the refusal, so that it is a link of the
/// chain: an I/O error hides the link that it is made of.
#[derive(Debug)]
struct Carried(CommandError<RedisError>);

impl Carried {
    /// Finds it in an error of the driver, which lends it only.
    fn find(error: &RedisError) -> Option<CommandError<DriverError>> {
        let Self(error) = io_below(error)?.get_ref()?.downcast_ref()?;
        let refusal = error.refusal()?.clone();
        Some(match error.driver() {
            None => CommandError::Refused(refusal),
            Some(error) => CommandError::Explained(Explained {
                refusal,
                error: DriverError::Backend(error.clone()),
            }),
        })
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.driver() {
            Some(error) => error.fmt(f),
            None => self.0.describe(NAME, f),
        }
    }
}

impl std::error::Error for Carried {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(self.0.refusal()?)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe(NAME, f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

/// Who was asked.
const NAME: &str = "Redis";

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        Self(CommandError::Driver(error))
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        let carried = Carried::find(&error);
        Self(carried.unwrap_or_else(|| CommandError::Driver(DriverError::Backend(error))))
    }
}

impl Error {
    pub(super) fn of_pool(error: PoolError<Fault>) -> Self {
        match error {
            PoolError::Refused(refusal) => Self(CommandError::Refused(refusal)),
            PoolError::Driver(fault) => Self(CommandError::Driver(fault.error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use deadpool_redis::redis::ErrorKind;
    use steadfast_core::{DependencyDown, Evidence, FailureClass, Name};

    use super::*;

    #[test]
    fn a_refusal_of_a_command_is_found_in_the_drivers_error() {
        let cache = Name::new("cache").unwrap();
        let down = DependencyDown::new(
            cache.clone(),
            Duration::ZERO,
            FailureClass::ReadOnly,
            "READONLY",
        );
        let evidence = Evidence::DependencyDown(down);
        let refusal = Refusal::new(cache, evidence, Duration::ZERO, crate::clock::now());
        let error = refused(refusal.clone());
        assert!(Refusal::find(&error).is_some(), "{error:?}");
        let parts = Error::from(error).into_parts();
        assert!(matches!(parts, (Some(_), None)), "{parts:?}");
        let said: RedisError = (ErrorKind::Client, "no").into();
        let error = explained(refusal, said);
        assert!(Refusal::find(&error).is_some(), "{error:?}");
        let parts = Error::from(error).into_parts();
        assert!(matches!(parts, (Some(_), Some(_))), "{parts:?}");
    }
}
