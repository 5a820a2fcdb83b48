//! One refusal in the forms that clients read: problem+json, a page, a line, gRPC.
//!
//! Most of a problem is the same for each refusal of its cause, and is kept in
//! [`super::wording`]; what is written here is the rest.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode, header};
use http_body_util::Full;
use steadfast_core::{Refusal, plumbing::RefusalId};

use super::{
    Disclosure, ExplainSettings, TYPE_BASE_DEFAULT,
    facts::Facts,
    negotiate::{self, Form},
    page::{self, PageFor},
    wording::{Wording, Wordings},
};
use crate::request::head::RequestHead;

pub(super) const WHY: HeaderName = HeaderName::from_static("why-503");

/// Renders a refusal.
pub(super) fn response(
    settings: &ExplainSettings,
    wordings: &Wordings,
    refusal: &Refusal,
    id: RefusalId,
    retry_after: Duration,
    head: &RequestHead,
) -> Response<Full<Bytes>> {
    let wording = wordings.of(refusal, &settings.type_base);
    let id_text = IdText::of(id);
    let why = wording.why(Some(&id_text));
    if head.grpc {
        return grpc(refusal, why, retry_after);
    }
    let form = negotiate::form(head.accept.as_ref());
    let body = match form {
        Form::Problem => match &settings.envelope {
            Some(own) => own.make(refusal, id, retry_after).into(),
            None => {
                let full = settings.disclosure == Disclosure::Full;
                let disclosed = full.then(|| disclosed(refusal));
                wording.problem(Some(&id_text), retry_after, disclosed.as_deref())
            }
        },
        Form::Html => html(settings, refusal, id, retry_after, head).into(),
        Form::Text => line(refusal, id, retry_after).into(),
    };
    let mut headers = wording.headers(why, retry_after);
    if form != Form::Problem || settings.envelope.is_some() {
        headers.insert(header::CONTENT_TYPE, settings.content_type(form));
    }
    if form == Form::Html {
        of_page(&mut headers, settings, head);
    }
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
    let retry_after = refusal.retry_after().max(Duration::from_secs(1));
    let wording = Wording::of(refusal, TYPE_BASE_DEFAULT);
    let body = wording.problem(None, retry_after, None);
    let mut headers = wording.headers(wording.why(None), retry_after);
    // It is a problem for everybody.
    headers.remove(header::VARY);
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    *response.headers_mut() = headers;
    response
}

/// A gRPC refusal: HTTP 200 with the status in the headers ("trailers-only"), which is the
/// only form that a gRPC client reads as UNAVAILABLE with a pushback.
fn grpc(refusal: &Refusal, why: HeaderValue, retry_after: Duration) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::new()));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/grpc"),
    );
    headers.insert("grpc-status", HeaderValue::from_static("14"));
    // Percent-encoding is not needed: sentences are ASCII without `%`.
    let message = HeaderValue::from_static(refusal.cause().sentence());
    headers.insert(HeaderName::from_static("grpc-message"), message);
    headers.insert(
        HeaderName::from_static("grpc-retry-pushback-ms"),
        HeaderValue::from(millis(retry_after)),
    );
    headers.insert(WHY, why);
    response
}

/// Whole seconds, rounded up: a client that comes a moment early is refused again.
pub(super) fn whole_seconds(retry_after: Duration) -> u64 {
    retry_after.as_secs() + u64::from(retry_after.subsec_nanos() > 0)
}

/// What only colleagues are shown: members of the problem, with the comma before them.
fn disclosed(refusal: &Refusal) -> String {
    let evidence = Facts::of(refusal.evidence()).into_json();
    let source = refusal.refused_by();
    format!(",\"source\":\"{source}\",\"evidence\":{evidence}")
}

/// Writes the page for people: the application's own, if it has one.
fn html(
    settings: &ExplainSettings,
    refusal: &Refusal,
    id: RefusalId,
    retry_after: Duration,
    head: &RequestHead,
) -> String {
    let page = PageFor {
        cause: refusal.cause(),
        id,
        retry_after,
        repeats: head.method == Method::GET,
        language: head.language,
    };
    match &settings.page {
        Some(own) => own.make(&page),
        None => page::of(&page),
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

fn line(refusal: &Refusal, id: RefusalId, retry_after: Duration) -> String {
    let (detail, cause) = (detail(refusal, retry_after), refusal.cause());
    format!("{detail} ({cause}, {id})\n")
}

/// The one sentence that is fit for everybody.
pub(super) fn detail(refusal: &Refusal, retry_after: Duration) -> String {
    let (sentence, seconds) = (refusal.cause().sentence(), whole_seconds(retry_after));
    let unit = if seconds == 1 { "second" } else { "seconds" };
    format!("{sentence}; retry after {seconds} {unit}.")
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

/// An id's text, written once and copied into header and body.
#[derive(Clone, Copy)]
pub(super) struct IdText([u8; 36]);

impl IdText {
    pub(super) fn of(id: RefusalId) -> Self {
        const HEX: &[u8; 16] = b"0123456789abcdef";
        /// Where the two digits of each byte stand.
        const AT: [usize; 16] = [0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34];
        let mut text = [b'-'; 36];
        for (at, byte) in AT.into_iter().zip(id.0.to_be_bytes()) {
            text[at] = HEX[usize::from(byte >> 4)];
            text[at + 1] = HEX[usize::from(byte & 15)];
        }
        Self(text)
    }

    pub(super) const fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use http::Request;
    use http_body_util::BodyExt;
    use steadfast_core::{Evidence, Name, Overloaded, Rule, plumbing::RunningRequest};

    const ID: RefusalId = RefusalId(0x0190_f5c2_7a00_7abc_8def_0123_4567_89ab);

    fn overloaded() -> Refusal {
        let held = RunningRequest {
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
            backend: None,
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
        let retry_after = Duration::from_millis(3200);
        let response = response(
            &settings,
            &Wordings::new(),
            &overloaded(),
            ID,
            retry_after,
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
        let retry_after = Duration::from_millis(3200);
        let answer = response(
            &settings,
            &Wordings::new(),
            &overloaded(),
            ID,
            retry_after,
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
    fn the_fast_writer_of_ids_agrees_with_the_formatting_machinery() {
        assert_eq!(IdText::of(ID).as_bytes(), ID.to_string().as_bytes());
    }

    #[test]
    fn a_head_request_is_told_the_length_and_sent_no_body() {
        let request = Request::head("/").body(()).expect("a request");
        let settings = ExplainSettings::default();
        let answer = response(
            &settings,
            &Wordings::new(),
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
