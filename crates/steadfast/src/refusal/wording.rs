//! What the answers of one cause have in common, written once.
//!
//! Two refusals of one cause and rule differ in an id and in two numbers. So the text around
//! them, and the headers, are made for the first of them and copied for the rest: refusing
//! must cost less than answering, most of all while everything is refused.
//!
//! Law kept: what is said does not depend on who was first; a wording is made of the cause, the
//! rule and the settings alone.

use std::{sync::OnceLock, time::Duration};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use steadfast_core::{Cause, Refusal, Rule};

use super::render::{IdText, WHY, millis, whole_seconds};

/// A wording for each cause, with each rule or none, told before or after a handler was
/// entered.
const WORDINGS: usize = Cause::ALL.len() * (Rule::ALL.len() + 1) * 2;

/// All wordings of one room, each made when it is first needed.
#[derive(Debug)]
pub(super) struct Wordings(Box<[OnceLock<Box<Wording>>]>);

impl Wordings {
    pub(super) fn new() -> Self {
        Self((0..WORDINGS).map(|_| OnceLock::new()).collect())
    }

    pub(super) fn of(&self, refusal: &Refusal, type_base: &str) -> &Wording {
        let cause = refusal.cause().index();
        let rule = refusal.rule().map_or(0, |rule| rule.index() + 1);
        let entered = usize::from(!refusal.safe_to_retry());
        let place = (cause * (Rule::ALL.len() + 1) + rule) * 2 + entered;
        self.0[place].get_or_init(|| Box::new(Wording::of(refusal, type_base)))
    }
}

/// The text and the headers of one cause, with room for what differs.
#[derive(Debug)]
pub(super) struct Wording {
    /// The problem (RFC 9457) up to the seconds of its sentence.
    start: String,
    /// Its middle, from the cause to the milliseconds.
    middle: String,
    /// Its end, without what only colleagues are shown.
    end: &'static str,
    /// The header `why-503` (a dictionary of RFC 9651) up to the id.
    why_id: String,
    /// And after it.
    why_end: &'static str,
    /// The same header without an id.
    why_alone: HeaderValue,
    headers: HeaderMap,
}

impl Wording {
    pub(super) fn of(refusal: &Refusal, type_base: &str) -> Self {
        let (cause, rule) = (refusal.cause(), refusal.rule().map(Rule::code));
        let (code, title, sentence) = (cause.code(), cause.title(), cause.sentence());
        let safe = refusal.safe_to_retry();
        // Nothing needs escaping: codes and sentences are ours, and the base was checked.
        let member = |rule| format!(",\"rule\":\"{rule}\"");
        let middle = rule.map(member).unwrap_or_default();
        let parameter = |rule| format!(";rule={rule}");
        let why = format!("cause={code}{}", rule.map(parameter).unwrap_or_default());
        let promise = if safe { ", safe-to-retry" } else { "" };
        Self {
            start: format!(
                "{{\"type\":\"{type_base}#{code}\",\"title\":\"{title}\",\"status\":503,\
                 \"detail\":\"{sentence}; retry after "
            ),
            middle: format!("\",\"cause\":\"{code}\"{middle},\"retry_after_ms\":"),
            end: match safe {
                true => ",\"safe_to_retry\":true",
                false => ",\"safe_to_retry\":false",
            },
            why_id: format!("{why}, id=\""),
            why_end: if safe { "\", safe-to-retry" } else { "\"" },
            why_alone: HeaderValue::try_from(why + promise).expect("codes are ASCII"),
            headers: headers(),
        }
    }

    /// Returns the header `why-503`.
    pub(super) fn why(&self, id: Option<&IdText>) -> HeaderValue {
        let Some(id) = id else {
            return self.why_alone.clone();
        };
        let parts = [
            self.why_id.as_bytes(),
            id.as_bytes(),
            self.why_end.as_bytes(),
        ];
        let text = Bytes::from(parts.concat());
        HeaderValue::from_maybe_shared(text).expect("codes and digits are ASCII")
    }

    /// Returns the problem. `disclosed` are members for colleagues, with the comma before them.
    pub(super) fn problem(
        &self,
        id: Option<&IdText>,
        retry_after: Duration,
        disclosed: Option<&str>,
    ) -> Bytes {
        let seconds = whole_seconds(retry_after);
        let (mut digits, mut more_digits) = (itoa::Buffer::new(), itoa::Buffer::new());
        let after_seconds = match (seconds, id) {
            (1, Some(_)) => " second.\",\"instance\":\"urn:uuid:",
            (_, Some(_)) => " seconds.\",\"instance\":\"urn:uuid:",
            (1, None) => " second.",
            (_, None) => " seconds.",
        };
        let parts = [
            self.start.as_bytes(),
            digits.format(seconds).as_bytes(),
            after_seconds.as_bytes(),
            id.map_or(&[], |id| id.as_bytes()),
            self.middle.as_bytes(),
            more_digits.format(millis(retry_after)).as_bytes(),
            self.end.as_bytes(),
            disclosed.unwrap_or_default().as_bytes(),
            b"}",
        ];
        Bytes::from(parts.concat())
    }

    /// Returns the headers of a problem.
    pub(super) fn headers(&self, why: HeaderValue, retry_after: Duration) -> HeaderMap {
        let mut headers = self.headers.clone();
        let mut why = Some(why);
        for (name, value) in &mut headers {
            if *name == header::RETRY_AFTER {
                *value = seconds_value(whole_seconds(retry_after));
            } else if *name == WHY {
                *value = why.take().unwrap_or_else(|| value.clone());
            } else {
                // Those two come first.
                break;
            }
        }
        headers
    }
}

/// Returns the headers of a problem, first the two whose values differ. Setting a value in a
/// copy costs a tenth of what inserting it does.
fn headers() -> HeaderMap {
    let empty = HeaderValue::from_static("");
    let kind = HeaderValue::from_static("application/problem+json");
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::RETRY_AFTER, empty.clone());
    headers.insert(WHY, empty);
    headers.insert(header::CONTENT_TYPE, kind);
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::VARY, HeaderValue::from_static("accept"));
    headers
}

/// A number of seconds as a header's value: those below a hundred, which is most, without an
/// allocation.
fn seconds_value(seconds: u64) -> HeaderValue {
    const PAIRS: &str = "000102030405060708091011121314151617181920212223242526272829\
                         303132333435363738394041424344454647484950515253545556575859\
                         606162636465666768697071727374757677787980818283848586878889\
                         90919293949596979899";
    let at = usize::try_from(seconds).unwrap_or(usize::MAX);
    match at {
        0..10 => HeaderValue::from_static(&PAIRS[2 * at + 1..2 * at + 2]),
        10..100 => HeaderValue::from_static(&PAIRS[2 * at..2 * at + 2]),
        _ => HeaderValue::from(seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;
    use steadfast_core::{Evidence, Name};

    #[test]
    fn both_values_are_filled_in_whatever_order_a_map_has() {
        let name = Name::from_static("a");
        let refusal = Refusal::new(name, Evidence::Application, Duration::ZERO, clock::now());
        let wording = Wording::of(&refusal, "https://docs.example");
        let headers = wording.headers(wording.why(None), Duration::from_secs(7));
        assert_eq!(headers[header::RETRY_AFTER], "7");
        assert_eq!(headers[WHY], "cause=application, safe-to-retry");
        assert_eq!(headers.len(), 5);
        let problem = wording.problem(None, Duration::from_secs(1), None);
        let problem: serde_json::Value = serde_json::from_slice(&problem).expect("JSON");
        assert_eq!(problem["cause"], "application");
        assert!(problem.get("instance").is_none());
    }

    #[test]
    fn every_number_of_seconds_is_its_digits() {
        for seconds in (0..300).chain([86_400, u64::MAX]) {
            let value = seconds_value(seconds);
            assert_eq!(value.to_str().ok(), Some(&*seconds.to_string()));
        }
    }
}
