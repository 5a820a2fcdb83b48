//! `bench page --quick` runs to its end and says what it found in lines that a program can read.
//! Times are a matter for a quiet machine; counts are not, and must be exact.

use std::process::Command;

use serde_json::Value;

#[test]
fn the_page_is_there_under_load_and_a_flood_is_counted_exactly() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.args(["page", "--quick", "--json"]).output();
    let output = output.expect("the benchmark starts");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let [overload, blocked, flood] = lines.as_slice() else {
        panic!("three situations: {text}");
    };
    for (line, situation) in [(overload, "overload"), (blocked, "blocked")] {
        assert_eq!(line["situation"], situation);
        assert!(line["pages"].as_u64() > Some(0), "{line}");
        assert!(line["p50_ms"].as_f64() <= line["p99_ms"].as_f64(), "{line}");
    }
    assert!(overload["refused"].as_u64() > Some(0), "{overload}");
    assert_eq!(flood["counted"], 20_000, "{flood}");
    assert_eq!(flood["exact"], true, "{flood}");
}

#[test]
fn what_makes_no_sense_is_named() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.args(["page", "--fast"]).output();
    let output = output.expect("the benchmark starts");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("--fast") && said.contains("--quick"),
        "{said}"
    );
}
