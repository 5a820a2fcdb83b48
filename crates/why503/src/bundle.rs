//! What was collected, as a file: written on the host, diagnosed elsewhere.
//!
//! The file holds facts, not files: no bodies, no headers, no environment. Each text in it went
//! through `Text`, which takes out what follows `password=`, what stands before an `@` and the
//! query of URLs; the list `redacted` says where that happened.

use std::{fs::File, io::Read, path::Path, time::Duration};

use serde::{Deserialize, Serialize};
use steadfast_diagnosis::{Evidence, Text, diagnose};

use crate::doctor::Report;

/// The name and version of the format.
const FORMAT: &str = "why503-bundle/1";

/// Thousands of facts take a few megabytes.
const FILE_MAX: u64 = 32 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
struct Bundle {
    format: String,
    version: String,
    taken_at: String,
    target: Text,
    /// What was taken out, and where.
    redacted: Vec<Text>,
    evidence: Evidence,
}

/// Writes the file.
///
/// # Errors
///
/// Says why it could not be written.
pub(crate) fn write(report: &Report, file: &Path) -> Result<(), String> {
    let bundle = Bundle {
        format: FORMAT.into(),
        version: env!("CARGO_PKG_VERSION").into(),
        taken_at: jiff::Timestamp::now().to_string(),
        target: Text::new(&report.target),
        redacted: redacted(&report.evidence),
        evidence: report.evidence.clone(),
    };
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let text = serde_json::to_string_pretty(&bundle).map_err(|it| fault(&it))?;
    std::fs::write(file, text).map_err(|it| fault(&it))?;
    eprintln!(
        "why503: wrote {} facts to {}; redacted:",
        report.evidence.facts().len(),
        file.display()
    );
    for line in &bundle.redacted {
        eprintln!("  - {line}");
    }
    Ok(())
}

/// Reads such a file, and diagnoses.
///
/// # Errors
///
/// Says what is wrong with the file.
pub(crate) fn read(file: &Path) -> Result<Report, String> {
    let fault = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut text = String::new();
    let opened = File::open(file).map_err(|it| fault(&it))?;
    opened
        .take(FILE_MAX)
        .read_to_string(&mut text)
        .map_err(|it| fault(&it))?;
    let bundle: Bundle =
        serde_json::from_str(&text).map_err(|it| fault(&format!("no bundle: {it}")))?;
    if bundle.format != FORMAT {
        return Err(fault(&format!(
            "its format is `{}`; `{FORMAT}` is read",
            Text::new(&bundle.format)
        )));
    }
    // What was read is held to the bounds of what is collected.
    let mut evidence = Evidence::new();
    evidence.target = bundle.evidence.target.clone();
    evidence.extend(bundle.evidence);
    Ok(Report {
        target: bundle.target.as_str().to_owned(),
        diagnosis: diagnose(&evidence),
        evidence,
        probes: Vec::new(),
        refusals: Vec::new(),
        took: Duration::ZERO,
    })
}

/// Where something was taken out, and what is left out everywhere.
fn redacted(evidence: &Evidence) -> Vec<Text> {
    let mut list = vec![
        "everywhere: bodies and headers of answers, the environment of processes, their arguments"
            .to_owned(),
        "everywhere: users, passwords and queries of URLs".to_owned(),
    ];
    for fact in evidence.facts() {
        let value = fact.seen.to_string();
        if fact.source.as_str().contains("***") || value.contains("***") {
            list.push(format!("{}: {}", fact.source, fact.seen.field()));
        }
    }
    list.dedup();
    list.iter().map(|it| Text::new(it)).collect()
}
