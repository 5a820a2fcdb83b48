//! The report as JSON, `why503/1`. Members are only added; `docs/why503.schema.json` is checked
//! against it in the tests.

use serde_json::{Value, json};
use steadfast_diagnosis::{Cited, Finding, RuledOut, Text};

use crate::{
    doctor::Report,
    probe::{Probe, Timing},
};

/// The name and version of the format.
pub(crate) const SCHEMA: &str = "why503/1";

/// A report.
pub(crate) fn report(report: &Report) -> Value {
    let diagnosis = &report.diagnosis;
    let verdict = &diagnosis.verdict;
    let chain: Vec<&str> = verdict.chain.iter().map(|it| it.id.as_str()).collect();
    json!({
        "schema": SCHEMA,
        "version": env!("CARGO_PKG_VERSION"),
        "target": report.target,
        "took_ms": millis(report.took),
        "exit": report.code(),
        "verdict": {
            "state": verdict.state,
            "id": verdict.id.map(|it| it.as_str()),
            "confidence": verdict.confidence.map(|it| it.as_str()),
            "summary": verdict.summary,
            "chain": chain,
        },
        "findings": diagnosis.findings.iter().map(finding).collect::<Vec<_>>(),
        "ruled_out": diagnosis.ruled_out.iter().map(ruled_out).collect::<Vec<_>>(),
        "not_checked": diagnosis.not_checked.iter().map(|it| json!({
            "id": it.id.as_str(),
            "reason": it.reason.as_str(),
            "remedy": it.remedy.as_str(),
        })).collect::<Vec<_>>(),
        "refusals": report.refusals.iter().map(|it| json!({
            "id": it.id.as_str(),
            "at": it.at.as_str(),
            "cause": it.cause.as_str(),
            "source": it.source.as_str(),
            "request": it.request.as_str(),
            "evidence": it.evidence.as_str(),
        })).collect::<Vec<_>>(),
        "probes": report.probes.iter().map(probe).collect::<Vec<_>>(),
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "id": finding.id.as_str(),
        "title": finding.title,
        "about": finding.about.to_string(),
        "confidence": finding.confidence.as_str(),
        "role": finding.role.as_str(),
        "summary": finding.summary,
        "evidence": finding.evidence.iter().map(cited).collect::<Vec<_>>(),
        "against": finding.against.iter().map(cited).collect::<Vec<_>>(),
        "chain": finding.chain.iter().map(|it| it.id.as_str()).collect::<Vec<_>>(),
        "effects": finding.effects.iter().map(|it| it.as_str()).collect::<Vec<_>>(),
        "fix": { "text": finding.fix.text, "commands": finding.fix.commands },
    })
}

fn ruled_out(it: &RuledOut) -> Value {
    json!({
        "id": it.id.as_str(),
        "title": it.title,
        "evidence": it.evidence.iter().map(cited).collect::<Vec<_>>(),
    })
}

fn cited(it: &Cited) -> Value {
    let at = it.at.and_then(|at| jiff::Timestamp::try_from(at).ok());
    json!({
        "source": it.source.as_str(),
        "field": it.field,
        "value": it.value,
        "threshold": it.threshold,
        "about": it.tied.to_string(),
        "at": at.map(|it| it.to_string()),
    })
}

fn probe(probe: &Probe) -> Value {
    let Timing {
        dns,
        connect,
        tls,
        first_byte,
        total,
    } = probe.timing;
    let answer = probe.answer.as_ref();
    json!({
        "url": probe.url,
        "at_ms": millis(probe.at),
        "outcome": probe.outcome.to_string(),
        "status": probe.status(),
        "version": answer.map(|it| format!("{:?}", it.version)),
        "remote": probe.remote.map(|it| it.to_string()),
        "detail": probe.detail.as_deref().map(|it| Text::new(it).as_str().to_owned()),
        "dns_ms": dns.map(millis),
        "connect_ms": connect.map(millis),
        "tls_ms": tls.map(millis),
        "first_byte_ms": first_byte.map(millis),
        "total_ms": millis(total),
    })
}

/// To a hundredth, which is finer than any of it.
fn millis(time: std::time::Duration) -> f64 {
    (time.as_secs_f64() * 1e5).round() / 100.0
}
