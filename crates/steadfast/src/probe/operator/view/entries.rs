//! What the ledger tells: incidents, single refusals and changes.

use std::time::Instant;

use serde::Serialize;
use steadfast_core::{
    Rule,
    plumbing::{Answered, Incident, LedgerView, Recorded, StateChange, inert},
};

use crate::{
    clock,
    refusal::{Recalled, facts::Facts, millis},
};

/// An unbroken run of refusals.
#[derive(Debug, Serialize)]
pub(crate) struct IncidentEntry {
    pub(crate) cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'static str>,
    pub(crate) source: String,
    pub(crate) open: bool,
    pub(crate) first: String,
    pub(crate) last: String,
    pub(crate) lasted_ms: u64,
    pub(crate) count: u64,
    /// The numbers at its start.
    pub(crate) evidence: Facts,
}

/// One refusal.
#[derive(Debug, Serialize)]
pub(crate) struct RefusalEntry {
    pub(crate) id: String,
    pub(crate) at: String,
    pub(crate) cause: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) rule: Option<&'static str>,
    pub(crate) source: String,
    pub(crate) request: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) request_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) trace_id: Option<String>,
    pub(crate) answered: String,
    pub(crate) retry_after_ms: u64,
    pub(crate) safe_to_retry: bool,
    /// What has to be known to read this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) note: Option<&'static str>,
    pub(crate) evidence: Facts,
}

/// Something changed.
#[derive(Debug, Serialize)]
pub(crate) struct Change {
    pub(crate) at: String,
    pub(crate) subject: String,
    pub(crate) from: String,
    pub(crate) to: String,
    pub(crate) why: String,
}

/// Returns the incidents, newest first.
pub(super) fn incidents(ledger: &LedgerView, now: Instant) -> Vec<IncidentEntry> {
    let incidents = ledger.incidents.iter();
    incidents.map(|it| IncidentEntry::of(it, now)).collect()
}

impl IncidentEntry {
    fn of(incident: &Incident, now: Instant) -> Self {
        let lasted = incident.last.saturating_duration_since(incident.first);
        Self {
            cause: incident.cause.code(),
            rule: incident.rule.map(Rule::code),
            source: incident.source.to_string(),
            open: incident.is_open(now),
            first: clock::rfc3339(incident.first),
            last: clock::rfc3339(incident.last),
            lasted_ms: millis(lasted),
            count: incident.count,
            evidence: Facts::of(&incident.evidence),
        }
    }
}

impl RefusalEntry {
    pub(crate) fn of(recorded: &Recorded) -> Self {
        let (refusal, request) = (&recorded.refusal, &recorded.request);
        Self {
            id: recorded.id.to_string(),
            at: clock::rfc3339(refusal.at()),
            cause: refusal.cause().code(),
            rule: refusal.rule().map(Rule::code),
            source: refusal.refused_by().to_string(),
            request: request.line.to_string(),
            request_id: request.request_id.as_deref().map(str::to_owned),
            trace_id: request.trace_id.as_deref().map(str::to_owned),
            answered: recorded.answered.to_string(),
            retry_after_ms: millis(recorded.retry_after),
            safe_to_retry: refusal.safe_to_retry(),
            note: None,
            evidence: Facts::of(refusal.evidence()),
        }
    }

    /// Says what is still known.
    pub(crate) fn recalled(recalled: &Recalled) -> Self {
        match recalled {
            Recalled::Whole(recorded) => Self::of(recorded),
            Recalled::ByItsId {
                id,
                facts,
                incident,
            } => Self {
                id: id.to_string(),
                at: clock::rfc3339(facts.at()),
                cause: facts.cause().code(),
                rule: facts.rule().map(Rule::code),
                source: incident.source.to_string(),
                request: "not kept".to_owned(),
                request_id: None,
                trace_id: None,
                answered: Answered::Refusal.to_string(),
                retry_after_ms: 0,
                safe_to_retry: !facts.entered(),
                note: Some(BY_ITS_ID),
                evidence: Facts::of(&incident.evidence),
            },
        }
    }
}

/// Why less is known of a refusal than of others.
const BY_ITS_ID: &str = "Refusals came faster than they are kept one by one. Cause, rule and \
    moment are this one's; the numbers are those at the start of its incident.";

impl Change {
    pub(super) fn of(change: &StateChange) -> Self {
        Self {
            at: clock::rfc3339(change.at),
            subject: change.subject.to_string(),
            from: inert(&change.from).into(),
            to: inert(&change.to).into(),
            why: inert(&change.why).into(),
        }
    }
}
