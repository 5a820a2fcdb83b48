//! The operator's view of a drain, and the order that begins one.
//!
//! `POST /why503/drain` is for scripts. Kubernetes can only send a GET from a `preStop`
//! hook, so `GET /why503/drain?begin` is the same order; both need the token. The SIGTERM
//! that follows such a hook finds the drain begun and changes nothing.

use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};
use http_body_util::Full;
use serde_json::{Value, json};
use steadfast_core::Phase;

use super::json_answer;
use crate::{drain::DrainReport, instance::Control, refusal::render::millis};

/// Whether the request orders a drain.
pub(super) fn is_order(parts: &Parts) -> bool {
    let begins = |query: &str| query.split('&').any(|key| key == "begin");
    match parts.method {
        Method::POST => true,
        Method::GET => parts.uri.query().is_some_and(begins),
        _ => false,
    }
}

/// Begins a drain, if none has begun.
pub(super) fn begin(control: &Control) -> Response<Full<Bytes>> {
    control.begin_drain("an authorised request");
    json_answer(StatusCode::ACCEPTED, &state(control))
}

/// How far the drain is.
pub(super) fn state(control: &Control) -> Value {
    let phase = control.phase();
    json!({
        "leaving": phase.is_some_and(Phase::is_leaving),
        "phase": phase.map_or("not started", Phase::as_str),
        "longest_ms": millis(control.drain_settings().longest()),
        "report": control.report().as_deref().map(report),
    })
}

fn report(report: &DrainReport) -> Value {
    let cut: serde_json::Map<_, _> = report
        .cut
        .by_reason()
        .into_iter()
        .map(|(reason, count)| (reason.to_owned(), json!(count)))
        .collect();
    let advice: Vec<_> = report.advice().iter().map(ToString::to_string).collect();
    json!({
        "summary": report.summary(),
        "served": report.served,
        "abandoned": report.abandoned,
        "came_late": report.came_late,
        "failing_probes": report.failing_probes,
        "lame_duck_ms": millis(report.lame_duck),
        "draining_ms": millis(report.draining),
        "cut": cut,
        "advice": advice,
    })
}
