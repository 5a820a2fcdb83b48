//! Why a handler got no answer of the database: a refusal, or an error of the driver.
//!
//! sqlx's traits know one error type, its own. So a refusal travels inside a variant of it
//! that shows its source, where `steadfast::Error` and [`Refusal::find`] find it, and
//! [`Error`] takes the two apart again.

use std::fmt;

use steadfast_core::{
    Refusal,
    plumbing::{CallTimedOut, PoolError},
};

use super::acquire::Fault;

/// A refusal, or an error of sqlx.
///
/// `?` takes sqlx's errors into it, and it passes on what it is: `steadfast::Error` and
/// [`Refusal::find`] find the refusal in it, however deep it was wrapped. What the guard and
/// its connections say by sqlx's type is taken apart here.
///
/// ```
/// # #[cfg(feature = "sqlite")]
/// # async fn run(db: steadfast_sqlx::PoolGuard<sqlx::Sqlite>) {
/// if let Err(error) = sqlx::query("update goods set n = 1").execute(&db).await {
///     match steadfast_sqlx::Error::from(error).into_parts() {
///         (Some(refusal), _) => println!("refused: {refusal}"),
///         (None, Some(error)) => println!("the database said: {error}"),
///         (None, None) => unreachable!("it is one of the two"),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct Error(Kind);

#[derive(Debug)]
enum Kind {
    Refused(Refusal),
    /// It failed, and the outage behind that is known.
    Explained(Explained),
    Driver(sqlx::Error),
}

impl Error {
    /// Returns the refusal, if it is one, or if it is explained by one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match &self.0 {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Explained(explained) => Some(&explained.refusal),
            Kind::Driver(_) => None,
        }
    }

    /// Returns the driver's error, if the database was asked.
    #[must_use]
    pub const fn driver(&self) -> Option<&sqlx::Error> {
        match &self.0 {
            Kind::Refused(_) => None,
            Kind::Explained(explained) => Some(&explained.error),
            Kind::Driver(error) => Some(error),
        }
    }

    /// Returns both by value. One of the two is there at least: a query that failed in an
    /// outage that is known has both.
    #[must_use]
    pub fn into_parts(self) -> (Option<Refusal>, Option<sqlx::Error>) {
        match self.0 {
            Kind::Refused(refusal) => (Some(refusal), None),
            Kind::Explained(explained) => (Some(explained.refusal), Some(explained.error)),
            Kind::Driver(error) => (None, Some(error)),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.0 {
            Kind::Refused(_) => "the database was not asked",
            Kind::Explained(_) | Kind::Driver(_) => "the database did not do it",
        })
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.0 {
            Kind::Refused(refusal) => Some(refusal),
            Kind::Explained(explained) => Some(explained),
            Kind::Driver(error) => Some(error),
        }
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::AnyDriverError(inner) = error else {
            return Self(Kind::Driver(error));
        };
        let inner = match inner.downcast::<Refusal>() {
            Ok(refusal) => return Self(Kind::Refused(*refusal)),
            Err(inner) => inner,
        };
        Self(match inner.downcast::<Explained>() {
            Ok(explained) => Kind::Explained(*explained),
            Err(inner) => Kind::Driver(sqlx::Error::AnyDriverError(inner)),
        })
    }
}

impl From<Error> for sqlx::Error {
    fn from(error: Error) -> Self {
        match error.0 {
            Kind::Refused(refusal) => refused(refusal),
            Kind::Explained(explained) => explained.into(),
            Kind::Driver(error) => error,
        }
    }
}

/// An error of the driver, and the outage that explains it.
#[derive(Debug)]
pub(super) struct Explained {
    refusal: Refusal,
    error: sqlx::Error,
}

impl Explained {
    pub(super) const fn new(refusal: Refusal, error: sqlx::Error) -> Self {
        Self { refusal, error }
    }
}

impl fmt::Display for Explained {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.error, f)
    }
}

impl std::error::Error for Explained {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.refusal)
    }
}

impl From<Explained> for sqlx::Error {
    fn from(explained: Explained) -> Self {
        Self::AnyDriverError(Box::new(explained))
    }
}

/// Puts a refusal into an error of sqlx.
pub(super) fn refused(refusal: Refusal) -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(refusal))
}

/// Puts a query that was cut into an error of sqlx.
pub(super) fn late(late: CallTimedOut) -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(late))
}

/// Whether an error was made by a guard.
pub(crate) fn carried(error: &sqlx::Error) -> bool {
    let sqlx::Error::AnyDriverError(inner) = error else {
        return false;
    };
    inner.is::<Refusal>() || inner.is::<Explained>() || inner.is::<CallTimedOut>()
}

/// Says by sqlx's type why there is no connection.
pub(super) fn of_pool(error: PoolError<Fault>) -> sqlx::Error {
    match error {
        PoolError::Refused(refusal) => refused(refusal),
        PoolError::Driver(fault) => fault.into_error(),
    }
}
