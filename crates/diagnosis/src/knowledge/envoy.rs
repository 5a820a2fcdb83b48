//! Envoy, and the meshes made of it. Its response flags are the best cause codes of any
//! proxy; its bodies tell most of them too.

use super::haproxy::out_of_service;
use crate::{
    Confidence::{Likely, Proven},
    EnvoyFlag as Flag, Id, Maker, Mark, Observation as O, Outcome, Proxy, Role, Wire,
    engine::{
        Found,
        Strength::{Code, Direct},
        View,
    },
    knowledge::Row,
};

const LOOK: &[&str] = &[
    "curl -s http://127.0.0.1:9901/clusters | grep -E 'health_flags|cx_connect_fail|rq_error'",
    "curl -s 'http://127.0.0.1:9901/stats?filter=upstream_(rq|cx)&usedonly'",
];

/// A row for one flag.
macro_rules! flag {
    (
        $id:ident, $flag:ident, $role:ident, $title:literal;
        means $means:literal;
        outside $outside:literal;
        inside $inside:literal;
        fix $fix:literal;
        marks [$($mark:ident),*];
        says $says:literal
    ) => {
        Row {
            id: Id::$id,
            role: Role::$role,
            title: $title,
            means: $means,
            outside: $outside,
            inside: $inside,
            threshold: "The flag, or the body that goes with it.",
            fix: $fix,
            commands: LOOK,
            effects: &[],
            judge: |view, found| judge(view, found, Flag::$flag, &[$(Mark::$mark),*], $says),
        }
    };
}

pub(super) const ROWS: &[Row] = &[
    Row {
        judge: |view, found| {
            for (fact, servers) in out_of_service(view, Maker::Envoy) {
                found.find(
                    fact,
                    Proven,
                    Direct,
                    format!(
                        "None of the {} endpoints of Envoy's {} is healthy.",
                        servers.len(),
                        fact.tied
                    ),
                );
            }
            judge(
                view,
                found,
                Flag::Uh,
                &[Mark::EnvoyNoHealthy],
                "Envoy has no healthy endpoint to ask",
            );
        },
        ..flag!(
            EnvoyUh, Uh, Fault, "Envoy has no healthy endpoint";
            means "The cluster has no endpoints, or all of them failed their health check or were ejected as outliers, and the panic threshold does not let Envoy ask them all the same.";
            outside "503 at once with the body `no healthy upstream`.";
            inside "Flag UH, details `no_healthy_upstream`; health flags in the admin interface's /clusters.";
            fix "Look what the endpoints' health flags say: failed_active_hc leads to the check's path, failed_outlier_check to errors they gave. With no endpoints at all, look at discovery and at the selector.";
            marks [];
            says ""
        )
    },
    flag!(
        EnvoyUf, Uf, Fault, "Envoy cannot connect to the upstream";
        means "The connection to the endpoint was refused, or was not answered within `connect_timeout`, also after retries.";
        outside "503 with `upstream connect error or disconnect/reset before headers`, reset reason *connection failure* or *connection timeout*.";
        inside "Flag UF with the reason in the details: `Connection_refused`, or `connection_timeout` for a full accept queue or dropped packets.";
        fix "Refused: start the service, or correct the endpoint's port. Time-out: look at its accept queue and at firewalls. An active health check would take the endpoint out.";
        marks [EnvoyConnectionFailure, EnvoyConnectionTimeout];
        says "Envoy could not connect to the upstream"
    ),
    flag!(
        EnvoyUo, Uo, Fault, "Envoy's own circuit breaker overflowed";
        means "The cluster has as many connections, pending or running requests as its `circuit_breakers` allow, 1,024 by default, or a retry budget is used up. The upstream was not asked.";
        outside "503 at once, reset reason *overflow*, with `x-envoy-overloaded: true`.";
        inside "Flag UO; `upstream_rq_pending_overflow` and `upstream_cx_overflow` of the cluster.";
        fix "Find out why requests pile up: a slow upstream, nearly always. Raise the thresholds only if the upstream can do more at once.";
        marks [EnvoyOverflow];
        says "Envoy's circuit breaker for the cluster is full"
    ),
    flag!(
        EnvoyUc, Uc, Fault, "The upstream closed Envoy's connection";
        means "The connection ended after the request was sent and before the answer began: the service crashed, was stopped without a drain, or closed an idle connection in the same moment as Envoy used it.";
        outside "503, reset reason *connection termination*.";
        inside "Flag UC.";
        fix "If it is rare and at low traffic, make the service keep idle connections longer than Envoy does (deploy.keepalive_race). If it comes in bursts, look for restarts and crashes at those moments.";
        marks [EnvoyConnectionTermination];
        says "The upstream closed the connection before it answered"
    ),
    flag!(
        EnvoyUr, Ur, Fault, "The upstream reset the stream";
        means "The service, or a proxy in front of it, reset the HTTP/2 stream before the answer began.";
        outside "503, reset reason *remote reset*.";
        inside "Flag UR.";
        fix "Look at the upstream's log: a refused stream is a bound of its own on streams, or its shutdown.";
        marks [EnvoyRemoteReset];
        says "The upstream reset the stream before it answered"
    ),
    flag!(
        EnvoyLr, Lr, Fault, "Envoy reset the connection itself";
        means "Envoy ended its side of the connection to the upstream before an answer, mostly for a protocol error or a closed pool.";
        outside "503, with another reset reason.";
        inside "Flag LR.";
        fix "Read the details in the access log, and Envoy's own log at that moment: a protocol that does not fit (HTTP/2 against HTTP/1) looks like this.";
        marks [EnvoyOtherReset];
        says "Envoy reset its connection to the upstream"
    ),
    flag!(
        EnvoyLh, Lh, Fault, "This Envoy failed its own health check";
        means "Envoy's health check filter was told to fail, so Envoy refuses what comes for the local service.";
        outside "503 at once.";
        inside "Flag LH; `/healthcheck/fail` was posted to the admin interface.";
        fix "Post `/healthcheck/ok`, if what it was failed for is over.";
        marks [];
        says "Envoy's own health check fails"
    ),
    flag!(
        EnvoyDo, Do, Fault, "Envoy drops load on purpose";
        means "The cluster's load report policy (`drop_overloads`) tells Envoy to drop a share of the requests.";
        outside "503 at once for a share of requests, with `x-envoy-overloaded`.";
        inside "Flag DO, details `drop_overload`.";
        fix "Look at the control plane that set the share.";
        marks [];
        says "Envoy drops a share of the requests because its control plane says so"
    ),
    flag!(
        EnvoyUdo, Udo, Fault, "Envoy drops everything on purpose";
        means "The cluster's policy tells Envoy to drop all requests.";
        outside "503 at once for every request.";
        inside "Flag UDO, details `unconditional_drop_overload`.";
        fix "Look at the control plane that set it.";
        marks [];
        says "Envoy drops all requests because its control plane says so"
    ),
    flag!(
        EnvoyOm, Om, Fault, "Envoy itself is out of resources";
        means "Envoy's overload manager saw its own memory or connections run out and stopped taking requests.";
        outside "503 at once, with `x-envoy-local-overloaded` if that is switched on.";
        inside "Flag OM; `overload.*` in the statistics.";
        fix "Give Envoy more memory or connections, or lower what it buffers.";
        marks [EnvoyLocalOverload];
        says "Envoy itself is out of resources"
    ),
    Row {
        judge: |view, found| {
            judge(
                view,
                found,
                Flag::Nc,
                &[],
                "Envoy's route leads to a cluster that does not exist",
            );
            found.tell(view, Likely, Code, |seen| match seen {
                O::Wire(Wire::Made { by: Maker::Envoy, mark: Mark::EnvoyEmpty, status: 503, .. }) => {
                    Some("Envoy answered 503 with an empty body: its route leads to a cluster that does not exist, or a direct response says so.".to_owned())
                }
                _ => None,
            });
        },
        ..flag!(
            EnvoyNc, Nc, Fault, "Envoy's route leads nowhere";
            means "The route names a cluster that Envoy does not know: a name that was misspelt, or one that its control plane has not sent or has taken back.";
            outside "503 at once with an empty body.";
            inside "Flag NC, details `cluster_not_found`.";
            fix "Compare the route's cluster with the clusters that Envoy has (/config_dump, /clusters). In a mesh: a destination without a service, or a subset that is not defined.";
            marks [];
            says ""
        )
    },
    Row {
        effects: &[],
        ..flag!(
            EnvoyUt, Ut, Fault, "Envoy gave up waiting for the upstream";
            means "The upstream took the request and did not answer within the route's time-out, 15 s by default. Envoy answers 504.";
            outside "**504** with `upstream request timeout` after the time-out.";
            inside "Flag UT, details `response_timeout`.";
            fix "Find what the service waits for; raise the route's time-out only for answers that are meant to take long.";
            marks [EnvoyTimeout];
            says "The upstream did not answer within Envoy's time-out"
        )
    },
    flag!(
        EnvoyRl, Rl, Fault, "Envoy limits the rate";
        means "A local or global rate limit refused the request. The answer is 429.";
        outside "**429** at once, with `local_rate_limited` for the local one.";
        inside "Flag RL.";
        fix "Set the limit by what clients do; look at its descriptors.";
        marks [EnvoyRateLimited];
        says "Envoy's rate limit refused the request"
    ),
    Row {
        judge: |view, found| {
            judge(
                view,
                found,
                Flag::DirectResponse,
                &[],
                "Envoy's configuration answers 503 itself",
            );
            for (fact, (at, rule)) in view.pick(|seen| match seen {
                O::Proxy(Proxy::Rule {
                    by: Maker::Envoy,
                    at,
                    rule,
                }) => Some((at, rule)),
                _ => None,
            }) {
                if view.has_trouble() {
                    found.find(
                        fact,
                        Likely,
                        Direct,
                        format!("Envoy's configuration answers by itself: {rule} ({at})."),
                    );
                }
            }
            found.tell(view, Likely, Code, |seen| match seen {
                O::Wire(Wire::Made {
                    by: Maker::Envoy,
                    mark: Mark::Other,
                    status: 503,
                    ..
                }) => Some(
                    "Envoy answered 503 with a body of its configuration: a direct response."
                        .to_owned(),
                ),
                _ => None,
            });
        },
        ..flag!(
            EnvoyDirect, DirectResponse, Fault, "Envoy's configuration says 503";
            means "A `direct_response` of the route answers without asking anybody: a maintenance switch, or a fallback that catches more than it should.";
            outside "503 at once with whatever body is configured, and no `x-envoy-upstream-service-time`.";
            inside "No flag, details `direct_response`, and no upstream host.";
            fix "Look at the routes (/config_dump) and at what matches before the one that was meant.";
            marks [];
            says ""
        )
    },
];

fn judge(view: &View<'_>, found: &mut Found<'_>, flag: Flag, marks: &[Mark], says: &str) {
    for (fact, (details, host, count)) in view.pick(|seen| match seen {
        O::Proxy(Proxy::EnvoyFlagged {
            flag: it,
            details,
            host,
            count,
        }) if *it == flag && (*count > 0 || view.has_trouble()) => Some((details, host, *count)),
        _ => None,
    }) {
        let often = if count == 0 {
            "now".to_owned()
        } else {
            format!("{count} times")
        };
        let host = if matches!(host.as_str(), "" | "-") {
            String::new()
        } else {
            format!(" at {host}")
        };
        let details = if matches!(details.as_str(), "" | "-") {
            String::new()
        } else {
            format!(" ({details})")
        };
        let says = format!("{says}{host}{details}, {often}.");
        let case = found.find(fact, Proven, Code, says);
        if count == 0 && view.is_silent() {
            // The requests that wait there are those of the probes.
            view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        outcome: Outcome::Silent,
                        ..
                    })
                )
            })
            .into_iter()
            .for_each(|fact| {
                case.cite(fact);
            });
        }
    }
    for (fact, mark) in view.pick(|seen| match seen {
        O::Wire(Wire::Made {
            by: Maker::Envoy,
            mark,
            ..
        }) if marks.contains(mark) => Some(*mark),
        _ => None,
    }) {
        found.find(
            fact,
            Proven,
            Code,
            format!("{says}: its answer says *{mark}*."),
        );
    }
}
