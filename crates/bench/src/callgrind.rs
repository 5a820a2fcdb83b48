//! Instructions and allocations for each call, counted by valgrind.
//!
//! Two runs with different numbers of calls are subtracted, so that start-up and the first
//! calls do not count. `unsafe` is forbidden in this workspace, so there is no counting
//! allocator; memcheck's heap summary counts allocations as well.

use std::process::{Command, Stdio};

use crate::rows::Row;

const FEW: u64 = 1_000;
const MANY: u64 = 3_000;

/// Returns instructions for each call of a row, `None` if valgrind is not installed.
pub(crate) fn per_call(row: Row) -> Option<u64> {
    instructions(|calls| arguments(row, calls))
}

/// Returns instructions for each call of what this program does with these arguments, which say
/// how many calls it makes; `None` if valgrind is not installed.
pub(crate) fn instructions<const N: usize>(asked: impl Fn(u64) -> [String; N]) -> Option<u64> {
    let count = |calls| {
        let tool = &["--tool=callgrind", "--callgrind-out-file=/dev/null"];
        let text = valgrind(&asked(calls), tool)?;
        number_after(&text, "Collected :")
    };
    Some((count(MANY)? - count(FEW)?) / (MANY - FEW))
}

/// Returns allocations for each call, `None` if valgrind is not installed.
pub(crate) fn allocations_per_call(row: Row) -> Option<f64> {
    let count = |calls| {
        let tool = &["--tool=memcheck", "--undef-value-errors=no"];
        let text = valgrind(&arguments(row, calls), tool)?;
        number_after(&text, "total heap usage:")
    };
    Some((count(MANY)? - count(FEW)?) as f64 / (MANY - FEW) as f64)
}

fn arguments(row: Row, calls: u64) -> [String; 3] {
    ["row", row.name(), &calls.to_string()].map(str::to_owned)
}

fn valgrind(arguments: &[String], tool: &[&str]) -> Option<String> {
    let program = std::env::current_exe().ok()?;
    let output = Command::new("valgrind")
        .args(tool)
        .arg(program)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stderr).into_owned())
}

fn number_after(text: &str, mark: &str) -> Option<u64> {
    let rest = text.split(mark).nth(1)?.trim_start();
    let digits: String = rest
        .chars()
        .take_while(|c| c.is_ascii_digit() || *c == ',')
        .filter(|c| *c != ',')
        .collect();
    digits.parse().ok()
}
