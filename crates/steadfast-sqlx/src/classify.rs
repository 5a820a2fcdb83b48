//! What an error of the driver means for the one who has to act on it.
//!
//! Pure: an error goes in, a [`Failure`] comes out. SQLSTATE decides where the server
//! said one, because its texts are translated; the kind of the innermost I/O error
//! decides the rest.

pub(crate) mod mysql;
pub(crate) mod pgbouncer;
pub(crate) mod sqlite;
pub(crate) mod sqlstate;

use std::{borrow::Cow, error::Error as StdError, io};

use sqlx::error::DatabaseError;
use steadfast_core::{Failure, FailureClass};
use steadfast_pool::io_failure;

/// Says what an error of sqlx means, for whoever has to act on it.
///
/// It names a class for every error. Whether the error is evidence against the database is
/// another question, which [`outcome`](crate::outcome()) answers.
///
/// ```
/// use steadfast_core::FailureClass;
///
/// let error = sqlx::Error::Io(std::io::ErrorKind::ConnectionRefused.into());
/// assert_eq!(steadfast_sqlx::classify(&error).class(), FailureClass::Unreachable);
/// ```
#[must_use]
pub fn classify(error: &sqlx::Error) -> Failure {
    match error {
        sqlx::Error::Database(error) => database(&**error),
        sqlx::Error::Io(error) => io(error),
        sqlx::Error::Tls(error) => Failure::new(FailureClass::Tls, format!("no TLS: {error}")),
        sqlx::Error::Configuration(error) => {
            Failure::new(FailureClass::Misconfigured, error.to_string())
        }
        sqlx::Error::Protocol(text) => Failure::new(
            FailureClass::Unhealthy,
            format!("the answer is not in the protocol: {text}"),
        ),
        other => match innermost_io(other) {
            Some(error) => io(error),
            None => Failure::new(FailureClass::Other, other.to_string()),
        },
    }
}

/// Says what an I/O error means.
pub(crate) fn io(error: &io::Error) -> Failure {
    use io::ErrorKind as Kind;
    io_failure(error).unwrap_or_else(|| match error.kind() {
        Kind::UnexpectedEof
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::BrokenPipe => Failure::new(
            FailureClass::Unreachable,
            format!("the connection was closed before an answer: {error}"),
        ),
        _ => Failure::new(FailureClass::Other, error.to_string()),
    })
}

fn database(error: &dyn DatabaseError) -> Failure {
    let code = error.code();
    let message = error.message();
    let class = mysql::class(error)
        .or_else(|| sqlite::class(error))
        .unwrap_or_else(|| match code.as_deref() {
            Some(code) => sqlstate::class(code, message),
            None => FailureClass::Unhealthy,
        });
    let message = match class {
        // A role that is quoted is taken for a secret, and here it is what has to be raised.
        FailureClass::RefusedByServer => Cow::Owned(message.replace('"', "")),
        _ => Cow::Borrowed(message),
    };
    Failure::new(
        class,
        match code {
            Some(code) => format!("{message} ({code})"),
            None => message.into_owned(),
        },
    )
}

fn innermost_io<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e io::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        found = error.downcast_ref::<io::Error>().or(found);
        next = error.source();
    }
    found
}

#[cfg(test)]
mod tests;
