//! Tables for people.

use crate::tally::{Row, upper_bound};

/// The heading of a [`line()`].
#[must_use]
pub fn heading() -> String {
    format!(
        "{:<12} {:<12} {:<5} {:>8} {:>9} {:>6} {:>6} {:>6} {:>6} {:>8} {:>6} {:>10}  {}",
        "subject",
        "front",
        "",
        "restarts",
        "requests",
        "lost",
        "empty",
        "5xx",
        "twice",
        "refused",
        "late",
        "unanswered",
        "bad at most (95 %)"
    )
}

/// A row as a line.
#[must_use]
pub fn line(row: &Row) -> String {
    format!(
        "{:<12} {:<12} {:<5} {:>8} {:>9} {:>6} {:>6} {:>6} {:>6} {:>8} {:>6} {:>10}  {:.4} %",
        row.subject.name(),
        row.front.name(),
        row.method.name(),
        row.restarts,
        row.requests,
        row.lost,
        row.empty,
        row.server_errors,
        row.duplicated,
        row.refused,
        row.late,
        row.unanswered,
        upper_bound(row.bad(), row.requests) * 100.0,
    )
}
