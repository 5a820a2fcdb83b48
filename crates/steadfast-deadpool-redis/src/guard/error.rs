//! Why a handler got no answer of the database: a refusal, or an error of the driver.

use std::fmt;

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
        Self(Kind::Driver(DriverError::Backend(error)))
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
