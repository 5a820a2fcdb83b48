//! What a SQLSTATE means, by
//! <https://www.postgresql.org/docs/current/errcodes-appendix.html>.

use steadfast_core::FailureClass;

use super::pgbouncer;

/// A protocol violation, and whatever PgBouncer says in its own name.
pub(crate) const PROTOCOL_VIOLATION: &str = "08P01";

/// Says what kind of failure a code is.
pub(crate) fn class(code: &str, message: &str) -> FailureClass {
    match code {
        "53300" | "08004" => FailureClass::RefusedByServer,
        PROTOCOL_VIOLATION => pgbouncer::class(message).unwrap_or(FailureClass::Other),
        "57P03" => FailureClass::Loading,
        "3D000" | "57P04" => FailureClass::Misconfigured,
        // A disk that is full takes no writes, and reads go on.
        "25006" | "53100" => FailureClass::ReadOnly,
        // admin_shutdown, crash_shutdown: the session was ended from the other side.
        "57P01" | "57P02" => FailureClass::Unreachable,
        "57014" => FailureClass::Timeout,
        _ if code.starts_with("28") || code == "42501" => FailureClass::Auth,
        _ if code.starts_with("08") => FailureClass::Unreachable,
        // Out of memory, configuration limit exceeded.
        _ if code.starts_with("53") => FailureClass::Overloaded,
        _ => FailureClass::Unhealthy,
    }
}
