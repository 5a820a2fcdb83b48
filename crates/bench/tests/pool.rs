//! `bench pool --quick` runs to its end and says what it found in lines that a program can
//! read. What the figures are is a matter for a quiet machine, so none is judged here.

mod common;

use common::{are_whole, is_wrong, lines};

const KEYS: [&str; 8] = [
    "way",
    "bare_per_s",
    "guarded_per_s",
    "ratio",
    "ratio_worst",
    "instructions_bare",
    "instructions_guarded",
    "own_instructions",
];

#[test]
fn each_way_is_asked_of_both_pools() {
    let lines = lines("pool");
    are_whole(&lines, "pool", &KEYS);
    let ways: Vec<_> = lines.iter().map(|line| &line["way"]).collect();
    assert_eq!(
        ways,
        [
            "postgres-acquire",
            "postgres-query",
            "postgres-transaction",
            "redis-acquire"
        ]
    );
    for line in &lines {
        assert!(line["bare_per_s"].as_f64() > Some(0.0), "{line}");
        assert!(line["ratio_worst"].as_f64() > Some(0.0), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    is_wrong(&["pool", "--runs"], &["`--runs`", "usage: bench pool"]);
}
