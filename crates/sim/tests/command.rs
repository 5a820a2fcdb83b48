//! The command as a process: what it says to whoever stops reading, and after a word that makes no sense.

use std::process::{Command, Output, Stdio};

fn sim(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sim"));
    command.args(arguments).stdin(Stdio::null());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(arguments: &[&str]) -> Output {
    sim(arguments).output().expect("it starts")
}

#[test]
fn it_ends_quietly_when_nobody_reads_any_more() {
    let mut running = sim(&[QUICK, "--seeds", "2"]).spawn().expect("it starts");
    drop(running.stdout.take());
    let ended = running.wait_with_output().expect("it ends");
    assert_eq!(String::from_utf8_lossy(&ended.stderr), "");
    assert!(ended.status.success(), "{}", ended.status);
}

#[test]
fn what_makes_no_sense_is_said_and_help_is_no_fault() {
    let wrong = said(&["--peer", "nginx"]);
    assert_eq!(wrong.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&wrong.stderr).contains("`nginx`; known are all adaptive"));
    let help = said(&["--help"]);
    assert!(help.status.success() && help.stdout.starts_with(b"usage: sim "));
}

/// Takes no second, also unoptimized.
const QUICK: &str = "bimodal-4";
