//! `bench serve --quick` runs to its end and says what it found in lines that a program can
//! read. What the figures are is a matter for a quiet machine, so none is judged here.

use std::process::Command;

use serde_json::Value;

const KEYS: [&str; 8] = [
    "row",
    "protocol",
    "body",
    "workers",
    "rps",
    "cpu_us",
    "ratio_to_axum",
    "bytes_per_idle_connection",
];

fn run(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.arg("serve").args(arguments).output();
    output.expect("the benchmark starts")
}

#[test]
fn every_server_answers_every_load_and_is_compared_with_axum() {
    let output = run(&["--quick", "--json"]);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for row in ["axum", "serve-bare", "serve-guarded", "axum-guarded"] {
        let of_row = lines.iter().filter(|line| line["row"] == row);
        assert_eq!(of_row.count(), 4, "{row}: two protocols, two bodies");
    }
    for line in &lines {
        assert_eq!(line["bench"], "serve");
        let missing: Vec<_> = KEYS.iter().filter(|key| line[**key].is_null()).collect();
        assert!(missing.is_empty(), "{missing:?} of {line}");
        assert!(line["rps"].as_f64() > Some(0.0), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let output = run(&["--runs", "many"]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("from 1 to 100"), "{said}");
}
