//! What an error of the driver means for the one who has to act on it.
//!
//! Pure: an error goes in, a [`Failure`] comes out. SQLSTATE decides where the server
//! said one, because its texts are translated; the kind of the innermost I/O error
//! decides the rest.

use std::{error::Error as StdError, io};

use sqlx::error::DatabaseError;
use steadfast_core::{Failure, FailureClass};

/// Says what an error of sqlx means.
pub(crate) fn classify(error: &sqlx::Error) -> Failure {
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
    let text = error.to_string();
    // The resolver's errors have no kind of their own; std puts these words in front.
    if text.starts_with("failed to lookup address information") {
        return Failure::new(FailureClass::Dns, text);
    }
    if is_out_of_files(error) {
        return Failure::new(
            FailureClass::Misconfigured,
            format!("this process may open no more files: {text}"),
        );
    }
    match error.kind() {
        Kind::TimedOut => Failure::new(FailureClass::Timeout, text),
        Kind::UnexpectedEof | Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => {
            Failure::new(
                FailureClass::Unreachable,
                format!("the connection was closed before an answer: {text}"),
            )
        }
        Kind::ConnectionRefused
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown
        | Kind::NotConnected
        // The file of a Unix socket whose server is gone.
        | Kind::NotFound => Failure::new(FailureClass::Unreachable, text),
        // No local port left, no right to open the socket, no such address here.
        Kind::AddrNotAvailable | Kind::AddrInUse | Kind::PermissionDenied | Kind::InvalidInput => {
            Failure::new(FailureClass::Misconfigured, text)
        }
        _ => Failure::new(FailureClass::Other, text),
    }
}

fn database(error: &dyn DatabaseError) -> Failure {
    let code = error.code();
    let class = mysql_class(error)
        .or_else(|| sqlite_class(error))
        .unwrap_or_else(|| code.as_deref().map_or(FailureClass::Unhealthy, sqlstate));
    let message = match code {
        Some(code) => format!("{} ({code})", error.message()),
        None => error.message().to_owned(),
    };
    Failure::new(class, message)
}

/// Says what a SQLSTATE means, by
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
fn sqlstate(code: &str) -> FailureClass {
    match code {
        "53300" | "08004" => FailureClass::RefusedByServer,
        "57P03" => FailureClass::Loading,
        "3D000" => FailureClass::Misconfigured,
        "25006" => FailureClass::ReadOnly,
        // admin_shutdown, crash_shutdown: the session was ended from the other side.
        "57P01" | "57P02" => FailureClass::Unreachable,
        "57014" => FailureClass::Timeout,
        _ if code.starts_with("28") || code == "42501" => FailureClass::Auth,
        // Out of memory, disk full, configuration limit exceeded.
        _ if code.starts_with("53") => FailureClass::Overloaded,
        _ => FailureClass::Unhealthy,
    }
}

/// MySQL uses one SQLSTATE for many things, so its own numbers decide.
#[cfg(feature = "mysql")]
fn mysql_class(error: &dyn DatabaseError) -> Option<FailureClass> {
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(mysql_number(error.number(), error.code()))
}

/// Says what a number of MySQL means, by
/// <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>.
#[cfg(feature = "mysql")]
fn mysql_number(number: u16, code: Option<&str>) -> FailureClass {
    match number {
        // Too many connections: server, user, user's hourly share; host blocked after errors.
        1040 | 1203 | 1226 | 1129 => FailureClass::RefusedByServer,
        1044 | 1045 | 1130 | 1698 | 1862 | 3118 => FailureClass::Auth,
        1049 => FailureClass::Misconfigured,
        1053 | 1077 => FailureClass::Unreachable,
        1290 | 1836 => FailureClass::ReadOnly,
        1037 | 1038 | 1041 | 1021 => FailureClass::Overloaded,
        _ => code.map_or(FailureClass::Unhealthy, sqlstate),
    }
}

#[cfg(not(feature = "mysql"))]
fn mysql_class(_: &dyn DatabaseError) -> Option<FailureClass> {
    None
}

/// SQLite's codes are numbers, not SQLSTATE; the low byte is the primary code of
/// <https://www.sqlite.org/rescode.html>.
#[cfg(feature = "sqlite")]
fn sqlite_class(error: &dyn DatabaseError) -> Option<FailureClass> {
    let error = error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    let code: i32 = DatabaseError::code(error)?.parse().ok()?;
    Some(match code & 0xff {
        // BUSY, LOCKED: another writer holds the file.
        5 | 6 => FailureClass::Saturated,
        // READONLY, FULL.
        8 | 13 => FailureClass::ReadOnly,
        // PERM, CANTOPEN, NOTADB: the path is wrong, or not ours.
        3 | 14 | 26 => FailureClass::Misconfigured,
        _ => FailureClass::Unhealthy,
    })
}

#[cfg(not(feature = "sqlite"))]
fn sqlite_class(_: &dyn DatabaseError) -> Option<FailureClass> {
    None
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

/// EMFILE and ENFILE have no [`io::ErrorKind`]; the numbers are those of Linux and macOS.
fn is_out_of_files(error: &io::Error) -> bool {
    cfg!(unix) && matches!(error.raw_os_error(), Some(23 | 24))
}

#[cfg(test)]
#[path = "classify_tests.rs"]
mod tests;
