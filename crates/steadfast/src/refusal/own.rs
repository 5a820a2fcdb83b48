//! What an application puts in the place of ours, and who hears of each refusal.

use std::{fmt, sync::Arc, time::Duration};

use http::HeaderValue;
use steadfast_core::{
    Cause, Refusal, Rule,
    plumbing::{Recorded, RefusalId},
};

use super::{ExplainSettings, negotiate::Form, render};

/// What an envelope of the application's own is made of: what strangers may know.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EnvelopeFor {
    /// Why the request was not served.
    pub cause: Cause,
    /// Which bound was met, for a cause that has several.
    pub rule: Option<Rule>,
    /// The refusal's id, which the operator finds again.
    pub id: RefusalId,
    /// When to come again, in whole milliseconds; the header has it in seconds, rounded up.
    pub retry_after: Duration,
    /// Whether no handler was entered, so that even a POST may be repeated.
    pub safe_to_retry: bool,
    /// One sentence that is fit for everybody.
    pub detail: String,
}

/// An envelope of the application's own, and what it says it is.
#[derive(Clone)]
pub(super) struct OwnEnvelope {
    content_type: Result<HeaderValue, String>,
    make: Arc<dyn Fn(&EnvelopeFor) -> String + Send + Sync>,
}

impl OwnEnvelope {
    pub(super) fn new(
        content_type: &str,
        make: impl Fn(&EnvelopeFor) -> String + Send + Sync + 'static,
    ) -> Self {
        let checked = HeaderValue::try_from(content_type).map_err(|_| content_type.to_owned());
        Self {
            content_type: checked,
            make: Arc::new(make),
        }
    }

    pub(super) fn fault(&self) -> Option<String> {
        let text = self.content_type.as_ref().err()?;
        Some(format!(
            "explain: content type {text:?} of the envelope; allowed is a header's value"
        ))
    }

    pub(super) fn make(&self, refusal: &Refusal, id: RefusalId, retry_after: Duration) -> String {
        (self.make)(&EnvelopeFor {
            cause: refusal.cause(),
            rule: refusal.rule(),
            id,
            retry_after,
            safe_to_retry: refusal.safe_to_retry(),
            detail: render::detail(refusal, retry_after),
        })
    }
}

impl ExplainSettings {
    /// Returns what a body of this form is, the application's own included.
    pub(super) fn content_type(&self, form: Form) -> HeaderValue {
        let own = self.envelope.as_ref().filter(|_| form == Form::Problem);
        // One that is no header's value does not get past a guard's builder.
        let own = own.and_then(|own| own.content_type.clone().ok());
        own.unwrap_or_else(|| render::content_type(form))
    }
}

/// Somebody who hears of each refusal.
#[derive(Clone)]
pub(super) struct Listener(Arc<dyn Fn(&Recorded) + Send + Sync>);

impl Listener {
    pub(super) fn new(hear: impl Fn(&Recorded) + Send + Sync + 'static) -> Self {
        Self(Arc::new(hear))
    }

    pub(super) fn tell(&self, recorded: &Recorded) {
        (self.0)(recorded);
    }
}

impl fmt::Debug for OwnEnvelope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnEnvelope")
            .field(&self.content_type)
            .finish()
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Listener")
    }
}
