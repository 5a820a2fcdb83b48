//! What is made of an application's answer: a refusal that it passes on is rendered, a 503 of
//! its own is marked, and what it was refused and did not pass on is written down.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::Full;
use steadfast_core::{
    Cause, Evidence, Name, Refusal,
    plumbing::{Answered, INCIDENT_GAP, RefusedInside},
};

use super::{APPLICATION, Explain, Explained, render};
use crate::{clock, request::head::RequestHead};

impl Explain {
    /// Looks at what a handler answered. Returns what to answer instead if it was refused by
    /// something it called and passes that on; marks a 503 of its own; writes down what it was
    /// refused and did not pass on.
    #[inline]
    pub(crate) fn finish<B>(
        &self,
        response: &mut Response<B>,
        head: &RequestHead,
        refused_inside: Option<Box<RefusedInside>>,
    ) -> Option<Response<Full<Bytes>>> {
        let is_plain = refused_inside.is_none()
            && response.extensions().is_empty()
            && response.status() != StatusCode::SERVICE_UNAVAILABLE;
        if is_plain {
            return None;
        }
        let status = response.status();
        let mut refused = refused_inside.into_iter().flat_map(|it| it.into_refusals());
        if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
            let others =
                refused.filter(|other| !is_of(other, refusal.cause(), refusal.refused_by()));
            self.write_down_lost(others, Answered::Status(status.as_u16()), head);
            let mut rendered = self.answer(refusal, head);
            keep_headers(rendered.headers_mut(), response.headers());
            return Some(rendered);
        }
        if let Some(Explained(cause, source)) = response.extensions().get().cloned() {
            let others = refused.filter(|other| !is_of(other, cause, &source));
            self.write_down_lost(others, Answered::Status(status.as_u16()), head);
            return None;
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            let own = || {
                let now = clock::now();
                Refusal::new(APPLICATION, Evidence::Application, Duration::ZERO, now).entered()
            };
            // Whoever was refused and answers 503 says what was said to it.
            let refusal = refused.next().unwrap_or_else(own);
            self.mark(response.headers_mut(), refusal, head);
        }
        self.write_down_lost(refused, Answered::Status(status.as_u16()), head);
        None
    }

    /// Writes down what a service was refused that then failed.
    pub(crate) fn failed(&self, refused_inside: Option<Box<RefusedInside>>, head: &RequestHead) {
        let refused = refused_inside.into_iter().flat_map(|it| it.into_refusals());
        self.write_down_lost(refused, Answered::Nothing, head);
    }

    fn write_down_lost(
        &self,
        refused: impl Iterator<Item = Refusal>,
        answered: Answered,
        head: &RequestHead,
    ) {
        for refusal in refused {
            if matches!(answered, Answered::Status(400..=502 | 504..) | Answered::Nothing) {
                self.say_that_it_was_lost(&refusal, answered);
            }
            let id = self.0.ids.make(&refusal, refusal.at());
            self.write_down(refusal, id, Duration::ZERO, answered, head);
        }
    }

    /// Says that a refusal was answered as another error, which hides its cause; at most once
    /// in the length of an incident's gap.
    fn say_that_it_was_lost(&self, refusal: &Refusal, answered: Answered) {
        let now = clock::now();
        {
            let said = &self.0.lost_said;
            let mut said = said
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if said.is_some_and(|at| now.saturating_duration_since(at) < INCIDENT_GAP) {
                return;
            }
            *said = Some(now);
        }
        tracing::error!(
            target: crate::log::APPLICATION,
            cause = refusal.cause().code(), source = %refusal.refused_by(), answered = %answered,
            "a refusal left the application as another answer: its error type does not pass \
             refusals on, see `steadfast::Error`"
        );
        let to = answered.to_string();
        let why = "the error type hid a refusal";
        self.note(refusal.refused_by(), "refused", &to, why);
    }
}

/// Keeps what layers between the handler and here put on the answer: CORS, cookies,
/// request ids. What describes the body that is replaced goes with it, and where both name
/// a header ours stands, except for `vary`, whose values add up.
fn keep_headers(ours: &mut HeaderMap, theirs: &HeaderMap) {
    for name in theirs.keys() {
        let of_the_body = name.as_str().starts_with("content-")
            && name != header::CONTENT_SECURITY_POLICY
            || matches!(
                *name,
                header::ETAG
                    | header::LAST_MODIFIED
                    | header::TRANSFER_ENCODING
                    | header::TRAILER
                    | header::ACCEPT_RANGES
            );
        // `carry` set these for the case that nobody renders; gRPC has other words for them.
        let carried =
            matches!(*name, header::RETRY_AFTER | header::CACHE_CONTROL) || *name == render::WHY;
        if of_the_body || carried || name != header::VARY && ours.contains_key(name) {
            continue;
        }
        for value in theirs.get_all(name) {
            ours.append(name, value.clone());
        }
    }
}

fn is_of(refusal: &Refusal, cause: Cause, source: &Name) -> bool {
    refusal.cause() == cause && refusal.refused_by() == source
}
