//! Load, checklist, timeline and single refusals.

use maud::{Markup, html};

use super::{findings::facts, times};
use crate::{
    instance::past::Run,
    probe::operator::view::{
        View,
        checklist::{Answer, Item},
        entries::RefusalEntry,
        load::{BackendEntry, Load, MemoryEntry, Tenants},
    },
};

/// Changes, and single refusals, shown at once; the rest is in the JSON.
const SHOWN: usize = 30;

pub(super) fn load(view: &View) -> Markup {
    let shed = &view.shed;
    html! {
        h2 id="load-h" { "Load" }
        dl.tiles {
            (tile("In flight", &shed.in_flight.to_string(), &format!("at most {} so far", shed.peak)))
            (tile("Limit", &limit(shed), &in_force(shed)))
            (tile("Demand", &percent(shed.demand_ratio), "of what may run"))
            (tile("Answers begin after", &shed.head.as_ref().map_or("–".to_owned(), |head| time(head.p50_ms)), &slowest(shed)))
            (tile("Held for", &shed.mean_held_ms.map_or("–".to_owned(), time), "mean time that a request has its place"))
            (tile("Runtime lag", &format!("{} ms", view.runtime_lag_ms), shed.lag.phase))
            @if let Some(pause) = shed.pacing.pause_ms {
                (tile("Hasty clients", &format!("{:.0}", shed.pacing.hasty), &format!("each paced by {}", time(pause))))
            }
            (tile("Streams", &shed.streams.open.to_string(), &format!("of {}", shed.streams.max)))
            @if let Some(queue) = &shed.queue {
                (tile("Waiting", &queue.waiting.to_string(), &format!("of {} who may", queue.max)))
            }
            (tile("Processor", &percent(shed.resources.cpu_ratio), &throttled(shed)))
            (tile("Memory", &memory(shed), "of its limit"))
        }
        @if let Some(oldest) = &shed.oldest {
            p { "The request that has run longest: " code { (oldest.route) } ", for " (times::length(oldest.age_ms)) "." }
        }
        @if !shed.backends.is_empty() { (backends(&shed.backends)) }
        @if let Some(tenants) = shed.tenants.as_ref().filter(|it| it.known > 0) { (shares(tenants)) }
        @for blocked in &view.runtime.blocked {
            p { strong { "Worker " (blocked.worker) " of " (view.runtime.workers) } " has been in one task for " (times::length(blocked.for_ms)) "." }
        }
    }
}

/// The limits of those who wait for one dependency.
fn backends(backends: &[BackendEntry]) -> Markup {
    html! {
        h3 { "Limits by backend" }
        p { "Routes that spend most of their time with one dependency have a limit of their own, and so do those that compute (runtime); the others share the limit above." }
        div.scroll tabindex="0" role="group" aria-label="Limits by backend" {
            table {
                thead { tr { th scope="col" { "Dependency" } th scope="col" { "Routes" } th scope="col" { "Limit" } th scope="col" { "In flight" } th scope="col" { "Held for" } th scope="col" { "Refused" } } }
                tbody {
                    @for backend in backends {
                        tr {
                            td { code { (backend.dependency) } }
                            td { @for route in &backend.routes { code { (route) } " " } }
                            td { (backend.limit.and(backend.settled_limit.or(backend.limit)).map_or("none".to_owned(), |limit| limit.to_string())) }
                            td { (backend.in_flight) }
                            td { (backend.mean_held_ms.map_or("–".to_owned(), time)) }
                            td { (backend.refused) }
                        }
                    }
                }
            }
        }
    }
}

/// Who asks for how much of the limit.
fn shares(tenants: &Tenants) -> Markup {
    let fair = tenants.fair_share;
    html! {
        h3 { "Tenants" }
        p {
            @match fair {
                Some(fair) => { "The limit is met, and a fair share of it is " (places(fair)) " places. " }
                None => { "Everybody gets what they ask for. " }
            }
            (tenants.refused) " requests were refused by share."
        }
        div.scroll tabindex="0" role="group" aria-label="Tenants" {
            table {
                thead { tr { th scope="col" { "Tenant" } th scope="col" { "Asks for" } th scope="col" { "Has" } th scope="col" { "Held to its share" } } }
                tbody {
                    @for tenant in &tenants.most {
                        tr {
                            td { code { (tenant.name) } }
                            td { (places(tenant.asks)) " places" }
                            td { (places(tenant.has)) " places" }
                            td { @if tenant.held_to_share { "yes" } @else { "no" } }
                        }
                    }
                }
            }
        }
    }
}

fn places(places: f64) -> String {
    match places {
        few if few < 10.0 => format!("{few:.1}"),
        many => format!("{many:.0}"),
    }
}

fn tile(name: &str, value: &str, more: &str) -> Markup {
    html! { div { dt { (name) } dd { span.value { (value) } " " span.small { (more) } } } }
}

fn time(ms: f64) -> String {
    match ms {
        ms if ms < 100.0 => format!("{ms:.1} ms"),
        ms => times::length(ms as u64),
    }
}

fn slowest(shed: &Load) -> String {
    match &shed.head {
        Some(head) => format!("half of them; 99 in 100 within {}", time(head.p99_ms)),
        None => "none began lately".to_owned(),
    }
}

/// The limit that is settled, which moves only when it has left what is told of it.
fn limit(shed: &Load) -> String {
    match (shed.algorithm.limit, shed.limit) {
        // What was measured has an error, so it is told as such.
        (Some(settled), Some(_)) if shed.algorithm.knee.is_some() => format!("about {settled}"),
        (settled, Some(now)) => settled.unwrap_or(now).to_string(),
        (_, None) => "none".to_owned(),
    }
}

/// Whether it is obeyed, and what it is for the moment of an experiment, or while few are refused.
fn in_force(shed: &Load) -> String {
    let obeyed = if shed.mode == "observe" {
        "observed, not enforced"
    } else {
        "enforced"
    };
    let now = match (shed.algorithm.limit, shed.limit) {
        (Some(settled), Some(now)) if settled != now => format!("; {now} just now"),
        _ => String::new(),
    };
    let whose = match shed.backends.is_empty() {
        true => "",
        false => "; for routes without one of their own",
    };
    format!("{obeyed}{now}{whose}")
}

fn percent(ratio: Option<f64>) -> String {
    ratio.map_or("–".to_owned(), |ratio| format!("{:.0} %", ratio * 100.0))
}

fn throttled(shed: &Load) -> String {
    match shed.resources.cpu_throttled_ratio {
        Some(ratio) => format!(
            "of its quota; throttled in {:.0} % of the periods",
            ratio * 100.0
        ),
        None => "of its quota".to_owned(),
    }
}

fn memory(shed: &Load) -> String {
    match shed.resources.memory {
        MemoryEntry::Known { used_ratio, .. } => percent(Some(used_ratio)),
        MemoryEntry::Unknown(_) => "–".to_owned(),
    }
}

pub(super) fn checklist(items: &[Item]) -> Markup {
    html! {
        h2 id="checklist-h" { "The runbook's checklist" }
        ul.checklist {
            @for item in items {
                @let (class, word) = match item.answer {
                    Answer::Well => ("well", "fine"),
                    Answer::Look => ("bad", "look here"),
                    Answer::Unknown => ("look", "not known"),
                };
                li {
                    span class={ "tag " (class) } { (word) } " "
                    strong { (item.question) } " " (item.says)
                    @if let Some(fix) = item.fix { p.fix { strong { "Fix: " } (fix) } }
                }
            }
        }
    }
}

pub(super) fn timeline(view: &View) -> Markup {
    html! {
        h2 id="timeline-h" { "Timeline" }
        p {
            "This process, " (view.process.pid) ", began " (times::day_and_moment(&view.process.started))
            @if let Some(version) = &view.process.version { " with version " strong { (version) } }
            "."
            @if view.process.wrong_tokens > 0 { " Wrong tokens were shown " (view.process.wrong_tokens) " times." }
        }
        @if !view.timeline.is_empty() {
            div.scroll tabindex="0" role="group" aria-label="Changes" {
                table {
                    caption { "What changed, the newest first" }
                    thead { tr { th scope="col" { "At" } th scope="col" { "What" } th scope="col" { "From" } th scope="col" { "To" } th scope="col" { "Why" } } }
                    tbody {
                        @for change in view.timeline.iter().take(SHOWN) {
                            tr {
                                th scope="row" { (times::moment(&change.at)) }
                                td { (change.subject) } td { (change.from) } td { (change.to) } td { (change.why) }
                            }
                        }
                    }
                }
            }
        }
        @if !view.earlier.is_empty() {
            h3 { "Before this process" }
            @for (at, run) in view.earlier.iter().enumerate() { (earlier(at, run)) }
        }
    }
}

fn earlier(at: usize, run: &Run) -> Markup {
    html! {
        details id=(format!("run-{at}")) open[at == 0] {
            summary {
                "Process " (run.pid)
                @if let Some(version) = &run.version { ", version " (version) }
                ", from " (times::day_and_moment(&run.started)) " to " (times::day_and_moment(&run.last_seen))
            }
            p {
                @match &run.ended {
                    Some(how) => { "It ended by itself: " (how) "." },
                    None => { "It has not said that it ended: it was killed, or it still runs. It was last there at " (times::day_and_moment(&run.last_seen)) "." },
                }
            }
            @if !run.incidents.is_empty() {
                ul {
                    @for incident in &run.incidents {
                        li {
                            (times::day_and_moment(&incident.first)) ": " (incident.cause)
                            " by " (incident.source)
                            @match incident.count {
                                Some(count) => { ", " (count) " refusals" },
                                None => { ", and it went on when the process ended" },
                            }
                        }
                    }
                }
            }
        }
    }
}

pub(super) fn recent(recent: &[RefusalEntry]) -> Markup {
    html! {
        h2 id="recent-h" { "Recent refusals" }
        @if recent.is_empty() {
            p.none { "None is kept." }
        } @else {
            (refusals(&recent[..recent.len().min(SHOWN)]))
            @if recent.len() > SHOWN {
                p.small { (recent.len() - SHOWN) " more are in the JSON, and each is found by its id." }
            }
        }
    }
}

pub(super) fn refusals(refusals: &[RefusalEntry]) -> Markup {
    html! {
        @if !refusals.is_empty() {
            div.scroll tabindex="0" role="group" aria-label="Refusals" {
                table {
                    caption { "Single refusals, the newest first" }
                    thead { tr { th scope="col" { "At" } th scope="col" { "Request" } th scope="col" { "Cause" } th scope="col" { "Told" } th scope="col" { "Ids" } th scope="col" { "The numbers of that moment" } } }
                    tbody {
                        @for refusal in refusals {
                            tr {
                                th scope="row" { (times::day_and_moment(&refusal.at)) }
                                td { code { (refusal.request) } }
                                td {
                                    (refusal.cause)
                                    @if let Some(rule) = refusal.rule { " (" (rule) ")" }
                                    " by " (refusal.source)
                                }
                                td {
                                    @if refusal.note.is_some() { "503" } @else if refusal.answered == "refusal" { "503, again in " (times::length(refusal.retry_after_ms)) } @else { (refusal.answered) }
                                    @if refusal.safe_to_retry { ", safe to repeat" }
                                }
                                td {
                                    code { (refusal.id) }
                                    @if let Some(id) = &refusal.request_id { br; "request " code { (id) } }
                                    @if let Some(id) = &refusal.trace_id { br; "trace " code { (id) } }
                                }
                                td {
                                    (facts(&refusal.evidence))
                                    @if let Some(note) = refusal.note { p.small { (note) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
