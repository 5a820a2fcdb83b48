//! `cargo xtask scenarios`: real faults with real programs, each beside a healthy twin; what the
//! doctor says of both, and what the runbook's own commands say.
//!
//! Everything runs on loopback, in temporary directories, and is ended when its value is dropped.
//! A scenario is a function of [`set`] that sets one thing up, sick or well, and the row beside it
//! that says what must be said. The truth is the row; the score is made by [`score`] alone, in
//! the same way for both.

#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "it waits for real processes, on the real clock, and has nobody to return an error to"
)]

mod app;
mod attribution;
mod bench;
mod doctor;
mod picture;
mod report;
mod runbook;
mod score;
mod set;
mod stage;

use std::process::ExitCode;

const USAGE: &str = "usage: scenarios [--quick] [--json] [--why] [--table] [--picture] [NAME]...

  NAME      only those whose name begins so
  --quick   a few of each kind, for the suite
  --json    a line for each scenario instead of a table
  --why     the doctor's report where it was wrong
  --table   the table as Markdown, for docs/scenarios.md
  --picture what the doctor prints of one, as SVG, for the README";

fn main() -> ExitCode {
    // The same program plays the doctor and the small services around it.
    if let Some(role) = std::env::var_os(ROLE) {
        return match role.to_str() {
            Some("doctor") => why503::main(),
            Some("waiting") => set::disk::main(),
            _ => app::main(),
        };
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Some(("bench-logs", rest)) = arguments
        .split_first()
        .map(|(first, rest)| (first.as_str(), rest))
    {
        return bench::run(rest);
    }
    let mut options = report::Options::default();
    for argument in arguments {
        match argument.as_str() {
            "--help" | "-h" => {
                println!("{USAGE}");
                return ExitCode::SUCCESS;
            }
            "--quick" => options.quick = true,
            "--json" => options.json = true,
            "--why" => options.why = true,
            "--table" => options.table = true,
            "--picture" => options.picture = true,
            it if it.starts_with('-') => {
                eprintln!("scenarios: unknown option `{it}`\n{USAGE}");
                return ExitCode::from(64);
            }
            _ => options.names.push(argument),
        }
    }
    report::run(&options)
}

/// Which part a child of this program plays.
pub(crate) const ROLE: &str = "STEADFAST_SCENARIOS_ROLE";
