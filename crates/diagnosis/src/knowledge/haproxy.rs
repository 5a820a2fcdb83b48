//! HAProxy. It answers 503 with one body for seven causes, so its socket, its log, or at
//! least the time that the refusal took have to tell them apart.
//!
//! length: a table of eleven rows, mostly prose, and what they ask alike.

use std::time::Duration;

use crate::{
    Confidence::{Likely, Possible, Proven},
    Fact, HaproxyCode as Code, Id, Lasting, Maker, Mark, Observation as O, Proxy, Role, ServerIs,
    Text, Wire,
    engine::{
        Strength::{Code as ByCode, Direct, Timing},
        View,
    },
    knowledge::Row,
};

const SHOWS: &[Id] = &[Id::HapUnattributed];

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::HapEmptyBackend,
        role: Role::Fault,
        title: "HAProxy's backend has no servers",
        means: "The backend lists no server at all: service discovery gave none, or the configuration names none. HAProxy calls such a backend UP and answers 503 to each request.",
        outside: "HAProxy's page for 503, at once.",
        inside: "`show stat`: the backend's line says UP with act=0 and bck=0, and there are no lines of servers.",
        threshold: "No active and no backup server, whatever the status says.",
        fix: "Look why service discovery (DNS, Consul, a template) found none, or name the servers.",
        commands: &[
            "echo 'show stat' | socat stdio /run/haproxy/admin.sock | cut -d, -f1,2,18,20,21",
            "echo 'show servers state NAME' | socat stdio /run/haproxy/admin.sock",
        ],
        effects: SHOWS,
        judge: |view, found| {
            for (fact, (serving, listed)) in backends(view) {
                if listed == 0 && serving == 0 {
                    found.find(
                        fact,
                        Proven,
                        Direct,
                        format!(
                            "HAProxy's {} has no servers, although it is called up.",
                            fact.tied
                        ),
                    );
                }
            }
        },
    },
    Row {
        id: Id::HapMaint,
        role: Role::Fault,
        title: "HAProxy's servers are in maintenance",
        means: "Somebody set every server of the backend to MAINT or DRAIN, by the socket or by a configuration, so none gets traffic.",
        outside: "HAProxy's page for 503, at once.",
        inside: "`show servers state` and the status of each server in `show stat`.",
        threshold: "No server serves, and each is in MAINT or DRAIN.",
        fix: "Set them back, if what they were taken out for is over.",
        commands: &[
            "echo 'set server NAME/SERVER state ready' | socat stdio /run/haproxy/admin.sock",
        ],
        effects: SHOWS,
        judge: |view, found| {
            let out = |is: ServerIs| matches!(is, ServerIs::Maintenance | ServerIs::Draining);
            for (fact, all) in out_of_service(view, Maker::Haproxy) {
                let set_aside: Vec<_> = all.iter().filter(|(_, is, _)| out(*is)).collect();
                if set_aside.len() == all.len() {
                    let case = found.find(
                        fact,
                        Proven,
                        Direct,
                        format!(
                            "All {} servers of HAProxy's {} were taken out by hand.",
                            all.len(),
                            fact.tied
                        ),
                    );
                    set_aside.iter().for_each(|(fact, ..)| {
                        case.cite(fact);
                    });
                }
            }
        },
    },
    Row {
        id: Id::HapAllDown,
        role: Role::Fault,
        title: "HAProxy holds every server for down",
        means: "Each server of the backend failed its health check, so HAProxy has nobody to ask and answers 503 at once, without trying.",
        outside: "HAProxy's page for 503, at once.",
        inside: "`show stat`: the servers' status DOWN and what the last check said (L4CON refused, L4TOUT silent, L7STS a wrong status, L7TOUT no answer). In the log `SC` with `<NOSRV>`.",
        threshold: "No server serves, and at least one is down.",
        fix: "Go by what the last check said: refused means that the service is not running, a wrong status that it says it is not ready or that the check asks at a wrong path, a time-out that it hangs.",
        commands: &[
            "echo 'show stat' | socat stdio /run/haproxy/admin.sock | cut -d, -f1,2,18,37,38,57",
            "grep -n 'option httpchk\\|http-check' /etc/haproxy/haproxy.cfg",
        ],
        effects: SHOWS,
        judge: |view, found| {
            for (fact, all) in out_of_service(view, Maker::Haproxy) {
                let down: Vec<_> = all
                    .iter()
                    .filter(|(_, is, _)| *is == ServerIs::Down)
                    .collect();
                let Some((_, _, check)) = down.first() else {
                    continue;
                };
                let check = if check.as_str().is_empty() {
                    String::new()
                } else {
                    format!("; the last check said {check}")
                };
                let case = found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "HAProxy holds all {} servers of {} for down{check}.",
                        all.len(),
                        fact.tied
                    ),
                );
                down.iter().for_each(|(fact, ..)| {
                    case.cite(fact);
                });
            }
            // A backend that could be looked at knows better than its log what it lacks.
            if found.is_empty() && backends(view).is_empty() {
                found.tell(view, Likely, ByCode, |seen| {
                    ends(
                        seen,
                        Code::NoServer,
                        "HAProxy had no server to ask (SC, <NOSRV>), {count} times.",
                    )
                });
            }
            for (fact, (serving, _)) in backends(view) {
                if serving > 0 {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::HapRefusedUnchecked,
        role: Role::Fault,
        title: "HAProxy tries a server that refuses",
        means: "The server is not checked, or not noticed yet, and refuses connections. HAProxy tries again, a second apart, and then answers 503.",
        outside: "HAProxy's page for 503 after half a second to three: the retries.",
        inside: "`no check` in `show stat` with econ and wretr growing; in the log `SC` with a server's name and retries.",
        threshold: "Failed connects while one looks, or such a line in the window.",
        fix: "Start the server. Add `check` to its line, so that HAProxy notices by itself and others take over.",
        commands: &[
            "echo 'show stat' | socat stdio /run/haproxy/admin.sock | cut -d, -f1,2,14,16,18",
            "ss -ltn",
        ],
        effects: SHOWS,
        judge: |view, found| {
            let unchecked = view.all(|seen| {
                matches!(
                    seen,
                    O::Proxy(Proxy::Server {
                        by: Maker::Haproxy,
                        is: ServerIs::Unchecked,
                        ..
                    })
                )
            });
            for (fact, (errors, retries)) in view.pick(|seen| match seen {
                O::Proxy(Proxy::ConnectErrors {
                    by: Maker::Haproxy,
                    errors,
                    retries,
                }) => Some((*errors, *retries)),
                _ => None,
            }) {
                if errors > 0 {
                    let case = found.find(fact, Proven, Direct, format!("HAProxy could not connect to a server of {} {errors} times ({retries} retries).", fact.tied)).from("1 during the look");
                    unchecked
                        .iter()
                        .filter(|server| server.tied == fact.tied)
                        .for_each(|fact| {
                            case.cite(fact);
                        });
                }
            }
            found.tell(view, Proven, ByCode, |seen| {
                ends(
                    seen,
                    Code::ConnectRefused,
                    "HAProxy could not connect to {server} (SC), {count} times.",
                )
            });
            found.tell(view, Possible, Timing, |seen| {
                let after = own_503(seen)?;
                let retries = after >= Duration::from_millis(400) && after <= Duration::from_millis(3_500);
                retries.then(|| format!("HAProxy answered 503 after {}, which is how long its retries of a refused connect take.", Lasting(after)))
            });
        },
    },
    Row {
        id: Id::HapConnectTimeout,
        role: Role::Fault,
        title: "HAProxy gets no connection in time",
        means: "The server's host does not answer the handshake: its accept queue is full, or packets are dropped. After `timeout connect`, and as many retries, HAProxy answers 503.",
        outside: "HAProxy's page for 503 after `timeout connect` times the tries.",
        inside: "`sC` in the log, with the server's name and retries.",
        threshold: "Such a line in the window, or a refusal that took as long as the time-outs add up to.",
        fix: "Look at that server's accept queue (host.accept_queue_full) and at firewalls in between.",
        commands: &[
            "ss -ltn",
            "grep -n 'timeout connect\\|retries' /etc/haproxy/haproxy.cfg",
        ],
        effects: SHOWS,
        judge: |view, found| {
            found.tell(view, Proven, ByCode, |seen| {
                ends(
                    seen,
                    Code::ConnectTimeout,
                    "HAProxy got no connection to {server} in time (sC), {count} times.",
                )
            });
            by_time(view, "connect", |fact, after, tries| {
                found.find(
                    fact,
                    Likely,
                    Timing,
                    format!(
                        "HAProxy answered 503 after {}, which is `timeout connect` {tries} times.",
                        Lasting(after)
                    ),
                );
            });
        },
    },
    Row {
        id: Id::HapQueueTimeout,
        role: Role::Fault,
        title: "Requests wait in HAProxy for a place",
        means: "The servers have as many requests as `maxconn` lets them, and what comes waits in HAProxy. After `timeout queue` it is answered 503.",
        outside: "HAProxy's page for 503 after `timeout queue`.",
        inside: "`sQ` in the log, the second timer is the wait; qcur above 0 and scur at slim in `show stat`.",
        threshold: "Such a line in the window, or waiting requests with all servers at their bound.",
        fix: "See why the servers are slow: that is nearly always the cause. Raise `maxconn` only if they can do more at once. Make `timeout queue` no longer than clients wait.",
        commands: &[
            "echo 'show stat' | socat stdio /run/haproxy/admin.sock | cut -d, -f1,2,3,5,7",
            "grep -n 'timeout queue\\|maxconn' /etc/haproxy/haproxy.cfg",
        ],
        effects: SHOWS,
        judge: |view, found| {
            found.tell(view, Proven, ByCode, |seen| {
                ends(
                    seen,
                    Code::QueueTimeout,
                    "Requests waited in HAProxy's queue until its time-out (sQ), {count} times.",
                )
            });
            let full = view.all(|seen| matches!(seen, O::Proxy(Proxy::ServerLoad { by: Maker::Haproxy, running, max }) if *max > 0 && running >= max));
            for (fact, waiting) in view.pick(|seen| match seen {
                O::Proxy(Proxy::Queue {
                    by: Maker::Haproxy,
                    waiting,
                }) => Some(*waiting),
                _ => None,
            }) {
                let at_bound: Vec<_> = full.iter().filter(|it| it.tied == fact.tied).collect();
                if waiting > 0 && !at_bound.is_empty() {
                    let case = found.find(fact, Proven, Direct, format!("{waiting} requests wait in HAProxy for a place at {}, whose servers have as many as they may.", fact.tied)).from("1");
                    at_bound.iter().for_each(|fact| {
                        case.cite(fact);
                    });
                } else if waiting == 0 {
                    found.well(fact);
                }
            }
            by_time(view, "queue", |fact, after, _| {
                found.find(
                    fact,
                    Likely,
                    Timing,
                    format!(
                        "HAProxy answered 503 after {}, which is its `timeout queue`.",
                        Lasting(after)
                    ),
                );
            });
        },
    },
    Row {
        id: Id::HapLocalDeny,
        role: Role::Fault,
        title: "A rule of HAProxy answers 503",
        means: "The configuration itself says 503: `http-request deny deny_status 503`, `http-request return status 503`, `monitor fail`, or a limit by a stick table. No server was asked.",
        outside: "HAProxy's page for 503 (deny), or a page of one's own (return), at once.",
        inside: "`PR` or `LR` in the log with `<NOSRV>`; dreq grows in `show stat`; the rule in the configuration.",
        threshold: "Such a line or a growing counter, together with the rule.",
        fix: "Look which rule matches, and whether it is meant to: a maintenance switch that was left on, or a limit that is too tight.",
        commands: &[
            "grep -nE 'deny_status 503|return status 503|monitor fail|errorfile 503' /etc/haproxy/haproxy.cfg",
        ],
        effects: SHOWS,
        judge: |view, found| {
            found.tell(view, Proven, ByCode, |seen| {
                ends(
                    seen,
                    Code::Denied,
                    "A rule of HAProxy refused {count} requests (PR).",
                )
                .or_else(|| {
                    ends(
                        seen,
                        Code::LocalAnswer,
                        "A rule of HAProxy answered {count} requests itself (LR).",
                    )
                })
            });
            let rules = view.pick(|seen| match seen {
                O::Proxy(Proxy::Rule {
                    by: Maker::Haproxy,
                    at,
                    rule,
                }) => Some((at, rule)),
                _ => None,
            });
            for (fact, count) in view.pick(|seen| match seen {
                O::Proxy(Proxy::Denied {
                    by: Maker::Haproxy,
                    count,
                }) if *count > 0 => Some(*count),
                _ => None,
            }) {
                let says = rules
                    .first()
                    .map_or_else(String::new, |(_, (at, rule))| format!(": {rule} ({at})"));
                let case = found.find(fact, Proven, Direct, format!("A rule of HAProxy refused {count} requests while it was looked at{says}.")).from("1 during the look");
                rules.iter().for_each(|(fact, _)| {
                    case.cite(fact);
                });
            }
            if found.is_empty() {
                let made = view.any(|seen| {
                    own_503(seen).is_some_and(|after| after < AT_ONCE)
                        || matches!(
                            seen,
                            O::Wire(Wire::Made {
                                by: Maker::Haproxy,
                                mark: Mark::Other,
                                ..
                            })
                        )
                });
                let serves = backends(view).iter().any(|(_, (serving, _))| *serving > 0);
                for (fact, (at, rule)) in rules {
                    if made {
                        let sure = if serves { Proven } else { Likely };
                        found.find(fact, sure, Direct, format!("HAProxy answered by itself, and its configuration has a rule that does so: {rule} ({at})."));
                    }
                }
            }
        },
    },
    Row {
        id: Id::HapResource,
        role: Role::Fault,
        title: "HAProxy itself is out of something",
        means: "HAProxy has as many connections as its own `maxconn`, or no descriptor, memory or local port left.",
        outside: "HAProxy's page for 503, or connections that wait.",
        inside: "`RC` or `PC` in the log; CurrConns beside Maxconn in `show info`.",
        threshold: "Such a line, or as many connections as may be.",
        fix: "Raise the global `maxconn` and its descriptors (ulimit-n follows from it). Look for connections that nobody uses: shorten `timeout client` and `timeout http-keep-alive`.",
        commands: &[
            "echo 'show info' | socat stdio /run/haproxy/admin.sock | grep -E 'CurrConns|Maxconn|Ulimit-n'",
        ],
        effects: SHOWS,
        judge: |view, found| {
            found.tell(view, Proven, ByCode, |seen| ends(seen, Code::Resource, "HAProxy was out of connections, descriptors or memory (RC, PC), {count} times."));
            for (fact, (now, max)) in view.pick(|seen| match seen {
                O::Proxy(Proxy::Connections {
                    by: Maker::Haproxy,
                    now,
                    max,
                }) => Some((*now, *max)),
                _ => None,
            }) {
                if max > 0 && now >= max {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("HAProxy has {now} of {max} connections."),
                        )
                        .from(format!("{max}"));
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::HapServerTimeout,
        role: Role::Fault,
        title: "HAProxy gave up on a slow answer",
        means: "The server took the request and did not answer within `timeout server`, or closed the connection before it did. HAProxy answers 504 for the first and 502 for the second.",
        outside: "HAProxy's page for 504 after `timeout server`, or for 502.",
        inside: "`sH` (504), `SH` or `PH` (502) in the log.",
        threshold: "Such a line in the window, or the page.",
        fix: "Look at the server: what does it wait for? A time-out in front that is shorter than the slowest honest answer has to grow; otherwise bound the work behind it.",
        commands: &["grep -n 'timeout server' /etc/haproxy/haproxy.cfg"],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Proven, ByCode, |seen| {
                ends(
                    seen,
                    Code::ServerTimeout,
                    "{server} did not answer within `timeout server` (sH), {count} times.",
                )
                .or_else(|| {
                    ends(
                        seen,
                        Code::ServerClosed,
                        "{server} closed the connection before it answered (SH), {count} times.",
                    )
                })
                .or_else(|| {
                    ends(
                        seen,
                        Code::BadAnswer,
                        "{server} answered what HAProxy does not let through (PH), {count} times.",
                    )
                })
            });
            found.tell(view, Proven, ByCode, |seen| match seen {
                O::Wire(Wire::Made { by: Maker::Haproxy, mark: Mark::HaproxyTimeout, after, .. }) => {
                    Some(format!("HAProxy answered 504 after {}: the server did not answer in time.", Lasting(*after)))
                }
                O::Wire(Wire::Made { by: Maker::Haproxy, mark: Mark::HaproxyBadGateway, .. }) => {
                    Some("HAProxy answered 502: the server closed the connection, or answered what is no HTTP.".to_owned())
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::HapUnattributed,
        role: Role::Symptom,
        title: "HAProxy answered 503 by itself",
        means: "The answer is HAProxy's own page, which is the same for seven causes: all servers down, in maintenance, none listed, a refused connect, a connect time-out, a queue time-out, or a rule. The time that it took narrows them down.",
        outside: "107 bytes, no Server and no Date header, *No server is available to handle this request.*",
        inside: "HAProxy's socket or log says which.",
        threshold: "The page.",
        fix: "Let `why503` read HAProxy's socket or log: `--haproxy-socket`, `--access-log`. At once means that it had no server, or a rule; after retries a refused connect; after a time-out of the configuration a queue or a connect.",
        commands: &[
            "why503 URL --haproxy-socket /run/haproxy/admin.sock",
            "grep -n 'stats socket' /etc/haproxy/haproxy.cfg",
        ],
        effects: &[],
        judge: |view, found| {
            for (fact, after) in view.pick(own_503) {
                let guess = if after < AT_ONCE {
                    "at once: it has no server to ask (all down, in maintenance, or none listed), or a rule says so"
                } else if after < Duration::from_millis(3_500) {
                    "after as long as its retries of a refused connect take"
                } else {
                    "after as long as a time-out takes: for a place in its queue, or for a connection"
                };
                found.find(
                    fact,
                    Likely,
                    Timing,
                    format!(
                        "HAProxy answered 503 by itself, {guess} ({}).",
                        Lasting(after)
                    ),
                );
            }
        },
    },
];

/// A refusal for which nobody was asked; a connect on the same network takes longer.
const AT_ONCE: Duration = Duration::from_millis(100);

/// The time that HAProxy's own page for 503 took.
fn own_503(seen: &O) -> Option<Duration> {
    match seen {
        O::Wire(Wire::Made {
            by: Maker::Haproxy,
            mark: Mark::HaproxyNoServer,
            after,
            ..
        }) => Some(*after),
        _ => None,
    }
}

/// A sentence for each line of the log with this code.
fn ends(seen: &O, which: Code, says: &str) -> Option<String> {
    match seen {
        O::Proxy(Proxy::HaproxyEnds {
            code,
            server,
            count,
            ..
        }) if *code == which && *count > 0 => {
            let server = if server.as_str().is_empty() {
                "a server"
            } else {
                server.as_str()
            };
            Some(
                says.replace("{count}", &count.to_string())
                    .replace("{server}", server),
            )
        }
        _ => None,
    }
}

fn backends<'a>(view: &View<'a>) -> Vec<(&'a Fact, (u64, u64))> {
    view.pick(|seen| match seen {
        O::Proxy(Proxy::Backend {
            by: Maker::Haproxy,
            serving,
            listed,
            ..
        }) => Some((*serving, *listed)),
        _ => None,
    })
}

type Listed<'a> = Vec<(&'a Fact, ServerIs, &'a Text)>;

/// Backends of this proxy of which no server serves, with their servers.
pub(super) fn out_of_service<'a>(view: &View<'a>, whose: Maker) -> Vec<(&'a Fact, Listed<'a>)> {
    let servers = view.pick(|seen| match seen {
        O::Proxy(Proxy::Server {
            by, is, last_check, ..
        }) if *by == whose => Some((*is, last_check)),
        _ => None,
    });
    let backends = view.pick(|seen| match seen {
        O::Proxy(Proxy::Backend {
            by,
            serving: 0,
            listed,
            ..
        }) if *by == whose && *listed > 0 => Some(()),
        _ => None,
    });
    let of = |backend: &Fact| {
        servers
            .iter()
            .filter(|(fact, _)| fact.tied == backend.tied)
            .map(|(fact, (is, check))| (*fact, *is, *check))
            .collect()
    };
    backends
        .into_iter()
        .map(|(backend, ())| (backend, of(backend)))
        .filter(|(_, servers): &(_, Listed<'a>)| !servers.is_empty())
        .collect()
}

/// Refusals that took as long as a time-out of HAProxy's configuration, once or a few times.
fn by_time(view: &View<'_>, name: &str, mut tell: impl FnMut(&Fact, Duration, u32)) {
    let timeouts = view.pick(|seen| match seen {
        O::Proxy(Proxy::Timeout {
            by: Maker::Haproxy,
            name: it,
            value,
        }) if it.as_str().contains(name) => Some(*value),
        _ => None,
    });
    for (fact, after) in view.pick(own_503) {
        for (_, value) in &timeouts {
            let fits = |tries: &u32| {
                let whole = value.saturating_mul(*tries);
                let slack = Duration::from_millis(150).max(whole / 10);
                *value >= Duration::from_millis(200)
                    && after >= whole
                    && after <= whole.saturating_add(slack)
            };
            if let Some(tries) = (1..=if name == "queue" { 1 } else { 5 }).find(fits) {
                tell(fact, after, tries);
            }
        }
    }
}
