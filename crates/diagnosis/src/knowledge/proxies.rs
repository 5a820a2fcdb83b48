//! The other makers of 503s, and what is said of a proxy whose name is not known.

use super::haproxy::out_of_service;
use crate::{
    Confidence::{Likely, Possible, Proven},
    Id, Lasting, Maker, Mark, Observation as O, Outcome, Proxy, Role, Server, ServerKind, Via,
    Wire,
    engine::{
        Found,
        Strength::{Code, Direct, Timing},
        View,
    },
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::TraefikNoServer,
        role: Role::Fault,
        title: "Traefik has no server for the service",
        means: "All servers of the service failed their health check, or it has none. Traefik answers 503 without trying.",
        outside: "503 at once with the body `no available server`.",
        inside: "The service's servers and their status in Traefik's API.",
        threshold: "The body.",
        fix: "Look at the service's servers (API or dashboard) and ask the check's path of one directly. With none at all, look at labels, selectors and endpoints.",
        commands: &["curl -s http://127.0.0.1:8080/api/http/services"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Traefik,
                &[Mark::TraefikNoServer],
                Proven,
                "Traefik has no server that passes its check, or none at all",
            );
            for (fact, servers) in out_of_service(view, Maker::Traefik) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "None of the {} servers of Traefik's {} is up.",
                        servers.len(),
                        fact.tied
                    ),
                );
            }
        },
    },
    Row {
        id: Id::TraefikRefused,
        role: Role::Fault,
        title: "Traefik cannot connect to the service",
        means: "The server refuses connections or closes them before it answers. Without a health check Traefik goes on trying it and answers 502.",
        outside: "**502** at once with the body `Bad Gateway` and no Server header.",
        inside: "Traefik's log at level debug, or the server's port.",
        threshold: "The body with the status.",
        fix: "Start the service, or correct its port. Add a health check, so that others take over.",
        commands: &["ss -ltn", "curl -s http://127.0.0.1:8080/api/http/services"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Traefik,
                &[Mark::TraefikBadGateway],
                Likely,
                "Traefik could not connect to the server, or it closed the connection",
            )
        },
    },
    Row {
        id: Id::TraefikTimeout,
        role: Role::Fault,
        title: "Traefik gave up waiting",
        means: "The server's host did not answer the handshake (a full accept queue, dropped packets), or the answer took too long.",
        outside: "**504** with the body `Gateway Timeout`, after 30 s by default.",
        inside: "The accept queue of the server.",
        threshold: "The body with the status.",
        fix: "Look at the server's accept queue and at what it waits for.",
        commands: &["ss -ltn"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Traefik,
                &[Mark::TraefikTimeout],
                Likely,
                "Traefik got no connection or no answer in time",
            )
        },
    },
    Row {
        id: Id::CaddyNoUpstream,
        role: Role::Fault,
        title: "Caddy has no upstream that passes its check",
        means: "All upstreams failed their active health check. Caddy answers 503 with nothing in it.",
        outside: "503 at once, `Server: Caddy`, an empty body.",
        inside: "`no upstreams available` in its log; /reverse_proxy/upstreams of its admin interface.",
        threshold: "The empty answer; a `respond 503` without a body looks the same, so the log or the admin interface has to prove it.",
        fix: "Ask the check's path of an upstream directly.",
        commands: &[
            "curl -s http://127.0.0.1:2019/reverse_proxy/upstreams",
            "grep -n 'health_uri\\|respond' /etc/caddy/Caddyfile",
        ],
        effects: &[],
        judge: |view, found| {
            // What `respond` answers may look the same.
            let is_ruled = |seen: &O| {
                matches!(
                    seen,
                    O::Proxy(Proxy::Rule {
                        by: Maker::Caddy,
                        ..
                    })
                )
            };
            if !view.any(is_ruled) {
                made(
                    view,
                    found,
                    Maker::Caddy,
                    &[Mark::CaddyEmpty],
                    Likely,
                    "Caddy has no upstream that passes its check",
                );
            }
            for (fact, servers) in out_of_service(view, Maker::Caddy) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "None of the {} upstreams of Caddy's {} passes its check.",
                        servers.len(),
                        fact.tied
                    ),
                );
            }
            found.tell(view, Proven, Code, |seen| match seen {
                O::Proxy(Proxy::Says {
                    by: Maker::Caddy,
                    line,
                    count,
                }) if line.as_str().contains("no upstreams available") => Some(format!(
                    "Caddy's log says {count} times that no upstream is available."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::CaddyRefused,
        role: Role::Fault,
        title: "Caddy cannot connect to the upstream",
        means: "The upstream refuses connections, or does not answer the handshake within `dial_timeout`. Caddy answers 502 with nothing in it.",
        outside: "**502**, `Server: Caddy`, an empty body; at once if refused.",
        inside: "`dial tcp …: connect: connection refused` in its log.",
        threshold: "The empty answer with the status.",
        fix: "Start the service or correct its address. Add an active health check.",
        commands: &["ss -ltn", "journalctl -u caddy -n 20 --no-pager"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Caddy,
                &[Mark::CaddyBadGateway],
                Proven,
                "Caddy could not connect to the upstream",
            )
        },
    },
    Row {
        id: Id::CaddyRespond,
        role: Role::Fault,
        title: "Caddy's configuration says 503",
        means: "A `respond` or `error` of the configuration answers without asking anybody.",
        outside: "503 at once, `Server: Caddy`, with whatever body is configured.",
        inside: "The line in the Caddyfile.",
        threshold: "A body of its own, or the line.",
        fix: "Look at the line and at the matcher that leads there.",
        commands: &["grep -nE 'respond|error' /etc/caddy/Caddyfile"],
        effects: &[],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Caddy,
                &[Mark::Other],
                Likely,
                "Caddy's configuration answers 503 itself",
            );
            let made = view.any(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Made {
                        by: Maker::Caddy,
                        status: 503,
                        ..
                    })
                )
            });
            for (fact, (at, rule)) in view.pick(|seen| match seen {
                O::Proxy(Proxy::Rule {
                    by: Maker::Caddy,
                    at,
                    rule,
                }) if made => Some((at, rule)),
                _ => None,
            }) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!("Caddy's configuration answers by itself: {rule} ({at})."),
                );
            }
        },
    },
    Row {
        id: Id::ProxyRateLimit,
        role: Role::Fault,
        title: "A proxy limits the rate",
        means: "Something on the way answers 429 because this client sent more than it may.",
        outside: "429, often with `Retry-After`.",
        inside: "The limit in that proxy's configuration.",
        threshold: "The status.",
        fix: "Wait as long as it says. Look whether all clients share one key.",
        commands: &["curl -si URL"],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Proven, Code, |seen| match seen {
                O::Wire(Wire::Made {
                    by,
                    mark: Mark::RateLimited,
                    ..
                }) => Some(format!("{by} refused the request by a limit of its rate.")),
                _ => None,
            });
        },
    },
    Row {
        id: Id::ProxyRoute,
        role: Role::Fault,
        title: "The proxy knows no route",
        means: "The proxy has no route or no service for this host and path, and says *not found*.",
        outside: "404 of the proxy itself.",
        inside: "The proxy's routes.",
        threshold: "The proxy's own page for 404.",
        fix: "Compare host and path with the proxy's rules.",
        commands: &["curl -si URL"],
        effects: &[Id::AppWrongPath],
        judge: |view, found| {
            made(
                view,
                found,
                Maker::Traefik,
                &[Mark::TraefikNotFound],
                Likely,
                "Traefik has no route for this host and path",
            )
        },
    },
    Row {
        id: Id::ProxyUpstreamDown,
        role: Role::Symptom,
        title: "A proxy on the way reaches nobody",
        means: "A proxy answered 502 or 503 by itself because what is behind it refuses, is gone, or closes early.",
        outside: "A page of the proxy.",
        inside: "That proxy's own log.",
        threshold: "The page, or that the service answers when it is asked directly.",
        fix: "Ask the service directly, and read the proxy's log at that moment.",
        commands: &["curl -si URL"],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Likely, Code, |seen| match seen {
                O::Wire(Wire::Made { by: by @ (Maker::Cloudflare | Maker::Heroku | Maker::Iis), status, .. }) => {
                    Some(format!("{by} answered {status} by itself: it reaches nobody behind it, or holds it for unfit."))
                }
                O::Wire(Wire::Made { by: Maker::Apache, mark: Mark::ApacheBadGateway, .. }) => {
                    Some("Apache answered 502: the backend closed the connection, or answered what is no HTTP.".to_owned())
                }
                _ => None,
            });
            // The proxy's own row says what it makes of it; this is why.
            for (fact, how) in view.pick(|seen| match seen {
                O::Server(Server::Reached {
                    kind: ServerKind::Backend,
                    how,
                    ..
                }) => Some(how),
                _ => None,
            }) {
                found.find(
                    fact,
                    Possible,
                    Direct,
                    format!(
                        "The server behind the proxy ({}) cannot be reached: {how}.",
                        fact.tied.name().unwrap_or("one")
                    ),
                );
            }
            let given = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        via: Via::Given,
                        outcome: Outcome::Answered(502..=504),
                        ..
                    })
                )
            });
            let well = view.all(|seen| matches!(seen, O::Wire(Wire::Probe { via: Via::Direct, outcome: Outcome::Answered(status), .. }) if *status < 500));
            if let (Some(given), Some(well)) = (given.first(), well.first()) {
                found.find(given, Possible, Direct, "The service answers when it is asked directly, and not by way of the proxy.").cite(well);
            }
        },
    },
    Row {
        id: Id::ProxyUpstreamSlow,
        role: Role::Symptom,
        title: "A proxy on the way gave up waiting",
        means: "A proxy answered 504: what is behind it took the request, or the connection, and did not answer in time.",
        outside: "504 after a round number of seconds.",
        inside: "That proxy's log and its time-outs.",
        threshold: "The status, from a maker without a row of its own.",
        fix: "Find what the service waits for.",
        commands: &["curl -si URL -w '%{time_total}'"],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Likely, Timing, |seen| match seen {
                O::Wire(Wire::Made {
                    by:
                        by @ (Maker::Apache
                        | Maker::Cloudflare
                        | Maker::Heroku
                        | Maker::Iis
                        | Maker::Varnish),
                    status: 504,
                    after,
                    ..
                }) => Some(format!(
                    "{by} answered 504 after {}: what is behind it did not answer in time.",
                    Lasting(*after)
                )),
                O::Wire(Wire::Unmarked { status: 504, .. }) => Some(
                    "Something on the way answered 504: what is behind it did not answer in time."
                        .to_owned(),
                ),
                _ => None,
            });
        },
    },
    Row {
        id: Id::ProxyPassthrough,
        role: Role::Symptom,
        title: "A proxy passed the answer on",
        means: "The proxy's marks say that it only handed on what the service behind it answered.",
        outside: "`via`, `x-envoy-upstream-service-time`, `x-varnish` or the like, beside a body that is not the proxy's.",
        inside: "The service behind it.",
        threshold: "The marks, which each maker has of its own.",
        fix: "Ask the service directly.",
        commands: &["curl -si URL"],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Wire(Wire::Passed { by, status })
                    if *status >= 500 && !matches!(by, Maker::Nginx | Maker::IngressNginx) =>
                {
                    Some(format!(
                        "What is behind {by} answered {status}, and {by} passed it on."
                    ))
                }
                _ => None,
            });
            found.tell(view, Proven, Code, |seen| match seen {
                O::Proxy(Proxy::EnvoyFlagged {
                    flag: crate::EnvoyFlag::ViaUpstream,
                    host,
                    count,
                    ..
                }) if *count > 0 => Some(format!(
                    "The upstream {host} answered itself, {count} times, and Envoy passed it on."
                )),
                O::Proxy(Proxy::HaproxyEnds {
                    code: crate::HaproxyCode::PassedOn,
                    server,
                    count,
                    ..
                }) if *count > 0 => Some(format!(
                    "The server {server} answered itself, {count} times, and HAProxy passed it on."
                )),
                _ => None,
            });
        },
    },
];

/// A finding for each answer that this maker made with one of these marks.
pub(super) fn made(
    view: &View<'_>,
    found: &mut Found<'_>,
    whose: Maker,
    marks: &[Mark],
    sure: crate::Confidence,
    says: &str,
) {
    for (fact, (mark, status)) in view.pick(|seen| match seen {
        O::Wire(Wire::Made {
            by, mark, status, ..
        }) if *by == whose && marks.contains(mark) => Some((*mark, *status)),
        _ => None,
    }) {
        found.find(
            fact,
            sure,
            Code,
            format!("{says}: its answer is {status}, *{mark}*."),
        );
    }
}
