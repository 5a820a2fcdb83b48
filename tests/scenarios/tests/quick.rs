//! A few scenarios of each kind, all of which the doctor must get right, and the bench of logs in
//! small. What is judged does not depend on how fast the machine is.

use std::process::Command;

use serde_json::Value;

fn run(arguments: &[&str]) -> (bool, Vec<Value>) {
    let output = Command::new(env!("CARGO_BIN_EXE_scenarios"))
        .args(arguments)
        .output()
        .expect("it starts");
    let text = String::from_utf8(output.stdout).expect("JSON is UTF-8");
    let lines = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    (output.status.success(), lines)
}

#[test]
fn the_doctor_is_right_about_the_quick_ones() {
    let (_, lines) = run(&["--quick", "--json"]);
    assert!(lines.len() >= 14, "{}", lines.len());
    for line in &lines {
        assert_eq!(line["right"], true, "{line:#}");
        assert_eq!(line["exit_right"], true, "{line:#}");
        assert_eq!(line["twin_silent"], true, "{line:#}");
        assert_eq!(line["log_wrong"], serde_json::json!([]), "{line:#}");
    }
    let logged = lines
        .iter()
        .filter(|it| it["log_failed"].as_u64() > Some(0));
    assert!(
        logged.count() >= 4,
        "HAProxy, nginx, Envoy and Traefik write logs"
    );
}

#[test]
fn every_failure_of_a_large_log_is_counted() {
    let (success, lines) = run(&["bench-logs", "--size", "8M", "--json"]);
    let [line] = lines.as_slice() else {
        panic!("{lines:?}");
    };
    assert!(success, "{line:#}");
    let peak = line["why503_peak_bytes"].as_u64();
    assert!(peak.is_some_and(|it| it < 200 << 20), "{line:#}");
}

#[test]
fn help_is_no_mistake() {
    for asked in [&["--help"][..], &["bench-logs", "--json", "-h"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_scenarios"))
            .args(asked)
            .output()
            .expect("it starts");
        assert!(output.status.success(), "{asked:?}");
        assert!(output.stdout.starts_with(b"usage: "), "{asked:?}");
    }
}

#[test]
fn wrong_usage_is_told() {
    for wrong in [
        &["--nonsense"][..],
        &["no-such-scenario"],
        &["bench-logs", "--size", "much"],
    ] {
        let status = Command::new(env!("CARGO_BIN_EXE_scenarios"))
            .args(wrong)
            .output();
        assert_eq!(
            status.expect("it starts").status.code(),
            Some(64),
            "{wrong:?}"
        );
    }
}
