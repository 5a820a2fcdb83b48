//! What is kept of a request's head so that a refusal can be answered in the client's own
//! terms after the request itself has gone into the handler.

use std::time::Instant;

use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, CONTENT_TYPE},
    uri::PathAndQuery,
};
use steadfast_core::{
    Deadline,
    plumbing::{RequestNote, inert},
};

use crate::request::{
    deadlines::{Deadlines, Reading},
    language::Language,
};

/// Longest method kept with a refusal, in bytes; the longest registered one has 17. A method
/// is ASCII, so it can be cut anywhere.
const METHOD_LEN_MAX: usize = 32;

/// Longest path kept with a refusal, in bytes.
const PATH_LEN_MAX: usize = 256;

/// Longest `x-request-id` that is recorded; longer or stranger ones are ignored.
const REQUEST_ID_LEN_MAX: usize = 128;

/// The facts of a request that its refusal depends on: how to answer (method,
/// `Accept`, gRPC or not) and how to find it again (path, `x-request-id`, trace id).
///
/// Taking it clones reference counts of the request's own buffers; it copies no bytes.
#[derive(Clone, Debug)]
pub struct RequestHead {
    pub(crate) method: Method,
    /// `None` also for `*/*`, which asks for nothing in particular.
    pub(crate) accept: Option<HeaderValue>,
    pub(crate) grpc: bool,
    /// For the page that a visitor may see.
    pub(crate) language: Language,
    /// Until when the caller listens, if it said so.
    pub(crate) deadline: Option<Deadline>,
    path: Option<PathAndQuery>,
    request_id: Option<HeaderValue>,
    traceparent: Option<HeaderValue>,
}

impl RequestHead {
    /// Takes what an answer needs from a request.
    #[must_use]
    pub fn of<B>(request: &Request<B>) -> Self {
        static NONE: Deadlines = Deadlines::none();
        Self::read(request, &mut Reading::new(&NONE))
    }

    /// Takes what an answer needs, and the deadline of a request that came at `now`.
    #[inline]
    pub(crate) fn at<B>(request: &Request<B>, deadlines: &Deadlines, now: Instant) -> Self {
        let mut reading = Reading::new(deadlines);
        let mut head = Self::read(request, &mut reading);
        head.deadline = reading.end(request, now);
        head
    }

    #[inline]
    fn read<B>(request: &Request<B>, deadline: &mut Reading<'_>) -> Self {
        let mut head = Self {
            method: request.method().clone(),
            accept: None,
            grpc: false,
            language: Language::default(),
            deadline: None,
            path: request.uri().path_and_query().cloned(),
            request_id: None,
            traceparent: None,
        };
        // One walk over the headers costs less than a few look-ups, whose hashing alone
        // exceeds it for as many headers as requests have.
        let mut anything = false;
        for (name, value) in request.headers() {
            // Comparing with a known name is comparing two bytes.
            if *name == ACCEPT {
                if value == "*/*" {
                    anything = true;
                } else {
                    join(&mut head.accept, value);
                }
                continue;
            }
            if *name == CONTENT_TYPE {
                head.grpc |= is_grpc(value);
                continue;
            }
            match name.as_str() {
                "accept-language" => head.language = Language::of(value),
                "grpc-timeout" => deadline.grpc(value),
                "traceparent" => keep_first(&mut head.traceparent, value),
                "x-envoy-expected-rq-timeout-ms" => deadline.envoy(value),
                "x-request-id" => keep_first(&mut head.request_id, value),
                _ => deadline.other(name, value),
            }
        }
        if anything && head.accept.is_some() {
            join(&mut head.accept, &HeaderValue::from_static("*/*"));
        }
        head
    }

    /// Returns the path that was asked for, without the query.
    pub(crate) fn path(&self) -> &str {
        self.path.as_ref().map_or("/", PathAndQuery::path)
    }

    /// Returns what the ledger keeps.
    pub(crate) fn note(&self) -> RequestNote {
        let path = self.path();
        let mut end = path.len().min(PATH_LEN_MAX);
        while !path.is_char_boundary(end) {
            end -= 1;
        }
        // A client may invent a method as long as the head may be.
        let method = self.method.as_str();
        let method = &method[..method.len().min(METHOD_LEN_MAX)];
        let mut line = String::with_capacity(method.len() + 1 + end);
        line.push_str(method);
        line.push(' ');
        // A path may hold any UTF-8, and is read in terminals and logs.
        line.push_str(&inert(&path[..end]));
        RequestNote {
            line: line.into(),
            request_id: self
                .request_id
                .as_ref()
                .and_then(request_id)
                .map(Into::into),
            trace_id: self.traceparent.as_ref().and_then(trace_id).map(Into::into),
        }
    }
}

fn keep_first(slot: &mut Option<HeaderValue>, value: &HeaderValue) {
    if slot.is_none() {
        *slot = Some(value.clone());
    }
}

/// Takes one more line of a list, which means the same as a comma (RFC 9110, 5.2).
fn join(slot: &mut Option<HeaderValue>, value: &HeaderValue) {
    let joined = slot.as_ref().and_then(|first| {
        let line = [first.as_bytes(), b", ", value.as_bytes()].concat();
        HeaderValue::from_bytes(&line).ok()
    });
    *slot = joined
        .or_else(|| slot.take())
        .or_else(|| Some(value.clone()));
}

/// A gRPC request; grpc-web is not one, since browsers read it as plain HTTP.
fn is_grpc(kind: &HeaderValue) -> bool {
    let Some(rest) = kind.as_bytes().strip_prefix(b"application/grpc") else {
        return false;
    };
    matches!(rest.first(), None | Some(b'+' | b';' | b' '))
}

fn request_id(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (!id.is_empty() && id.len() <= REQUEST_ID_LEN_MAX && id.bytes().all(plain)).then_some(id)
}

/// The second field of a W3C `traceparent`: 32 hexadecimal digits.
fn trace_id(value: &HeaderValue) -> Option<&str> {
    let id = value.to_str().ok()?.split('-').nth(1)?;
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(name: &str, value: &str) -> RequestHead {
        let request = Request::get("/orders/7?token=secret")
            .header(name, value)
            .body(());
        RequestHead::of(&request.expect("a request"))
    }

    #[test]
    fn the_query_is_never_kept() {
        assert_eq!(&*head("a", "b").note().line, "GET /orders/7");
    }

    #[test]
    fn an_invented_method_and_a_long_path_are_cut() {
        let request = Request::builder()
            .method("X".repeat(5000).as_str())
            .uri(format!("/{}", "y".repeat(5000)))
            .body(())
            .expect("a request");
        let line = RequestHead::of(&request).note().line;
        assert_eq!(line.len(), METHOD_LEN_MAX + 1 + PATH_LEN_MAX);
    }

    #[test]
    fn only_well_formed_ids_are_kept() {
        for (id, kept) in [
            ("abc-1.2_X", true),
            ("a b", false),
            ("<x>", false),
            ("", false),
        ] {
            assert_eq!(
                head("x-request-id", id).note().request_id.is_some(),
                kept,
                "{id:?}"
            );
        }
        assert!(
            head("x-request-id", &"x".repeat(129))
                .note()
                .request_id
                .is_none()
        );
        let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let kept = head("traceparent", trace).note().trace_id;
        assert_eq!(kept.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(head("traceparent", "00-xyz-1").note().trace_id.is_none());
    }

    #[test]
    fn every_line_of_a_list_counts() {
        let accept = |lines: &[&str]| {
            let mut request = Request::get("/");
            for line in lines {
                request = request.header(ACCEPT, *line);
            }
            let head = RequestHead::of(&request.body(()).expect("a request"));
            head.accept
                .map(|value| value.to_str().expect("text").to_owned())
        };
        assert_eq!(accept(&["*/*", "*/*"]), None);
        assert_eq!(
            accept(&["*/*", "text/html"]).as_deref(),
            Some("text/html, */*")
        );
        let two = accept(&["image/png", "text/plain;q=0.5", "text/html"]);
        assert_eq!(
            two.as_deref(),
            Some("image/png, text/plain;q=0.5, text/html")
        );
    }

    #[test]
    fn grpc_is_told_from_grpc_web() {
        for (kind, grpc) in [
            ("application/grpc", true),
            ("application/grpc+proto", true),
            ("application/grpc-web+proto", false),
            ("application/json", false),
        ] {
            assert_eq!(head("content-type", kind).grpc, grpc, "{kind}");
        }
    }
}
