//! Why a handler got no answer of the database: a refusal, or an error of the driver.

use std::{fmt, io};

use deadpool_redis::{PoolError as DriverError, redis::RedisError};
use steadfast_core::{PoolError, Refusal};

/// A refusal, or an error of the driver.
///
/// `?` takes both into it, and it passes on what it is: `steadfast::Error` and
/// [`Refusal::find`] find the refusal in it, however deep it was wrapped.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Refused(Refusal),
    Driver(DriverError),
}

impl Error {
    /// Returns the refusal, if it is one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.0 {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Driver(_) => None,
        }
    }

    /// Returns the driver's error, if it is one.
    #[must_use]
    pub const fn driver(&self) -> Option<&DriverError> {
        match &self.0 {
            Kind::Refused(_) => None,
            Kind::Driver(error) => Some(error),
        }
    }

    /// Gives the driver's error back.
    ///
    /// # Errors
    /// The refusal, if it is one.
    pub fn into_parts(self) -> Result<DriverError, Refusal> {
        match self.0 {
            Kind::Refused(refusal) => Err(refusal),
            Kind::Driver(error) => Ok(error),
        }
    }
}

/// Makes an error of the driver that carries a refusal, because a command can end with no
/// other.
pub(super) fn refused(refusal: Refusal) -> RedisError {
    io::Error::other(Refused(refusal)).into()
}

/// What stands between the driver's error and the refusal, so that it is a link of the
/// chain: an I/O error hides the link that it is made of.
#[derive(Debug)]
struct Refused(Refusal);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redis was not asked")
    }
}

impl std::error::Error for Refused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Refused(_) => "Redis was not asked",
            Kind::Driver(_) => "Redis did not do it",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Refused(refusal) => Some(refusal),
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
        match Refusal::find(&error) {
            Some(refusal) => Self(Kind::Refused(refusal.clone())),
            None => Self(Kind::Driver(DriverError::Backend(error))),
        }
    }
}

impl From<PoolError<DriverError>> for Error {
    fn from(error: PoolError<DriverError>) -> Self {
        match error {
            PoolError::Refused(refusal) => Self(Kind::Refused(refusal)),
            PoolError::Driver(error) => Self(Kind::Driver(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

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
        let error = refused(refusal);
        assert!(Refusal::find(&error).is_some(), "{error:?}");
        assert!(Error::from(error).into_parts().is_err());
    }
}
