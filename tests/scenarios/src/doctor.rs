//! The doctor, run as a user would, and what it said.

use std::{
    os::unix::process::CommandExt,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::{ROLE, stage::Stage};

/// What it said.
#[derive(Debug)]
pub(crate) struct Said {
    /// The first finding.
    pub(crate) id: Option<String>,
    pub(crate) confidence: String,
    /// Every finding.
    pub(crate) findings: Vec<String>,
    pub(crate) exit: u8,
    pub(crate) took: Duration,
    /// The whole report.
    pub(crate) report: Value,
}

/// Runs it.
pub(crate) fn ask(stage: &Stage) -> Said {
    let me = std::env::current_exe().expect("this program has a path");
    let started = Instant::now();
    let output = Command::new(me)
        .arg0("why503")
        .env(ROLE, "doctor")
        .env("NO_COLOR", "1")
        .args(["--json", "-n", "3"])
        .args(&stage.arguments)
        .arg(&stage.url)
        .stdin(Stdio::null())
        .output()
        .expect("this program can be started again");
    let took = started.elapsed();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        Value::String(format!("{error}: {said}"))
    });
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let findings = report["findings"].as_array().into_iter().flatten();
    Said {
        id: text(&report["verdict"]["id"]),
        confidence: text(&report["verdict"]["confidence"]).unwrap_or_default(),
        findings: findings.filter_map(|it| text(&it["id"])).collect(),
        exit: output
            .status
            .code()
            .and_then(|it| u8::try_from(it).ok())
            .unwrap_or(255),
        took,
        report,
    }
}
