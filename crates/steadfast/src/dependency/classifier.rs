//! What the end of a call says about the dependency that was called.
//!
//! An error is not always the dependency's fault (a 404 is the caller's), and an answer is
//! not always a success (a 503 is one). A [`Classify`] looks at either and says which of
//! the outcomes of [`CallOutcome`] it was. A closure is one:
//!
//! ```
//! use steadfast::{CallOutcome, Dependency, FailureClass};
//!
//! # futures_util::FutureExt::now_or_never(async {
//! let search = Dependency::builder("search").build()?;
//! let not_found_is_fine = |result: Result<&u32, &std::io::Error>| match result {
//!     Ok(_) => CallOutcome::Success,
//!     Err(error) if error.kind() == std::io::ErrorKind::NotFound => CallOutcome::Neutral,
//!     Err(_) => CallOutcome::Failure(FailureClass::Other.into()),
//! };
//! let found = search.call_by(not_found_is_fine, async { Ok(7) }).await;
//! # assert_eq!(found.unwrap(), 7);
//! # Ok::<(), steadfast::ConfigError>(())
//! # }).unwrap().unwrap();
//! ```

use std::{error::Error, fmt, io, time::Duration};

use http::{HeaderMap, Response, StatusCode, header::RETRY_AFTER};
use steadfast_core::{CallFailure, CallOutcome, FailureClass};

pub use super::{
    call::{AtHead, Judged},
    client::AtEnd,
    writes::Writes,
};
use crate::clock;

/// Judges how a call ended. Implemented by every `Fn(Result<&T, &E>) -> CallOutcome`.
pub trait Classify<T, E> {
    /// Judges the answer, or the error.
    fn classify(&self, result: Result<&T, &E>) -> CallOutcome;

    /// Says in words what was wrong, for the operator; an error's own words by default.
    fn describe(&self, result: Result<&T, &E>) -> Option<String> {
        let _ = result;
        None
    }

    /// Judges the end of a body whose head was judged as `head`, with its trailers. Used
    /// only where bodies are judged ([`crate::BreakerLayer::judge_bodies`]).
    fn end_of_body(&self, head: CallOutcome, trailers: Option<&HeaderMap>) -> CallOutcome {
        let _ = trailers;
        head
    }
}

impl<T, E, F: Fn(Result<&T, &E>) -> CallOutcome> Classify<T, E> for F {
    #[inline]
    fn classify(&self, result: Result<&T, &E>) -> CallOutcome {
        self(result)
    }
}

/// Every error is a failure, every answer a success. What `Dependency::call` uses.
#[derive(Clone, Copy, Debug, Default)]
pub struct Plain;

impl<T, E> Classify<T, E> for Plain {
    #[inline]
    fn classify(&self, result: Result<&T, &E>) -> CallOutcome {
        match result {
            Ok(_) => CallOutcome::Success,
            Err(_) => FAILED,
        }
    }
}

/// Every error is a failure, of the kind that its sources tell: timeouts, refused
/// connections, names that do not resolve.
#[derive(Clone, Copy, Debug, Default)]
pub struct Errors;

impl<T, E: Error + 'static> Classify<T, E> for Errors {
    fn classify(&self, result: Result<&T, &E>) -> CallOutcome {
        match result {
            Ok(_) => CallOutcome::Success,
            Err(error) => CallOutcome::Failure(class_of(error).into()),
        }
    }

    fn describe(&self, result: Result<&T, &E>) -> Option<String> {
        result.err().map(|error| chain(error))
    }
}

/// For clients whose error is a boxed one, as that of tower's `timeout` or of any stack with
/// layers that fail by themselves: judges answers as the classifier within does, and errors by
/// the kind that their sources tell.
///
/// ```
/// use steadfast::{CallError, Dependency, classifier::{Boxed, Http}};
/// use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};
///
/// # futures_util::FutureExt::now_or_never(async {
/// let payments = Dependency::builder("payments").build()?;
/// let client = ServiceBuilder::new()
///     .layer(payments.layer().classify(Boxed(Http)))
///     .map_err(BoxError::from) // where a `timeout` would be
///     .service(service_fn(|_: http::Request<()>| async {
///         Ok::<_, std::io::Error>(http::Response::new("paid"))
///     }));
/// let answer = client.oneshot(http::Request::new(())).await.map_err(CallError::into_boxed)?;
/// assert_eq!(answer.body(), &"paid");
/// # Ok::<(), Box<dyn std::error::Error + Send + Sync>>(())
/// # }).unwrap().unwrap();
/// ```
///
/// Complete: it is a classifier and nothing else.
#[derive(Clone, Copy, Debug, Default)]
pub struct Boxed<C>(pub C);

impl<T, C: Classify<T, io::Error>> Classify<T, BoxError> for Boxed<C> {
    fn classify(&self, result: Result<&T, &BoxError>) -> CallOutcome {
        match result {
            Ok(answer) => self.0.classify(Ok(answer)),
            Err(error) => CallOutcome::Failure(class_of(&**error).into()),
        }
    }

    fn describe(&self, result: Result<&T, &BoxError>) -> Option<String> {
        match result {
            Ok(answer) => self.0.describe(Ok(answer)),
            Err(error) => Some(chain(&**error)),
        }
    }

    fn end_of_body(&self, head: CallOutcome, trailers: Option<&HeaderMap>) -> CallOutcome {
        self.0.end_of_body(head, trailers)
    }
}

type BoxError = Box<dyn Error + Send + Sync>;

/// HTTP: 5xx and errors fail; 429, and 503 with `Retry-After`, mean *throttled*, and the
/// breaker waits for as long as was asked, up to its cap; 4xx says nothing about the
/// dependency; everything else succeeds.
#[derive(Clone, Copy, Debug, Default)]
pub struct Http;

impl<B, E: Error + 'static> Classify<Response<B>, E> for Http {
    #[inline]
    fn classify(&self, result: Result<&Response<B>, &E>) -> CallOutcome {
        match result {
            Ok(response) if response.status().as_u16() < 400 => CallOutcome::Success,
            Ok(response) => of_status(response.status(), response.headers()),
            Err(error) => CallOutcome::Failure(class_of(error).into()),
        }
    }

    fn describe(&self, result: Result<&Response<B>, &E>) -> Option<String> {
        Some(match result {
            Ok(response) => format!("answered {}", response.status()),
            Err(error) => chain(error),
        })
    }
}

#[cold]
fn of_status(status: StatusCode, headers: &HeaderMap) -> CallOutcome {
    let failed = |class| CallOutcome::Failure(CallFailure::new(class));
    let throttled = |wait: Option<Duration>| {
        let failure = CallFailure::new(FailureClass::Overloaded);
        CallOutcome::Failure(wait.map_or(failure, |wait| failure.retry_after(wait)))
    };
    match status {
        StatusCode::TOO_MANY_REQUESTS => throttled(retry_after(headers)),
        StatusCode::SERVICE_UNAVAILABLE => match retry_after(headers) {
            Some(wait) => throttled(Some(wait)),
            None => failed(FailureClass::Unhealthy),
        },
        StatusCode::GATEWAY_TIMEOUT => failed(FailureClass::Timeout),
        _ if status.is_server_error() => failed(FailureClass::Unhealthy),
        _ => CallOutcome::Neutral,
    }
}

/// Reads `Retry-After` in both forms (RFC 9110, 10.2.3). A date in the past is no wait.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<u64>() {
        return Some(Duration::from_secs(seconds));
    }
    let date = httpdate::parse_http_date(text).ok()?;
    let date = date.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(date.saturating_sub(clock::wall(clock::now())))
}

/// gRPC, by `grpc-status` in the head or, with [`crate::BreakerLayer::judge_bodies`], in
/// the trailers. UNAVAILABLE, DEADLINE_EXCEEDED, INTERNAL, UNKNOWN and DATA_LOSS fail;
/// RESOURCE_EXHAUSTED means *throttled* (with `grpc-retry-pushback-ms`); every other status
/// is about the request and says nothing about the dependency.
#[derive(Clone, Copy, Debug, Default)]
pub struct Grpc;

impl<B, E: Error + 'static> Classify<Response<B>, E> for Grpc {
    fn classify(&self, result: Result<&Response<B>, &E>) -> CallOutcome {
        match result {
            Ok(response) if response.headers().contains_key(GRPC_STATUS) => {
                of_grpc(response.headers())
            }
            Ok(response) => match Http.classify(Ok::<_, &E>(response)) {
                // gRPC has no 4xx of its own: a proxy or another server answered.
                CallOutcome::Neutral => CallOutcome::Failure(FailureClass::Unhealthy.into()),
                outcome => outcome,
            },
            Err(error) => CallOutcome::Failure(class_of(error).into()),
        }
    }

    fn describe(&self, result: Result<&Response<B>, &E>) -> Option<String> {
        Some(match result {
            Ok(response) => match response.headers().get(GRPC_STATUS) {
                Some(status) => format!("grpc-status {status:?}"),
                None => format!("answered {}", response.status()),
            },
            Err(error) => chain(error),
        })
    }

    fn end_of_body(&self, head: CallOutcome, trailers: Option<&HeaderMap>) -> CallOutcome {
        match (head, trailers) {
            (CallOutcome::Success, Some(trailers)) => of_grpc(trailers),
            // Nobody said how it went, which is how a server that died looks.
            (CallOutcome::Success, None) => CallOutcome::Failure(FailureClass::Unhealthy.into()),
            _ => head,
        }
    }
}

fn of_grpc(headers: &HeaderMap) -> CallOutcome {
    let number = |name: &str| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok();
    let failed = |class| CallOutcome::Failure(CallFailure::new(class));
    match number(GRPC_STATUS) {
        Some(0) => CallOutcome::Success,
        Some(4) => failed(FailureClass::Timeout),
        Some(8) => {
            let failure = CallFailure::new(FailureClass::Overloaded);
            CallOutcome::Failure(match number("grpc-retry-pushback-ms") {
                Some(wait) => failure.retry_after(Duration::from_millis(wait)),
                None => failure,
            })
        }
        // UNKNOWN, INTERNAL, UNAVAILABLE, DATA_LOSS, and a status that is no number.
        Some(2 | 13 | 14 | 15) | None => failed(FailureClass::Unhealthy),
        Some(_) => CallOutcome::Neutral,
    }
}

/// Tells the kind of an error by the first of its sources that is known.
fn class_of(error: &(dyn Error + 'static)) -> FailureClass {
    let mut next = Some(error);
    for _ in 0..CHAIN_MAX {
        let Some(error) = next else { break };
        if error.is::<tokio::time::error::Elapsed>() {
            return FailureClass::Timeout;
        }
        if let Some(error) = error.downcast_ref::<io::Error>() {
            return of_io(error.kind());
        }
        next = error.source();
    }
    FailureClass::Other
}

const fn of_io(kind: io::ErrorKind) -> FailureClass {
    use io::ErrorKind as Kind;
    match kind {
        Kind::TimedOut | Kind::WouldBlock => FailureClass::Timeout,
        Kind::ConnectionRefused
        | Kind::ConnectionReset
        | Kind::ConnectionAborted
        | Kind::NotConnected
        | Kind::BrokenPipe
        | Kind::UnexpectedEof
        | Kind::HostUnreachable
        | Kind::NetworkUnreachable
        | Kind::NetworkDown => FailureClass::Unreachable,
        _ => FailureClass::Other,
    }
}

/// An error and its sources on one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    for _ in 0..CHAIN_MAX {
        let Some(source) = next else { break };
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

/// What to tell the operator of a failure, written only if somebody keeps it.
pub(crate) struct Described<'a, C, T, E>(pub(crate) &'a C, pub(crate) Result<&'a T, &'a E>);

impl<T, E: fmt::Display, C: Classify<T, E>> fmt::Display for Described<'_, C, T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.describe(self.1), self.1) {
            (Some(text), _) => f.write_str(&text),
            (None, Err(error)) => error.fmt(f),
            (None, Ok(_)) => f.write_str("the answer counts as a failure"),
        }
    }
}

pub(crate) const FAILED: CallOutcome = CallOutcome::Failure(CallFailure::new(FailureClass::Other));

/// Most sources of an error that are looked at: a chain that loops must not hang a call.
const CHAIN_MAX: usize = 16;

pub(crate) const GRPC_STATUS: &str = "grpc-status";

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = Response<()>;

    fn answer(status: u16, headers: &[(&'static str, &str)]) -> Answer {
        let mut response = Response::builder().status(status);
        for (name, value) in headers {
            response = response.header(*name, *value);
        }
        response.body(()).expect("a response")
    }

    fn failed(class: FailureClass) -> CallOutcome {
        CallOutcome::Failure(class.into())
    }

    fn throttled(seconds: u64) -> CallOutcome {
        let failure = CallFailure::new(FailureClass::Overloaded);
        CallOutcome::Failure(failure.retry_after(Duration::from_secs(seconds)))
    }

    #[test]
    fn http_blames_the_dependency_only_for_what_is_its_fault() {
        for (status, headers, expected) in [
            (200, &[][..], CallOutcome::Success),
            (304, &[], CallOutcome::Success),
            (404, &[], CallOutcome::Neutral),
            (408, &[], CallOutcome::Neutral),
            (429, &[], failed(FailureClass::Overloaded)),
            (429, &[("retry-after", "7")], throttled(7)),
            (500, &[], failed(FailureClass::Unhealthy)),
            (503, &[], failed(FailureClass::Unhealthy)),
            (503, &[("retry-after", " 3 ")], throttled(3)),
            (
                503,
                &[("retry-after", "soon")],
                failed(FailureClass::Unhealthy),
            ),
            (504, &[], failed(FailureClass::Timeout)),
        ] {
            let answer = answer(status, headers);
            let found = Http.classify(Ok::<_, &io::Error>(&answer));
            assert_eq!(found, expected, "{status} {headers:?}");
        }
    }

    #[test]
    fn a_date_in_retry_after_is_a_wait_from_now() {
        let now = clock::wall(clock::now());
        let at = std::time::UNIX_EPOCH + now + Duration::from_secs(20);
        let date = httpdate::fmt_http_date(at);
        let headers = answer(503, &[("retry-after", &*date)]).headers().clone();
        let wait = retry_after(&headers).expect("a date");
        assert!((18..=20).contains(&wait.as_secs()), "{wait:?}");
        let past = answer(503, &[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]);
        assert_eq!(retry_after(past.headers()), Some(Duration::ZERO));
    }

    #[test]
    fn grpc_is_judged_by_its_status_in_head_or_trailers() {
        for (status, expected) in [
            ("0", CallOutcome::Success),
            ("1", CallOutcome::Neutral),
            ("4", failed(FailureClass::Timeout)),
            ("5", CallOutcome::Neutral),
            ("8", failed(FailureClass::Overloaded)),
            ("14", failed(FailureClass::Unhealthy)),
            ("x", failed(FailureClass::Unhealthy)),
        ] {
            let head = answer(200, &[("grpc-status", status)]);
            assert_eq!(
                Grpc.classify(Ok::<_, &io::Error>(&head)),
                expected,
                "{status}"
            );
            let plain = answer(200, &[]);
            let found = Grpc.classify(Ok::<_, &io::Error>(&plain));
            assert_eq!(found, CallOutcome::Success);
            let judge: &dyn Classify<Answer, io::Error> = &Grpc;
            assert_eq!(
                judge.end_of_body(found, Some(head.headers())),
                expected,
                "{status}"
            );
            let broken = judge.end_of_body(found, None);
            assert_eq!(broken, failed(FailureClass::Unhealthy), "no trailers");
        }
        let proxy = answer(404, &[]);
        let found = Grpc.classify(Ok::<_, &io::Error>(&proxy));
        assert_eq!(found, failed(FailureClass::Unhealthy), "gRPC has no 404");
    }

    #[test]
    fn an_error_is_told_by_its_deepest_known_source() {
        let refused = io::Error::new(io::ErrorKind::ConnectionRefused, "refused");
        let wrapped = io::Error::other(refused);
        assert_eq!(
            class_of(&wrapped),
            FailureClass::Other,
            "io hides its inner error"
        );
        #[derive(Debug)]
        struct Outer(io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("sending failed")
            }
        }
        impl Error for Outer {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&self.0)
            }
        }
        let outer = Outer(io::Error::new(io::ErrorKind::TimedOut, "late"));
        assert_eq!(class_of(&outer), FailureClass::Timeout);
        let outer: BoxError = Box::new(outer);
        let found = Boxed(Http).classify(Err::<&Answer, _>(&outer));
        assert_eq!(found, failed(FailureClass::Timeout), "boxed or not");
        let busy = answer(429, &[]);
        let found = Boxed(Http).classify(Ok::<_, &BoxError>(&busy));
        assert_eq!(found, failed(FailureClass::Overloaded));
        let outer = Outer(io::Error::new(io::ErrorKind::TimedOut, "late"));
        assert_eq!(chain(&outer), "sending failed: late");
    }
}
