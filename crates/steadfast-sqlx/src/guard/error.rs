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
use steadfast_pool::{CommandError, Explained};

use super::acquire::Fault;

/// What travels inside sqlx's error when the outage behind that is known.
type Known = Explained<sqlx::Error>;

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
pub struct Error(CommandError<sqlx::Error>);

impl Error {
    /// Returns the refusal, if it is one, or if it is explained by one.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        self.0.refusal()
    }

    /// Returns the driver's error, if the database was asked.
    #[must_use]
    pub const fn driver(&self) -> Option<&sqlx::Error> {
        self.0.driver()
    }

    /// Returns both by value. One of the two is there at least: a query that failed in an
    /// outage that is known has both.
    #[must_use]
    pub fn into_parts(self) -> (Option<Refusal>, Option<sqlx::Error>) {
        self.0.into_parts()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.describe("the database", f)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source()
    }
}

impl From<sqlx::Error> for Error {
    fn from(error: sqlx::Error) -> Self {
        let sqlx::Error::AnyDriverError(inner) = error else {
            return Self(CommandError::Driver(error));
        };
        let inner = match inner.downcast::<Refusal>() {
            Ok(refusal) => return Self(CommandError::Refused(*refusal)),
            Err(inner) => inner,
        };
        Self(match inner.downcast::<Known>() {
            Ok(explained) => CommandError::Explained(*explained),
            Err(inner) => CommandError::Driver(sqlx::Error::AnyDriverError(inner)),
        })
    }
}

impl From<Error> for sqlx::Error {
    fn from(error: Error) -> Self {
        match error.0 {
            CommandError::Refused(refusal) => refused(refusal),
            CommandError::Explained(explained) => with(explained),
            CommandError::Driver(error) => error,
        }
    }
}

/// Returns what the driver said, of an error that a guard may have explained.
///
/// A query that failed because the database cannot serve carries, once that is known, the
/// refusal that says so, inside `sqlx::Error::AnyDriverError`. Code that looks for an answer of
/// the server (`as_database_error`, a match on `sqlx::Error::Database`) finds those that are the
/// caller's own as ever: a unique violation, a serialization failure, a missing right are never
/// explained. One that looks for a lost session or a server that goes away asks this first.
///
/// ```
/// # fn should_ask_again(error: &sqlx::Error) -> bool {
/// let error = steadfast_sqlx::underlying(error);
/// let code = error.as_database_error().and_then(|answer| answer.code());
/// matches!(error, sqlx::Error::Io(_)) || code.as_deref() == Some("57P01")
/// # }
/// ```
#[must_use]
pub fn underlying(error: &sqlx::Error) -> &sqlx::Error {
    match error {
        sqlx::Error::AnyDriverError(inner) => match inner.downcast_ref::<Known>() {
            Some(explained) => &explained.error,
            None => error,
        },
        _ => error,
    }
}

/// Adds the refusal that explains an error of sqlx.
pub(super) fn explained(refusal: Refusal, error: sqlx::Error) -> sqlx::Error {
    with(Explained { refusal, error })
}

fn with(explained: Known) -> sqlx::Error {
    sqlx::Error::AnyDriverError(Box::new(explained))
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
    inner.is::<Refusal>() || inner.is::<Known>() || inner.is::<CallTimedOut>()
}

/// Says by sqlx's type why there is no connection.
pub(super) fn of_pool(error: PoolError<Fault>) -> sqlx::Error {
    match error {
        PoolError::Refused(refusal) => refused(refusal),
        PoolError::Driver(fault) => fault.into_error(),
    }
}
