//! Where the process is in its life, and what its health paths say.

use std::time::Duration;

use super::{effects::at_the_proxy, lately};
use crate::{
    Confidence::{Likely, Possible, Proven},
    Id, Lasting, Observation as O, Outcome, Own, Path, PhaseIs, Process, Proxy, Role, ServerIs,
    Text, Via, Wire,
    engine::Strength::{Direct, Pressure},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::AppStarting,
        role: Role::Fault,
        title: "It is starting",
        means: "The process is young and not ready: the first round of checks is not over, or something that it needs at the start has not passed yet. That is right for a while, and a fault if traffic is sent to it all the same, or if it never ends.",
        outside: "503 with `cause=starting`; the readiness path says *starting*.",
        inside: "The age of the process, and its readiness answer with each check.",
        threshold: "The process says so itself.",
        fix: "Wait if it is young. If it stays so, heal the required check that does not pass. Do not let a balancer send traffic before `/ready/` says 200; give slow starts a startup probe.",
        commands: &["curl -s 'http://127.0.0.1:PORT/ready/?verbose'"],
        effects: at_the_proxy![Id::AppNotReady, Id::NgxPassthrough, Id::ProxyPassthrough],
        judge: |view, found| {
            let mut started = view.all(has_started);
            // What the service says of itself before its status alone.
            started.sort_by_key(|fact| !matches!(fact.seen, O::Wire(Wire::Readiness { .. })));
            for (fact, says) in view.pick(|seen| match seen {
                O::Wire(Wire::Why {
                    cause: steadfast_core::Cause::Starting,
                    ..
                }) => Some("The service is starting, and says so in its answer.".to_owned()),
                O::Own(Own::StartWaits { checks, since }) => Some(format!(
                    "It has been starting for {}, and waits for {checks}.",
                    Lasting(*since)
                )),
                O::Own(Own::Refusing {
                    cause: steadfast_core::Cause::Starting,
                    count,
                    last,
                    ..
                }) if *last <= lately() => {
                    Some(format!("{count} requests came before the start was over."))
                }
                O::Wire(Wire::Readiness { status: 503, line }) if gives(line, STARTING) => {
                    Some(format!("The readiness path says: {line}."))
                }
                _ => None,
            }) {
                let case = found.find(fact, Proven, Direct, says);
                started.iter().for_each(|fact| {
                    case.but(fact);
                });
            }
            let young = view.pick(|seen| match seen {
                O::Process(Process::Age { age }) if *age < Duration::from_secs(30) => Some(*age),
                _ => None,
            });
            // Who has started is not starting, however young it is.
            if !started.is_empty() && !young.is_empty() {
                started.iter().for_each(|fact| {
                    found.well(fact);
                });
            }
            if !found.is_empty() || !started.is_empty() || !view.has_trouble() {
                return;
            }
            for (fact, age) in young {
                found
                    .find(
                        fact,
                        Possible,
                        Pressure,
                        format!(
                            "The process is {} old and may still be starting.",
                            Lasting(age)
                        ),
                    )
                    .from("30 s");
            }
        },
    },
    Row {
        id: Id::AppMaintenance,
        role: Role::Fault,
        title: "Somebody declared maintenance",
        means: "An operator, a file or an authorised request took the service out on purpose. It is as healthy as it was. Each can end only its own: an order what was ordered, and the file by going away.",
        outside: "503 with `cause=maintenance`, and a `Retry-After` that leads to its end if one was given.",
        inside: "The operator's page: who, why, since when and until when.",
        threshold: "The process says so itself.",
        fix: "End the maintenance when the work is done.",
        commands: &[
            "curl -s -X DELETE -H \"Authorization: Bearer $WHY503_TOKEN\" http://127.0.0.1:PORT/why503/maintenance",
        ],
        effects: at_the_proxy![Id::AppNotReady, Id::NgxPassthrough, Id::ProxyPassthrough],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::Maintenance {
                    reason,
                    since,
                    left,
                }) => {
                    let left = left.map_or_else(
                        || "with no end given".to_owned(),
                        |left| format!("for another {}", Lasting(left)),
                    );
                    let reason = if reason.as_str().is_empty() {
                        String::new()
                    } else {
                        format!(": {reason}")
                    };
                    Some(format!(
                        "Maintenance has been on for {}, {left}{reason}.",
                        Lasting(*since)
                    ))
                }
                O::Wire(Wire::Why {
                    cause: steadfast_core::Cause::Maintenance,
                    ..
                }) => {
                    Some("The service is under maintenance, and says so in its answer.".to_owned())
                }
                O::Wire(Wire::Readiness { status: 503, line }) if gives(line, MAINTENANCE) => {
                    Some(format!("The readiness path says: {line}."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::AppDraining,
        role: Role::Fault,
        title: "It is leaving",
        means: "The process was told to stop (SIGTERM, or an order) and refuses new work while it finishes what runs. In a rollout that lasts seconds; a balancer that still sends traffic has not noticed.",
        outside: "503 with `cause=draining` and `Connection: close`; readiness says 503 while `/health/` says 200.",
        inside: "The phase on the operator's page, since when, and what still runs.",
        threshold: "The process says so itself.",
        fix: "In a rollout, make the lame duck longer than the balancer takes to notice (its check's period times its failures). If nobody meant it, find who sent the signal. If it does not end, see which requests still run.",
        commands: &[
            "curl -s -H \"Authorization: Bearer $WHY503_TOKEN\" http://127.0.0.1:PORT/why503/drain",
            "journalctl -u UNIT -n 20 --no-pager",
        ],
        effects: at_the_proxy![Id::AppNotReady, Id::NgxPassthrough, Id::ProxyPassthrough],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::Leaving { running, since }) => Some(format!(
                    "The process has been leaving for {}; {running} requests still run.",
                    Lasting(*since)
                )),
                O::Own(Own::Phase {
                    is: is @ (PhaseIs::LameDuck | PhaseIs::Draining | PhaseIs::Stopped),
                    since,
                }) => Some(format!(
                    "The process has been in the phase {is} for {}.",
                    Lasting(*since)
                )),
                O::Wire(Wire::Why {
                    cause: steadfast_core::Cause::Draining,
                    ..
                }) => Some("The process is leaving, and says so in its answer.".to_owned()),
                O::Wire(Wire::Readiness { status: 503, line }) if gives(line, LEAVING) => {
                    Some(format!("The readiness path says: {line}."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::AppNotReady,
        role: Role::Symptom,
        title: "Its readiness says no",
        means: "The service answers, and its own readiness path says that it should get no traffic: a required check fails, it starts or leaves, or its runtime is stalled. A balancer that looks there takes it out; when all say no, the balancer has nobody left.",
        outside: "The readiness path is not 2xx while `/` is.",
        inside: "`/ready/?verbose` lists each check.",
        threshold: "Anything but 2xx from the readiness path.",
        fix: "Treat what the failing check names. Take what is not needed by every request out of readiness: one shared dependency there takes all instances out at once.",
        commands: &["curl -s 'http://127.0.0.1:PORT/ready/?verbose'"],
        effects: at_the_proxy![Id::NgxPassthrough, Id::ProxyPassthrough],
        judge: |view, found| {
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Wire(Wire::Readiness { status, line }) if *status >= 300 => {
                    Some(format!("The readiness path answers {status}: {line}."))
                }
                O::Wire(Wire::Probe {
                    path: Path::Ready,
                    outcome: Outcome::Answered(status),
                    ..
                }) if *status >= 500 => Some(format!("The readiness path answers {status}.")),
                _ => None,
            });
            if found.is_empty() {
                for fact in view.all(|seen| matches!(seen, O::Wire(Wire::Readiness { .. }))) {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::AppHealthMisconfig,
        role: Role::Fault,
        title: "The balancer's check asks at a wrong door",
        means: "The service is well, and the path that the balancer's check asks for answers with a login, a redirect or *not found*. To the balancer every server looks dead.",
        outside: "The check's path gives 401, 403, 404 or a redirect while `/` works; the balancer answers 503 with nobody left.",
        inside: "The check's path in the balancer's configuration, asked directly at the service.",
        threshold: "The check's path is outside 200-399, or a redirect where 2xx is expected, and the service works.",
        fix: "Point the check at the right path, and exempt that path from login, redirects to HTTPS and rate limits.",
        commands: &["curl -si http://127.0.0.1:PORT/ready/"],
        effects: at_the_proxy![],
        judge: |view, found| {
            let answers = |path: Path, is: fn(u16) -> bool| {
                view.any(|seen| matches!(seen, O::Wire(Wire::Probe { path: at, outcome: Outcome::Answered(status), .. }) if *at == path && is(*status)))
            };
            let fails = view.any(|seen| matches!(seen, O::Wire(Wire::Probe { via: Via::Direct, outcome: Outcome::Answered(500..), .. })))
                // What fails beside a path that is answered on the same way is the service.
                || answers(Path::Root, |it| it >= 500) && answers(Path::Given, |it| it < 500);
            let works = !fails
                || [Path::Given, Path::Root]
                    .into_iter()
                    .any(|it| answers(it, |status| status < 400));
            for (fact, (path, status)) in view.pick(|seen| match seen {
                O::Wire(Wire::HealthCheck { path, status }) => Some((path, *status)),
                _ => None,
            }) {
                let expects = view.pick(|seen| match seen {
                    O::Proxy(Proxy::CheckPath {
                        path: it, expects, ..
                    }) if it == path => Some(expects),
                    _ => None,
                });
                let expects = expects.first().map(|(fact, it)| (*fact, it.as_str()));
                let is_wrong = match expects {
                    // An error of the service is no wrong door.
                    Some((_, expects)) => status < 500 && !is_expected(expects, status),
                    None => (300..500).contains(&status),
                };
                if let (true, true, Some((check, expects))) = (works, is_wrong, expects) {
                    let says = format!(
                        "The balancer's check asks for {path}, which answers {status} while the service works; it expects {expects}."
                    );
                    found
                        .find(fact, Proven, Direct, says)
                        .from(expects.to_owned())
                        .cite(check);
                } else if works && is_wrong {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!(
                                "The check's path {path} answers {status} while the service works."
                            ),
                        )
                        .from("200-299");
                } else if !is_wrong && status < 400 {
                    found.well(fact);
                }
            }
            // HAProxy says which status its check met.
            for (fact, status) in view.pick(|seen| match seen {
                O::Proxy(Proxy::Server {
                    is: ServerIs::Down,
                    last_check,
                    ..
                }) => wrong_door(last_check.as_str()),
                _ => None,
            }) {
                found
                    .find(
                        fact,
                        Proven,
                        Direct,
                        format!(
                            "The balancer's check of {} is answered {status}: a login, a redirect or a path that does not exist.",
                            fact.tied
                        ),
                    )
                    .from("200-399");
            }
        },
    },
];

/// The words with which the library's readiness line gives these reasons.
const STARTING: &[&str] = &["starting", "not started"];
const MAINTENANCE: &[&str] = &["maintenance"];
const LEAVING: &[&str] = &["draining"];

/// Whether the readiness line gives one of these reasons. Names and an operator's own words may
/// stand behind a reason, and mean nothing of the kind: `maintenance: start of the new cluster`.
fn gives(line: &Text, reasons: &[&str]) -> bool {
    let given = line.as_str().strip_prefix("not ready: ").unwrap_or("");
    given.split("; ").any(|given| {
        reasons.iter().any(|reason| {
            let behind = given.strip_prefix(reason);
            behind.is_some_and(|it| it.is_empty() || it.starts_with([',', ':']))
        })
    })
}

/// Whether the start is over: readiness says yes, or no for a reason that comes after the start,
/// or the process names a later phase. A maintenance may hide a start.
fn has_started(seen: &O) -> bool {
    match seen {
        O::Wire(Wire::Readiness { status: 200, .. }) => true,
        O::Wire(Wire::Readiness { line, .. }) => {
            !gives(line, STARTING) && !gives(line, MAINTENANCE)
        }
        O::Wire(Wire::Probe {
            path: Path::Ready,
            outcome: Outcome::Answered(200..=299),
            ..
        }) => true,
        O::Own(Own::Phase { is, .. }) => !matches!(is, PhaseIs::NotStarted | PhaseIs::Starting),
        _ => false,
    }
}

/// The status of a check that was answered, and with nothing that says how the service fares.
fn wrong_door(last_check: &str) -> Option<u16> {
    let status: u16 = last_check.strip_prefix("L7STS ")?.get(..3)?.parse().ok()?;
    (300..500).contains(&status).then_some(status)
}

/// Whether a status is one of `200-399,401`; of what is written in another way nobody can tell.
fn is_expected(expects: &str, status: u16) -> bool {
    let mut parts = expects.split(',').map(|part| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let bounds = first
            .trim()
            .parse::<u16>()
            .ok()
            .zip(last.trim().parse::<u16>().ok());
        bounds.is_none_or(|(first, last)| (first..=last).contains(&status))
    });
    parts.any(|it| it)
}
