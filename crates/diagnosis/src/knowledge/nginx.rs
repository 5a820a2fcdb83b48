//! nginx. A stock nginx never turns a failed upstream into a 503: that is its 502 or 504. So a
//! 503 of its own is a limit, a `return`, or an answer that it passed on.

use std::time::Duration;

use super::haproxy::out_of_service;
use crate::{
    Confidence::{self, Likely, Possible, Proven},
    Fact, Id, Lasting, Maker, Mark, NginxLog as Log, Observation as O, Proxy, Role, Text, Wire,
    engine::{
        Found,
        Strength::{Code, Direct, Timing},
        View,
    },
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::NgxLimitReq,
        role: Role::Fault,
        title: "nginx limits the rate of requests",
        means: "`limit_req` counts requests for each key and answers those that exceed rate and burst with 503, unless told otherwise. The service was not asked.",
        outside: "nginx's page for 503, at once, for some requests and not for others.",
        inside: "`limiting requests, excess: … by zone` in the error log; `$limit_req_status` is REJECTED and `$upstream_status` is `-` in an access log that writes them.",
        threshold: "Such a line in the window. Lines that say *dry run* refuse nobody.",
        fix: "Set rate and burst by what clients really do, and look at the key: behind another proxy all clients may share one address. Let it answer 429 (`limit_req_status 429`), so that nobody looks for an outage.",
        commands: &[
            "grep 'limiting requests' /var/log/nginx/error.log | tail",
            "nginx -T 2>/dev/null | grep -n limit_req",
        ],
        effects: &[Id::NgxUnattributed],
        judge: |view, found| {
            found.tell(view, Proven, Code, |seen| {
                says(seen, Log::LimitReq).map(|(line, count)| {
                    format!("nginx's rate limit refused {count} requests: {line}")
                })
            });
            by_rule(view, found, "limit_req ", Likely, "a limit of the rate");
        },
    },
    Row {
        id: Id::NgxLimitConn,
        role: Role::Fault,
        title: "nginx limits connections",
        means: "`limit_conn` counts what runs at once for each key, and answers what exceeds it with 503.",
        outside: "nginx's page for 503, at once, while long requests of the same key run.",
        inside: "`limiting connections by zone` in the error log; `$limit_conn_status` is REJECTED.",
        threshold: "Such a line in the window.",
        fix: "Raise it, or mend the key: an empty key is never limited, and one that all clients share limits everybody together.",
        commands: &[
            "grep 'limiting connections' /var/log/nginx/error.log | tail",
            "nginx -T 2>/dev/null | grep -n limit_conn",
        ],
        effects: &[Id::NgxUnattributed],
        judge: |view, found| {
            found.tell(view, Proven, Code, |seen| {
                says(seen, Log::LimitConn).map(|(line, count)| {
                    format!("nginx's limit of connections refused {count} requests: {line}")
                })
            });
            let other = !rules(view, "limit_req ").is_empty();
            let sure = if other { Possible } else { Likely };
            by_rule(view, found, "limit_conn ", sure, "a limit of connections");
        },
    },
    Row {
        id: Id::NgxReturn503,
        role: Role::Fault,
        title: "nginx's configuration says 503",
        means: "A `return 503`, or an `error_page` that ends in one, answers without asking the service. It is mostly a maintenance switch that was left on.",
        outside: "nginx's page for 503, or one's own page, at once, for every request of the location.",
        inside: "The access log has status 503 with `-` for the upstream and for both limits; the line in `nginx -T`.",
        threshold: "What remains when neither a limit nor an upstream made it; with the line of the configuration it is proven.",
        fix: "Look at the line, and at the file or the variable that switches it.",
        commands: &["nginx -T 2>/dev/null | grep -nE 'return +503|error_page.*503'"],
        effects: &[Id::NgxUnattributed],
        judge: |view, found| {
            let limited = view.any(|seen| {
                says(seen, Log::LimitReq)
                    .or_else(|| says(seen, Log::LimitConn))
                    .is_some()
            });
            let made = view.any(|seen| {
                own(seen).is_some()
                    || matches!(
                        seen,
                        O::Wire(Wire::Made {
                            by: Maker::Nginx | Maker::IngressNginx,
                            mark: Mark::Other,
                            status: 503,
                            ..
                        })
                    )
            });
            let unasked = view.any(|seen| says(seen, Log::NoUpstream).is_some());
            let limits = !rules(view, "limit_").is_empty();
            for (begin, sure) in [
                ("return ", Proven),
                // Whether the condition holds is known to nginx alone.
                ("if ", if limits { Possible } else { Likely }),
            ] {
                for (fact, at, rule) in rules(view, begin) {
                    if (made || unasked) && !limited {
                        let says =
                            format!("nginx's configuration answers 503 itself: {rule} ({at}).");
                        found.find(fact, sure, Direct, says);
                    }
                }
            }
            if found.is_empty() && !limited {
                found.tell(view, Likely, Code, |seen| says(seen, Log::NoUpstream).map(|(_, count)| format!("nginx answered {count} requests with 503 without asking an upstream, and no limit says so: its configuration does.")));
            }
        },
    },
    Row {
        id: Id::NgxPassthrough,
        role: Role::Symptom,
        title: "nginx passed on a 503 of the service",
        means: "The service behind nginx answered 503 and nginx handed it on. The cause is there, not here.",
        outside: "503 that is not nginx's page, although the Server header says nginx: nginx writes that on everything.",
        inside: "`$upstream_status` is 503 and `$upstream_addr` names the server.",
        threshold: "Equal codes of nginx and the upstream.",
        fix: "Ask that upstream directly.",
        commands: &[
            "why503 http://UPSTREAM/",
            "grep ' 503 ' /var/log/nginx/access.log | tail",
        ],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Proven, Code, |seen| says(seen, Log::PassedOn).map(|(line, count)| format!("The upstream answered 503 itself, {count} times, and nginx passed it on: {line}")));
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Wire(Wire::Passed {
                    by: Maker::Nginx | Maker::IngressNginx,
                    status,
                }) => Some(format!(
                    "What is behind nginx answered {status}, and nginx passed it on."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::NgxNoLive,
        role: Role::Fault,
        title: "nginx reaches no upstream",
        means: "Every server of the upstream refuses, closes early, or was set aside after failures, and nginx answers 502. In a group of several, a server that failed is not asked for `fail_timeout`; a group of one is never set aside.",
        outside: "nginx's page for **502**, at once.",
        inside: "`connect() failed (111: Connection refused)`, `no live upstreams`, `upstream server temporarily disabled` or `upstream prematurely closed connection` in the error log.",
        threshold: "Such a line in the window.",
        fix: "Start or mend the service behind it. If only some of its servers fail, look at `max_fails` and `fail_timeout`.",
        commands: &[
            "tail -50 /var/log/nginx/error.log",
            "nginx -T 2>/dev/null | grep -nA8 '^ *upstream'",
            "ss -ltnp",
        ],
        effects: &[],
        judge: |view, found| {
            for about in [
                Log::NoLive,
                Log::ConnectRefused,
                Log::Disabled,
                Log::Closed,
                Log::NameUnknown,
            ] {
                found.tell(view, Proven, Code, |seen| {
                    says(seen, about).map(|(line, count)| {
                        format!("nginx reaches no upstream that works ({count} times): {line}")
                    })
                });
            }
            found.tell(view, Likely, Code, |seen| match seen {
                O::Wire(Wire::Made { by: Maker::Nginx | Maker::IngressNginx, mark: Mark::NginxBadGateway, after, .. }) => {
                    Some(format!("nginx answered 502 after {}: the upstream refuses connections, or closes them before it answers.", Lasting(*after)))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::NgxTimeout,
        role: Role::Fault,
        title: "nginx gave up waiting for the upstream",
        means: "The upstream took no connection, or took the request and did not answer, within nginx's time-out. nginx answers 504.",
        outside: "nginx's page for **504** after the time-out (60 s by default).",
        inside: "`upstream timed out (110: …) while connecting to upstream` or `while reading response header` in the error log.",
        threshold: "Such a line in the window, or the page.",
        fix: "While connecting: look at the accept queue of the upstream and at firewalls. While reading: the service is slow; find what it waits for before you raise `proxy_read_timeout`.",
        commands: &[
            "grep 'upstream timed out' /var/log/nginx/error.log | tail",
            "ss -ltn",
        ],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Proven, Code, |seen| {
                says(seen, Log::ConnectTimeout).map(|(line, count)| {
                    format!(
                        "nginx got no connection to the upstream in time, {count} times: {line}"
                    )
                })
            });
            found.tell(view, Proven, Code, |seen| {
                says(seen, Log::ReadTimeout).map(|(line, count)| {
                    format!("The upstream did not answer nginx in time, {count} times: {line}")
                })
            });
            found.tell(view, Likely, Timing, |seen| match seen {
                O::Wire(Wire::Made {
                    by: Maker::Nginx | Maker::IngressNginx,
                    mark: Mark::NginxTimeout,
                    after,
                    ..
                }) => Some(format!(
                    "nginx answered 504 after {}: the upstream did not answer in time.",
                    Lasting(*after)
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::NgxWorkerConns,
        role: Role::Fault,
        title: "nginx has no connection left",
        means: "A worker of nginx has as many connections as `worker_connections` allows, those to upstreams included. It closes idle ones early and then drops new ones.",
        outside: "Slow or closed connections.",
        inside: "`worker_connections are not enough` in the error log.",
        threshold: "Such a line in the window.",
        fix: "Raise `worker_connections`, and `worker_rlimit_nofile` with it: each proxied request takes two.",
        commands: &[
            "grep 'worker_connections' /var/log/nginx/error.log | tail -3",
            "nginx -T 2>/dev/null | grep -nE 'worker_(connections|processes|rlimit)'",
        ],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Proven, Code, |seen| {
                says(seen, Log::WorkerConnections).map(|(line, count)| {
                    format!("nginx's workers have no connection left, {count} times: {line}")
                })
            });
        },
    },
    Row {
        id: Id::NgxUnattributed,
        role: Role::Symptom,
        title: "nginx answered 503 by itself",
        means: "The answer is nginx's own page for 503. A stock nginx makes it for a rate limit, a limit of connections, or because its configuration says so, and never because an upstream is dead: that is its 502.",
        outside: "503 Service Temporarily Unavailable with nginx's page.",
        inside: "The error log tells limits; what no line explains is the configuration.",
        threshold: "The page.",
        fix: "Let `why503` read the error log and the configuration (`--nginx-error-log`, and as a user who may run `nginx -T`).",
        commands: &[
            "why503 URL --nginx-error-log /var/log/nginx/error.log",
            "nginx -T 2>/dev/null | grep -nE 'limit_(req|conn)|return +503'",
        ],
        effects: &[],
        judge: |view, found| {
            for (fact, after) in view.pick(own) {
                found.find(fact, Likely, Code, format!("nginx answered 503 by itself after {}: a limit of requests or connections, or its configuration. A dead upstream would be a 502.", Lasting(after)));
            }
            for (fact, _) in out_of_service(view, Maker::IngressNginx) {
                found.find(
                    fact,
                    Possible,
                    Direct,
                    "The ingress has no endpoint to ask, for which it answers 503.",
                );
            }
        },
    },
];

/// nginx's own page for 503: how long it took.
fn own(seen: &O) -> Option<Duration> {
    match seen {
        O::Wire(Wire::Made {
            by: Maker::Nginx | Maker::IngressNginx,
            mark: Mark::NginxUnavailable,
            after,
            ..
        }) => Some(*after),
        _ => None,
    }
}

/// What nginx's log says about this, and how often.
fn says(seen: &O, which: Log) -> Option<(&Text, u64)> {
    match seen {
        O::Proxy(Proxy::NginxSays { about, line, count }) if *about == which && *count > 0 => {
            Some((line, *count))
        }
        _ => None,
    }
}

/// The rules of the configuration on the way of the request that begin with this word.
fn rules<'a>(view: &View<'a>, begin: &str) -> Vec<(&'a Fact, &'a Text, &'a Text)> {
    let found = view.pick(|seen| match seen {
        O::Proxy(Proxy::Rule {
            by: Maker::Nginx | Maker::IngressNginx,
            at,
            rule,
        }) if rule.as_str().starts_with(begin) => Some((at, rule)),
        _ => None,
    });
    found
        .into_iter()
        .map(|(fact, (at, rule))| (fact, at, rule))
        .collect()
}

/// Without a log, a limit on the way explains a page of nginx's own, unless a `return` is there
/// too: that is asked before any limit.
fn by_rule(view: &View<'_>, found: &mut Found<'_>, begin: &str, sure: Confidence, what: &str) {
    let made = view.any(|seen| own(seen).is_some());
    if !found.is_empty() || !made || !rules(view, "return ").is_empty() {
        return;
    }
    for (fact, at, rule) in rules(view, begin) {
        let says =
            format!("nginx answered 503 by itself, and the location has {what}: {rule} ({at}).");
        found.find(fact, sure, Direct, says);
    }
}
