//! What the diagnosis says.

use std::{fmt, time::SystemTime};

use crate::{
    Id,
    evidence::{NotChecked, Tied},
    text::Text,
};

/// How sure a finding is.
///
/// Complete: these three words are the contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Confidence {
    /// Pressure or coincidence without a proven link.
    Possible,
    /// It fits what was seen, and so might something else.
    Likely,
    /// A direct fact says so: an error code, a state, a counter that moved.
    Proven,
}

impl Confidence {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Possible => "possible",
            Self::Likely => "likely",
            Self::Proven => "proven",
        }
    }
}

impl fmt::Display for Confidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What part a finding plays in the story.
///
/// Complete: every reader decides on each.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
pub enum Role {
    /// Something is broken, or at its bound.
    Fault,
    /// Where a fault shows; something is behind it.
    Symptom,
    /// Something changed when it began. Never the cause by itself.
    Change,
    /// Nothing fails for it yet; it will.
    Risk,
}

impl Role {
    /// Returns the word for it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Fault => "fault",
            Self::Symptom => "symptom",
            Self::Change => "change",
            Self::Risk => "risk",
        }
    }
}

/// A fact that a finding leans on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Cited {
    /// Where it was read.
    pub source: Text,
    /// What was looked at.
    pub field: &'static str,
    /// What was seen.
    pub value: String,
    /// From where on it counts, if it is a matter of more or less.
    pub threshold: Option<String>,
    /// When it was seen; `None` for now.
    pub at: Option<SystemTime>,
    /// What it is about.
    pub tied: Tied,
}

impl fmt::Display for Cited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} = {}", self.source, self.field, self.value)?;
        match &self.threshold {
            Some(threshold) => write!(f, " (counts from {threshold})"),
            None => Ok(()),
        }
    }
}

/// What would help: shown, never run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Fix {
    /// What to do, in sentences.
    pub text: String,
    /// Commands for it, with the names that are known filled in.
    pub commands: Vec<String>,
}

/// One step of a chain from the root to where it shows.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Link {
    /// Which finding.
    pub id: Id,
    /// About what.
    pub about: Tied,
    /// Its title.
    pub title: &'static str,
}

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Finding {
    /// Which row of the knowledge base.
    pub id: Id,
    /// What it is about.
    pub about: Tied,
    /// How sure it is.
    pub confidence: Confidence,
    /// What part it plays.
    pub role: Role,
    /// A few words for it.
    pub title: &'static str,
    /// One sentence with its numbers.
    pub summary: String,
    /// The facts that speak for it; at least one.
    pub evidence: Vec<Cited>,
    /// The facts that speak against it.
    pub against: Vec<Cited>,
    /// From the root to where it shows, this one among them; empty if it stands alone.
    pub chain: Vec<Link>,
    /// What would help.
    pub fix: Fix,
    /// The other findings that it explains.
    pub effects: Vec<Id>,
}

/// Something that was looked at and is well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct RuledOut {
    /// The finding that it is not.
    pub id: Id,
    /// The title of that finding.
    pub title: &'static str,
    /// The facts that say so.
    pub evidence: Vec<Cited>,
}

/// How the service stands, as far as the evidence goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum State {
    /// Nothing fails and nothing was found.
    Well,
    /// Nothing fails now, and something was found that will make it fail.
    AtRisk,
    /// It fails, and the cause is proven.
    Explained,
    /// It fails, and there are suspects.
    Suspected,
    /// It fails, and nobody knows why.
    Unexplained,
    /// No HTTP answer could be had.
    Unreachable,
}

/// The first sentence.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Verdict {
    /// How the service stands.
    pub state: State,
    /// The root, if one was found: the first of the findings.
    pub id: Option<Id>,
    /// How sure that is.
    pub confidence: Option<Confidence>,
    /// The sentence.
    pub summary: String,
    /// From the root to where it shows.
    pub chain: Vec<Link>,
}

/// What [`crate::diagnose`] says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Diagnosis {
    /// The first sentence.
    pub verdict: Verdict,
    /// The findings, roots before what they explain, the surest first.
    pub findings: Vec<Finding>,
    /// What was looked at and is well, in the order of the runbook.
    pub ruled_out: Vec<RuledOut>,
    /// What could not be looked at.
    pub not_checked: Vec<NotChecked>,
}
