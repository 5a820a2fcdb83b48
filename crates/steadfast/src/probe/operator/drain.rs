//! The operator's view of a drain, and the order that begins one.
//!
//! `POST /why503/drain` is for scripts. Kubernetes can only send a GET from a `preStop`
//! hook, so `GET /why503/drain?begin` is the same order; both need the token. The SIGTERM
//! that follows such a hook finds the drain begun and changes nothing.

use bytes::Bytes;
use http::{Method, Response, StatusCode, request::Parts};
use http_body_util::Full;
use serde::{Serialize, Serializer};
use steadfast_core::{Phase, plumbing::inert};

use super::json_answer;
use crate::{drain::DrainReport, instance::Control, refusal::millis};

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
#[derive(Serialize)]
pub(super) struct State {
    leaving: bool,
    phase: &'static str,
    longest_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    report: Option<Report>,
}

/// How it went.
#[derive(Serialize)]
struct Report {
    summary: String,
    served: u64,
    abandoned: u64,
    came_late: u64,
    failing_probes: u32,
    lame_duck_ms: u64,
    draining_ms: u64,
    cut: Cut,
    advice: Vec<String>,
}

/// What was cut, by reason.
struct Cut(Vec<(&'static str, u64)>);

impl Serialize for Cut {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

pub(super) fn state(control: &Control) -> State {
    let phase = control.phase();
    State {
        leaving: phase.is_some_and(Phase::is_leaving),
        phase: phase.map_or("not started", Phase::as_str),
        longest_ms: millis(control.drain_settings().longest()),
        report: control.report().as_deref().map(Report::of),
    }
}

impl Report {
    fn of(report: &DrainReport) -> Self {
        let advice = report.advice();
        let advice = advice.iter().map(|it| inert(&it.to_string()).into());
        Self {
            summary: inert(&report.summary()).into(),
            served: report.served,
            abandoned: report.abandoned,
            came_late: report.came_late,
            failing_probes: report.failing_probes,
            lame_duck_ms: millis(report.lame_duck),
            draining_ms: millis(report.draining),
            cut: Cut(report.cut.by_reason().into_iter().collect()),
            advice: advice.collect(),
        }
    }
}
