//! From evidence to ranked findings: why a service answers 503, and what would fix it.
//!
//! A 503 is one code for a hundred causes, and the hop that answers it is seldom the one that
//! is broken. This crate holds what a person on call would know: which facts prove what, from
//! where on a number counts, what is behind what, and what helps. It is a pure function, so
//! the operator's page inside a process and the doctor `why503` beside it, who see different
//! facts, say the same sentences.
//!
//! ```text
//! collectors ──facts──▶ Evidence ──diagnose──▶ Diagnosis { verdict, findings, ruled out, not checked }
//!                                     │
//!                            knowledge: a row for each id: rule, meaning, fix, effects
//! ```
//!
//! - A [`Fact`] has a source, an [`Observation`] with its numbers, and what it is tied to. A
//!   collector judges nothing.
//! - A [`Finding`] cites the facts that speak for it and against it, says how sure it is, and
//!   names its root first: a paused database, then the pool that it emptied, then the requests
//!   that were refused.
//! - Direct facts go before a proxy's codes, those before the time a refusal took, that before
//!   pressure. Pressure alone (load average, `TIME_WAIT`, a counter that has gathered since
//!   boot) is never a finding.
//! - What was looked at and is well is listed, and so is what could not be looked at: silence
//!   is not health.
//!
//! ```
//! use steadfast_diagnosis::{Confidence, Evidence, Id, Postgres, Tied, diagnose};
//!
//! let mut evidence = Evidence::new();
//! let db = Tied::dependency("orders-db");
//! let (code, message) = ("53300".into(), "remaining connection slots are reserved".into());
//! evidence.saw("start-up message", db, Postgres::Error { code, message });
//! let diagnosis = diagnose(&evidence);
//! assert_eq!(diagnosis.findings[0].id, Id::PgExhausted);
//! assert_eq!(diagnosis.findings[0].confidence, Confidence::Proven);
//! println!("{}", diagnosis.verdict.summary);
//! ```
//!
//! Hazards: texts of strangers are made harmless in [`Text`], and only there; a number in an
//! [`Observation`] is taken as it is, so a collector takes the difference of counters itself.

#[cfg(feature = "serde")]
mod codes;
mod engine;
mod evidence;
mod finding;
mod id;
pub mod knowledge;
mod observation;
mod text;

pub use engine::diagnose;
pub use evidence::{Evidence, FACTS_MAX, Fact, NOT_CHECKED_MAX, NotChecked, Target, Tied};
pub use finding::{
    Cited, Confidence, Diagnosis, Finding, Fix, Link, Role, RuledOut, State, Verdict,
};
pub use id::Id;
pub use observation::*;
pub use text::{Bytes, Lasting, Ratio, TEXT_LEN_MAX, Text};
