//! Steadfast and its peers, side by side in one run: [`overhead`] is what a request costs,
//! [`traps`] in which situations a circuit breaker misbehaves.

mod callgrind;
mod overhead;
mod rows;
mod timing;
mod traps;

use std::process::ExitCode;

use rows::Row;

const USAGE: &str = "usage: bench overhead|traps [--json]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments.as_slice() {
        ["overhead"] => overhead::command(false),
        ["overhead", "--json"] => overhead::command(true),
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
