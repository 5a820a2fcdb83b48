//! `bench truth --quick` runs to its end and says what it found in lines that a program can
//! read. What is judged does not depend on how fast the machine is.

use std::process::Command;

use serde_json::Value;

const KEYS: [&str; 9] = [
    "bench",
    "situation",
    "seconds_to_know",
    "reason",
    "unexplained",
    "seconds_to_heal",
    "accused_wrongly",
    "faults",
    "pass",
];

/// In these it is found out, nobody fails without a reason after that, nobody is accused
/// wrongly, and it heals.
const KNOWN: [&str; 5] = [
    "postgres-stopped",
    "redis-stopped",
    "redis-failover",
    "sqlite-file-moved",
    "sqlite-full",
];

/// In these nobody is to be accused.
const INNOCENT: [&str; 1] = ["sqlite-constraints"];

#[test]
fn what_fails_is_said_and_nothing_else() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["truth", "--quick", "--json"])
        .output()
        .expect("the benchmark starts");
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
        assert_eq!(line["bench"], "truth");
    }
    let of = |situation: &str| {
        let line = lines.iter().find(|line| line["situation"] == situation);
        line.unwrap_or_else(|| panic!("{situation} was not watched"))
    };
    for situation in KNOWN {
        let line = of(situation);
        assert!(line["seconds_to_know"].is_number(), "{line}");
        assert!(line["seconds_to_heal"].is_number(), "{line}");
        assert_eq!(line["unexplained"], 0, "{line}");
        assert_eq!(line["accused_wrongly"], false, "{line}");
    }
    for situation in INNOCENT {
        assert!(of(situation)["seconds_to_know"].is_null());
        assert_eq!(of(situation)["accused_wrongly"], false);
    }
}
