//! The order that begins or ends maintenance, and how it stands.

use bytes::Bytes;
use http::{Method, Response, StatusCode};
use http_body_util::Full;
use serde::Serialize;
use steadfast_core::plumbing::Declarer;

use super::{Ask, form::Form, json_answer, view::process::Maintenance};
use crate::{clock, duration, instance::Control};

/// How maintenance stands.
#[derive(Serialize)]
pub(super) struct State {
    maintenance: bool,
    #[serde(flatten)]
    on: Option<Maintenance>,
}

pub(super) fn state(control: &Control) -> State {
    let on = Maintenance::of(&control.readiness().life.view(clock::now()));
    State {
        maintenance: on.is_some(),
        on,
    }
}

/// Carries an order out. Whoever calls has seen the token.
pub(super) fn order(ask: &Ask<'_>) -> Response<Full<Bytes>> {
    let control = &ask.state.control;
    let query = Form::parse(ask.parts.uri.query().unwrap_or_default());
    let (given, allowed): (&Form, &[&str]) = match &ask.form {
        Some(Ok(form)) => (form, &["token", "reason", "for", "order"]),
        _ => (&query, &["reason", "for"]),
    };
    if let Some(key) = given.unknown(allowed) {
        let shown: String = key.chars().take(32).collect();
        let detail = format!("unknown parameter {shown:?}; allowed are reason and for");
        return ask.bad_request(&detail);
    }
    if ask.parts.method == Method::DELETE || given.get("order") == "end" {
        control.end_maintenance_by(Declarer::Operator);
        return json_answer(StatusCode::OK, &state(control));
    }
    let length = match given.get("for").trim() {
        "" => None,
        text => match duration::parse(text) {
            Ok(length) => Some(length),
            Err(fault) => return ask.bad_request(&format!("for: {fault}")),
        },
    };
    control.begin_maintenance_by(Declarer::Operator, given.get("reason"), length);
    json_answer(StatusCode::OK, &state(control))
}
