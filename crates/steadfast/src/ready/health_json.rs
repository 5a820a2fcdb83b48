//! `application/health+json` (draft-inadarei-api-health-check-06).

use std::time::Instant;

use serde_json::{Value, json};
use steadfast_core::{CheckOutcome, CheckView, Health, Standing, Verdict};

use super::answer::Profile;
use crate::clock;

/// The draft's words for a standing.
fn status(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "pass",
        Standing::Degraded => "warn",
        Standing::NotReady => "fail",
    }
}

/// The body of `/ready/` for whoever asks for JSON.
pub(super) fn ready(verdict: &Verdict, checks: Option<&[CheckView]>, now: Instant) -> String {
    let mut body =
        json!({ "status": status(verdict.standing), "description": verdict.standing.as_str() });
    reasons(&mut body, verdict, checks.is_some());
    if let Some(checks) = checks {
        body["checks"] = all_checks(checks, now);
    }
    body.to_string()
}

/// The body of `/health/`: a process that can serve passes or warns, whatever its readiness.
pub(super) fn health(
    verdict: &Verdict,
    fails: bool,
    checks: &[CheckView],
    names: bool,
    profile: &Profile,
    now: Instant,
) -> String {
    let status = match (fails, verdict.standing) {
        (true, _) => "fail",
        (false, Standing::Ready) => "pass",
        (false, Standing::Degraded | Standing::NotReady) => "warn",
    };
    let mut body = json!({ "status": status, "description": verdict.standing.as_str() });
    reasons(&mut body, verdict, names);
    if names {
        if let Some((service, version)) = &profile.service {
            body["serviceId"] = json!(service);
            body["releaseId"] = json!(version);
        }
        body["checks"] = all_checks(checks, now);
    }
    body.to_string()
}

fn reasons(body: &mut Value, verdict: &Verdict, names: bool) {
    let notes: Vec<Value> = verdict
        .reasons
        .iter()
        .map(|reason| {
            if names {
                json!(reason.to_string())
            } else {
                json!(reason.word())
            }
        })
        .collect();
    if !notes.is_empty() {
        body["notes"] = notes.into();
    }
}

fn all_checks(checks: &[CheckView], now: Instant) -> Value {
    let entries = checks.iter().map(|check| {
        (
            format!("{}:responseTime", check.name),
            json!([one_check(check, now)]),
        )
    });
    Value::Object(entries.collect())
}

/// Everything that is known of one dependency.
pub(crate) fn one_check(check: &CheckView, now: Instant) -> Value {
    let health = check.health(now);
    let status = match health {
        Health::Passing => "pass",
        Health::Warning | Health::Unknown => "warn",
        Health::Failing => "fail",
    };
    let mut entry = json!({
        "componentId": check.name.as_str(),
        "componentType": "component",
        "observedValue": check.took.as_secs_f64() * 1000.0,
        "observedUnit": "ms",
        "status": status,
        "health": health.as_str(),
        "requirement": check.requirement.as_str(),
        "kind": check.kind,
        "since": clock::rfc3339(check.since(now)),
        "failures": check.failures,
        "successes": check.successes,
        "runs": check.runs,
        "detection_max_ms": check.settings.detection_max().as_millis() as u64,
    });
    if let Some(at) = check.ran_at {
        entry["time"] = json!(clock::rfc3339(at));
    }
    if let Some(at) = check.passed_at {
        entry["last_pass"] = json!(clock::rfc3339(at));
    }
    if let Some(class) = check.class(now) {
        entry["class"] = json!(class.code());
    }
    if health != Health::Passing {
        entry["output"] = json!(output(check));
    }
    let numbers = check.last.iter().flat_map(CheckOutcome::numbers);
    let numbers: serde_json::Map<_, _> = numbers
        .map(|number| (number.name.to_owned(), json!(number.value)))
        .collect();
    if !numbers.is_empty() {
        entry["numbers"] = numbers.into();
    }
    entry
}

/// One line about one dependency: `payments failing (unreachable): connection refused`.
pub(super) fn check_line(check: &CheckView, now: Instant) -> String {
    let health = check.health(now).as_str();
    match check.class(now) {
        Some(class) => format!("{} {health} ({class}): {}\n", check.name, output(check)),
        None => format!("{} {health}\n", check.name),
    }
}

/// The last message: of the last run, or of the last failure if that run had none.
fn output(check: &CheckView) -> &str {
    let last = check
        .last
        .as_ref()
        .map(CheckOutcome::message)
        .filter(|text| !text.is_empty());
    last.or(check.last_failure.as_ref().map(|(_, _, text)| &**text))
        .unwrap_or("no answer yet")
}
