//! Whether the tests of the core can fail: faults are seeded into it, one at a time.
//!
//! cargo-mutants makes them and runs the tests; this takes an even sample of all that it could
//! make, bounds the time, and prints the share that was caught. Another sample begins elsewhere
//! (`--from`), so that tests which were written for one do not make the score. Doctests are
//! left out, because they show how the core is used and take most of the time; and tests
//! (`.cargo/mutants.toml`), because what is seeded into them says nothing. Not part of the
//! suite: an hour for a number that moves with the tests and not with each commit.

use std::{fs, path::Path, process, thread, time::Duration};

use serde_json::Value;

use crate::{
    command::MutantsOptions,
    step::{self, Failure},
    workspace::{Workspace, cargo},
};

/// The share of faults that the tests of the core should catch.
const AIM: f64 = 0.85;

/// What became of the faults that were tried.
#[derive(Debug, Default, PartialEq)]
struct Tried {
    caught: usize,
    unviable: usize,
    missed: Vec<String>,
}

/// Prints which seeded faults the tests of the core do not catch.
pub(crate) fn report(workspace: &Workspace, options: MutantsOptions) -> Result<(), Failure> {
    let all = list()?;
    let shards = all.div_ceil(options.sample).max(1);
    println!("{all} faults could be seeded; every {shards}. of them is tried");
    let output = workspace.target.join("mutants");
    fs::create_dir_all(&output).map_err(|error| unreadable(&output, &error))?;
    let mut run = cargo_mutants();
    run.args([
        "--shard",
        &format!("{}/{shards}", options.from % shards),
        "--sharding",
        "round-robin",
    ])
    // What hangs is caught: cargo-mutants waits five times as long as without a fault.
    .args(["--no-shuffle", "--colors", "never", "--output"])
    .arg(&output)
    // Without doctests: see above.
    .args(["--", "--lib", "--tests"])
    .stdin(process::Stdio::null());
    let mut run = run.spawn().map_err(|error| missing(&error))?;
    let until = step::now() + Duration::from_secs(60) * options.minutes;
    while run.try_wait().map_err(|error| missing(&error))?.is_none() {
        if step::now() >= until {
            println!("the time is over; what was tried until now is the sample");
            let _ = run.kill();
            let _ = run.wait();
            break;
        }
        #[expect(clippy::disallowed_methods, reason = "nothing else runs here")]
        thread::sleep(Duration::from_secs(1));
    }
    let outcomes = output.join("mutants.out/outcomes.json");
    let text = fs::read_to_string(&outcomes).map_err(|error| unreadable(&outcomes, &error))?;
    conclude(&Tried::read(&text).map_err(Failure::check)?)
}

fn conclude(tried: &Tried) -> Result<(), Failure> {
    for missed in &tried.missed {
        println!("missed: {missed}");
    }
    let (caught, built) = (tried.caught, tried.caught + tried.missed.len());
    let ratio = caught as f64 / built.max(1) as f64;
    println!(
        "\ncaught {caught} of {built} that build, {:.0} % ({} do not build); the aim is {:.0} %",
        ratio * 100.0,
        tried.unviable,
        AIM * 100.0
    );
    if ratio < AIM {
        return Err(Failure::check("fewer faults are caught than should be"));
    }
    Ok(())
}

impl Tried {
    /// Reads what cargo-mutants wrote down.
    fn read(text: &str) -> Result<Self, String> {
        let all: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let mut tried = Self::default();
        for outcome in all["outcomes"].as_array().into_iter().flatten() {
            let Some(mutant) = outcome["scenario"].get("Mutant") else {
                // The run without any fault.
                continue;
            };
            let name = mutant["name"].as_str().unwrap_or("without a name");
            match outcome["summary"].as_str() {
                Some("CaughtMutant" | "Timeout") => tried.caught += 1,
                Some("MissedMutant") => tried.missed.push(name.to_owned()),
                Some("Unviable") => tried.unviable += 1,
                other => return Err(format!("{name}: {other:?}")),
            }
        }
        Ok(tried)
    }
}

/// How many faults could be seeded.
fn list() -> Result<usize, Failure> {
    let listed = cargo_mutants().arg("--list").output();
    let listed = listed.map_err(|error| missing(&error))?;
    if !listed.status.success() {
        let why = String::from_utf8_lossy(&listed.stderr);
        return Err(missing(&why.trim()));
    }
    Ok(String::from_utf8_lossy(&listed.stdout).lines().count())
}

fn cargo_mutants() -> process::Command {
    let mut call = process::Command::new(cargo());
    call.args(["mutants", "--package", "steadfast-core"]);
    call
}

fn missing(why: &dyn std::fmt::Display) -> Failure {
    Failure::machine(format!(
        "cargo-mutants does not run ({why}); `cargo install cargo-mutants --locked` brings it"
    ))
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::check(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_baseline_is_no_fault_and_what_hangs_is_caught() {
        let outcome = |summary: &str, name: &str| {
            format!(r#"{{"scenario":{{"Mutant":{{"name":"{name}"}}}},"summary":"{summary}"}}"#)
        };
        let text = format!(
            r#"{{"outcomes":[{{"scenario":"Baseline","summary":"Success"}},{},{},{},{}]}}"#,
            outcome("CaughtMutant", "a"),
            outcome("Timeout", "b"),
            outcome("MissedMutant", "c"),
            outcome("Unviable", "d"),
        );
        let tried = Tried::read(&text).expect("well formed");
        let expected = Tried {
            caught: 2,
            unviable: 1,
            missed: vec!["c".to_owned()],
        };
        assert_eq!(tried, expected);
        assert!(conclude(&tried).is_err(), "two of three");
    }
}
