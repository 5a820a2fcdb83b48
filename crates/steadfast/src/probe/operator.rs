//! The operator's view, as JSON: what state the instance is in, what it refused and why.
//!
//! `GET /why503/` is everything, `GET /why503/{id}` the refusals behind one id (a list,
//! since request ids repeat), `PUT /why503/maintenance?reason=…&for=10m` begins maintenance
//! and `DELETE /why503/maintenance` ends it. `POST /why503/drain` begins to leave, and
//! `GET /why503/drain` tells how far that is. Reading is for whoever shows the token or comes
//! in by the probe listener; giving orders always needs the token.

pub(crate) mod drain;
mod shed;

use std::time::Instant;

use bytes::Bytes;
use http::{HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use serde_json::{Value, json};
use steadfast_core::{Cause, Declarer, Incident, LedgerView, Recorded, StateChange};

use crate::refusal::{Explain, render};
use crate::{
    clock, duration,
    instance::{Control, readiness::Snapshot},
    probe::{answer as probe, health::one_dependency},
};

/// The version of the JSON; raised when a member changes its meaning.
const SCHEMA: &str = "steadfast/1";

const JSON: &str = "application/json";

/// Answers a request below the operator's path.
pub(crate) fn answer(
    control: &Control,
    rest: &str,
    parts: &Parts,
    may_read: bool,
    may_order: bool,
) -> Response<Full<Bytes>> {
    let response = match (rest, &parts.method) {
        ("maintenance", &Method::PUT | &Method::POST | &Method::DELETE) if may_order => {
            maintenance(control, parts)
        }
        ("drain", _) if drain::is_order(parts) => {
            if may_order {
                drain::begin(control)
            } else {
                unauthorised()
            }
        }
        ("maintenance", &Method::PUT | &Method::POST | &Method::DELETE) => unauthorised(),
        (_, &Method::GET | &Method::HEAD) if !may_read => unauthorised(),
        ("", &Method::GET | &Method::HEAD) => json_answer(StatusCode::OK, &state(control)),
        ("maintenance", &Method::GET | &Method::HEAD) => {
            json_answer(StatusCode::OK, &maintenance_state(control))
        }
        ("drain", &Method::GET | &Method::HEAD) => {
            json_answer(StatusCode::OK, &drain::state(control))
        }
        (id, &Method::GET | &Method::HEAD) => lookup(control.explain(), id),
        ("maintenance", _) => probe::method_not_allowed("GET, HEAD, PUT, DELETE"),
        ("drain", _) => probe::method_not_allowed("GET, HEAD, POST"),
        _ => probe::method_not_allowed("GET, HEAD"),
    };
    probe::finish(response, &parts.method)
}

fn unauthorised() -> Response<Full<Bytes>> {
    let problem = json!({
        "title": "Not authorised",
        "status": 401,
        "detail": "Send the operator's token as `Authorization: Bearer …`.",
    });
    let mut response = json_answer(StatusCode::UNAUTHORIZED, &problem);
    let challenge = HeaderValue::from_static("Bearer realm=\"why503\"");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

pub(super) fn json_answer(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut text = value.to_string();
    text.push('\n');
    probe::answer(status, JSON, text)
}

fn lookup(explain: &Explain, id: &str) -> Response<Full<Bytes>> {
    let found: Vec<_> = explain.ledger().find(id).iter().map(recorded).collect();
    let status = if found.is_empty() {
        StatusCode::NOT_FOUND
    } else {
        StatusCode::OK
    };
    json_answer(
        status,
        &json!({ "schema": SCHEMA, "id": id, "refusals": found }),
    )
}

fn maintenance(control: &Control, parts: &Parts) -> Response<Full<Bytes>> {
    if parts.method == Method::DELETE {
        control.end_maintenance_by(Declarer::Operator);
        return json_answer(StatusCode::OK, &maintenance_state(control));
    }
    let mut reason = String::new();
    let mut length = None;
    let query = parts.uri.query().unwrap_or_default();
    for (key, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
        match key {
            "reason" => reason = percent_decoded(value),
            "for" => match duration::parse(value) {
                Ok(time) => length = Some(time),
                Err(fault) => return bad_request(&format!("for: {fault}")),
            },
            other => {
                let shown: String = other.chars().take(32).collect();
                return bad_request(&format!(
                    "unknown parameter {shown:?}; allowed are reason and for"
                ));
            }
        }
    }
    control.begin_maintenance_by(Declarer::Operator, &reason, length);
    json_answer(StatusCode::OK, &maintenance_state(control))
}

fn bad_request(detail: &str) -> Response<Full<Bytes>> {
    let problem = json!({ "title": "Bad request", "status": 400, "detail": detail });
    json_answer(StatusCode::BAD_REQUEST, &problem)
}

fn maintenance_state(control: &Control) -> Value {
    let now = clock::now();
    let view = control.readiness().life.view(now);
    match view.maintenance {
        None => json!({ "maintenance": false }),
        Some(on) => json!({
            "maintenance": true,
            "reason": &*on.reason,
            "since": clock::rfc3339(on.since),
            "until": on.until.map(clock::rfc3339),
        }),
    }
}

/// Everything, the sentence that matters first.
fn state(control: &Control) -> Value {
    let now = clock::now();
    let (verdict, snapshot) = control.readiness().verdict(now);
    let ledger = control.explain().ledger();
    let view = ledger.view();
    let shed = control.shedder().snapshot();
    let by_cause: serde_json::Map<_, _> = Cause::ALL
        .iter()
        .map(|cause| (cause.code().to_owned(), json!(ledger.count(*cause))))
        .filter(|(_, count)| *count != 0)
        .collect();
    let reasons: Vec<_> = verdict.reasons.iter().map(ToString::to_string).collect();
    json!({
        "schema": SCHEMA,
        "at": clock::rfc3339(now),
        "state": sentence(verdict.standing.as_str(), &reasons, &view, now),
        "standing": verdict.standing.as_str(),
        "reasons": reasons,
        "phase": snapshot.life.phase.map_or("not started", steadfast_core::Phase::as_str),
        "runtime_lag_ms": render::millis(control.readiness().pulse.lag(now)),
        "shed": shed::describe(&shed, &view.changes),
        "refusals": { "by_cause": by_cause, "not_written_down": ledger.dropped() },
        "incidents": view.incidents.iter().map(|it| incident(it, now)).collect::<Vec<_>>(),
        "dependencies": dependencies(control, &snapshot, now),
        "timeline": view.changes.iter().map(change).collect::<Vec<_>>(),
        "recent": view.recent.iter().map(recorded).collect::<Vec<_>>(),
    })
}

/// Every dependency, with its outages.
fn dependencies(control: &Control, snapshot: &Snapshot, now: Instant) -> Vec<Value> {
    let known = control.readiness().dependencies.iter();
    known
        .zip(&snapshot.dependencies)
        .map(|(dependency, view)| {
            let mut entry = one_dependency(view, now);
            let outages = dependency.outages(now);
            entry["outages"] = json!(outages.count);
            if let Some(last) = outages.last {
                entry["last_outage"] = json!({
                    "began": clock::rfc3339(last.began),
                    "lasted_ms": last.lasted.map(render::millis),
                    "refused": last.refused,
                    "failed": last.failed,
                });
            }
            entry
        })
        .collect()
}

/// One sentence a person reads first: what it is, and what it refuses at this moment.
fn sentence(standing: &str, reasons: &[String], view: &LedgerView, now: Instant) -> String {
    let mut text = standing.to_owned();
    if !reasons.is_empty() {
        text.push_str(": ");
        text.push_str(&reasons.join("; "));
    }
    for open in view
        .incidents
        .iter()
        .filter(|incident| incident.is_open(now))
    {
        text.push_str(&format!(
            ". Refusing since {} because {} ({}), {} so far",
            clock::rfc3339(open.first),
            open.cause,
            open.source,
            open.count
        ));
    }
    text
}

fn incident(incident: &Incident, now: Instant) -> Value {
    json!({
        "cause": incident.cause.code(),
        "rule": incident.rule.map(steadfast_core::Rule::code),
        "source": incident.source.as_str(),
        "first": clock::rfc3339(incident.first),
        "last": clock::rfc3339(incident.last),
        "open": incident.is_open(now),
        "count": incident.count,
        "evidence": render::evidence_json(&incident.evidence),
    })
}

fn recorded(recorded: &Recorded) -> Value {
    let refusal = &recorded.refusal;
    json!({
        "id": recorded.id.to_string(),
        "at": clock::rfc3339(refusal.at()),
        "cause": refusal.cause().code(),
        "rule": refusal.rule().map(steadfast_core::Rule::code),
        "source": refusal.refused_by().as_str(),
        "request": &*recorded.request.line,
        "request_id": recorded.request.request_id.as_deref(),
        "trace_id": recorded.request.trace_id.as_deref(),
        "retry_after_ms": render::millis(recorded.retry_after),
        "safe_to_retry": refusal.safe_to_retry(),
        "answered": recorded.answered.to_string(),
        "evidence": render::evidence_json(refusal.evidence()),
    })
}

fn change(change: &StateChange) -> Value {
    json!({
        "at": clock::rfc3339(change.at),
        "subject": change.subject.as_str(),
        "from": &*change.from,
        "to": &*change.to,
        "why": &*change.why,
    })
}

/// Decodes `%41` and `+`; anything that is no UTF-8 afterwards is replaced.
fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = tail;
        let hex = tail
            .get(..2)
            .and_then(|pair| std::str::from_utf8(pair).ok());
        match (
            first,
            hex.and_then(|pair| u8::from_str_radix(pair, 16).ok()),
        ) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (b'+', _) => bytes.push(b' '),
            (other, _) => bytes.push(*other),
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_value_is_decoded() {
        for (given, expected) in [
            ("a+b%20c", "a b c"),
            ("%e2%82%ac", "€"),
            ("100%", "100%"),
            ("%zz", "%zz"),
            ("%ff", "\u{fffd}"),
        ] {
            assert_eq!(percent_decoded(given), expected, "{given}");
        }
    }
}
