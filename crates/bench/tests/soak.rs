//! `bench soak --quick` runs to its end: nothing of it stays behind in the server, and it says
//! what it found in lines that a program can read. How much memory there is, and how long
//! anything took, is not judged here.

use std::process::Command;

use serde_json::Value;

fn run(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bench"));
    let output = command.arg("soak").args(arguments).output();
    output.expect("the benchmark starts")
}

#[test]
fn generations_and_hostile_peers_leave_no_descriptor_behind() {
    let output = run(&["--quick", "--json"]);
    let complaints = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    let (generations, kinds): (Vec<_>, Vec<_>) =
        lines.iter().partition(|line| line["generation"].is_u64());
    assert_eq!(
        (generations.len(), kinds.len()),
        (4, 7),
        "{complaints}{text}"
    );
    let descriptors = &generations[0]["descriptors"];
    for line in &generations {
        assert!(line["requests"].as_u64() >= Some(400), "{line}");
        assert_eq!(
            (&line["cut"], &line["unexpected"]),
            (&0.into(), &0.into()),
            "{line}"
        );
        assert_eq!(&line["descriptors"], descriptors, "{line}");
    }
    for line in &kinds {
        assert_eq!(
            line["descriptors_after"], line["descriptors_before"],
            "{line}"
        );
        assert_eq!(line["others_unanswered"], 0, "{line}");
    }
}

#[test]
fn what_makes_no_sense_is_named() {
    let output = run(&["--hostile"]);
    assert_eq!(output.status.code(), Some(64));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("`--hostile`"), "{said}");
}
