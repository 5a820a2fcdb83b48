//! The operator's JSON, and one refusal by its id.
//!
//! What is read is what the page promises (`docs/why503.schema.json`): its findings, its open
//! incidents, its phase, its dependencies. Members that are not there say nothing.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use steadfast_core::{Cause, Rule};
use steadfast_diagnosis::{BreakerIs, Certainty, Id, Own, Path, PhaseIs, PoolIs, Text, Tied};

use super::{bearer, send, without_token};
use crate::collect::{Collected, Job};

/// Entries of one list that are read; the page bounds them too.
const ENTRIES_MAX: usize = 64;

/// A refusal that was asked for by its id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Refusal {
    /// Its own id.
    pub(crate) id: Text,
    /// When.
    pub(crate) at: Text,
    /// Why, with the rule if there is one.
    pub(crate) cause: Text,
    /// Which gate or dependency.
    pub(crate) source: Text,
    /// Which request.
    pub(crate) request: Text,
    /// The numbers at that moment.
    pub(crate) evidence: Text,
}

/// Reads the operator's page, and the refusal that was asked for.
pub(super) async fn collect(job: &Job<'_>, all: &mut Collected) {
    let Some(authorisation) = job.options.token.as_deref().and_then(bearer) else {
        without_token(all);
        return;
    };
    let headers = [authorisation, json()];
    if let Some(id) = &job.options.explain {
        let path = format!("/why503/{}", escape(id));
        if let Some(body) = get(job, &path, &headers, all).await {
            let found = list(&body, "refusals");
            for refusal in found.iter().filter_map(refusal) {
                tell_refusal(&refusal, all);
            }
            *job.refusals.lock().expect("nothing panics while it notes") =
                found.iter().filter_map(refusal).collect();
        }
    }
    if let Some(body) = get(job, "/why503/", &headers, all).await {
        tell(&body, Timestamp::now(), all);
    }
}

fn json() -> (http::HeaderName, http::HeaderValue) {
    (
        http::header::ACCEPT,
        http::HeaderValue::from_static("application/json"),
    )
}

async fn get(
    job: &Job<'_>,
    path: &str,
    headers: &[(http::HeaderName, http::HeaderValue)],
    all: &mut Collected,
) -> Option<Value> {
    let listener = job.options.probe_listener.as_ref();
    if listener.is_none() && !job.ration.take() {
        all.could_not(
            Id::AppShed,
            "no probe is left for `/why503/`",
            "give a larger -n",
        );
        return None;
    }
    let target = listener.unwrap_or(job.target).at(path);
    let probe = send(job, &target, Path::Given, headers).await;
    let status = probe.status();
    let body = probe
        .answer
        .and_then(|it| serde_json::from_slice(&it.body).ok());
    match (status, body) {
        (Some(200 | 404), Some(body)) => Some(body),
        (Some(401 | 403), _) => {
            all.could_not(
                Id::AppShed,
                "the operator's page refuses the token",
                "check --token",
            );
            None
        }
        (status, _) => {
            let what = status.map_or_else(|| "nothing".to_owned(), |it| it.to_string());
            let reason = format!("`{path}` answers {what}");
            all.could_not(
                Id::AppShed,
                &reason,
                "give --probe-listener if the operator's page is there",
            );
            None
        }
    }
}

/// Says what the page says.
fn tell(body: &Value, now: Timestamp, all: &mut Collected) {
    let source = "GET /why503/";
    if let Some(is) = body["phase"].as_str().and_then(phase) {
        let began = list(body, "timeline")
            .iter()
            .rev()
            .find(|it| it["subject"] == "lifecycle")
            .map(|it| &it["at"]);
        let since = began.map_or(Duration::ZERO, |it| ago(it, now));
        all.saw(source, Tied::Service, Own::Phase { is, since });
    }
    for finding in list(body, "findings") {
        let id = finding["id"].as_str().and_then(Id::parse);
        let certainty = Certainty::ALL
            .iter()
            .copied()
            .find(|it| finding["confidence"] == it.as_str());
        if let (Some(id), Some(certainty)) = (id, certainty) {
            let summary = text(&finding["summary"]);
            all.saw(
                source,
                Tied::Service,
                Own::Told {
                    id,
                    certainty,
                    summary,
                },
            );
        }
    }
    for incident in list(body, "incidents") {
        let Some(cause) = incident["cause"].as_str().and_then(Cause::from_code) else {
            continue;
        };
        let seen = Own::Refusing {
            cause,
            rule: incident["rule"].as_str().and_then(Rule::from_code),
            count: incident["count"].as_u64().unwrap_or(1),
            since: ago(&incident["first"], now),
            last: ago(&incident["last"], now),
            numbers: flat(&incident["evidence"]),
        };
        let tied = match incident["source"].as_str() {
            Some(name) if cause == Cause::DependencyDown || cause == Cause::PoolExhausted => {
                Tied::dependency(name)
            }
            _ => Tied::Service,
        };
        all.saw(source, tied, seen);
    }
    if let Some(in_flight) = body["shed"]["in_flight"].as_u64() {
        let limit = body["shed"]["limit"].as_u64();
        let waiting = body["shed"]["lag"]["waiting"].as_u64().unwrap_or(0);
        all.saw(
            source,
            Tied::Service,
            Own::Limit {
                in_flight,
                limit,
                waiting,
            },
        );
    }
    for dependency in list(body, "dependencies") {
        tell_dependency(source, dependency, now, all);
    }
}

fn tell_dependency(source: &str, seen: &Value, now: Timestamp, all: &mut Collected) {
    let name = seen["name"]
        .as_str()
        .or_else(|| seen["componentId"].as_str());
    let Some(name) = name else {
        return;
    };
    let tied = Tied::dependency(name);
    let why = text(&seen["reason"]);
    let last_error = text(&seen["output"]);
    let breaker = &seen["breaker"];
    if let Some(is) = breaker["state"].as_str().and_then(breaker_is) {
        let retry_in = breaker["next_probe"]
            .as_str()
            .and_then(|it| it.parse::<Timestamp>().ok());
        let retry_in =
            retry_in.map(|it| Duration::try_from(it.duration_since(now)).unwrap_or_default());
        all.saw(
            source,
            tied.clone(),
            Own::Breaker {
                is,
                why: why.clone(),
                last_error: last_error.clone(),
                retry_in,
            },
        );
    }
    let pool = &seen["pool"];
    if let (Some(in_use), Some(max)) = (pool["in_use"].as_u64(), pool["max"].as_u64()) {
        let waiting = pool["waiting"].as_u64().unwrap_or(0);
        let is = match pool["pressure"].as_str() {
            Some(it) if it.contains("stuck") => PoolIs::Stuck,
            _ if in_use >= max && waiting > 0 => PoolIs::Busy,
            _ => PoolIs::Well,
        };
        let seen = Own::Pool {
            is,
            in_use,
            max,
            waiting,
            trouble: why,
        };
        all.saw(source, tied, seen);
    }
}

fn breaker_is(state: &str) -> Option<BreakerIs> {
    BreakerIs::ALL
        .iter()
        .copied()
        .find(|it| it.as_str() == state.replace('-', " "))
}

fn phase(word: &str) -> Option<PhaseIs> {
    PhaseIs::ALL.iter().copied().find(|it| it.as_str() == word)
}

fn refusal(seen: &Value) -> Option<Refusal> {
    let cause = seen["cause"].as_str()?;
    let rule = seen["rule"]
        .as_str()
        .map_or(String::new(), |it| format!(";rule={it}"));
    Some(Refusal {
        id: text(&seen["id"]),
        at: text(&seen["at"]),
        cause: Text::new(&format!("{cause}{rule}")),
        source: text(&seen["source"]),
        request: text(&seen["request"]),
        evidence: flat(&seen["evidence"]),
    })
}

/// A refusal of long ago says what happened then, not that it happens now.
fn tell_refusal(refusal: &Refusal, all: &mut Collected) {
    let cause = refusal
        .cause
        .as_str()
        .split(';')
        .next()
        .and_then(Cause::from_code);
    let Some(cause) = cause else {
        return;
    };
    let rule = refusal
        .cause
        .as_str()
        .split("rule=")
        .nth(1)
        .and_then(Rule::from_code);
    let at = Value::from(refusal.at.as_str());
    let ago = ago(&at, Timestamp::now());
    let source = format!("GET /why503/{}", refusal.id);
    let seen = Own::Refusing {
        cause,
        rule,
        count: 1,
        since: ago,
        last: ago,
        numbers: refusal.evidence.clone(),
    };
    all.saw(&source, Tied::Service, seen);
}

fn list<'a>(body: &'a Value, name: &str) -> &'a [Value] {
    let all = body[name].as_array().map_or(&[][..], Vec::as_slice);
    &all[..all.len().min(ENTRIES_MAX)]
}

fn text(value: &Value) -> Text {
    Text::new(value.as_str().unwrap_or(""))
}

/// `in_flight 64, limit 64`.
fn flat(evidence: &Value) -> Text {
    let Some(members) = evidence.as_object() else {
        return text(evidence);
    };
    let each = members.iter().map(|(name, value)| match value {
        Value::String(it) => format!("{name} {it}"),
        other => format!("{name} {other}"),
    });
    Text::new(&each.collect::<Vec<_>>().join(", "))
}

/// How long ago a moment was; the future is now.
fn ago(moment: &Value, now: Timestamp) -> Duration {
    let moment = moment.as_str().and_then(|it| it.parse::<Timestamp>().ok());
    let ago = moment.map(|it| now.duration_since(it));
    ago.and_then(|it| Duration::try_from(it).ok())
        .unwrap_or_default()
}

/// An id as one segment of a path.
fn escape(id: &str) -> String {
    let kept = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    id.chars().filter(|c| kept(*c)).take(128).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_page_becomes_facts() {
        let now: Timestamp = "2026-11-29T10:00:10Z".parse().expect("a moment");
        let body = json!({
            "phase": "ready",
            "timeline": [
                {"at": "2026-11-29T09:59:00Z", "subject": "lifecycle", "from": "not started", "to": "starting", "why": ""},
                {"at": "2026-11-29T09:59:55Z", "subject": "lifecycle", "from": "starting", "to": "ready", "why": ""},
                {"at": "2026-11-29T10:00:00Z", "subject": "payments", "from": "passing", "to": "failing", "why": ""}],
            "findings": [{"id": "app.breaker_open", "confidence": "proven", "summary": "payments is down"}, {"id": "new.one"}],
            "incidents": [{"cause": "dependency-down", "rule": null, "source": "payments", "count": 7,
                "first": "2026-11-29T10:00:00Z", "last": "2026-11-29T10:00:09Z", "evidence": {"state": "open"}}],
            "shed": {"in_flight": 3, "limit": 64},
            "dependencies": [{"componentId": "payments", "reason": "breaker open", "output": "refused",
                "breaker": {"state": "open", "next_probe": "2026-11-29T10:00:12Z"},
                "pool": {"in_use": 5, "max": 5, "waiting": 2}}],
        });
        let mut all = Collected::new();
        tell(&body, now, &mut all);
        let said: Vec<String> = all
            .facts()
            .iter()
            .map(|it| format!("{} / {}", it.tied, it.seen))
            .collect();
        let said = said.join("\n");
        for expected in [
            "the service / ready for 15 s",
            "the service / payments is down (proven)",
            "dependency payments / dependency-down: 7 since 10 s, last 1.0 s ago; state open",
            "the service / 3 of 64, 0 wait",
            "dependency payments / open: breaker open; refused",
            "dependency payments / all in use, and they come back: 5 of 5 in use, 2 wait; breaker open",
        ] {
            assert!(said.contains(expected), "{expected} in\n{said}");
        }
    }

    #[test]
    fn a_page_of_rubbish_says_nothing() {
        for body in [
            json!(null),
            json!([1]),
            json!({"phase": 3, "incidents": [{"cause": "tired"}], "dependencies": [{}]}),
        ] {
            let mut all = Collected::new();
            tell(&body, Timestamp::UNIX_EPOCH, &mut all);
            assert!(all.facts().is_empty());
        }
    }

    #[test]
    fn an_id_stays_in_its_segment() {
        assert_eq!(escape("0190f5c2-a.b_c"), "0190f5c2-a.b_c");
        assert_eq!(escape("../drain?x=/y\r\n"), "..drainxy");
    }
}
