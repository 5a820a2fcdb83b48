//! Why a handler got no answer of the database: a refusal, or an error of the driver.

use std::fmt;

use steadfast_core::{PoolError, Refusal};

use super::acquire::Fault;

/// A refusal, or an error of sqlx.
///
/// `?` takes both into it, and it passes on what it is: `steadfast::Error` and
/// [`Refusal::find`] find the refusal in it, however deep it was wrapped.
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Refused(Refusal),
    Driver(sqlx::Error),
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
    pub const fn driver(&self) -> Option<&sqlx::Error> {
        match &self.0 {
            Kind::Refused(_) => None,
            Kind::Driver(error) => Some(error),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Refused(_) => "the database was not asked",
            Kind::Driver(_) => "the database did not do it",
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

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        Self(Kind::Driver(error))
    }
}

impl From<PoolError<Fault>> for Error {
    fn from(error: PoolError<Fault>) -> Self {
        match error {
            PoolError::Refused(refusal) => Self(Kind::Refused(refusal)),
            PoolError::Driver(fault) => Self(Kind::Driver(fault.into_error())),
        }
    }
}
