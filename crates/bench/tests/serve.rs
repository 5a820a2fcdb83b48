//! `bench serve --quick` runs to its end and says what it found in lines that a program can
//! read. What the figures are is a matter for a quiet machine, so none is judged here.

mod common;

use common::{are_whole, is_wrong, lines};

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

#[test]
fn every_server_answers_every_load_and_is_compared_with_axum() {
    let lines = lines("serve");
    are_whole(&lines, "serve", &KEYS);
    for row in ["axum", "serve-bare", "serve-guarded", "axum-guarded"] {
        let of_row = lines.iter().filter(|line| line["row"] == row);
        assert_eq!(of_row.count(), 4, "{row}: two protocols, two bodies");
    }
    for line in &lines {
        let empty: Vec<_> = KEYS.iter().filter(|key| line[**key].is_null()).collect();
        assert!(empty.is_empty(), "{empty:?} of {line}");
        assert!(line["rps"].as_f64() > Some(0.0), "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    is_wrong(&["serve", "--runs", "many"], &["from 1 to 100"]);
}
