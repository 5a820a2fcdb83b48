//! One server of a rollout, which the tests start and end; with `bench`, the same as
//! `cargo xtask bench rollouts`.

use std::process::ExitCode;

use rollouts::{command, subject};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["bench", rest @ ..] => command::run(rest).unwrap_or_else(|fault| {
            eprintln!("{fault}");
            ExitCode::from(64)
        }),
        [command::SUBJECT, ..] => subject::main(&arguments[1..]),
        _ => subject::main(&arguments),
    }
}
