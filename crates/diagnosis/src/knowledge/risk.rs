//! What cannot work, found before it fails: settings that do not fit each other, or what is
//! around the process.

use std::time::Duration;

use crate::{
    Confidence::{Likely, Proven},
    Id, Lasting, Observation as O, Own, Proxy, Role, Tls, Wire,
    engine::{Strength::Direct, View},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::ProbeMissing,
        role: Role::Risk,
        title: "Nobody asks whether it is ready",
        means: "No readiness probe has come since the start, or none for long, so no balancer will notice when the instance leaves or fails.",
        outside: "Errors in each rollout.",
        inside: "The probes that were counted, and who asked.",
        threshold: "None within two minutes of the start, or none for five minutes.",
        fix: "Point the balancer's health check at `/ready/`, and liveness at `/health/`.",
        commands: &["curl -si http://127.0.0.1:PORT/ready/"],
        effects: &[Id::DeployNoDrain],
        judge: |view, found| {
            let up = view.pick(|seen| match seen {
                O::Own(Own::Phase {
                    is: crate::PhaseIs::Ready,
                    since,
                }) => Some(*since),
                _ => None,
            });
            let up = up.into_iter().map(|(_, since)| since).max();
            for (fact, (count, last)) in view.pick(|seen| match seen {
                O::Own(Own::Probes { count, last, .. }) => Some((*count, *last)),
                _ => None,
            }) {
                let never = count == 0 && up.is_some_and(|up| up >= Duration::from_secs(120));
                let stopped =
                    last.is_some_and(|last| last >= Duration::from_secs(300)) && count > 1;
                if never {
                    found.find(fact, Likely, Direct, "No readiness probe has come since the start: no balancer asks whether this instance is ready.").from("2 min");
                } else if stopped {
                    found
                        .find(
                            fact,
                            Likely,
                            Direct,
                            format!(
                                "No readiness probe has come for {}.",
                                last.map_or_else(String::new, |last| Lasting(last).to_string())
                            ),
                        )
                        .from("5 min");
                } else if count > 0 {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::ProbeSlow,
        role: Role::Risk,
        title: "Probes are answered slowly",
        means: "The answer to a probe took longer than balancers wait. Its work is to read one snapshot, so the time was spent in front of it: in a blocked runtime, or in a layer outside the guard.",
        outside: "A healthy instance is taken out, or restarted by its liveness probe.",
        inside: "The slowest answers to probes.",
        threshold: "One second, the shortest time-out that probes have by default.",
        fix: "Give probes a listener of their own (`probe_listener`), which has its own thread, and keep layers that wait inside the guard.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            for (fact, longest) in view.pick(|seen| match seen {
                O::Own(Own::ProbeTook { longest }) => Some(*longest),
                _ => None,
            }) {
                if longest >= Duration::from_secs(1) {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("A probe was answered after {} only.", Lasting(longest)),
                        )
                        .from("1 s");
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::ProbeLimited,
        role: Role::Risk,
        title: "Probes pass through a limiter",
        means: "Something in front of the guard refuses or delays probes together with other requests, so under load the balancer takes a healthy instance out, and its load goes to the others.",
        outside: "Instances leave one after another under load.",
        inside: "Probes that were answered with 429 or 503 by a layer outside the guard.",
        threshold: "One.",
        fix: "Put limits inside the guard, or exempt the probe paths.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::ProbesLimited { count }) if *count > 0 => Some(format!(
                    "{count} probes were refused by a limiter in front of the guard."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::DeployLameDuck,
        role: Role::Risk,
        title: "The lame duck is shorter than the balancer takes to notice",
        means: "When the process leaves, its readiness fails for at most this long before it stops accepting. The balancer asks less often than that, or waits for more failures, and will send requests to a closed door.",
        outside: "Errors in each rollout.",
        inside: "The observed period of probes beside the longest lame duck.",
        threshold: "Two observed periods, since a balancer that waits for one failure alone is rare.",
        fix: "Make `lame_duck_max` longer than period times failures plus one time-out, or let the balancer ask more often. Look that the process manager's grace has room for it.",
        commands: &[],
        effects: &[Id::DeployNoDrain],
        judge: |view, found| {
            let period = view.pick(|seen| match seen {
                O::Own(Own::Probes {
                    period: Some(period),
                    count: 3..,
                    ..
                }) => Some(*period),
                _ => None,
            });
            let configured = view.pick(|seen| match seen {
                O::Proxy(Proxy::CheckPeriod { period, fall, .. }) => {
                    Some(period.saturating_mul(u32::try_from(*fall).unwrap_or(u32::MAX)))
                }
                _ => None,
            });
            for (fact, max) in view.pick(|seen| match seen {
                O::Own(Own::LameDuck { max }) => Some(*max),
                _ => None,
            }) {
                for (probe, needed) in period
                    .iter()
                    .map(|(fact, period)| (fact, period.saturating_mul(2)))
                    .chain(configured.iter().map(|(fact, needed)| (fact, *needed)))
                {
                    if max < needed {
                        let says = format!(
                            "The lame duck lasts at most {}, and the balancer needs {} to notice.",
                            Lasting(max),
                            Lasting(needed)
                        );
                        found
                            .find(fact, Likely, Direct, says)
                            .cite(probe)
                            .from(Lasting(needed).to_string());
                    } else {
                        found.well(fact);
                    }
                }
            }
        },
    },
    Row {
        id: Id::DeployKeepaliveRace,
        role: Role::Risk,
        title: "The service closes idle connections before the balancer does",
        means: "The service ends an idle connection in the very moment in which the balancer sends the next request on it. The request is lost, and the balancer answers 502 or 503. It happens at low traffic, seldom, and nobody can reproduce it.",
        outside: "Rare 502 or 503, at quiet times; UC in Envoy, SH in HAProxy.",
        inside: "The keep-alive time of both sides; how long an idle connection was kept when it was tried.",
        threshold: "The service's time is not longer than the balancer's.",
        fix: "Make the service keep idle connections longer than the balancer does, by a few seconds (an AWS balancer: 60 s, nginx: 60 s, Envoy: an hour).",
        commands: &[],
        effects: &[
            Id::EnvoyUc,
            Id::HapServerTimeout,
            Id::NgxNoLive,
            Id::AlbTarget,
        ],
        judge: |view, found| {
            let balancers = view.pick(|seen| match seen {
                O::Proxy(Proxy::KeepAlive { idle, .. }) => Some(*idle),
                _ => None,
            });
            for (fact, idle) in view.pick(|seen| match seen {
                O::Own(Own::KeepAlive { idle }) | O::Wire(Wire::KeepAlive { idle }) => Some(*idle),
                _ => None,
            }) {
                for (balancer, theirs) in &balancers {
                    if idle <= *theirs {
                        let says = format!(
                            "The service closes idle connections after {}, and the balancer uses them for {}.",
                            Lasting(idle),
                            Lasting(*theirs)
                        );
                        found.find(fact, Likely, Direct, says).cite(balancer);
                    } else {
                        found.well(fact);
                    }
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Own(Own::ClosedUnderPeer { count }) if *count > 0 => {
                    Some(format!("{count} times a peer sent a request on a connection that had just been closed for idleness."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::TlsExpiring,
        role: Role::Risk,
        title: "A certificate ends soon",
        means: "The certificate is valid and will not be for long, and whoever renews it has not done so.",
        outside: "Nothing, until it ends.",
        inside: "`notAfter` of the certificate that is shown.",
        threshold: "Seven days: renewals by machine come 30 days before the end.",
        fix: "Look why it was not renewed, and reload whoever shows it.",
        commands: &[
            "openssl s_client -connect NAME -servername NAME </dev/null 2>/dev/null | openssl x509 -noout -enddate",
        ],
        effects: &[Id::TlsExpired],
        judge: |view, found| {
            for (fact, (subject, left)) in view.pick(|seen| match seen {
                O::Tls(Tls::Certificate { subject, left, .. }) => Some((subject, *left)),
                _ => None,
            }) {
                if left > Duration::ZERO && left < Duration::from_secs(7 * 86_400) {
                    found
                        .find(
                            fact,
                            Likely,
                            Direct,
                            format!("The certificate of {subject} ends in {}.", Lasting(left)),
                        )
                        .from("7 d");
                } else if left > Duration::ZERO {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::ConfigCheckTimeout,
        role: Role::Risk,
        title: "A check may take longer than its period",
        means: "A check that hangs is cut after its time-out, and its time-out is longer than the time between two checks, so what is known of the dependency is older than it looks.",
        outside: "A dependency's death is noticed late.",
        inside: "Time-out and period of the check.",
        threshold: "The time-out is longer than the period.",
        fix: "Make the time-out shorter than the period.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            for (fact, (timeout, period)) in view.pick(|seen| match seen {
                O::Own(Own::CheckTimeout { timeout, period }) => Some((*timeout, *period)),
                _ => None,
            }) {
                if timeout > period && period > Duration::ZERO {
                    found.find(
                        fact,
                        Likely,
                        Direct,
                        format!(
                            "The check{} may take {}, and is due every {}.",
                            super::named(fact),
                            Lasting(timeout),
                            Lasting(period)
                        ),
                    );
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::ConfigTimeoutOrder,
        role: Role::Risk,
        title: "The service waits longer than the balancer",
        means: "The service works on requests for which the balancer has stopped waiting: its clients get a 504, and the work is thrown away.",
        outside: "504 from the balancer, while the service logs a success.",
        inside: "The time-outs of both sides.",
        threshold: "The service's is longer than the balancer's.",
        fix: "Let the inner time-out be the shorter one, from the balancer down to the last query.",
        commands: &[],
        effects: &[
            Id::NgxTimeout,
            Id::HapServerTimeout,
            Id::EnvoyUt,
            Id::ProxyUpstreamSlow,
        ],
        judge: |view, found| {
            let balancers = balancer_waits(view);
            for (fact, timeout) in view.pick(|seen| match seen {
                O::Own(Own::RequestTimeout { timeout }) => Some(*timeout),
                _ => None,
            }) {
                for (balancer, theirs) in &balancers {
                    if timeout > *theirs {
                        let says = format!(
                            "The service gives a request {}, and the balancer waits for {}.",
                            Lasting(timeout),
                            Lasting(*theirs)
                        );
                        found.find(fact, Likely, Direct, says).cite(balancer);
                    } else {
                        found.well(fact);
                    }
                }
            }
        },
    },
    Row {
        id: Id::ConfigPoolSum,
        role: Role::Risk,
        title: "The pools together are larger than the server",
        means: "The places of this pool, times the instances, are more than the server's own bound. It goes well until all are busy at once, that is, on the day on which it matters.",
        outside: "Nothing, until the load is high.",
        inside: "Places, instances, and the server's bound.",
        threshold: "The sum exceeds the bound.",
        fix: "Make pools smaller, or put a pooler in front. Remember that a rollout runs old and new instances side by side.",
        commands: &[],
        effects: &[
            Id::PgExhausted,
            Id::MysqlExhausted,
            Id::RedisMaxclients,
            Id::PoolServerFull,
        ],
        judge: |view, found| {
            for (fact, (places, instances, server_max)) in view.pick(|seen| match seen {
                O::Own(Own::PoolSum {
                    places,
                    instances,
                    server_max,
                }) => Some((*places, *instances, *server_max)),
                _ => None,
            }) {
                let sum = places.saturating_mul(instances);
                if server_max > 0 && sum > server_max {
                    let says = format!(
                        "{instances} instances with {places} places each may want {sum} sessions{}, and the server has {server_max}.",
                        super::named(fact)
                    );
                    found
                        .find(fact, Likely, Direct, says)
                        .from(server_max.to_string());
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::ConfigCors,
        role: Role::Risk,
        title: "Refusals lack CORS headers",
        means: "Browsers ask by preflights, so scripts of other origins use the service, and refusals are answered without the headers that let a script read them: it sees a network error instead of a 503 and does not know when to come again.",
        outside: "*Failed to fetch* in browsers, instead of 503.",
        inside: "Preflights that were seen, beside refusals without `access-control-allow-origin`.",
        threshold: "Both.",
        fix: "Put the CORS layer outside the guard: `guard.protect(app).layer(cors)`.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Own(Own::NoCors { preflights, refused }) if *preflights > 0 && *refused > 0 => {
                    Some(format!("{refused} refusals went out without CORS headers, and {preflights} preflights were seen."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::ConfigShadowedRoute,
        role: Role::Risk,
        title: "A route of the application is hidden by a probe path",
        means: "The application has a route at a path that the guard answers itself, so nobody reaches it.",
        outside: "The guard's answer where the application's was expected.",
        inside: "The route.",
        threshold: "One.",
        fix: "Move the route, or the guard's path.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Own(Own::Shadowed { route }) => Some(format!(
                    "The route {route} of the application is answered by the guard."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::ConfigGrace,
        role: Role::Risk,
        title: "A drain may take longer than the process manager waits",
        means: "Lame duck, grace and hooks together may take longer than the manager's own time, after which it kills the process in the middle of it.",
        outside: "Cut requests at the end of each rollout.",
        inside: "The longest drain beside terminationGracePeriodSeconds or TimeoutStopSec.",
        threshold: "Longer than allowed.",
        fix: "Shorten the drain's parts, or raise the manager's time.",
        commands: &["systemctl show UNIT -p TimeoutStopUSec"],
        effects: &[Id::DeployNoDrain],
        judge: |view, found| {
            for (fact, (longest, allowed)) in view.pick(|seen| match seen {
                O::Own(Own::Grace {
                    longest,
                    allowed: Some(allowed),
                }) => Some((*longest, *allowed)),
                _ => None,
            }) {
                if longest > allowed {
                    let says = format!(
                        "A drain may take {}, and the process manager kills after {}.",
                        Lasting(longest),
                        Lasting(allowed)
                    );
                    found
                        .find(fact, Likely, Direct, says)
                        .from(Lasting(allowed).to_string());
                } else {
                    found.well(fact);
                }
            }
        },
    },
];

/// How long balancers wait for an answer.
fn balancer_waits<'a>(view: &View<'a>) -> Vec<(&'a crate::Fact, Duration)> {
    view.pick(|seen| match seen {
        O::Proxy(Proxy::Timeout { name, value, .. })
            if ["server", "read", "route", "response"]
                .iter()
                .any(|word| name.as_str().contains(word)) =>
        {
            Some(*value)
        }
        _ => None,
    })
}
