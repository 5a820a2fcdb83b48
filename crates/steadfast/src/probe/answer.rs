//! The answers to probes: `/ready/`, `/health/` and their aliases.
//!
//! A probe is not a refusal: it asks the instance about itself, so its 503 is this room's.
//! Strangers see the standing and one word; names and details are for the authorised, or
//! for everybody with full disclosure.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, header, request::Parts};
use http_body_util::Full;
use steadfast_core::{
    Phase, Requirement, Verdict,
    plumbing::{DependencyView, Reason, Standing},
};

use super::health;
use crate::clock;
use crate::instance::readiness::Readiness;

/// What a probe's answer depends on beside the verdict.
#[derive(Clone, Debug)]
pub(crate) struct Profile {
    /// `/health/` also fails when a required dependency is down.
    pub(crate) strict: bool,
    /// Speak Envoy's health headers.
    pub(crate) envoy: bool,
    /// Answer 404 and not 503 while draining, for HAProxy's `disable-on-404`.
    pub(crate) not_found_while_draining: bool,
    /// The service's name and version, for `application/health+json`.
    pub(crate) service: Option<(String, String)>,
}

/// Answers `/ready/`.
pub(crate) fn ready(
    ready: &Readiness,
    profile: &Profile,
    parts: &Parts,
    names: bool,
) -> Response<Full<Bytes>> {
    let now = clock::now();
    let (verdict, snapshot) = ready.verdict(now);
    let status = ready_status(&verdict, profile);
    let mut response = if wants_json(&parts.headers) {
        let body = health::ready(&verdict, names.then_some(&snapshot.dependencies[..]), now);
        answer(status, "application/health+json", body)
    } else if parts
        .uri
        .query()
        .is_some_and(|query| query.split('&').any(|key| key == "verbose"))
    {
        answer(
            status,
            TEXT,
            verbose(&verdict, names.then_some(&snapshot.dependencies[..]), now),
        )
    } else {
        answer(status, TEXT, line(&verdict, names))
    };
    envoy(&mut response, &verdict, profile);
    finish(response, &parts.method)
}

/// Answers `/ready/{check}`, or nothing if there is none of that name.
pub(crate) fn one_check(
    ready: &Readiness,
    name: &str,
    method: &Method,
) -> Option<Response<Full<Bytes>>> {
    let now = clock::now();
    let (_, snapshot) = ready.verdict(now);
    let seen = snapshot
        .dependencies
        .iter()
        .find(|seen| seen.name.as_str() == name)?;
    let status = if seen.health(now).is_up() {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    Some(finish(
        answer(status, TEXT, health::one_line(seen, now)),
        method,
    ))
}

/// Answers `/health/`.
pub(crate) fn health(
    ready: &Readiness,
    profile: &Profile,
    parts: &Parts,
    names: bool,
) -> Response<Full<Bytes>> {
    let now = clock::now();
    let (verdict, snapshot) = ready.verdict(now);
    let stalled = verdict
        .reasons
        .iter()
        .any(|reason| matches!(reason, Reason::Stalled(_)));
    let strict_failure = profile.strict
        && snapshot.dependencies.iter().any(|seen| {
            matches!(
                seen.requirement,
                Requirement::Required | Requirement::RequiredToStart
            ) && seen.check_fails(now)
        });
    let fails = stalled || strict_failure;
    let status = if fails {
        StatusCode::SERVICE_UNAVAILABLE
    } else {
        StatusCode::OK
    };
    let body = health::health(&verdict, fails, &snapshot.dependencies, names, profile, now);
    let mut response = answer(status, "application/health+json", body);
    if profile.envoy && verdict.standing == Standing::Degraded {
        response
            .headers_mut()
            .insert("x-envoy-degraded", HeaderValue::from_static("1"));
    }
    finish(response, &parts.method)
}

/// Answers `/livez`: fails only when the process itself is broken.
pub(crate) fn live(ready: &Readiness, method: &Method) -> Response<Full<Bytes>> {
    let (verdict, _) = ready.verdict(clock::now());
    let stalled = verdict
        .reasons
        .iter()
        .find(|reason| matches!(reason, Reason::Stalled(_)));
    let response = match stalled {
        Some(reason) => answer(
            StatusCode::SERVICE_UNAVAILABLE,
            TEXT,
            format!("not alive: {reason}\n"),
        ),
        None => answer(StatusCode::OK, TEXT, "alive\n"),
    };
    finish(response, method)
}

/// Answers `/startupz`: passes once the start is over, and never fails again.
pub(crate) fn started(ready: &Readiness, method: &Method) -> Response<Full<Bytes>> {
    let (_, snapshot) = ready.verdict(clock::now());
    let over = snapshot
        .life
        .phase
        .is_some_and(|phase| phase > Phase::Starting);
    let response = if over {
        answer(StatusCode::OK, TEXT, "started\n")
    } else {
        answer(StatusCode::SERVICE_UNAVAILABLE, TEXT, "starting\n")
    };
    finish(response, method)
}

/// Answers a method that no probe uses.
pub(crate) fn method_not_allowed(allow: &'static str) -> Response<Full<Bytes>> {
    let mut response = answer(
        StatusCode::METHOD_NOT_ALLOWED,
        TEXT,
        format!("allowed: {allow}\n"),
    );
    response
        .headers_mut()
        .insert(header::ALLOW, HeaderValue::from_static(allow));
    response
}

/// Longest body of a probe: what a kubelet reads of one (10 KiB).
pub(crate) const BODY_LEN_MAX: usize = 10 * 1024 - 1;

pub(crate) const TEXT: &str = "text/plain; charset=utf-8";

/// Makes an answer that nobody may cache.
pub(crate) fn answer(
    status: StatusCode,
    kind: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

/// Takes the body away from the answer to a HEAD, and says how long it was.
pub(crate) fn finish(response: Response<Full<Bytes>>, method: &Method) -> Response<Full<Bytes>> {
    if *method != Method::HEAD {
        return response;
    }
    let length = http_body::Body::size_hint(response.body())
        .exact()
        .unwrap_or(0);
    let (mut parts, _) = response.into_parts();
    parts
        .headers
        .insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    Response::from_parts(parts, Full::new(Bytes::new()))
}

/// Whether the client asked for JSON in so many words.
pub(crate) fn wants_json(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|accept| accept.to_str().ok())
        .any(|accept| {
            accept.contains("application/health+json") || accept.contains("application/json")
        })
}

fn ready_status(verdict: &Verdict, profile: &Profile) -> StatusCode {
    match (verdict.standing, verdict.reasons.first()) {
        (Standing::NotReady, Some(Reason::Leaving(_))) if profile.not_found_while_draining => {
            StatusCode::NOT_FOUND
        }
        (Standing::NotReady, _) => StatusCode::SERVICE_UNAVAILABLE,
        (Standing::Ready | Standing::Degraded, _) => StatusCode::OK,
    }
}

fn envoy(response: &mut Response<Full<Bytes>>, verdict: &Verdict, profile: &Profile) {
    if !profile.envoy {
        return;
    }
    let one = HeaderValue::from_static("1");
    match (verdict.standing, verdict.reasons.first()) {
        (Standing::Degraded, _) => {
            response.headers_mut().insert("x-envoy-degraded", one);
        }
        (Standing::NotReady, Some(Reason::Leaving(_))) => {
            let value = HeaderValue::from_static("true");
            response
                .headers_mut()
                .insert("x-envoy-immediate-health-check-fail", value);
        }
        _ => {}
    }
}

/// `ready`, `degraded`, `not ready: draining`; with names `degraded: payments`.
fn line(verdict: &Verdict, names: bool) -> String {
    let mut line = verdict.standing.as_str().to_owned();
    if names && !verdict.reasons.is_empty() {
        line.push_str(": ");
        line.push_str(&spoken(verdict).join("; "));
    } else if let (Standing::NotReady, Some(reason)) = (verdict.standing, verdict.reasons.first()) {
        line.push_str(": ");
        line.push_str(reason.word());
    }
    line.push('\n');
    line
}

/// The reasons with their names, as many as there is room for, and how many more there are.
pub(super) fn spoken(verdict: &Verdict) -> Vec<String> {
    /// Under half of a body, so that the checks themselves have the rest.
    const REASONS_LEN_MAX: usize = BODY_LEN_MAX * 2 / 5;
    let mut length = 0;
    let mut lines: Vec<String> = Vec::new();
    for reason in &verdict.reasons {
        let reason = reason.to_string();
        length += reason.len();
        // The first is always said: alone, with all names in it, it still fits.
        if length > REASONS_LEN_MAX && !lines.is_empty() {
            lines.push(format!("and {} more", verdict.reasons.len() - lines.len()));
            break;
        }
        lines.push(reason);
    }
    lines
}

/// The line format of Kubernetes' own servers.
fn verbose(verdict: &Verdict, seen: Option<&[DependencyView]>, now: std::time::Instant) -> String {
    let mut text = String::new();
    let mut push = |ok: bool, name: &str| {
        text.push_str(if ok { "[+]" } else { "[-]" });
        text.push_str(name);
        text.push_str(if ok {
            " ok\n"
        } else {
            " failed: reason withheld\n"
        });
    };
    let has = |test: fn(&Reason) -> bool| !verdict.reasons.iter().any(test);
    push(
        has(|reason| {
            matches!(
                reason,
                Reason::Leaving(_) | Reason::NotStarted | Reason::Starting { .. }
            )
        }),
        "lifecycle",
    );
    push(
        has(|reason| matches!(reason, Reason::Maintenance { .. })),
        "maintenance",
    );
    push(
        has(|reason| matches!(reason, Reason::Stalled(_))),
        "runtime",
    );
    match seen {
        Some(seen) => seen.iter().for_each(|seen| {
            push(seen.health(now).is_up(), seen.name.as_str());
        }),
        None => push(has(|reason| !reason.names().is_empty()), "dependencies"),
    }
    let passed = verdict.standing != Standing::NotReady;
    text.push_str(if passed {
        "readyz check passed\n"
    } else {
        "readyz check failed\n"
    });
    text
}
