//! One server of a rollout; the tests start it and end it.

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    rollouts::subject::main(&arguments)
}
