//! One refusal in the forms that clients read: problem+json, a page, a line, gRPC.

use std::{fmt::Write, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use steadfast_core::{Refusal, plumbing::RefusalId};

use super::{
    Disclosure, ExplainSettings, TYPE_BASE_DEFAULT,
    facts::Facts,
    negotiate::{self, Form},
    page::{self, PageFor},
};
use crate::request::head::RequestHead;

pub(super) const WHY: HeaderName = HeaderName::from_static("why-503");

const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Room for the longest of the usual answers, so that the text is allocated once.
const TEXT_CAPACITY: usize = 640;

/// Renders a refusal.
pub(super) fn response(
    settings: &ExplainSettings,
    refusal: &Refusal,
    id: RefusalId,
    told: Duration,
    head: &RequestHead,
) -> Response<Full<Bytes>> {
    if head.grpc {
        return grpc(refusal, id, told);
    }
    let form = negotiate::form(head.accept.as_ref());
    let id_text = IdText::of(id);
    let mut text = Text::new();
    let why = text.span(|out| why(out, refusal, Some(&id_text)));
    let seconds = text.span(|out| push_number(out, whole_seconds(told)));
    let body = text.span(|out| match form {
        Form::Problem => match &settings.envelope {
            Some(own) => own.write(out, refusal, id, told),
            None => problem(out, settings, refusal, Some(&id_text), told),
        },
        Form::Html => html(out, settings, refusal, id, told, head),
        Form::Text => line(out, refusal, id, told),
    });
    let text = text.freeze();
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, settings.content_type(form));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    if form == Form::Html {
        of_page(&mut headers, settings, head);
    }
    insert(&mut headers, header::RETRY_AFTER, text.slice(seconds));
    insert(&mut headers, WHY, text.slice(why));
    let body = text.slice(body);
    let body = if head.method == Method::HEAD {
        // What a GET would have had; the body itself must not be sent (RFC 9110, 9.3.2).
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(body.len()));
        Bytes::new()
    } else {
        body
    };
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    *response.headers_mut() = headers;
    response
}

/// Renders what a handler's refusal looks like where no explain layer is around it.
pub(super) fn bare(refusal: &Refusal) -> Response<Full<Bytes>> {
    let told = refusal.retry_after().max(Duration::from_secs(1));
    let settings = ExplainSettings::default();
    debug_assert_eq!(settings.type_base, TYPE_BASE_DEFAULT);
    let mut text = Text::new();
    let why = text.span(|out| why(out, refusal, None));
    let body = text.span(|out| problem(out, &settings, refusal, None, told));
    let text = text.freeze();
    let mut response = Response::new(Full::new(text.slice(body)));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, content_type(Form::Problem));
    headers.insert(header::CACHE_CONTROL, NO_STORE);
    headers.insert(header::RETRY_AFTER, HeaderValue::from(whole_seconds(told)));
    insert(headers, WHY, text.slice(why));
    response
}

/// A gRPC refusal: HTTP 200 with the status in the headers ("trailers-only"), which is the
/// only form that a gRPC client reads as UNAVAILABLE with a pushback.
fn grpc(refusal: &Refusal, id: RefusalId, told: Duration) -> Response<Full<Bytes>> {
    let mut text = Text::new();
    let why = text.span(|out| why(out, refusal, Some(&IdText::of(id))));
    // Percent-encoding is not needed: sentences are ASCII without `%`.
    let message = text.span(|out| out.push_str(refusal.cause().sentence()));
    let pushback = text.span(|out| push_number(out, millis(told)));
    let text = text.freeze();
    let mut response = Response::new(Full::new(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-status", HeaderValue::from_static("14"));
    insert(
        headers,
        HeaderName::from_static("grpc-message"),
        text.slice(message),
    );
    insert(
        headers,
        HeaderName::from_static("grpc-retry-pushback-ms"),
        text.slice(pushback),
    );
    insert(headers, WHY, text.slice(why));
    response
}

/// Whole seconds, rounded up: a client that comes a moment early is refused again.
fn whole_seconds(told: Duration) -> u64 {
    told.as_secs() + u64::from(told.subsec_nanos() > 0)
}

/// Writes the structured-field dictionary (RFC 9651).
pub(super) fn why(out: &mut String, refusal: &Refusal, id: Option<&IdText>) {
    out.push_str("cause=");
    out.push_str(refusal.cause().code());
    if let Some(rule) = refusal.rule() {
        out.push_str(";rule=");
        out.push_str(rule.code());
    }
    if let Some(id) = id {
        out.push_str(", id=\"");
        out.push_str(id.as_str());
        out.push('"');
    }
    if refusal.safe_to_retry() {
        out.push_str(", safe-to-retry");
    }
}

/// Writes the problem (RFC 9457).
fn problem(
    out: &mut String,
    settings: &ExplainSettings,
    refusal: &Refusal,
    id: Option<&IdText>,
    told: Duration,
) {
    let cause = refusal.cause();
    // Nothing needs escaping: codes and sentences are ours, and the base was checked.
    for part in [
        "{\"type\":\"",
        &settings.type_base,
        "#",
        cause.code(),
        "\",\"title\":\"",
        cause.title(),
        "\",\"status\":503,\"detail\":\"",
    ] {
        out.push_str(part);
    }
    detail(out, refusal, told);
    if let Some(id) = id {
        out.push_str("\",\"instance\":\"urn:uuid:");
        out.push_str(id.as_str());
    }
    out.push_str("\",\"cause\":\"");
    out.push_str(cause.code());
    out.push('"');
    if let Some(rule) = refusal.rule() {
        out.push_str(",\"rule\":\"");
        out.push_str(rule.code());
        out.push('"');
    }
    out.push_str(",\"retry_after_ms\":");
    push_number(out, millis(told));
    out.push_str(",\"safe_to_retry\":");
    out.push_str(if refusal.safe_to_retry() {
        "true"
    } else {
        "false"
    });
    if settings.disclosure == Disclosure::Full {
        let evidence = Facts::of(refusal.evidence()).into_json();
        let source = refusal.refused_by();
        write_display(
            out,
            format_args!(",\"source\":\"{source}\",\"evidence\":{evidence}"),
        );
    }
    out.push('}');
}

/// Writes the one sentence that is fit for everybody.
pub(super) fn detail(out: &mut String, refusal: &Refusal, told: Duration) {
    let seconds = whole_seconds(told);
    out.push_str(refusal.cause().sentence());
    out.push_str("; retry after ");
    push_number(out, seconds);
    out.push_str(if seconds == 1 {
        " second."
    } else {
        " seconds."
    });
}

/// Writes the page for people: the application's own, if it has one.
fn html(
    out: &mut String,
    settings: &ExplainSettings,
    refusal: &Refusal,
    id: RefusalId,
    told: Duration,
    head: &RequestHead,
) {
    let page = PageFor {
        cause: refusal.cause(),
        id,
        retry_after: told,
        repeats: head.method == Method::GET,
        language: head.language,
    };
    match &settings.page {
        Some(own) => out.push_str(&own.make(&page)),
        None => page::write(out, &page),
    }
}

/// Adds what only the page has: its language, and its policy if it is ours.
fn of_page(headers: &mut HeaderMap, settings: &ExplainSettings, head: &RequestHead) {
    let vary = HeaderValue::from_static("accept, accept-language");
    headers.insert(header::VARY, vary);
    if settings.page.is_none() {
        let language = HeaderValue::from_static(head.language.tag());
        headers.insert(header::CONTENT_LANGUAGE, language);
        headers.insert(header::CONTENT_SECURITY_POLICY, page::policy());
    }
}

fn line(out: &mut String, refusal: &Refusal, id: RefusalId, told: Duration) {
    detail(out, refusal, told);
    write_display(out, format_args!(" ({}, {id})\n", refusal.cause()));
}

pub(crate) fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

pub(super) fn content_type(form: Form) -> HeaderValue {
    HeaderValue::from_static(match form {
        Form::Problem => "application/problem+json",
        Form::Html => "text/html; charset=utf-8",
        Form::Text => "text/plain; charset=utf-8",
    })
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: Bytes) {
    // Codes, digits and our own sentences are always a valid header value.
    if let Ok(value) = HeaderValue::from_maybe_shared(value) {
        headers.insert(name, value);
    }
}

/// One text that body and header values are cut from, so that they share an allocation.
struct Text(String);

impl Text {
    fn new() -> Self {
        Self(String::with_capacity(TEXT_CAPACITY))
    }

    fn span(&mut self, write: impl FnOnce(&mut String)) -> std::ops::Range<usize> {
        let start = self.0.len();
        write(&mut self.0);
        start..self.0.len()
    }

    fn freeze(self) -> Bytes {
        Bytes::from(self.0)
    }
}

fn write_display(out: &mut String, value: impl std::fmt::Display) {
    // Writing to a String cannot fail.
    let _ = write!(out, "{value}");
}

/// Writes digits without the formatting machinery, which costs more than the digits.
fn push_number(out: &mut String, mut number: u64) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.push_str(std::str::from_utf8(&digits[at..]).expect("digits are ASCII"));
}

/// An id's text, written once and copied into header and body.
#[derive(Clone, Copy)]
pub(super) struct IdText([u8; 36]);

impl IdText {
    pub(super) fn of(id: RefusalId) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        let mut text = [b'-'; 36];
        let mut at = 0;
        for byte in id.0.to_be_bytes() {
            if matches!(at, 8 | 13 | 18 | 23) {
                at += 1;
            }
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
            at += 2;
        }
        Self(text)
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("hexadecimal digits are ASCII")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use http::Request;
    use http_body_util::BodyExt;
    use steadfast_core::{Evidence, Name, Overloaded, Rule, plumbing::Held};

    const ID: RefusalId = RefusalId(0x0190_f5c2_7a00_7abc_8def_0123_4567_89ab);

    fn overloaded() -> Refusal {
        let held = Held {
            age: Duration::from_secs(31),
            route: "/\"report\"".to_owned(),
        };
        let evidence = Evidence::Overloaded(Overloaded {
            rule: Rule::Limit,
            in_flight: 16,
            limit: 16,
            stuck: Some(held),
            queue: None,
            pressure: None,
        });
        Refusal::new(
            Name::from_static("shed"),
            evidence,
            Duration::from_secs(3),
            clock::now(),
        )
    }

    fn answer(accept: &str, disclosure: Disclosure) -> (HeaderMap, String) {
        let request = Request::get("/")
            .header("accept", accept)
            .body(())
            .expect("a request");
        let settings = ExplainSettings::default().disclosure(disclosure);
        let told = Duration::from_millis(3200);
        let response = response(
            &settings,
            &overloaded(),
            ID,
            told,
            &RequestHead::of(&request),
        );
        assert_eq!(response.status(), 503);
        let (parts, body) = response.into_parts();
        let body = futures_util::FutureExt::now_or_never(body.collect()).expect("at once");
        let bytes = body.expect("no error").to_bytes();
        (
            parts.headers,
            String::from_utf8(bytes.to_vec()).expect("text"),
        )
    }

    #[test]
    fn the_problem_is_the_one_of_the_wire_contract() {
        let (headers, body) = answer("*/*", Disclosure::Public);
        assert_eq!(headers["content-type"], "application/problem+json");
        assert_eq!(headers["cache-control"], "no-store");
        assert_eq!(headers["vary"], "accept");
        assert_eq!(headers["retry-after"], "4");
        assert_eq!(
            headers["why-503"],
            "cause=overloaded;rule=limit, id=\"0190f5c2-7a00-7abc-8def-0123456789ab\", safe-to-retry"
        );
        let problem: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(
            problem,
            serde_json::json!({
                "type": format!("{TYPE_BASE_DEFAULT}#overloaded"),
                "title": "At capacity",
                "status": 503,
                "detail": "The service is at its limit; retry after 4 seconds.",
                "instance": "urn:uuid:0190f5c2-7a00-7abc-8def-0123456789ab",
                "cause": "overloaded",
                "rule": "limit",
                "retry_after_ms": 3200,
                "safe_to_retry": true,
            })
        );
    }

    #[test]
    fn numbers_and_names_are_shown_only_with_full_disclosure() {
        let (_, body) = answer("*/*", Disclosure::Public);
        assert!(!body.contains("16") && !body.contains("report"), "{body}");
        let (_, body) = answer("*/*", Disclosure::Full);
        let problem: serde_json::Value = serde_json::from_str(&body).expect("JSON");
        assert_eq!(problem["evidence"]["limit"], 16);
        assert_eq!(problem["evidence"]["oldest_age_ms"], 31_000);
        assert_eq!(problem["evidence"]["oldest_route"], "/\"report\"");
        assert_eq!(problem["source"], "shed");
    }

    #[test]
    fn people_get_a_page_and_terminals_a_line() {
        let (headers, body) = answer("text/html", Disclosure::Public);
        assert_eq!(headers["content-type"], "text/html; charset=utf-8");
        assert!(
            body.contains("<h1>We are very busy right now</h1>"),
            "{body}"
        );
        assert!(body.contains(&ID.to_string()), "{body}");
        assert_eq!(headers["vary"], "accept, accept-language");
        assert_eq!(headers["content-language"], "en");
        let (_, body) = answer("text/plain", Disclosure::Public);
        assert_eq!(
            body,
            format!("The service is at its limit; retry after 4 seconds. (overloaded, {ID})\n")
        );
    }

    #[test]
    fn grpc_gets_trailers_only() {
        let request = Request::post("/pkg.Svc/Method")
            .header("content-type", "application/grpc+proto")
            .body(())
            .expect("a request");
        let settings = ExplainSettings::default();
        let told = Duration::from_millis(3200);
        let answer = response(
            &settings,
            &overloaded(),
            ID,
            told,
            &RequestHead::of(&request),
        );
        assert_eq!(answer.status(), 200);
        assert_eq!(answer.headers()["grpc-status"], "14");
        assert_eq!(answer.headers()["grpc-retry-pushback-ms"], "3200");
        assert_eq!(answer.headers()["content-type"], "application/grpc");
        assert!(answer.headers().contains_key("why-503"));
        assert!(http_body::Body::is_end_stream(answer.body()));
    }

    #[test]
    fn the_fast_writers_agree_with_the_formatting_machinery() {
        for number in [0, 7, 10, 3200, u64::MAX] {
            let mut out = String::new();
            push_number(&mut out, number);
            assert_eq!(out, number.to_string());
        }
        assert_eq!(IdText::of(ID).as_str(), ID.to_string());
    }

    #[test]
    fn a_head_request_is_told_the_length_and_sent_no_body() {
        let request = Request::head("/").body(()).expect("a request");
        let settings = ExplainSettings::default();
        let answer = response(
            &settings,
            &overloaded(),
            ID,
            Duration::ZERO,
            &RequestHead::of(&request),
        );
        assert!(http_body::Body::is_end_stream(answer.body()));
        let length: usize = answer.headers()["content-length"]
            .to_str()
            .expect("digits")
            .parse()
            .expect("a number");
        assert!(length > 100);
    }
}
