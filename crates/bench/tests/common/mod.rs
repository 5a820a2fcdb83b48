//! What the tests of the benchmarks share: a run of the program, and the lines it says.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::process::{Command, Output};

use serde_json::Value;

/// Runs `bench` with these arguments, where what it draws is in nobody's way.
pub(crate) fn bench(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bench"))
        .args(arguments)
        .current_dir(env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the benchmark starts")
}

/// Runs a benchmark quickly and to a good end, and returns the lines it says.
#[track_caller]
pub(crate) fn lines(name: &str) -> Vec<Value> {
    let output = bench(&[name, "--quick", "--json"]);
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaints}");
    read(&output)
}

/// Reads the lines of a run, however it ended.
#[track_caller]
pub(crate) fn read(output: &Output) -> Vec<Value> {
    let text = std::str::from_utf8(&output.stdout).expect("JSON is UTF-8");
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    text.lines().map(parse).collect()
}

/// Asserts that each line is of this benchmark and has these members.
#[track_caller]
pub(crate) fn are_whole(lines: &[Value], name: &str, keys: &[&str]) {
    for line in lines {
        let missing: Vec<_> = keys.iter().filter(|key| line.get(key).is_none()).collect();
        assert!(missing.is_empty(), "{missing:?} of {line}");
        assert_eq!(line["bench"], name);
    }
}

/// Asserts that these arguments are wrong usage, and that it is said in these words.
#[track_caller]
pub(crate) fn is_wrong(arguments: &[&str], words: &[&str]) {
    let output = bench(arguments);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    for word in words {
        assert!(said.contains(word), "{said}");
    }
}
