//! `bench page --quick` runs to its end and says what it found in lines that a program can read.
//! Times are a matter for a quiet machine; counts are not, and must be exact.

mod common;

use common::{is_wrong, lines};

#[test]
fn the_page_is_there_under_load_and_a_flood_is_counted_exactly() {
    let lines = lines("page");
    let [overload, blocked, flood] = lines.as_slice() else {
        panic!("three situations: {lines:?}");
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
    is_wrong(&["page", "--fast"], &["--fast", "--quick"]);
}
