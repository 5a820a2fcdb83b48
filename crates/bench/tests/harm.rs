//! `bench harm --quick` runs to its end and says what it found in lines that a program can
//! read. Only counts are judged, and no time: that is a matter for a quiet machine.

mod common;

use common::{are_whole, is_wrong, lines};

const KEYS: [&str; 11] = [
    "bench",
    "situation",
    "asked",
    "bare_served",
    "guarded_served",
    "bare_p99_ms",
    "guarded_p99_ms",
    "guarded_unexplained",
    "guarded_unanswered",
    "faults",
    "pass",
];

/// In these the guarded one serves what the bare one serves.
const SERVED: [&str; 3] = ["burst-200", "redis-burst-200", "low-rate"];

#[test]
fn the_guarded_pool_serves_what_the_bare_one_serves() {
    let lines = lines("harm");
    are_whole(&lines, "harm", &KEYS);
    for situation in SERVED {
        let line = lines.iter().find(|line| line["situation"] == situation);
        let line = line.unwrap_or_else(|| panic!("{situation} was not measured"));
        let count = |key: &str| line[key].as_f64().expect("a count");
        // Whether a client's patience lasts is a matter of speed; what it is told is none.
        let unanswered = count("guarded_unanswered");
        assert!(
            count("guarded_served") + unanswered >= count("bare_served"),
            "{line}"
        );
        assert_eq!(count("guarded_unexplained"), unanswered, "{line}");
    }
}

#[test]
fn an_unknown_situation_is_named_with_those_that_are_known() {
    is_wrong(&["harm", "--situation", "rain"], &["`rain`", "burst-200"]);
}
