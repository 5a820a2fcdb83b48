//! What is wrong, as the diagnosis says it: the root first, with what speaks for it and what
//! would fix it.

use serde::Serialize;
use steadfast_diagnosis::{Cited, Diagnosis, Finding, Role};

/// What the diagnosis says.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) findings: Vec<FindingEntry>,
    pub(crate) ruled_out: Vec<RuledOutEntry>,
    pub(crate) not_checked: Vec<NotCheckedEntry>,
}

/// One finding.
#[derive(Debug, Serialize)]
pub(crate) struct FindingEntry {
    pub(crate) id: &'static str,
    /// What it is about, as the doctor writes it: `dependency orders-db`, `the service`.
    pub(crate) about: String,
    pub(crate) confidence: &'static str,
    /// A fault, a symptom of one, a change, or a risk.
    pub(crate) role: &'static str,
    pub(crate) title: &'static str,
    pub(crate) summary: String,
    pub(crate) fix: String,
    /// Shown, and never run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) commands: Vec<String>,
    /// From the root to where it shows.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) chain: Vec<&'static str>,
    /// What it explains.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) effects: Vec<&'static str>,
    pub(crate) evidence: Vec<FactEntry>,
    /// What speaks against it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) against: Vec<FactEntry>,
    #[serde(skip)]
    pub(crate) is_risk: bool,
}

/// A fact that a finding leans on.
#[derive(Debug, Serialize)]
pub(crate) struct FactEntry {
    pub(crate) source: String,
    pub(crate) field: &'static str,
    pub(crate) value: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) threshold: Option<String>,
}

/// Something that was looked at and is well.
#[derive(Debug, Serialize)]
pub(crate) struct RuledOutEntry {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
}

/// Something that could not be looked at.
#[derive(Debug, Serialize)]
pub(crate) struct NotCheckedEntry {
    pub(crate) id: String,
    pub(crate) reason: String,
}

impl Found {
    pub(super) fn of(diagnosis: &Diagnosis) -> Self {
        Self {
            findings: diagnosis.findings.iter().map(FindingEntry::of).collect(),
            ruled_out: diagnosis
                .ruled_out
                .iter()
                .map(|it| RuledOutEntry {
                    id: it.id.as_str(),
                    title: it.title,
                })
                .collect(),
            not_checked: diagnosis
                .not_checked
                .iter()
                .map(|it| NotCheckedEntry {
                    id: it.id.to_string(),
                    reason: it.reason.to_string(),
                })
                .collect(),
        }
    }
}

impl FindingEntry {
    fn of(finding: &Finding) -> Self {
        Self {
            id: finding.id.as_str(),
            about: finding.about.to_string(),
            confidence: finding.confidence.as_str(),
            role: finding.role.as_str(),
            title: finding.title,
            summary: finding.summary.clone(),
            fix: finding.fix.text.clone(),
            commands: finding.fix.commands.clone(),
            chain: finding.chain.iter().map(|link| link.title).collect(),
            effects: finding.effects.iter().map(|id| id.as_str()).collect(),
            evidence: finding.evidence.iter().map(FactEntry::of).collect(),
            against: finding.against.iter().map(FactEntry::of).collect(),
            is_risk: matches!(finding.role, Role::Risk | Role::Change),
        }
    }
}

impl FactEntry {
    fn of(fact: &Cited) -> Self {
        Self {
            source: fact.source.to_string(),
            field: fact.field,
            value: fact.value.clone(),
            threshold: fact.threshold.clone(),
        }
    }
}
