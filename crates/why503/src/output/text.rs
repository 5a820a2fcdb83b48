//! The report for a person: the verdict first, then what it rests on.

use std::collections::BTreeMap;

use steadfast_diagnosis::{Cited, Confidence, Finding, Id, Lasting, Role, State, Text};

use super::page::{
    Page,
    style::{BAD, CODE, FAINT, GOOD, HEAD, PLAIN, WARN},
};
use crate::{doctor::Report, probe::Probe};

/// Facts of one finding that are shown; JSON has them all.
const EVIDENCE_SHOWN: usize = 6;

/// Findings that are told whole; the others with a line each.
const WHOLE_SHOWN: usize = 4;

/// What is well is told in one paragraph, so it is short for each.
const WELL_SHOWN: usize = 40;

/// Writes the report.
pub(super) fn write(report: &Report, page: &mut Page) {
    let verdict = &report.diagnosis.verdict;
    let (mark, style) = match verdict.state {
        State::Well => ("✓ ", GOOD),
        State::AtRisk => ("! ", WARN),
        _ => ("✗ ", BAD),
    };
    let sure = verdict
        .confidence
        .map_or(String::new(), |it| format!(" [{it}]"));
    page.paragraph(mark, style, &format!("{}{sure}", verdict.summary));
    page.paragraph("  ", FAINT, &asked(report));
    refusals(report, page);
    chain(report, page);
    for (at, finding) in report.diagnosis.findings.iter().enumerate() {
        if at < WHOLE_SHOWN {
            page.gap();
            whole(at + 1, finding, page);
        } else {
            if at == WHOLE_SHOWN {
                page.gap();
                page.paragraph("", HEAD, "Also found");
            }
            let line = format!(
                "{} ({}, {}): {}",
                finding.id, finding.confidence, finding.about, finding.summary
            );
            page.paragraph("  - ", PLAIN, &line);
        }
    }
    ruled_out(report, page);
    not_checked(report, page);
    probes(report, page);
}

fn asked(report: &Report) -> String {
    let mut outcomes: BTreeMap<String, usize> = BTreeMap::new();
    for probe in &report.probes {
        *outcomes.entry(probe.outcome.to_string()).or_default() += 1;
    }
    let outcomes: Vec<String> = outcomes
        .into_iter()
        .map(|(what, often)| format!("{often} x {what}"))
        .collect();
    let took = Lasting(report.took);
    if outcomes.is_empty() {
        return format!("{}, diagnosed from what was collected", report.target);
    }
    format!("{}: {} in {took}", report.target, outcomes.join(", "))
}

fn refusals(report: &Report, page: &mut Page) {
    for it in &report.refusals {
        page.gap();
        page.paragraph("", HEAD, &format!("Refusal {}", it.id));
        for (lead, words) in [
            ("  when     ", &it.at),
            ("  cause    ", &it.cause),
            ("  source   ", &it.source),
            ("  request  ", &it.request),
            ("  numbers  ", &it.evidence),
        ] {
            page.paragraph(lead, PLAIN, words.as_str());
        }
    }
}

fn chain(report: &Report, page: &mut Page) {
    let chain = &report.diagnosis.verdict.chain;
    if chain.len() < 2 {
        return;
    }
    page.gap();
    page.paragraph("", HEAD, "How it comes to this");
    for (depth, link) in chain.iter().enumerate() {
        let lead = match depth {
            0 => "  ".to_owned(),
            depth => format!("  {}└ ", "  ".repeat(depth - 1)),
        };
        page.paragraph(
            &lead,
            PLAIN,
            &format!("{} ({}, {})", link.title, link.id, link.about),
        );
    }
}

fn whole(number: usize, finding: &Finding, page: &mut Page) {
    let style = match (finding.role, finding.confidence) {
        (Role::Risk | Role::Change, _) | (_, Confidence::Possible) => WARN,
        _ => BAD,
    };
    let head = format!(
        "{} [{}, {}] {}",
        finding.title, finding.id, finding.confidence, finding.about
    );
    page.paragraph(&format!("{number}. "), style, &head);
    page.paragraph("   ", PLAIN, &finding.summary);
    evidence("   for      ", &finding.evidence, page);
    evidence("   against  ", &finding.against, page);
    if !finding.fix.text.is_empty() {
        page.paragraph("   fix      ", PLAIN, &finding.fix.text);
    }
    for command in &finding.fix.commands {
        page.verbatim("            $ ", CODE, command);
    }
}

fn evidence(lead: &str, facts: &[Cited], page: &mut Page) {
    for fact in facts.iter().take(EVIDENCE_SHOWN) {
        page.paragraph(lead, PLAIN, &fact.to_string());
    }
    if facts.len() > EVIDENCE_SHOWN {
        let more = facts.len() - EVIDENCE_SHOWN;
        page.paragraph(lead, FAINT, &format!("and {more} more; --json has them"));
    }
}

fn ruled_out(report: &Report, page: &mut Page) {
    let well = &report.diagnosis.ruled_out;
    if well.is_empty() {
        return;
    }
    page.gap();
    page.paragraph("", HEAD, "Ruled out");
    for it in well.iter().take(WELL_SHOWN) {
        let because = it.evidence.first().map_or(String::new(), |fact| {
            format!(": {} {}", fact.field, fact.value)
        });
        page.paragraph("  ✓ ", PLAIN, &format!("{}{because}", it.id));
    }
    if well.len() > WELL_SHOWN {
        page.paragraph(
            "  ",
            FAINT,
            &format!("and {} more; --json has them", well.len() - WELL_SHOWN),
        );
    }
}

fn not_checked(report: &Report, page: &mut Page) {
    let mut by_reason: BTreeMap<(&Text, &Text), Vec<Id>> = BTreeMap::new();
    for it in &report.diagnosis.not_checked {
        by_reason
            .entry((&it.reason, &it.remedy))
            .or_default()
            .push(it.id);
    }
    if by_reason.is_empty() {
        return;
    }
    page.gap();
    page.paragraph("", HEAD, "Could not check");
    for ((reason, remedy), ids) in by_reason {
        let ids: Vec<&str> = ids.iter().map(|it| it.as_str()).collect();
        let remedy = if remedy.as_str().is_empty() {
            String::new()
        } else {
            format!(" ({remedy})")
        };
        page.paragraph(
            "  ? ",
            PLAIN,
            &format!("{}: {reason}{remedy}", ids.join(", ")),
        );
    }
}

fn probes(report: &Report, page: &mut Page) {
    if report.probes.is_empty() {
        return;
    }
    page.gap();
    page.paragraph("", HEAD, "Probes");
    for probe in &report.probes {
        page.paragraph("  ", FAINT, &timed(probe));
    }
}

fn timed(probe: &Probe) -> String {
    let timing = &probe.timing;
    let steps = [
        ("name", timing.dns),
        ("connect", timing.connect),
        ("TLS", timing.tls),
        ("first byte", timing.first_byte),
        ("total", Some(timing.total)),
    ];
    let steps = steps
        .into_iter()
        .filter_map(|(what, time)| Some(format!("{what} {}", Lasting(time?))));
    let steps: Vec<String> = steps.collect();
    let detail = probe
        .detail
        .as_deref()
        .map_or(String::new(), |it| format!(" ({})", Text::new(it)));
    format!(
        "+{}  {}{detail}: {}",
        Lasting(probe.at),
        probe.outcome,
        steps.join(", ")
    )
}
