//! The only room that turns a [`Refusal`] into a response.
//!
//! What flows through: a gate that refuses calls [`Explain::respond`] with the refusal and
//! the request's head; a handler that was refused by a dependency answers with
//! [`carry`], and [`crate::ExplainLayer`] renders it when it comes by; an application's own 503
//! comes by too, and is marked and passed on unchanged; and what a handler was refused and did
//! not pass on is found in the notes of its request ([`RefusedInside`]). Each of the four is
//! written into the ledger here, gets an id here, and counts here, once.
//!
//! Laws kept: nobody else builds a 503 (a source check looks); strangers see cause, id and
//! retry hint, and no name or number unless [`Disclosure::Full`] says so; the ledger never
//! makes a request wait. What all refusals of a cause have in common is made once
//! ([`wording`]); one more costs an allocation for its text, one for its mark and those of its
//! header map.
//!
//! ```
//! use http::Request;
//! use steadfast::{Evidence, Explain, Name, Refusal, RequestHead};
//! use std::time::{Duration, Instant};
//!
//! let explain = Explain::default();
//! let draining = Evidence::Draining { since: Duration::ZERO };
//! let refusal = Refusal::new(Name::new("gate")?, draining, Duration::ZERO, Instant::now());
//! let request = Request::get("/").body(())?;
//! let response = explain.respond(&refusal, &RequestHead::of(&request));
//! assert_eq!(response.status(), 503);
//! assert_eq!(response.headers()["retry-after"], "1");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod causes;
pub(crate) mod facts;
mod id;
mod inside;
mod mark;
pub(crate) mod negotiate;
mod own;
pub(crate) mod page;
pub(crate) mod policy;
pub(crate) mod render;
mod span;
mod wording;

use std::time::{Duration, Instant};

use axum_core::body::Body;
use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body_util::Full;
use steadfast_core::{
    Cause, Evidence, Ledger, Local, Name, Refusal, RetryHint,
    plumbing::{Answered, Incident, Recorded, RefusalId, RefusedInside, StateChange},
};

pub use own::EnvelopeFor;
pub use page::PageFor;
pub(crate) use render::millis;

use crate::{clock, request::head::RequestHead};

/// Where the causes are described, unless configured: the `type` of a problem is this,
/// `#` and the cause's code.
pub const TYPE_BASE_DEFAULT: &str = "https://docs.rs/steadfast/latest/steadfast/causes/index.html";

/// The source of the application's own 503s.
const APPLICATION: Name = Name::from_static("application");

/// How much of a refusal a client is shown.
///
/// Complete: strangers are told or they are not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Disclosure {
    /// Cause, id and retry hint. The default, because a 503 is read by strangers.
    #[default]
    Public,
    /// Also the source and the evidence. For services whose clients are colleagues.
    Full,
}

/// The settings of the room.
#[derive(Clone, Debug)]
#[must_use]
pub struct ExplainSettings {
    pub(crate) type_base: String,
    pub(crate) disclosure: Disclosure,
    pub(crate) retry: RetryHint,
    pub(crate) page: Option<page::OwnPage>,
    envelope: Option<own::OwnEnvelope>,
    listener: Option<own::Listener>,
}

impl Default for ExplainSettings {
    fn default() -> Self {
        Self {
            type_base: TYPE_BASE_DEFAULT.to_owned(),
            disclosure: Disclosure::default(),
            retry: RetryHint::default(),
            page: None,
            envelope: None,
            listener: None,
        }
    }
}

impl ExplainSettings {
    /// Sets where the causes are described: an absolute URL without a fragment.
    pub fn type_base(mut self, url: impl Into<String>) -> Self {
        self.type_base = url.into();
        self
    }

    /// Sets how much a client is shown.
    pub const fn disclosure(mut self, disclosure: Disclosure) -> Self {
        self.disclosure = disclosure;
        self
    }

    /// Sets the bounds of `Retry-After`.
    pub const fn retry(mut self, retry: RetryHint) -> Self {
        self.retry = retry;
        self
    }

    /// Sets the page that visitors see (`text/html`) instead of the one built in. What it
    /// returns is sent as it is, so escape what is not yours; it is called for each such
    /// refusal, so keep it cheap. A policy for its style and script is the application's to
    /// set.
    ///
    /// ```
    /// use steadfast::{ExplainSettings, Guard};
    ///
    /// let explain = ExplainSettings::default().page(|page| {
    ///     format!(
    ///         "<!doctype html><html lang=en><title>Busy</title><h1>The shop is full</h1>\
    ///          <p>Come again in {} s. <small>{}</small>",
    ///         page.retry_after.as_secs() + 1,
    ///         page.id
    ///     )
    /// });
    /// let guard = Guard::builder().explain(explain).build()?;
    /// # Ok::<(), steadfast::ConfigError>(())
    /// ```
    pub fn page(mut self, make: impl Fn(&PageFor) -> String + Send + Sync + 'static) -> Self {
        self.page = Some(page::OwnPage::new(make));
        self
    }

    /// Sets what programs get instead of problem+json, for a house whose errors all have one
    /// form: its content type, and what makes its body. What is returned is sent as it is. The
    /// status, `Retry-After` and `why-503` stay, and so do the page, the line for terminals and
    /// gRPC. It is called for each such refusal, so keep it cheap.
    ///
    /// ```
    /// use steadfast::{ExplainSettings, Guard};
    ///
    /// let explain = ExplainSettings::default().envelope("application/json", |refusal| {
    ///     let wait = refusal.retry_after.as_millis();
    ///     format!(
    ///         r#"{{"error":{{"code":"{}","message":"{}","id":"{}","retry_in_ms":{wait}}}}}"#,
    ///         refusal.cause, refusal.detail, refusal.id
    ///     )
    /// });
    /// let guard = Guard::builder().explain(explain).build()?;
    /// # Ok::<(), steadfast::ConfigError>(())
    /// ```
    pub fn envelope(
        mut self,
        content_type: &str,
        make: impl Fn(&EnvelopeFor) -> String + Send + Sync + 'static,
    ) -> Self {
        self.envelope = Some(own::OwnEnvelope::new(content_type, make));
        self
    }

    /// Sets who hears of each refusal as it is written down: of those that a client was
    /// answered, and of those that a handler answered otherwise ([`Recorded::answered`]). Called
    /// in the request's own task, so it must not block, and what it panics with fails the
    /// request. It is for what a house counts or sends by itself; incidents are in the log, the
    /// ledger and the metrics anyway.
    ///
    /// ```
    /// use std::sync::mpsc;
    /// use steadfast::{ExplainSettings, Guard};
    ///
    /// let (tell, _told) = mpsc::sync_channel(1000);
    /// let explain = ExplainSettings::default().on_refusal(move |recorded| {
    ///     let _ = tell.try_send((recorded.id, recorded.refusal.cause()));
    /// });
    /// let guard = Guard::builder().explain(explain).build()?;
    /// # Ok::<(), steadfast::ConfigError>(())
    /// ```
    pub fn on_refusal(mut self, hear: impl Fn(&Recorded) + Send + Sync + 'static) -> Self {
        self.listener = Some(own::Listener::new(hear));
        self
    }

    pub(crate) fn faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        if !is_type_base(&self.type_base) {
            faults.push(format!(
                "explain: type_base {:?}; allowed is an absolute URL without a fragment",
                self.type_base
            ));
        }
        faults.extend(self.envelope.as_ref().and_then(own::OwnEnvelope::fault));
        faults
    }
}

/// Whether causes can be described there: an absolute URL without a fragment, which goes
/// into JSON and HTML as it is.
pub(crate) fn is_type_base(url: &str) -> bool {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '<' | '>' | '#');
    let absolute = |url: http::Uri| url.scheme().is_some();
    url.chars().all(plain) && url.parse().is_ok_and(absolute)
}

/// What is still known of a refusal.
#[derive(Clone, Debug)]
pub(crate) enum Recalled {
    /// All of it.
    Whole(Recorded),
    /// What its id says, and which incident it was of.
    ByItsId {
        id: RefusalId,
        facts: id::IdFacts,
        incident: Incident,
    },
}

/// On a response that a room inside this one has rendered and written down.
#[derive(Clone)]
struct Explained(Cause, Name);

/// The room's handle: renders refusals and holds the ledger. Clones share both.
#[derive(Clone, Debug)]
pub struct Explain(Local<State>);

#[derive(Debug)]
struct State {
    settings: ExplainSettings,
    wordings: wording::Wordings,
    ids: id::Ids,
    ledger: Ledger,
    /// When a lost refusal was last reported.
    lost_said: std::sync::Mutex<Option<Instant>>,
}

impl Default for Explain {
    fn default() -> Self {
        Self::new(ExplainSettings::default())
    }
}

impl Explain {
    /// Makes a room with a ledger of its own. Settings are not checked here; a guard's
    /// builder does.
    #[must_use]
    pub fn new(settings: ExplainSettings) -> Self {
        Self(Local::new(State {
            settings,
            wordings: wording::Wordings::new(),
            ids: id::Ids::new(),
            ledger: Ledger::new(),
            lost_said: std::sync::Mutex::default(),
        }))
    }

    /// Returns the ledger.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.0.ledger
    }

    /// Renders a refusal for the client that asked, and writes it down.
    #[must_use]
    pub fn respond(&self, refusal: &Refusal, head: &RequestHead) -> Response<Full<Bytes>> {
        self.answer(refusal.clone(), head)
    }

    /// The same for a refusal that the caller does not need any more.
    pub(crate) fn answer(&self, refusal: Refusal, head: &RequestHead) -> Response<Full<Bytes>> {
        let id = self.0.ids.make(&refusal, refusal.at());
        let spread = self.0.settings.retry.spread(&refusal, fastrand::u64(..));
        // Whole milliseconds, so that the header, rounded up, agrees with the body.
        let retry_after = Duration::from_millis(millis(spread));
        let (settings, wordings) = (&self.0.settings, &self.0.wordings);
        let mut response = render::response(settings, wordings, &refusal, id, retry_after, head);
        if RefusedInside::scope() != 0 {
            // Another room is around this one, and must neither write it down nor mark it.
            let explained = Explained(refusal.cause(), refusal.refused_by().clone());
            response.extensions_mut().insert(explained);
        }
        self.write_down(refusal, id, retry_after, Answered::Refusal, head);
        response
    }

    /// Marks a 503 that the application made itself, and writes it down. Nothing but the
    /// header `why-503` is changed: the answer is the application's.
    fn mark(&self, headers: &mut HeaderMap, refusal: Refusal, head: &RequestHead) {
        let id = self.0.ids.make(&refusal, clock::now());
        let (settings, wordings) = (&self.0.settings, &self.0.wordings);
        let wording = wordings.of(&refusal, &settings.type_base);
        mark::on(headers, wording.why(Some(&render::IdText::of(id))));
        let answered = Answered::Status(StatusCode::SERVICE_UNAVAILABLE.as_u16());
        self.write_down(refusal, id, Duration::ZERO, answered, head);
    }

    fn write_down(
        &self,
        refusal: Refusal,
        id: RefusalId,
        retry_after: Duration,
        answered: Answered,
        head: &RequestHead,
    ) {
        span::tell(&refusal, id, answered);
        let whole = |refusal| Recorded {
            id,
            refusal,
            retry_after,
            answered,
            request: head.note(),
        };
        let begins = match &self.0.settings.listener {
            Some(listener) => {
                let recorded = whole(refusal.clone());
                listener.tell(&recorded);
                self.ledger().record(refusal, head.path(), |_| recorded)
            }
            None => self.ledger().record(refusal, head.path(), whole),
        };
        if begins {
            self.say_that_it_begins(id);
        }
    }

    /// Finds refusals by their own id, the request's or the trace's. One that was not kept
    /// singly is known by what its id says, as long as its incident is.
    pub(crate) fn find(&self, id: &str) -> Vec<Recalled> {
        let kept = self.ledger().find(id);
        if !kept.is_empty() {
            return kept.into_iter().map(Recalled::Whole).collect();
        }
        self.recall(id).into_iter().collect()
    }

    fn recall(&self, id: &str) -> Option<Recalled> {
        let id = RefusalId::parse(id)?;
        let facts = self.0.ids.read(id)?;
        let incidents = self.ledger().incidents();
        let incident = incidents.into_iter().find(|it| facts.is_of(it))?;
        Some(Recalled::ByItsId {
            id,
            facts,
            incident,
        })
    }

    /// Says that requests are refused, for the first of a run: the ledger counts the rest, so
    /// a storm is one line.
    #[cold]
    fn say_that_it_begins(&self, id: RefusalId) {
        let found = self.ledger().find(&id.to_string());
        let Some(first) = found.first() else { return };
        let refusal = &first.refusal;
        let last_error = match refusal.evidence() {
            Evidence::DependencyDown(down) => Some(&*down.last_error),
            Evidence::PoolExhausted(pool) => pool.last_error.as_deref(),
            _ => None,
        };
        macro_rules! say {
            ($say:ident) => {
                tracing::$say!(
                    target: crate::log::INCIDENT,
                    cause = refusal.cause().code(),
                    rule = refusal.rule().map_or("", |rule| rule.code()),
                    source = %refusal.refused_by(), %id, answered = %first.answered,
                    last_error = last_error.filter(|error| !error.is_empty()),
                    "refusing requests"
                )
            };
        }
        match refusal.cause() {
            // Somebody has ordered it, so nobody needs to do anything.
            Cause::Maintenance => say!(info),
            _ => say!(warn),
        }
    }

    /// Writes a state change down and logs it once. `why` may come from outside: it is
    /// redacted and cut.
    pub(crate) fn note(&self, subject: &Name, from: &str, to: &str, why: &str) {
        let at = clock::now();
        let why = &*steadfast_core::plumbing::redact(why);
        tracing::info!(target: crate::log::STATE, %subject, from, to, why, "state changed");
        self.write_change(subject, from, to, why, at);
    }

    /// Writes a state change down that somebody else logs. `why` must be free of secrets.
    pub(crate) fn write_change(
        &self,
        subject: &Name,
        from: &str,
        to: &str,
        why: &str,
        at: Instant,
    ) {
        self.ledger().note(StateChange {
            at,
            subject: subject.clone(),
            from: from.into(),
            to: to.into(),
            why: why.into(),
        });
    }
}

/// Makes the answer of a handler that was refused by a dependency it called.
///
/// Return it from an error type's `into_response`; the explain layer replaces it by the
/// answer in the client's own terms. Without that layer around it, it is a plain 503
/// with cause and retry hint.
#[must_use]
pub fn carry(refusal: Refusal) -> axum_core::response::Response {
    hand_over(refusal.entered()).map(Body::new)
}

/// Makes the answer of a gate inside the explain layer, which replaces it as it comes by.
pub(crate) fn hand_over(refusal: Refusal) -> Response<Full<Bytes>> {
    let mut response = render::bare(&refusal);
    response.extensions_mut().insert(refusal);
    response
}

/// Whether an answer is a refusal that a gate made, before anything was done for the request.
pub(crate) fn is_of_a_gate(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::SERVICE_UNAVAILABLE
        && headers
            .get_all(render::WHY)
            .iter()
            .any(|why| why.as_bytes().ends_with(SAFE_TO_RETRY))
}

/// The last word about a request for which nothing was done. What an upstream says of itself
/// loses it on its way through ([`mark`]).
const SAFE_TO_RETRY: &[u8] = b", safe-to-retry";

/// Returns whether a response's `why-503` names this cause.
#[cfg(feature = "test-util")]
pub(crate) fn says(headers: &HeaderMap, cause: Cause) -> bool {
    headers.get_all("why-503").iter().any(|value| {
        value.to_str().is_ok_and(|value| {
            let first = value.split([';', ',']).next().unwrap_or_default();
            first.trim().strip_prefix("cause=") == Some(cause.code())
        })
    })
}

/// Writes a refusal down, for tests of those who read the ledger.
#[cfg(test)]
pub(crate) fn refuse(ledger: &Ledger, at: Instant) {
    let evidence = Evidence::Draining {
        since: Duration::ZERO,
    };
    let gate = Name::from_static("gate");
    let refusal = Refusal::new(gate, evidence, Duration::ZERO, at);
    ledger.record(refusal, "/", |refusal| Recorded {
        id: RefusalId(1),
        refusal,
        retry_after: Duration::ZERO,
        answered: Answered::Refusal,
        request: steadfast_core::plumbing::RequestNote::default(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_type_base_that_is_no_url_is_a_fault() {
        for (base, ok) in [
            (TYPE_BASE_DEFAULT, true),
            ("https://docs.example/503", true),
            ("/relative", false),
            ("https://a/b#c", false),
            ("https://a/\"", false),
            ("", false),
        ] {
            let faults = ExplainSettings::default().type_base(base).faults();
            assert_eq!(faults.is_empty(), ok, "{base}: {faults:?}");
        }
        let envelope = ExplainSettings::default().envelope("a\nb", |_| String::new());
        assert_eq!(envelope.faults().len(), 1, "{:?}", envelope.faults());
    }
}
