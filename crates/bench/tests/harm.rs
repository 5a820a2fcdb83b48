//! `bench harm --quick` runs to its end and says what it found in lines that a program can
//! read. Only counts are judged, and no time: that is a matter for a quiet machine.

use std::process::Command;

use serde_json::Value;

const KEYS: [&str; 10] = [
    "bench",
    "situation",
    "asked",
    "bare_served",
    "guarded_served",
    "bare_p99_ms",
    "guarded_p99_ms",
    "guarded_unexplained",
    "faults",
    "pass",
];

/// In these the guarded one serves what the bare one serves.
const SERVED: [&str; 3] = ["burst-200", "redis-burst-200", "low-rate"];

fn run(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.arg("harm").args(arguments).output();
    output.expect("the benchmark starts")
}

#[test]
fn the_guarded_pool_serves_what_the_bare_one_serves() {
    let output = run(&["--quick", "--json"]);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        let missing: Vec<_> = KEYS.iter().filter(|key| line.get(key).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?} of {line}");
        assert_eq!(line["bench"], "harm");
    }
    for situation in SERVED {
        let line = lines.iter().find(|line| line["situation"] == situation);
        let line = line.unwrap_or_else(|| panic!("{situation} was not measured"));
        let [bare, guarded] = ["bare_served", "guarded_served"].map(|key| line[key].as_f64());
        assert!(guarded >= bare, "{line}");
        assert_eq!(line["guarded_unexplained"].as_f64(), Some(0.0), "{line}");
    }
}

#[test]
fn an_unknown_situation_is_named_with_those_that_are_known() {
    let output = run(&["--situation", "rain"]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("`rain`") && said.contains("burst-200"),
        "{said}"
    );
}
