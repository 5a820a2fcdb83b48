//! What an error of the driver means for the one who has to act on it.
//!
//! Pure: an error goes in, a [`Failure`] comes out. The code of a Redis error decides
//! where there is one, the kind of the I/O error below it otherwise.

use std::{error::Error as StdError, io, sync::Arc};

use deadpool_redis::redis::{ErrorKind, RedisError};
use steadfast_core::{Failure, FailureClass};
use steadfast_pool::io_failure;

/// Says what an error of the driver means, for whoever has to act on it.
///
/// It names a class for every error. Whether the error is evidence against the server is
/// another question, which [`outcome`](crate::outcome()) answers.
///
/// ```
/// use std::io::ErrorKind;
/// use steadfast_core::FailureClass;
///
/// let error = std::io::Error::from(ErrorKind::ConnectionRefused).into();
/// let failure = steadfast_deadpool_redis::classify(&error);
/// assert_eq!(failure.class(), FailureClass::Unreachable);
/// ```
#[must_use]
pub fn classify(error: &RedisError) -> Failure {
    if let Some(code) = error.code() {
        return reply(code, error.detail().unwrap_or_default());
    }
    if let Some(error) = io_below(error) {
        return io(error);
    }
    let class = match error.kind() {
        ErrorKind::AuthenticationFailed => FailureClass::Auth,
        ErrorKind::InvalidClientConfig
        | ErrorKind::EmptySentinelList
        | ErrorKind::MasterNameNotFoundBySentinel
        | ErrorKind::RESP3NotSupported => FailureClass::Misconfigured,
        // The only client errors with a source are those of the TLS libraries.
        ErrorKind::Client if error.source().is_some() => FailureClass::Tls,
        ErrorKind::Parse | ErrorKind::UnexpectedReturnType => FailureClass::Unhealthy,
        ErrorKind::Io => FailureClass::Unreachable,
        _ => FailureClass::Other,
    };
    Failure::new(class, error.to_string())
}

/// Says what an error reply means, by its first word and the rest.
pub(crate) fn reply(code: &str, text: &str) -> Failure {
    let class = match code {
        "LOADING" => FailureClass::Loading,
        // A replica; no memory, disk or replica for writes.
        "READONLY" | "OOM" | "MISCONF" | "NOREPLICAS" => FailureClass::ReadOnly,
        "NOAUTH" | "WRONGPASS" | "NOPERM" | "DENIED" => FailureClass::Auth,
        // A script has the server for itself.
        "BUSY" => FailureClass::Overloaded,
        _ if is_full(text) => FailureClass::RefusedByServer,
        _ if is_of_proxy(code, text) => FailureClass::Unreachable,
        _ if text.contains("DB index") => FailureClass::Misconfigured,
        _ if text.contains("AUTH") || text.contains("invalid password") => FailureClass::Auth,
        _ => FailureClass::Unhealthy,
    };
    Failure::new(class, format!("{code} {text}").trim_end())
}

/// Whether a server without a free slot says so.
pub(crate) fn is_full(text: &str) -> bool {
    text.contains("max number of clients") || text.contains("max clients")
}

/// Whether a proxy says that it does not reach its server: Envoy and twemproxy answer in
/// the server's place.
pub(crate) fn is_of_proxy(code: &str, text: &str) -> bool {
    match code {
        "upstream" => text == "failure",
        "no" => text == "upstream host",
        "ERR" => text.starts_with("Connection "),
        _ => false,
    }
}

/// Says what an I/O error means.
pub(crate) fn io(error: &io::Error) -> Failure {
    io_failure(error).unwrap_or_else(|| {
        let class = match error.kind() {
            _ if is_closed(error) => FailureClass::Unreachable,
            // A TLS library that does not like what it reads.
            io::ErrorKind::InvalidData => FailureClass::Tls,
            _ => FailureClass::Other,
        };
        Failure::new(class, error.to_string())
    })
}

/// Whether the other side ended the connection.
pub(crate) fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        error.kind(),
        Kind::UnexpectedEof
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
    )
}

/// Finds the innermost I/O error. The driver keeps it in an `Arc`, which is a link of the
/// chain of its own.
pub(crate) fn io_below<'e>(error: &'e (dyn StdError + 'static)) -> Option<&'e io::Error> {
    let mut found = None;
    let mut next = Some(error);
    while let Some(error) = next {
        let shared = error.downcast_ref::<Arc<dyn StdError + Send + Sync>>();
        let inner = shared.and_then(|shared| shared.downcast_ref());
        found = error.downcast_ref().or(inner).or(found);
        next = error.source();
    }
    found
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind as Kind;

    use FailureClass as Class;
    use deadpool_redis::redis::parse_redis_value;

    use super::*;

    #[test]
    fn a_reply_is_classed_by_its_code() {
        for (line, class) in [
            (
                "LOADING Redis is loading the dataset in memory",
                Class::Loading,
            ),
            ("MASTERDOWN Link with MASTER is down", Class::Unhealthy),
            (
                "READONLY You can't write against a read only replica.",
                Class::ReadOnly,
            ),
            (
                "OOM command not allowed when used memory > 'maxmemory'.",
                Class::ReadOnly,
            ),
            (
                "MISCONF Redis is configured to save RDB snapshots",
                Class::ReadOnly,
            ),
            (
                "NOREPLICAS Not enough good replicas to write.",
                Class::ReadOnly,
            ),
            ("NOAUTH Authentication required.", Class::Auth),
            ("WRONGPASS invalid username-password pair", Class::Auth),
            ("NOPERM this user has no permissions", Class::Auth),
            ("DENIED Redis is running in protected mode", Class::Auth),
            ("BUSY Redis is busy running a script.", Class::Overloaded),
            ("ERR max number of clients reached", Class::RefusedByServer),
            (
                "ERR max number of clients + cluster connections reached",
                Class::RefusedByServer,
            ),
            ("ERR DB index is out of range", Class::Misconfigured),
            ("ERR invalid password", Class::Auth),
            (
                "ERR AUTH <password> called without any password",
                Class::Auth,
            ),
            ("CLUSTERDOWN Hash slot not served", Class::Unhealthy),
            ("upstream failure", Class::Unreachable),
            ("ERR Connection refused", Class::Unreachable),
            ("ERR unknown command", Class::Unhealthy),
        ] {
            let value = parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap();
            let failure = classify(&value.extract_error().unwrap_err());
            assert_eq!((failure.class(), failure.message()), (class, line));
        }
    }

    #[test]
    fn an_io_error_is_found_below_and_classed_by_its_kind() {
        for (kind, class) in [
            (Kind::ConnectionRefused, Class::Unreachable),
            (Kind::NotFound, Class::Unreachable),
            (Kind::BrokenPipe, Class::Unreachable),
            (Kind::UnexpectedEof, Class::Unreachable),
            (Kind::TimedOut, Class::Timeout),
            (Kind::InvalidData, Class::Tls),
            (Kind::PermissionDenied, Class::Misconfigured),
            (Kind::OutOfMemory, Class::Other),
        ] {
            assert_eq!(
                classify(&io::Error::from(kind).into()).class(),
                class,
                "{kind}"
            );
        }
        let lookup = "failed to lookup address information: Name or service not known";
        assert_eq!(
            classify(&io::Error::other(lookup).into()).class(),
            Class::Dns
        );
    }

    #[test]
    fn an_error_of_the_client_has_a_class() {
        for (kind, class) in [
            (ErrorKind::AuthenticationFailed, Class::Auth),
            (ErrorKind::InvalidClientConfig, Class::Misconfigured),
            (ErrorKind::UnexpectedReturnType, Class::Unhealthy),
            (ErrorKind::Io, Class::Unreachable),
            (ErrorKind::Extension, Class::Other),
        ] {
            assert_eq!(classify(&(kind, "text").into()).class(), class, "{kind:?}");
        }
    }
}
