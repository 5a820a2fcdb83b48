//! `application/health+json` (draft-inadarei-api-health-check-06).

use std::time::Instant;

use serde_json::{Value, json};
use steadfast_core::{
    CheckOutcome, Health, Verdict,
    plumbing::{
        BreakerSnapshot, CheckView, DependencyReason, DependencyView, PoolReading, Reason, Standing,
    },
};

use super::answer::{BODY_LEN_MAX, Profile, spoken};
use crate::{clock, refusal::millis};

/// The draft's words for a standing.
fn status(standing: Standing) -> &'static str {
    match standing {
        Standing::Ready => "pass",
        Standing::Degraded => "warn",
        Standing::NotReady => "fail",
    }
}

/// The body of `/ready/` for whoever asks for JSON.
pub(super) fn ready(verdict: &Verdict, seen: Option<&[DependencyView]>, now: Instant) -> String {
    let mut body =
        json!({ "status": status(verdict.standing), "description": verdict.standing.as_str() });
    reasons(&mut body, verdict, seen.is_some());
    if let Some(seen) = seen {
        add_checks(&mut body, seen, now);
    }
    body.to_string()
}

/// The body of `/health/`: a process that can serve passes or warns, whatever its readiness.
pub(super) fn health(
    verdict: &Verdict,
    fails: bool,
    seen: &[DependencyView],
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
        add_checks(&mut body, seen, now);
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

/// Adds the dependencies, what is wrong first, for as long as there is room in a probe's body.
fn add_checks(body: &mut Value, seen: &[DependencyView], now: Instant) {
    /// Room for the count of those left out, and for what is between two entries.
    const SPARE: usize = 64;
    let mut room = BODY_LEN_MAX.saturating_sub(body.to_string().len() + SPARE);
    let mut worst_first: Vec<&DependencyView> = seen.iter().collect();
    worst_first.sort_by_key(|seen| match seen.health(now) {
        Health::Failing => 0,
        Health::Unknown => 1,
        Health::Warning => 2,
        Health::Passing => 3,
    });
    let mut shown = serde_json::Map::new();
    for one in worst_first {
        let key = format!("{}:responseTime", one.name);
        let entry = json!([one_dependency(one, now)]);
        let length = key.len() + entry.to_string().len() + "\"\":,".len();
        if length <= room {
            room -= length;
            shown.insert(key, entry);
        }
    }
    let left_out = seen.len() - shown.len();
    body["checks"] = shown.into();
    if left_out != 0 {
        body["checks_left_out"] = left_out.into();
    }
}

/// Everything that is known of one dependency.
pub(crate) fn one_dependency(seen: &DependencyView, now: Instant) -> Value {
    let health = seen.health(now);
    let status = match health {
        Health::Passing => "pass",
        Health::Warning | Health::Unknown => "warn",
        Health::Failing => "fail",
    };
    let mut entry = json!({
        "componentId": seen.name.as_str(),
        "componentType": "component",
        "status": status,
        "health": health.as_str(),
        "requirement": seen.requirement.as_str(),
    });
    if let Some(since) = seen.since(now) {
        entry["since"] = json!(clock::rfc3339(since));
    }
    let reason = seen.reason(now);
    if let Some(reason) = &reason {
        entry["reason"] = json!(reason.to_string());
    }
    if let Some(class) = seen.class(now) {
        entry["class"] = json!(class.code());
    }
    if health != Health::Passing {
        let error = reason.as_ref().and_then(DependencyReason::error);
        entry["output"] = json!(error.unwrap_or_else(|| output(seen)));
    }
    if let Some(check) = &seen.check {
        add_check(&mut entry, check);
    }
    if let Some(breaker) = &seen.breaker {
        entry["breaker"] = breaker_json(breaker);
    }
    if let Some(read_only) = &seen.read_only {
        entry["read_only"] = json!({
            "since": clock::rfc3339(read_only.since),
            "last": clock::rfc3339(read_only.last_at),
            "error": &*read_only.error,
            "refusing": read_only.is_refusing,
            "refused": read_only.refused,
        });
    }
    if let Some(refused) = &seen.sessions_refused {
        entry["sessions_refused"] = json!({
            "since": clock::rfc3339(refused.since),
            "last": clock::rfc3339(refused.last_at),
            "error": &*refused.error,
            "still_serving": refused.still_serving,
            "refused": refused.refused,
        });
    }
    if let Some(pool) = &seen.pool {
        entry["pool"] = pool_json(pool);
    }
    entry
}

/// The active side.
fn add_check(entry: &mut Value, check: &CheckView) {
    entry["observedValue"] = json!(check.took.as_secs_f64() * 1000.0);
    entry["observedUnit"] = json!("ms");
    entry["kind"] = json!(check.kind);
    entry["failures"] = json!(check.failures);
    entry["successes"] = json!(check.successes);
    entry["runs"] = json!(check.runs);
    entry["detection_max_ms"] = json!(millis(check.settings.detection_max()));
    for (key, moment) in [
        ("time", check.ran_at),
        ("last_pass", check.passed_at),
        ("vouched_by_traffic", check.vouched_at),
    ] {
        if let Some(at) = moment {
            entry[key] = json!(clock::rfc3339(at));
        }
    }
    let numbers = check.last.iter().flat_map(CheckOutcome::numbers);
    let numbers: serde_json::Map<_, _> = numbers
        .map(|number| (number.name.to_owned(), json!(number.value)))
        .collect();
    if !numbers.is_empty() {
        entry["numbers"] = numbers.into();
    }
}

/// The passive side.
fn breaker_json(seen: &BreakerSnapshot) -> Value {
    let mut entry = json!({
        "state": seen.state.code(),
        "mode": seen.mode.code(),
        "since": clock::rfc3339(seen.since),
        "window_ms": millis(seen.window),
        "calls": seen.counts.calls,
        "failed": seen.counts.failed,
        "slow": seen.counts.slow,
        "abandoned": seen.counts.abandoned,
        "admitted_ratio": seen.admitted_ratio,
        "opens_in_a_row": seen.opens_in_a_row,
    });
    if let Some(since) = seen.outage_since {
        entry["outage_since"] = json!(clock::rfc3339(since));
    }
    if let Some(at) = seen.next_probe_at {
        entry["next_probe"] = json!(clock::rfc3339(at));
    }
    if let Some(calls) = seen.in_flight {
        entry["in_flight"] = json!(calls);
    }
    if let Some(oldest) = seen.oldest {
        entry["oldest_ms"] = json!(millis(oldest));
    }
    entry
}

fn pool_json(pool: &PoolReading) -> Value {
    json!({
        "max": pool.max,
        "in_use": pool.in_use,
        "idle": pool.idle,
        "waiting": pool.waiting,
        "pressure": pool.pressure.code(),
        "waited_total_ms": millis(pool.waited_total),
        "longest_held_ms": pool.longest_held.map(millis),
        "leaked": pool.leaked,
    })
}

/// One line about one dependency: `payments failing (unreachable): connection refused`.
pub(super) fn one_line(seen: &DependencyView, now: Instant) -> String {
    let health = seen.health(now).as_str();
    match (seen.reason(now), seen.class(now)) {
        (Some(reason), Some(class)) if reason.error().is_some() => {
            format!("{} {health} ({class}): {reason}\n", seen.name)
        }
        (Some(reason), Some(class)) if reason.is_of_traffic() => {
            format!(
                "{} {health} ({class}): {reason}; {}\n",
                seen.name,
                output(seen)
            )
        }
        (Some(reason), None) if reason.is_of_traffic() => {
            format!("{} {health}: {reason}\n", seen.name)
        }
        (_, Some(class)) => format!("{} {health} ({class}): {}\n", seen.name, output(seen)),
        (_, None) => format!("{} {health}\n", seen.name),
    }
}

/// The last message: of the check's last run, or of the last failure if that run had none
/// or a call met one later.
pub(crate) fn output(seen: &DependencyView) -> &str {
    let last = seen.last_error();
    let by_call = last.filter(|last| seen.last_call_error.as_ref() == Some(*last));
    if let Some(error) = by_call {
        return &error.message;
    }
    let check = seen.check.as_ref().and_then(|check| check.last.as_ref());
    check
        .map(CheckOutcome::message)
        .filter(|text| !text.is_empty())
        .or(last.map(|last| &*last.message))
        .unwrap_or(match seen.check {
            Some(_) => "no answer yet",
            None => "no call yet",
        })
}
