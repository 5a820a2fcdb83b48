//! The commands of this repository: `cargo xtask test`, `verify`, `laws` and others.
//!
//! One command does the whole job on a fresh machine, set-up included, so that what a
//! person runs, what a robot runs and what the README says are the same thing.

mod api;
mod command;
mod laws;
mod mutants;
mod programs;
mod step;
mod suite;
mod tools;
mod workspace;

use std::{env, process::ExitCode};

use command::{ApiOptions, Command};
use step::Failure;
use workspace::Workspace;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let command = match Command::parse(&arguments) {
        Ok(command) => command,
        Err(fault) => {
            eprintln!("xtask: {fault}\n\n{}", command::USAGE);
            return ExitCode::from(Failure::WRONG_USAGE);
        }
    };
    match run(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("\nxtask: {}", failure.message);
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Api(ApiOptions::Write) => api::write(&Workspace::read()?),
        Command::Api(ApiOptions::Compare) => api::check(&Workspace::read()?),
        Command::Api(ApiOptions::Since(commit)) => {
            step::run(vec![tools::semver(&Workspace::read()?, Some(&commit))])
        }
        Command::Bench(arguments) => bench(&arguments),
        Command::Fuzz(inputs) => fuzz(inputs),
        Command::Help => {
            println!("{}", command::USAGE);
            Ok(())
        }
        Command::Laws => laws::report(&Workspace::read()?),
        Command::Mutants(options) => mutants::report(&Workspace::read()?, options),
        Command::Package => step::run(suite::package(&Workspace::read()?)),
        Command::Scenarios(arguments) => scenarios(&arguments),
        Command::Verify => step::run(suite::verify(&Workspace::read()?)),
        Command::Test(options) => step::run(suite::test(&Workspace::read()?, options)),
    }
}

/// The fuzzing tests of the doctor, of logs, of servers and of configurations, optimised and with as many inputs as asked.
fn fuzz(inputs: u64) -> Result<(), Failure> {
    let status = std::process::Command::new("cargo")
        .args(["test", "--release", "--package", "why503", "--lib"])
        .args(["--", "fuzz_", "hostile"])
        .env("WHY503_FUZZ_INPUTS", inputs.to_string())
        .env("PROPTEST_CASES", inputs.to_string())
        .status();
    match status {
        Ok(status) if status.success() => Ok(()),
        // Whoever ends it from outside must not look like a parser that failed.
        Ok(status) if status.code().is_none() => Err(Failure::check(format!(
            "cargo did not end by itself: {status}"
        ))),
        Ok(_) => Err(Failure::check("a parser did not survive, see above")),
        Err(error) => Err(Failure::check(format!("cargo: {error}"))),
    }
}

/// Hands over to the benchmarks, built as they are meant to be measured.
fn bench(arguments: &[String]) -> Result<(), Failure> {
    match arguments.split_first() {
        // It needs the doctor, and none of the peers that the other benchmarks build.
        Some((name, rest)) if name == "logs" => {
            let arguments = [&["bench-logs".to_owned()], rest].concat();
            hand_over(&["--release", "--package", "scenarios"], &arguments)
        }
        _ => hand_over(&["--release", "--package", "bench"], arguments),
    }
}

/// Hands over to the scenarios.
fn scenarios(arguments: &[String]) -> Result<(), Failure> {
    // One of them is a service of ours, which lies beside the program that starts it.
    let built = std::process::Command::new("cargo")
        .args([
            "build",
            "--quiet",
            "--package",
            "shop",
            "--package",
            "scenarios",
        ])
        .status();
    match built {
        Ok(status) if status.success() => hand_over(&["--package", "scenarios"], arguments),
        _ => Err(Failure::check("the scenarios do not build, see above")),
    }
}

fn hand_over(package: &[&str], arguments: &[String]) -> Result<(), Failure> {
    let status = std::process::Command::new("cargo")
        .args(["run", "--quiet"])
        .args(package)
        .arg("--")
        .args(arguments)
        .env("PATH", programs::search_path())
        .status()
        .map_err(|error| Failure {
            code: 1,
            message: format!("cargo: {error}"),
        })?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Failure {
            code: code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1),
            message: "it ended with an error, named above".to_owned(),
        }),
    }
}
