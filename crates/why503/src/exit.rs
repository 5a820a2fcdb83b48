//! The exit codes, which scripts rely on.

/// No 503 and nothing found.
pub(crate) const WELL: u8 = 0;
/// A 503 whose cause is proven.
pub(crate) const PROVEN: u8 = 10;
/// A 503 with suspects only.
pub(crate) const SUSPECTS: u8 = 11;
/// A 503 whose cause is unknown.
pub(crate) const UNKNOWN: u8 = 12;
/// No 503 now, but a finding.
pub(crate) const RISK: u8 = 13;
/// Unreachable, or not HTTP.
pub(crate) const UNREACHABLE: u8 = 20;
/// Wrong usage.
pub(crate) const USAGE: u8 = 64;
