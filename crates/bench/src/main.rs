//! `bench overhead [--json]`: what a request costs with and without each guard.
//!
//! Every row is measured in one process and one run. *ns* is the median of [`ROUNDS`]
//! rounds of [`CALLS`] calls, the rows taking turns; *ns_2_threads* the same with two threads that share the
//! service's state; *instructions* come from callgrind (`valgrind --tool=callgrind`), one
//! run of this program for each row, *allocations* from memcheck's heap summary. A peer's
//! version is pinned in Cargo.lock. Without valgrind the last two columns are empty.

mod callgrind;
mod rows;
mod timing;
mod traps;

use std::process::ExitCode;

use rows::Row;

/// Rounds of a timing; odd, so that the median is one of them.
const ROUNDS: usize = 21;

/// Calls in a round: long against the clock's resolution, short against a scheduler's slice.
const CALLS: u32 = 20_000;

const USAGE: &str = "usage: bench overhead|traps [--json]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["overhead"] => overhead(false),
        ["overhead", "--json"] => overhead(true),
        ["traps"] => traps::command(false),
        ["traps", "--json"] => traps::command(true),
        // What callgrind runs: one row, a fixed number of calls.
        ["row", name, calls] => match (Row::named(name), calls.parse()) {
            (Some(row), Ok(calls)) => {
                timing::run(row, calls);
                ExitCode::SUCCESS
            }
            _ => usage(),
        },
        _ => usage(),
    }
}

fn usage() -> ExitCode {
    eprintln!("{USAGE}");
    ExitCode::from(64)
}

fn overhead(json: bool) -> ExitCode {
    if !json {
        println!(
            "{:<44} {:>8} {:>12} {:>13} {:>11}",
            "row", "ns", "ns, 2 threads", "instructions", "allocations"
        );
    }
    let times = timing::medians(rows::ALL, ROUNDS, CALLS);
    for (row, (ns, two)) in rows::ALL.iter().zip(times) {
        let allocations = callgrind::allocations_per_call(*row);
        let instructions = callgrind::per_call(*row);
        if json {
            println!(
                "{}",
                serde_json::json!({
                    "bench": "overhead", "row": row.name(), "peer": row.peer(), "ns": ns,
                    "ns_2_threads": two, "instructions": instructions, "allocations": allocations,
                })
            );
        } else {
            let instructions = instructions.map_or("-".to_owned(), |count| count.to_string());
            let allocations = allocations.map_or("-".to_owned(), |count| format!("{count:.1}"));
            println!(
                "{:<44} {ns:>8.0} {two:>12.0} {instructions:>13} {allocations:>11}",
                row.name()
            );
        }
    }
    ExitCode::SUCCESS
}
