//! `application/health+json` (draft-inadarei-api-health-check-06).

use std::time::Instant;

use serde_json::{Value, json};
use steadfast_core::{CheckOutcome, CheckView, Health, Reason, Standing, Verdict};

use super::answer::{BODY_LEN_MAX, Profile, spoken};
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
        add_checks(&mut body, checks, now);
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
        add_checks(&mut body, checks, now);
    }
    body.to_string()
}

fn reasons(body: &mut Value, verdict: &Verdict, names: bool) {
    let notes = if names {
        spoken(verdict)
    } else {
        let words = verdict.reasons.iter().map(Reason::word);
        words.map(str::to_owned).collect()
    };
    if !notes.is_empty() {
        body["notes"] = notes.into();
    }
}

/// Adds the checks, what is wrong first, for as long as there is room in a probe's body.
fn add_checks(body: &mut Value, checks: &[CheckView], now: Instant) {
    /// Room for the count of those left out, and for what is between two entries.
    const SPARE: usize = 64;
    let mut room = BODY_LEN_MAX.saturating_sub(body.to_string().len() + SPARE);
    let mut worst_first: Vec<&CheckView> = checks.iter().collect();
    worst_first.sort_by_key(|check| match check.health(now) {
        Health::Failing => 0,
        Health::Unknown => 1,
        Health::Warning => 2,
        Health::Passing => 3,
    });
    let mut shown = serde_json::Map::new();
    for check in worst_first {
        let key = format!("{}:responseTime", check.name);
        let entry = json!([one_check(check, now)]);
        let length = key.len() + entry.to_string().len() + "\"\":,".len();
        if length <= room {
            room -= length;
            shown.insert(key, entry);
        }
    }
    let left_out = checks.len() - shown.len();
    body["checks"] = shown.into();
    if left_out != 0 {
        body["checks_left_out"] = left_out.into();
    }
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
