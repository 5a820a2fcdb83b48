//! `bench truth --quick` runs to its end and says what it found in lines that a program can
//! read. What is judged does not depend on how fast the machine is.

mod common;

use common::{are_whole, lines};

const KEYS: [&str; 10] = [
    "bench",
    "situation",
    "seconds_to_know",
    "reason",
    "unexplained",
    "unanswered",
    "seconds_to_heal",
    "accused_wrongly",
    "faults",
    "pass",
];

/// In these it is found out, nobody is answered without a reason after that, nobody is accused
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
    let lines = lines("truth");
    are_whole(&lines, "truth", &KEYS);
    let of = |situation: &str| {
        let line = lines.iter().find(|line| line["situation"] == situation);
        line.unwrap_or_else(|| panic!("{situation} was not watched"))
    };
    for situation in KNOWN {
        let line = of(situation);
        assert!(line["seconds_to_know"].is_number(), "{line}");
        assert!(line["seconds_to_heal"].is_number(), "{line}");
        // Whether a client's patience lasts is a matter of speed; what it is told is none.
        assert_eq!(line["unexplained"], line["unanswered"], "{line}");
        assert_eq!(line["accused_wrongly"], false, "{line}");
    }
    for situation in INNOCENT {
        assert!(of(situation)["seconds_to_know"].is_null());
        assert_eq!(of(situation)["accused_wrongly"], false);
    }
}
