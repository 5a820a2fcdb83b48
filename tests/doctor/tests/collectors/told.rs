//! What the command said.

use std::{
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use serde_json::Value;

/// What the command said.
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: i32,
    /// The findings in their order: id and confidence.
    pub(crate) findings: Vec<(String, String)>,
    /// The facts that it collected.
    facts: Vec<Value>,
    not_checked: Vec<Value>,
    output: String,
}

/// Runs the command with these arguments.
pub(crate) fn doctor(args: &[&str]) -> Told {
    doctor_with(&[], args)
}

/// Runs the command with this in its environment.
pub(crate) fn doctor_with(environment: &[(&str, &str)], args: &[&str]) -> Told {
    let dir = tempfile::tempdir().unwrap();
    let bundle = dir.path().join("bundle");
    let output = Command::new(env!("CARGO_BIN_EXE_why503-tested"))
        .args(args)
        .arg("--json")
        .arg("--bundle")
        .arg(&bundle)
        .env_remove("WHY503_TOKEN")
        .envs(environment.iter().copied())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let json: Value = serde_json::from_str(&text).unwrap_or_else(|error| {
        panic!(
            "{error}: {text}\n{}",
            String::from_utf8_lossy(&output.stderr)
        )
    });
    let findings = list(&json["findings"])
        .iter()
        .map(|it| (string(&it["id"]), string(&it["confidence"])));
    let bundle: Value = serde_json::from_str(&std::fs::read_to_string(&bundle).unwrap()).unwrap();
    Told {
        code: output.status.code().unwrap(),
        findings: findings.collect(),
        facts: list(&bundle["evidence"]["facts"]).to_vec(),
        not_checked: list(&bundle["evidence"]["not_checked"]).to_vec(),
        output: text,
    }
}

/// Looks again until nothing of these areas is among the findings: a server lets go whenever it
/// gets to it.
#[track_caller]
pub(crate) fn becomes_silent_on(areas: &[&str], look: impl Fn() -> Told) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let told = look();
        if told.accused(areas).is_none() {
            return;
        }
        if Instant::now() > deadline {
            told.is_silent_on(areas);
        }
        sleep(Duration::from_millis(50));
    }
}

/// Asks a server again until it gives this answer.
#[track_caller]
pub(crate) fn wait_for_answer(wanted: &str, ask: impl Fn() -> String) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let answer = ask();
        if answer.trim() == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{answer:?} is not {wanted:?}");
        sleep(Duration::from_millis(100));
    }
}

/// Longest that a test waits for what must come. It is no part of any claim: a test that
/// reaches it has failed.
const PATIENCE: Duration = Duration::from_secs(60);

impl Told {
    /// Says that this is the first finding, and sure enough for a 503 that was seen.
    #[track_caller]
    pub(crate) fn names(&self, id: &str) -> &Self {
        let first = self.findings.first().map(|it| it.0.as_str());
        assert_eq!(first, Some(id), "{:?}\n{}", self.findings, self.shown());
        self
    }

    /// Says that this is among the findings.
    #[track_caller]
    pub(crate) fn finds(&self, id: &str) -> &Self {
        let found = self.findings.iter().any(|it| it.0 == id);
        assert!(found, "no {id} in {:?}\n{}", self.findings, self.shown());
        self
    }

    /// Says that nothing of this area is among the findings.
    #[track_caller]
    pub(crate) fn is_silent_on(&self, areas: &[&str]) -> &Self {
        assert_eq!(self.accused(areas), None, "{}", self.shown());
        self
    }

    fn accused(&self, areas: &[&str]) -> Option<&(String, String)> {
        let mut findings = self.findings.iter();
        findings.find(|(id, _)| areas.iter().any(|area| id.starts_with(area)))
    }

    /// Says that a fact was collected: `postgres`, `slots`, and a text in it.
    #[track_caller]
    pub(crate) fn sees(&self, area: &str, what: &str, text: &str) -> &Self {
        let found = self.facts.iter().any(|fact| {
            let seen = &fact["seen"][area][what];
            !seen.is_null() && fact.to_string().contains(text)
        });
        assert!(found, "no {area}.{what} with {text:?}\n{}", self.shown());
        self
    }

    /// Says that something could not be looked at.
    #[track_caller]
    pub(crate) fn could_not(&self, id: &str) -> &Self {
        let found = self.not_checked.iter().any(|it| it["id"] == id);
        assert!(found, "{:?}", self.not_checked);
        self
    }

    /// Says that a text is nowhere in what was written.
    #[track_caller]
    pub(crate) fn keeps_secret(&self, secret: &str) -> &Self {
        let facts = format!("{:?}{:?}", self.facts, self.not_checked);
        assert!(
            !facts.contains(secret) && !self.output.contains(secret),
            "{}",
            self.shown()
        );
        self
    }

    fn shown(&self) -> String {
        let facts: Vec<_> = self
            .facts
            .iter()
            .map(|it| format!("{} {}", it["source"], it["seen"]))
            .collect();
        let not: Vec<_> = self
            .not_checked
            .iter()
            .map(|it| format!("{} {}", it["id"], it["reason"]))
            .collect();
        format!(
            "facts:\n{}\nnot checked:\n{}\n{}",
            facts.join("\n"),
            not.join("\n"),
            self.output
        )
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn string(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
