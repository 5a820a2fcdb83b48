//! What a number of MySQL or MariaDB means, by
//! <https://dev.mysql.com/doc/mysql-errors/8.4/en/server-error-reference.html>. They use one
//! SQLSTATE for many things, so the numbers decide.

use sqlx::error::DatabaseError;
use steadfast_core::FailureClass;

/// Says what kind of failure it is; `None` if it is not of this database.
#[cfg(feature = "mysql")]
pub(crate) fn class(error: &dyn DatabaseError) -> Option<FailureClass> {
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(number_class(error.number(), error.code(), error.message()))
}

#[cfg(not(feature = "mysql"))]
pub(crate) fn class(_: &dyn DatabaseError) -> Option<FailureClass> {
    None
}

/// Returns the number; `None` if it is not of this database.
#[cfg(feature = "mysql")]
pub(crate) fn number(error: &dyn DatabaseError) -> Option<u16> {
    let error = error.try_downcast_ref::<sqlx::mysql::MySqlDatabaseError>()?;
    Some(error.number())
}

#[cfg(not(feature = "mysql"))]
pub(crate) fn number(_: &dyn DatabaseError) -> Option<u16> {
    None
}

#[cfg(feature = "mysql")]
pub(super) fn number_class(number: u16, code: Option<&str>, message: &str) -> FailureClass {
    match number {
        // Too many connections: server, user, user's hourly share; host blocked after errors.
        1040 | 1203 | 1226 | 1129 => FailureClass::RefusedByServer,
        1044 | 1045 | 1130 | 1698 | 1862 | 3118 => FailureClass::Auth,
        1049 => FailureClass::Misconfigured,
        // Shutdown; the session was killed, or lost on its way.
        1053 | 1077 | 1152 | 1158..=1161 | 1184 | 1927 => FailureClass::Unreachable,
        // The server runs with an option that forbids it: of those, `read_only` forbids writes.
        1290 if !is_read_only(message) => FailureClass::Unhealthy,
        // Read-only by option, by mode or by the storage engine's (`innodb_read_only` of MariaDB
        // says that of each table), and a disk that is full.
        1290 | 1836 | 1036 | 1021 => FailureClass::ReadOnly,
        // Out of memory or resources; a table that is full, for which InnoDB's disk may be.
        1037 | 1038 | 1041 | 1114 => FailureClass::Overloaded,
        // The bound on a statement that an operator has set, there and in MariaDB.
        3024 | 1969 => FailureClass::Timeout,
        _ => code.map_or(FailureClass::Unhealthy, |code| {
            super::sqlstate::class(code, message)
        }),
    }
}

#[cfg(feature = "mysql")]
fn is_read_only(message: &str) -> bool {
    let message = message.to_ascii_lowercase();
    message.contains("read-only") || message.contains("read_only")
}
