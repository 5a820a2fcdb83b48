//! Why a handler got no answer of the database: a refusal, or an error of the driver.

use std::{fmt, io};

use deadpool_redis::{PoolError as DriverError, redis::RedisError};
use steadfast_core::{Refusal, plumbing::PoolError};

use super::acquire::Fault;
use crate::classify::io_below;

/// A refusal, or an error of the driver.
///
/// `?` takes both into it, and it passes on what it is: `steadfast::Error` and
/// [`Refusal::find`] find the refusal in it, however deep it was wrapped.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Refused(Refusal),
    /// It failed, and the outage behind that is known.
    Explained(Carried),
    Driver(DriverError),
}

impl Error {
    /// Returns the refusal, if it is one, or if it is explained by one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.0 {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Explained(carried) => Some(&carried.refusal),
            Kind::Driver(_) => None,
        }
    }

    /// Returns the driver's error, if there is one.
    #[must_use]
    pub const fn driver(&self) -> Option<&DriverError> {
        match &self.0 {
            Kind::Refused(_) => None,
            Kind::Explained(carried) => carried.error.as_ref(),
            Kind::Driver(error) => Some(error),
        }
    }

    /// Returns both by value. One of the two is there at least: a command that failed in an
    /// outage that is known has both.
    #[must_use]
    pub fn into_parts(self) -> (Option<Refusal>, Option<DriverError>) {
        match self.0 {
            Kind::Refused(refusal) => (Some(refusal), None),
            Kind::Explained(carried) => (Some(carried.refusal), carried.error),
            Kind::Driver(error) => (None, Some(error)),
        }
    }
}

/// Makes an error of the driver that carries a refusal, because a command can end with no
/// other.
pub(super) fn refused(refusal: Refusal) -> RedisError {
    let error = None;
    io::Error::other(Carried { refusal, error }).into()
}

/// Adds the refusal that explains an error of the driver.
pub(super) fn explained(refusal: Refusal, error: RedisError) -> RedisError {
    let error = Some(DriverError::Backend(error));
    io::Error::other(Carried { refusal, error }).into()
}

/// What stands between the driver's error and the refusal, so that it is a link of the
/// chain: an I/O error hides the link that it is made of.
#[derive(Debug)]
struct Carried {
    refusal: Refusal,
    /// What the command was told, if it was sent.
    error: Option<DriverError>,
}

impl Carried {
    /// Finds it in an error of the driver, which lends it only.
    fn find(error: &RedisError) -> Option<Self> {
        let Self { refusal, error } = io_below(error)?.get_ref()?.downcast_ref()?;
        let error = match error {
            Some(DriverError::Backend(error)) => Some(DriverError::Backend(error.clone())),
            _ => None,
        };
        Some(Self {
            refusal: refusal.clone(),
            error,
        })
    }
}

impl fmt::Display for Carried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.error {
            Some(DriverError::Backend(error)) => error.fmt(f),
            _ => f.write_str("Redis was not asked"),
        }
    }
}

impl std::error::Error for Carried {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refusal)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Refused(_) => "Redis was not asked",
            Kind::Explained(_) | Kind::Driver(_) => "Redis did not do it",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Explained(carried) => Some(carried),
            Kind::Driver(error) => Some(error),
        }
    }
}

impl From<DriverError> for Error {
    fn from(error: DriverError) -> Self {
        Self(Kind::Driver(error))
    }
}

impl From<RedisError> for Error {
    fn from(error: RedisError) -> Self {
        Self(match Carried::find(&error) {
            Some(Carried {
                refusal,
                error: None,
            }) => Kind::Refused(refusal),
            Some(carried) => Kind::Explained(carried),
            None => Kind::Driver(DriverError::Backend(error)),
        })
    }
}

impl Error {
    pub(super) fn of_pool(error: PoolError<Fault>) -> Self {
        match error {
            PoolError::Refused(refusal) => Self(Kind::Refused(refusal)),
            PoolError::Driver(fault) => Self(Kind::Driver(fault.error)),
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
