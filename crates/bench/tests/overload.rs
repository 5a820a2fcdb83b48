//! `bench overload --quick` runs to its end and says what it found in lines that a program
//! can read. What the figures are is a matter for a quiet machine, so none is judged here.

mod common;

use common::{are_whole, is_wrong, lines};
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
    let (of_runs, lines): (Vec<Value>, Vec<Value>) = lines("overload")
        .into_iter()
        .partition(|line| line["bench"] == "overload-runs");
    are_whole(&lines, "overload", &KEYS);
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

    let picture =
        std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("target/overload/workers.svg");
    let picture = std::fs::read_to_string(picture).expect("it was drawn");
    assert!(picture.contains(">steadfast</text>"), "{picture:.300}");
}

/// Two routes of this backend have a line for each load.
fn have_lines(backend: &str, [first, second]: [&str; 2], loads: [&str; 4]) {
    let two = ["overload", "--quick", "--json", "--backend", backend];
    let lines = common::read(&common::bench(
        &[&two[..], &["--peer", "steadfast"]].concat(),
    ));
    let [first, second] = [first, second].map(|name| format!("{name}_goodput"));
    let keys = ["bench", "peer", "phase", &first, &second, "doubtful"];
    are_whole(&lines, "overload", &keys);
    let told: Vec<_> = lines
        .iter()
        .filter_map(|line| line["phase"].as_str())
        .collect();
    assert_eq!(told, loads);
}

#[test]
fn two_routes_on_two_pools_have_a_line_for_each_load() {
    let loads = ["both-0.9x", "slow-10x", "quick-10x", "both-10x"];
    have_lines("pools", ["quick", "slow"], loads);
}

#[test]
fn pages_and_logins_have_a_line_for_each_load() {
    let loads = ["both-0.5x", "login-10x", "page-10x", "both-10x"];
    have_lines("logins", ["page", "login"], loads);
}

#[test]
fn an_unknown_peer_is_named_with_those_that_are_known() {
    is_wrong(&["overload", "--peer", "nginx"], &["`nginx`", "steadfast"]);
}
