//! What a code of SQLite means. They are numbers, not SQLSTATE; the low byte is the primary
//! code of <https://www.sqlite.org/rescode.html>.

use sqlx::error::DatabaseError;
use steadfast_core::FailureClass;

/// Says what kind of failure it is; `None` if it is not of this database.
pub(crate) fn class(error: &dyn DatabaseError) -> Option<FailureClass> {
    Some(match primary(error)? {
        BUSY | LOCKED => FailureClass::Saturated,
        READONLY | FULL => FailureClass::ReadOnly,
        NOMEM => FailureClass::Overloaded,
        // The path is wrong, or not ours.
        PERM | CANTOPEN | NOTADB => FailureClass::Misconfigured,
        _ => FailureClass::Unhealthy,
    })
}

/// Returns the primary code; `None` if it is not of this database.
#[cfg(feature = "sqlite")]
pub(crate) fn primary(error: &dyn DatabaseError) -> Option<i32> {
    let error = error.try_downcast_ref::<sqlx::sqlite::SqliteError>()?;
    let code: i32 = DatabaseError::code(error)?.parse().ok()?;
    Some(code & 0xff)
}

#[cfg(not(feature = "sqlite"))]
pub(crate) fn primary(_: &dyn DatabaseError) -> Option<i32> {
    None
}

const PERM: i32 = 3;
/// Another writer holds the file.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
pub(crate) const NOMEM: i32 = 7;
pub(crate) const READONLY: i32 = 8;
pub(crate) const IOERR: i32 = 10;
pub(crate) const CORRUPT: i32 = 11;
pub(crate) const FULL: i32 = 13;
pub(crate) const CANTOPEN: i32 = 14;
pub(crate) const NOTADB: i32 = 26;
