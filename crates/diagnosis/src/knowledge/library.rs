//! What a process that uses the library sees of itself: its gates, its runtime, its breakers.

use steadfast_core::{Cause, Rule};

use super::{
    effects::{at_the_application, passed_on},
    lately,
    pools::is_of_sessions,
};
use crate::{
    BreakerIs, CheckIs,
    Confidence::{Likely, Possible, Proven},
    Id, Lasting, Observation as O, Own, Ratio, Role, Wire,
    engine::Strength::{Direct, Pressure},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::AppShed,
        role: Role::Symptom,
        title: "Load is shed",
        means: "The service has as much work as it can do well, and refuses the rest at once, instead of letting everybody wait until nobody is served. The rule says which bound was met: how many may run (limit), how many may wait and for how long (queue-full, queue-timeout, deadline), how late the runtime is (runtime-lag), memory, that those who go first need the places (priority), or that one tenant asks for more than a fair share (tenant-share).",
        outside: "503 with `why-503: cause=overloaded;rule=…` and a `Retry-After` that says when there will be room.",
        inside: "The limit and its history, what runs and waits, and who is refused, on the operator's page.",
        threshold: "Refusals by that cause within the last minute, or the header.",
        fix: "See first whether something made requests slower (a dependency, a pool, the processor) or more (a surge, retries, one route): that is the cause. If the work is simply more than one instance can do, add instances, and scale on demand rather than on processor time.",
        commands: &[
            "curl -s -H \"Authorization: Bearer $WHY503_TOKEN\" http://127.0.0.1:PORT/why503/",
        ],
        effects: passed_on![],
        judge: |view, found| {
            for (fact, (rule, count, since, numbers)) in view.pick(|seen| match seen {
                O::Own(Own::Refusing {
                    cause: Cause::Overloaded,
                    rule,
                    count,
                    since,
                    last,
                    numbers,
                }) if *last <= lately() => Some((*rule, *count, *since, numbers)),
                _ => None,
            }) {
                let numbers = if numbers.as_str().is_empty() {
                    String::new()
                } else {
                    format!(" ({numbers})")
                };
                let case = found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "{count} requests were refused in {}: {}{numbers}.",
                        Lasting(since),
                        bound_met(rule)
                    ),
                );
                case.fix(advice(rule));
                for fact in view.all(|seen| matches!(seen, O::Own(Own::Limit { .. }))) {
                    case.cite(fact);
                }
            }
            for (fact, rule) in view.pick(|seen| match seen {
                O::Wire(Wire::Why {
                    cause: Cause::Overloaded,
                    rule,
                    ..
                }) => Some(*rule),
                _ => None,
            }) {
                found
                    .find(
                        fact,
                        Proven,
                        Direct,
                        format!(
                            "The service refuses requests to protect itself: {}.",
                            bound_met(rule)
                        ),
                    )
                    .fix(advice(rule));
            }
            if found.is_empty() {
                for (fact, (in_flight, limit)) in view.pick(|seen| match seen {
                    O::Own(Own::Limit {
                        in_flight, limit, ..
                    }) => Some((*in_flight, *limit)),
                    _ => None,
                }) {
                    if limit.is_none_or(|limit| in_flight < limit) {
                        found.well(fact);
                    }
                }
            }
        },
    },
    Row {
        id: Id::AppBreakerOpen,
        role: Role::Symptom,
        title: "A circuit breaker is open",
        means: "Calls to a dependency failed, hung or were slow so often that further ones are refused at once for a while, instead of waiting for the same end. It closes by itself once probes succeed.",
        outside: "A fast 503 with `cause=dependency-down`, and a `Retry-After` that leads to the next probe.",
        inside: "The breaker's state, what began it, the last error, and the time of the next probe.",
        threshold: "The breaker is not closed.",
        fix: "Heal the dependency: its last error says how it fails. A breaker that somebody forced open stays so until it is released.",
        commands: &[
            "curl -s -H \"Authorization: Bearer $WHY503_TOKEN\" http://127.0.0.1:PORT/why503/",
        ],
        effects: passed_on![Id::AppNotReady, Id::AppOwn503],
        judge: |view, found| {
            for (fact, (is, why, last_error)) in view.pick(|seen| match seen {
                O::Own(Own::Breaker {
                    is,
                    why,
                    last_error,
                    ..
                }) => Some((*is, why, last_error)),
                _ => None,
            }) {
                let name = fact.tied.name().unwrap_or("a dependency");
                let error = if last_error.as_str().is_empty() {
                    String::new()
                } else {
                    format!("; last error: {last_error}")
                };
                match is {
                    BreakerIs::Open | BreakerIs::Probing => {
                        found.find(
                            fact,
                            Proven,
                            Direct,
                            format!("Calls to {name} are refused: {why}{error}."),
                        );
                    }
                    BreakerIs::ForcedOpen => {
                        found.find(fact, Proven, Direct, format!("Calls to {name} are refused because somebody forced its breaker open.")).fix("Release the breaker, if what it was forced open for is over.");
                    }
                    BreakerIs::Ramping => {
                        found.find(fact, Likely, Direct, format!("Calls to {name} are let through in steps after an outage: {why}{error}."));
                    }
                    BreakerIs::Closed | BreakerIs::ForcedClosed => {
                        found.well(fact);
                    }
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::KeysOut { out, known }) if *out > 0 => Some(format!(
                    "{out} of {known} keys of a dependency refuse calls."
                )),
                O::Wire(Wire::Why {
                    cause: Cause::DependencyDown,
                    ..
                }) => Some(
                    "The service refuses because something that the request needs is down."
                        .to_owned(),
                ),
                _ => None,
            });
            let closed = view.all(|seen| {
                let is = BreakerIs::Closed;
                matches!(seen, O::Own(Own::Breaker { is: it, .. }) if *it == is)
            });
            for (fact, (count, since)) in view.pick(|seen| match seen {
                O::Own(Own::Refusing {
                    cause: Cause::DependencyDown,
                    count,
                    since,
                    last,
                    ..
                }) if *last <= lately() => Some((*count, Lasting(*since))),
                _ => None,
            }) {
                let refused = format!("{count} requests were refused in {since} because");
                let closed = closed.iter().find(|it| it.tied == fact.tied);
                match closed.filter(|it| it.tied.name().is_some()) {
                    None => {
                        let says = format!("{refused} a dependency is down.");
                        found.find(fact, Proven, Direct, says);
                    }
                    Some(closed) => {
                        let name = name_of(fact);
                        let says =
                            format!("{refused} {name} was down; its breaker is closed again.");
                        found.find(fact, Proven, Direct, says).but(closed);
                    }
                }
            }
        },
    },
    Row {
        id: Id::AppCheckDisagrees,
        role: Role::Fault,
        title: "A check and the calls disagree",
        means: "The check of a dependency fails while calls to it succeed. One of the two asks in a way that does not matter: another address, another account, a shorter time-out, or a route that needs more than the calls do.",
        outside: "Nothing, as long as the calls outvote the check; a warning in readiness.",
        inside: "Failures of the check in a row, beside the calls that succeeded in the same time.",
        threshold: "The check has failed as often as it may, and calls succeed.",
        fix: "Compare what the check asks with what the calls use: address, account, pool, time-out. Let the check use the same client.",
        commands: &[],
        effects: &[Id::AppNotReady, Id::AppStarting],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::CheckDisagrees { failures, succeeded, within }) => Some(format!(
                    "The check has failed {failures} times in a row while {succeeded} calls succeeded in {}: one of the two is wrong.",
                    Lasting(*within)
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::DepFailing,
        role: Role::Fault,
        title: "A dependency answers with errors",
        means: "The dependency can be reached, and what it answers is an error: 5xx or 429 of a service, an error of a server, a check that says no.",
        outside: "503 with `cause=dependency-down` once the breaker has seen enough, 500 or 502 before.",
        inside: "The share of calls that failed and their last error; the check's class `unhealthy`.",
        threshold: "Half of the calls in the window, or the check's own failures in a row.",
        fix: "Go on there: ask that service the same questions. If it says 429 or 503 it is overloaded itself, and retries make it worse.",
        commands: &["why503 http://NAME/"],
        effects: at_the_application![],
        judge: |view, found| {
            for (fact, (failed, of, last)) in view.pick(|seen| match seen {
                O::Http(crate::Http::Failing { failed, of, last }) => Some((*failed, *of, *last)),
                _ => None,
            }) {
                if of > 0 && Ratio::of(failed, of).get() >= 0.5 {
                    let sure = if last >= 500 || last == 429 {
                        Proven
                    } else {
                        Likely
                    };
                    found
                        .find(
                            fact,
                            sure,
                            Direct,
                            format!(
                                "{failed} of {of} answers of {} are errors, the last a {last}.",
                                name_of(fact)
                            ),
                        )
                        .from("half");
                } else {
                    found.well(fact);
                }
            }
            for (fact, (class, error, failures)) in view.pick(|seen| match seen {
                O::Own(Own::Check {
                    is: CheckIs::Failing,
                    class,
                    error,
                    failures,
                    ..
                }) => Some((class, error, *failures)),
                _ => None,
            }) {
                if is_an_answer(class.as_str()) {
                    found.find(
                        fact,
                        Likely,
                        Direct,
                        format!(
                            "The check of {} has failed {failures} times in a row: {error}.",
                            name_of(fact)
                        ),
                    );
                }
            }
            for (fact, error) in view.pick(|seen| match seen {
                O::Own(Own::LastError { class, error, .. }) if is_an_answer(class.as_str()) => {
                    Some(error)
                }
                _ => None,
            }) {
                let says = format!(
                    "{} answers with errors, the last one: {error}.",
                    name_of(fact)
                );
                found.find(fact, Likely, Direct, says);
            }
            for (fact, error) in view.pick(|seen| match seen {
                O::Own(Own::Check {
                    is: CheckIs::Warning,
                    class,
                    error,
                    ..
                }) if class.as_str() != "saturated" && !is_of_sessions(error) => Some(error),
                _ => None,
            }) {
                // Beside requests that fail, what warns is a suspect.
                let sure = if view.has_trouble() { Possible } else { Likely };
                let says = format!("The check of {} warns: {error}.", name_of(fact));
                found.find(fact, sure, Direct, says);
            }
            // Without the token nothing else is known of it.
            if !view.has_trouble() && !view.any(|seen| matches!(seen, O::Own(_))) {
                for (fact, line) in view.pick(|seen| match seen {
                    O::Wire(Wire::Readiness { status: 200, line }) => {
                        Some(line).filter(|it| it.as_str().starts_with("degraded"))
                    }
                    _ => None,
                }) {
                    let says = format!(
                        "The service calls itself {line}: what it uses is not well, and requests that need it may be refused."
                    );
                    found.find(fact, Likely, Direct, says).fix("Its operator's page says what is not well, since when and why: give why503 the token (--token, or WHY503_TOKEN), or open `/why503/`.");
                }
            }
            for (fact, (failed, of)) in view.pick(|seen| match seen {
                O::Own(Own::Calls { failed, of, .. }) => Some((*failed, *of)),
                _ => None,
            }) {
                if of >= 10 && Ratio::of(failed, of).get() >= 0.5 {
                    found
                        .find(
                            fact,
                            Possible,
                            Pressure,
                            format!(
                                "{failed} of the last {of} calls to {} failed.",
                                name_of(fact)
                            ),
                        )
                        .from("half");
                } else if failed == 0 {
                    found.well(fact);
                }
            }
        },
    },
];

/// Whether a failure of this class is an answer of the dependency, and not the want of one.
/// The others have rows of their own.
fn is_an_answer(class: &str) -> bool {
    matches!(
        class,
        "unhealthy" | "overloaded" | "loading" | "other" | "panicked"
    )
}

fn name_of(fact: &crate::Fact) -> &str {
    fact.tied.name().unwrap_or("the dependency")
}

/// Which bound a rule means, as a part of a sentence.
const fn bound_met(rule: Option<Rule>) -> &'static str {
    match rule {
        Some(Rule::Limit) => "as many run as may",
        Some(Rule::QueueFull) => "as many run as may, and as many wait as may",
        Some(Rule::QueueTimeout) => "they waited for as long as a request may",
        Some(Rule::Deadline) => "their turn would have come after their deadline",
        Some(Rule::RuntimeLag) => "the runtime is late",
        Some(Rule::Memory) => "memory is nearly used up",
        Some(Rule::Priority) => "the places are kept for requests that go first",
        Some(Rule::TenantShare) => "a tenant asks for more than its fair share",
        _ => "a bound was met",
    }
}

/// What helps against that bound.
const fn advice(rule: Option<Rule>) -> &'static str {
    match rule {
        Some(Rule::RuntimeLag) => {
            "Find out whether handlers compute or block. If they compute, add processors or instances, or bound the expensive route; if they block, move that off the runtime's threads."
        }
        Some(Rule::Memory) => {
            "Memory is nearly at the group's limit. Look what grows (bodies held in memory, caches, a leak), give the group more, or run fewer requests at once."
        }
        Some(Rule::Priority) => {
            "Those who go first are served, and those behind them refused; that is what was asked for. If too many are refused, there is too little room for all of them: add instances, or see what made requests slower or more."
        }
        Some(Rule::TenantShare) => {
            "One tenant asks for more than a fair share of what there is, and the evidence names it; the others are served. Speak with it, or add instances if its requests are wanted."
        }
        Some(Rule::Deadline | Rule::QueueTimeout) => {
            "Requests wait longer than their callers do. See what made them slower: the oldest running request and the pools show it. A longer queue would only let more of them wait in vain."
        }
        _ => {
            "See first whether something made requests slower (a dependency, a pool, the processor) or more (a surge, retries, one route). If the work is simply more than one instance can do, add instances, and scale on demand rather than on processor time."
        }
    }
}
