//! `bench overload --quick` runs to its end and says what it found in lines that a program
//! can read. What the figures are is a matter for a quiet machine, so none is judged here.

use std::process::Command;

use serde_json::Value;

const KEYS: [&str; 11] = [
    "bench",
    "peer",
    "backend",
    "phase",
    "goodput",
    "p50_ms",
    "p99_ms",
    "refusal_p99_ms",
    "timeouts_per_s",
    "false_refusals",
    "recovery_s",
];

#[test]
fn a_quick_run_prints_one_well_formed_line_for_each_phase_of_each_peer() {
    let directory = env!("CARGO_TARGET_TMPDIR");
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["overload", "--quick", "--json"])
        .current_dir(directory)
        .output()
        .expect("the benchmark starts");
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");

    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let (of_runs, lines): (Vec<Value>, Vec<Value>) = lines
        .into_iter()
        .partition(|line| line["bench"] == "overload-runs");
    for line in &lines {
        let missing: Vec<_> = KEYS.iter().filter(|key| line.get(key).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?} of {line}");
        assert_eq!(line["bench"], "overload");
    }
    let phases_of = |peer: &str| -> Vec<&str> {
        let of_peer = lines.iter().filter(|line| line["peer"] == peer);
        of_peer.filter_map(|line| line["phase"].as_str()).collect()
    };
    let expected = ["0.5x", "2x", "10x", "recovery", "brownout", "healed"];
    for peer in ["tower-oracle", "steadfast"] {
        assert_eq!(phases_of(peer), expected, "{peer}");
    }
    assert_eq!(phases_of("bare").last(), Some(&"capacity"));
    // Three peers, each with these phases; with one run the worst is the median.
    assert_eq!(of_runs.len(), 3 * expected.len());
    for line in &of_runs {
        assert_eq!(line["runs"], 1, "{line}");
        assert_eq!(
            line["goodput"]["median"], line["goodput"]["worst"],
            "{line}"
        );
    }

    let picture = std::path::Path::new(directory).join("target/overload/workers.svg");
    let picture = std::fs::read_to_string(picture).expect("it was drawn");
    assert!(picture.contains(">steadfast</text>"), "{picture:.300}");
}

#[test]
fn an_unknown_peer_is_named_with_those_that_are_known() {
    let output = Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(["overload", "--peer", "nginx"])
        .output()
        .expect("the benchmark starts");
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.contains("`nginx`") && said.contains("steadfast"),
        "{said}"
    );
}
