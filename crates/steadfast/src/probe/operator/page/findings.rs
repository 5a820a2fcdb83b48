//! Findings and incidents.

use maud::{Markup, html};
use serde_json::Value as Json;

use super::times;
use crate::{
    probe::operator::view::{View, entries::IncidentEntry},
    refusal::facts::Facts,
};

/// Incidents shown at once; the rest is in the JSON.
const INCIDENTS_SHOWN: usize = 20;

pub(super) fn findings(view: &View) -> Markup {
    html! {
        h2 id="findings-h" { "Findings" }
        @if view.findings.is_empty() {
            p.none { "Nothing is found to be wrong." }
        }
        ol.cards {
            @for (at, finding) in view.findings.iter().enumerate() {
                li.card {
                    h3 {
                        (finding.summary) " "
                        span class={ "tag " (finding.confidence) } { (finding.confidence) }
                    }
                    p.fix { strong { "Fix: " } (finding.fix) }
                    @for command in &finding.commands {
                        pre tabindex="0" aria-label="A command, shown and never run" { code { (command) } }
                    }
                    @if !finding.effects.is_empty() {
                        p { "From the root to where it shows: " (finding.chain.join(" → ")) "." }
                    }
                    @if !finding.evidence.is_empty() {
                        details id=(format!("finding-{at}")) open[at == 0] {
                            summary { "Evidence" span.hidden { " for " (finding.id) } }
                            div.scroll tabindex="0" role="group" aria-label=(format!("Evidence for {}", finding.id)) {
                                table {
                                    caption.hidden { "Evidence for " (finding.id) }
                                    thead { tr { th scope="col" { "Source" } th scope="col" { "Field" } th scope="col" { "Value" } th scope="col" { "Counts from" } th scope="col" { "Speaks" } } }
                                    tbody {
                                        @for (facts, speaks) in [(&finding.evidence, "for it"), (&finding.against, "against it")] {
                                            @for fact in facts {
                                                tr {
                                                    th scope="row" { (fact.source) }
                                                    td { (fact.field) }
                                                    td { (fact.value) }
                                                    td { (fact.threshold.as_deref().unwrap_or("–")) }
                                                    td { (speaks) }
                                                }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                    p.small { code { (finding.id) } ", a " (finding.role) }
                }
            }
        }
        @if !view.ruled_out.is_empty() || !view.not_checked.is_empty() {
            details id="ruled-out" {
                summary { "What was looked at and is well, and what could not be looked at" }
                ul {
                    @for it in &view.ruled_out { li { span.tag.well { "not it" } " " (it.title) " " code { (it.id) } } }
                    @for it in &view.not_checked { li { span.tag.look { "not known" } " " code { (it.id) } ": " (it.reason) } }
                }
            }
        }
    }
}

pub(super) fn incidents(incidents: &[IncidentEntry]) -> Markup {
    html! {
        h2 id="incidents-h" { "Incidents" }
        @if incidents.is_empty() {
            p.none { "No request has been refused since the start." }
        } @else {
            div.scroll tabindex="0" role="group" aria-label="Incidents" {
                table {
                    caption { "Unbroken runs of refusals with one cause, the newest first" }
                    thead {
                        tr {
                            th scope="col" { "Began" }
                            th scope="col" { "Cause" }
                            th scope="col" { "By" }
                            th scope="col" { "Lasted" }
                            th.number scope="col" { "Refusals" }
                            th scope="col" { "The numbers at its start" }
                        }
                    }
                    tbody {
                        @for incident in incidents.iter().take(INCIDENTS_SHOWN) {
                            tr {
                                th scope="row" { (times::moment(&incident.first)) }
                                td {
                                    (incident.cause)
                                    @if let Some(rule) = incident.rule { " (" (rule) ")" }
                                    @if incident.open { " " span.tag.bad { "going on" } }
                                }
                                td { (incident.source) }
                                td { (times::length(incident.lasted_ms)) }
                                td.number { (incident.count) }
                                td { (facts(&incident.evidence)) }
                            }
                        }
                    }
                }
            }
            @if incidents.len() > INCIDENTS_SHOWN {
                p.small { (incidents.len() - INCIDENTS_SHOWN) " older ones are in the JSON." }
            }
        }
    }
}

/// The numbers of a refusal, in their order.
pub(super) fn facts(facts: &Facts) -> Markup {
    html! {
        @if facts.is_empty() {
            "–"
        } @else {
            dl.facts {
                @for (name, value) in facts.iter() {
                    div { dt { (name) } dd { (plain(value)) } }
                }
            }
        }
    }
}

fn plain(value: &Json) -> String {
    match value {
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}
