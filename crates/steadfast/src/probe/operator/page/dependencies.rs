//! Each dependency: what is believed of it, its breaker's story, its pool, its last errors.

use maud::{Markup, html};

use super::times;
use crate::probe::operator::view::dependency::{
    BreakerEntry, CheckEntry, DependencyEntry, PoolEntry,
};

pub(super) fn all(dependencies: &[DependencyEntry]) -> Markup {
    html! {
        h2 id="dependencies-h" { "Dependencies" }
        @if dependencies.is_empty() {
            p.none { "None is declared." }
        }
        div.grid {
            @for dependency in dependencies { (one(dependency)) }
        }
    }
}

fn one(seen: &DependencyEntry) -> Markup {
    let level = match seen.health {
        "passing" => "well",
        "failing" => "bad",
        _ => "look",
    };
    html! {
        article.card aria-label=(seen.name) {
            h3 { (seen.name) " " span class={ "tag " (level) } { (seen.health) } }
            @if let Some(reason) = &seen.reason { p { (reason) } }
            @if let Some(output) = &seen.output {
                @if seen.reason.as_ref() != Some(output) { p.error { (output) } }
            }
            dl {
                div { dt { "If it is down" } dd { (requirement(seen.requirement)) } }
                @if let Some(since) = &seen.since { div { dt { "So since" } dd { (times::day_and_moment(since)) } } }
                @if let Some(class) = seen.class { div { dt { "Kind" } dd { (class) } } }
                div { dt { "Outages" } dd {
                    (seen.outages)
                    @if let Some(last) = &seen.last_outage {
                        ", the last began " (times::day_and_moment(&last.began)) " and "
                        @match last.lasted_ms {
                            Some(ms) => { "lasted " (times::length(ms)) },
                            None => { "goes on" },
                        }
                        ": " (last.refused) " calls refused, " (last.failed) " failed"
                    }
                } }
                @if let Some(breaker) = &seen.breaker { (breaker_rows(breaker)) }
                @if let Some(pool) = &seen.pool { (pool_rows(pool)) }
                @if let Some(check) = &seen.check { (check_rows(check)) }
                @if let Some(it) = &seen.read_only {
                    div { dt { "Takes no writes" } dd { "since " (times::moment(&it.since)) ": " (it.error) } }
                }
                @if let Some(it) = &seen.sessions_refused {
                    div { dt { "New sessions" } dd { "refused since " (times::moment(&it.since)) ": " (it.error) "; " (it.still_serving) " old ones serve" } }
                }
                @if let Some(keys) = &seen.keys {
                    div { dt { "Keys" } dd { (keys.refusing) " of " (keys.known) " refuse calls" } }
                }
                @for (what, error) in [("Last error of a call", &seen.last_call_error), ("Last error of the check", &seen.last_check_error)] {
                    @if let Some(error) = error {
                        div { dt { (what) } dd { (times::moment(&error.at)) " " (error.class) ": " (error.message) } }
                    }
                }
            }
            @if let Some(pool) = seen.pool.as_ref().filter(|pool| !pool.holders.is_empty()) {
                (holders(&seen.name, pool))
            }
        }
    }
}

fn requirement(code: &str) -> &str {
    match code {
        "required" => "the instance is not ready",
        "required-to-start" => "the start waits; afterwards degraded",
        "degrades" => "the instance is degraded",
        "informs" => "it is only shown",
        other => other,
    }
}

fn breaker_rows(breaker: &BreakerEntry) -> Markup {
    html! {
        div { dt { "Breaker" } dd {
            strong { (breaker.state) }
            @if breaker.mode != "auto" { " (" (breaker.mode) ")" }
            " since " (times::moment(&breaker.since))
            @if let Some(reason) = &breaker.reason { ": " (reason) }
            @if let Some(next) = &breaker.next_probe { "; next probe " (times::moment(next)) }
            @if breaker.opens_in_a_row > 1 { "; opened " (breaker.opens_in_a_row) " times in a row" }
        } }
        div { dt { "Calls in " (times::length(breaker.window_ms)) } dd {
            (breaker.calls) ", " (breaker.failed) " failed"
            @if breaker.slow > 0 { ", " (breaker.slow) " slow" }
            @if let Some(running) = breaker.in_flight { ", " (running) " waiting for an answer" }
        } }
    }
}

fn pool_rows(pool: &PoolEntry) -> Markup {
    html! {
        div { dt { "Pool" } dd {
            (pool.in_use) " of " (pool.max) " in use, " (pool.waiting) " wait"
            @if pool.pressure != "none" { "; " strong { (pool.pressure) } }
            @if pool.leaked > 0 { "; " strong { (pool.leaked) " held for too long" } }
            @if let Some(room) = pool.server_has_room_for { "; the server has room for " (room) }
        } }
    }
}

fn check_rows(check: &CheckEntry) -> Markup {
    html! {
        div { dt { "Check" } dd {
            (check.kind) ", " (check.runs) " runs"
            @if check.failures > 0 { "; " strong { (check.failures) " failures in a row" } }
            @if let Some(last) = &check.last_pass { "; last passed " (times::moment(last)) }
        } }
    }
}

fn holders(name: &str, pool: &PoolEntry) -> Markup {
    html! {
        details id=(format!("holders-{name}")) open[pool.pressure != "none" || pool.leaked > 0] {
            summary { "Who holds connections" span.hidden { " of " (name) } }
            table {
                caption.hidden { "Who holds connections of " (name) ", the longest first" }
                thead { tr { th scope="col" { "Line of code" } th scope="col" { "For" } } }
                tbody {
                    @for holder in &pool.holders {
                        tr {
                            th scope="row" { code { (holder.place) } }
                            td { (times::length(holder.held_ms)) @if holder.too_long { " " span.tag.bad { "too long" } } }
                        }
                    }
                }
            }
        }
    }
}
