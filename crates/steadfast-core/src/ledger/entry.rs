//! What the ledger holds: single refusals, incidents, state changes and totals.

use std::{
    fmt,
    time::{Duration, Instant},
};

use super::INCIDENT_GAP;
use crate::{
    name::Name,
    refusal::{
        Refusal,
        cause::{Cause, Rule},
        evidence::Evidence,
    },
};

/// The id of one refusal: a UUIDv7, made by whoever renders it.
///
/// Complete: it is one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RefusalId(pub u128);

impl RefusalId {
    /// Reads an id as it is written: 32 hexadecimal digits of either case in five groups.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let groups = text.split('-').map(str::len);
        if !groups.eq([8, 4, 4, 4, 12]) {
            return None;
        }
        let mut id = 0;
        for digit in text.chars().filter(|c| *c != '-') {
            id = id << 4 | u128::from(digit.to_digit(16)?);
        }
        Some(Self(id))
    }
}

impl fmt::Display for RefusalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = self.0;
        write!(
            f,
            "{:08x}-{:04x}-{:04x}-{:04x}-{:012x}",
            id >> 96,
            (id >> 80) & 0xffff,
            (id >> 64) & 0xffff,
            (id >> 48) & 0xffff,
            id & 0xffff_ffff_ffff
        )
    }
}

/// What is kept of the request that was refused. Never its query, headers or body.
///
/// Complete: whoever renders a refusal fills in what it knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestNote {
    /// Method and path, for example `GET /orders/7`.
    pub line: Box<str>,
    /// The request's own `x-request-id`, if it had a well-formed one.
    pub request_id: Option<Box<str>>,
    /// The trace id of its `traceparent`.
    pub trace_id: Option<Box<str>>,
}

/// What the client of a refused request was answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Answered {
    /// The refusal, explained.
    Refusal,
    /// What the application made of it: a response with this status.
    Status(u16),
    /// Nothing: the service failed.
    Nothing,
}

impl fmt::Display for Answered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refusal => f.write_str("refusal"),
            Self::Status(status) => write!(f, "{status}"),
            Self::Nothing => f.write_str("nothing"),
        }
    }
}

/// One refusal as it was answered.
///
/// Complete: whoever renders a refusal makes it.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// Our id.
    pub id: RefusalId,
    /// What the gate said.
    pub refusal: Refusal,
    /// What the client was told; zero if nothing.
    pub retry_after: Duration,
    /// What the client was answered.
    pub answered: Answered,
    /// Who asked.
    pub request: RequestNote,
}

/// An unbroken run of refusals with one cause and one source.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Incident {
    /// Why.
    pub cause: Cause,
    /// By which rule it began.
    pub rule: Option<Rule>,
    /// Who refused.
    pub source: Name,
    /// The first refusal.
    pub first: Instant,
    /// The last refusal.
    pub last: Instant,
    /// How many there were.
    pub count: u64,
    /// The numbers at its start.
    pub evidence: Evidence,
}

impl Incident {
    /// Whether the next refusal would still belong to it.
    #[must_use]
    pub fn is_open(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.last) <= INCIDENT_GAP
    }

    pub(super) fn is_of(&self, refusal: &Refusal) -> bool {
        self.cause == refusal.cause() && self.source == *refusal.refused_by()
    }
}

/// Something changed: a phase, a dependency's health, a limit.
///
/// Complete: whoever sees a change makes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateChange {
    /// When.
    pub at: Instant,
    /// Of what: a dependency's name, `lifecycle`, `maintenance`, `shed`.
    pub subject: Name,
    /// What it was.
    pub from: Box<str>,
    /// What it is.
    pub to: Box<str>,
    /// Why, if that is known; redacted.
    pub why: Box<str>,
}

/// How many refusals there were of one kind.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Total {
    /// Why.
    pub cause: Cause,
    /// By which rule.
    pub rule: Option<Rule>,
    /// By whom.
    pub source: Name,
    /// How many.
    pub count: u64,
}

impl Recorded {
    pub(super) fn is_called(&self, id: &str) -> bool {
        self.request.request_id.as_deref() == Some(id)
            || self
                .request
                .trace_id
                .as_deref()
                .is_some_and(|trace| trace.eq_ignore_ascii_case(id))
            || RefusalId::parse(id) == Some(self.id)
    }
}

impl Total {
    pub(super) fn is_like(&self, other: &Self) -> bool {
        self.cause == other.cause && self.rule == other.rule && self.source == other.source
    }
}
