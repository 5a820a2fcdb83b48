//! What changed when it began. A change is never the cause by itself: it says where to look,
//! and is told only while something fails.

use std::time::Duration;

use crate::{
    Confidence::{Likely, Possible, Proven},
    Host, Id, Kubernetes, Lasting, Log, Observation as O, Own, Ratio, Role, Wire,
    engine::Strength::{Code, Direct, Pressure},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::DeployRollout,
        role: Role::Change,
        title: "A new version was just rolled out",
        means: "The process, or some of its peers, started with another version shortly before the trouble began.",
        outside: "The trouble begins with the rollout.",
        inside: "The version and its start on the operator's page; the rollout's state in the cluster.",
        threshold: "Within the last ten minutes, while something fails.",
        fix: "If the trouble began with it, go back to the version before, and look for the reason afterwards.",
        commands: &[
            "kubectl rollout undo deployment/NAME",
            "journalctl -u UNIT --since -15min --no-pager | head -50",
        ],
        effects: &[],
        judge: |view, found| {
            if !view.has_trouble() {
                return;
            }
            found.tell(view, Possible, Pressure, |seen| match seen {
                O::Own(Own::Version { version, since }) if *since <= JUST_NOW => Some(format!(
                    "Version {version} has been running for {} only.",
                    Lasting(*since)
                )),
                O::Kubernetes(Kubernetes::Rollout {
                    name,
                    updated,
                    wanted,
                    ago,
                }) if *ago <= JUST_NOW => Some(format!(
                    "A rollout of {name} began {} ago; {updated} of {wanted} are new.",
                    Lasting(*ago)
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::DeployNoDrain,
        role: Role::Fault,
        title: "It stops without a drain",
        means: "When the process is told to stop it closes its listener at once, and the balancer, which does not know yet, sends requests to a closed door for as long as its check takes to notice.",
        outside: "A burst of refused connections or 502 and 503 with each rollout.",
        inside: "Refusals in the first seconds after a stop or start of the process; requests that a drain cut.",
        threshold: "New refusals within 30 s of a start or stop.",
        fix: "On SIGTERM first let readiness fail and go on serving (a lame duck longer than the balancer's period times its failures), then stop accepting, then finish what runs. In Kubernetes leave time for that in terminationGracePeriodSeconds.",
        commands: &[],
        effects: &[
            Id::HapRefusedUnchecked,
            Id::NgxNoLive,
            Id::EnvoyUf,
            Id::EnvoyUc,
            Id::CaddyRefused,
            Id::TraefikRefused,
            Id::AlbTarget,
        ],
        judge: |view, found| {
            found.tell(view, Likely, Code, |seen| match seen {
                O::Log(Log::AfterStart { refused, within })
                    if *refused > 0 && *within <= Duration::from_secs(30) =>
                {
                    Some(format!(
                        "{refused} requests failed within {} of a start or stop of the service.",
                        Lasting(*within)
                    ))
                }
                _ => None,
            });
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Own(Own::CutByDrain { cut, late }) if *cut > 0 || *late > 0 => Some(format!(
                    "The last drain cut {cut} requests, and {late} came when the door was closed."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::TrafficSurge,
        role: Role::Change,
        title: "Much more traffic came at once",
        means: "Requests a second grew to a multiple within a short time: a campaign, a crawler, a client in a loop, or the traffic of instances that went away.",
        outside: "Refusals begin with it.",
        inside: "Requests a second before and now; demand above 1 means more than the limit lets run.",
        threshold: "Twice as much as before, and ten a second more, while something fails.",
        fix: "See from where it comes. If it is to stay, add instances; if it is one client, limit that one.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            for (fact, (before, now)) in view.pick(|seen| match seen {
                O::Own(Own::Demand { now, before, .. }) | O::Log(Log::Rate { before, now }) => {
                    Some((*before, *now))
                }
                _ => None,
            }) {
                if now >= 2.0 * before && now >= before + 10.0 && view.has_trouble() {
                    found
                        .find(
                            fact,
                            Possible,
                            Pressure,
                            format!(
                                "{now:.0} requests a second come now, and {before:.0} came before."
                            ),
                        )
                        .from("twice as many, and 10/s more");
                } else if now < 2.0 * before {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::TrafficRoute,
        role: Role::Change,
        title: "One route grew",
        means: "The share of one route in all requests grew at the beginning of the trouble.",
        outside: "That route, mostly.",
        inside: "Shares of routes before and now.",
        threshold: "Half of the requests, and twice its share before, while something fails.",
        fix: "See who calls it and why. Give it a lower priority or a limit of its own, so that the others go on.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            if !view.has_trouble() {
                return;
            }
            found.tell(view, Possible, Pressure, |seen| match seen {
                O::Own(Own::RouteShare { route, now, before }) if grew(*now, *before) => Some(
                    format!("{route} has {now} of the requests now, and had {before} before."),
                ),
                O::Log(Log::Route { route, ratio }) if ratio.get() >= 0.8 => {
                    Some(format!("{route} has {ratio} of the errors."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::TrafficTenant,
        role: Role::Change,
        title: "One tenant grew",
        means: "The share of one tenant (customer, key, address) in all requests grew at the beginning of the trouble.",
        outside: "Everybody, because of one.",
        inside: "Shares of tenants before and now.",
        threshold: "Half of the requests, and twice its share before, while something fails; or more than a fair share of a limit that is met.",
        fix: "Speak with them. Say whose requests are (`Shed::tenant_header`) and let shedding refuse: then fair shares keep the others whole.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            if !view.has_trouble() {
                return;
            }
            found.tell(view, Possible, Pressure, |seen| match seen {
                O::Own(Own::TenantShare {
                    tenant,
                    now,
                    before,
                }) if grew(*now, *before) => Some(format!(
                    "{tenant} has {now} of the requests now, and had {before} before."
                )),
                _ => None,
            });
            found.tell(view, Likely, Pressure, |seen| match seen {
                O::Own(Own::TenantHeld {
                    tenant,
                    asks,
                    fair,
                    limit,
                }) => Some(format!(
                    "{tenant} asks for {asks} of {limit} places, and {fair} are its fair share."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::TrafficRetries,
        role: Role::Change,
        title: "Clients retry without waiting",
        means: "Those who were refused come again before the time that they were told, so refusing one request brings the next. A short outage stays long that way.",
        outside: "More requests the more are refused.",
        inside: "The share of requests that repeat one that failed, sooner than `Retry-After` said.",
        threshold: "A fifth of the requests, while something fails.",
        fix: "Let clients and proxies keep to `Retry-After`, back off with jitter, and have a budget for retries. A proxy that retries 503 multiplies it.",
        commands: &[],
        effects: &[],
        judge: |view, found| {
            for (fact, (repeated, of)) in view.pick(|seen| match seen {
                O::Own(Own::Retries { repeated, of }) | O::Log(Log::Retries { repeated, of }) => {
                    Some((*repeated, *of))
                }
                _ => None,
            }) {
                if of >= 20 && Ratio::of(repeated, of).get() >= 0.2 && view.has_trouble() {
                    found.find(fact, Likely, Direct, format!("{repeated} of {of} requests repeat one that was refused, sooner than it was told.")).from("20 %");
                }
            }
        },
    },
    Row {
        id: Id::ScaleGap,
        role: Role::Fault,
        title: "Scaling is behind the demand",
        means: "More instances are wanted than there are: the scaler is at its maximum, nodes are missing, or new instances take longer to be ready than the surge lasts.",
        outside: "503s that end when instances arrive.",
        inside: "The scaler's replicas beside its maximum and its target; pending pods; demand above 1.",
        threshold: "At the maximum with the metric above its target, or pods that have no node.",
        fix: "Raise the maximum or the quota. Keep more instances in reserve, and scale on what is in flight or waits rather than on processor time: a service that waits for its database never looks busy.",
        commands: &[
            "kubectl get hpa",
            "kubectl get pods --field-selector=status.phase=Pending",
        ],
        effects: &[Id::AppShed, Id::TrafficSurge],
        judge: |view, found| {
            for (fact, (name, now, max, wanted, load)) in view.pick(|seen| match seen {
                O::Kubernetes(Kubernetes::Scaler {
                    name,
                    now,
                    max,
                    wanted,
                    load,
                }) => Some((name, *now, *max, *wanted, *load)),
                _ => None,
            }) {
                if now >= max && load.get() > 1.0 {
                    found.find(fact, Likely, Direct, format!("The scaler {name} is at its maximum of {max}, and its load is {load} of the target.")).from("maximum, above 100 %");
                } else if wanted > now && view.has_trouble() {
                    found.find(
                        fact,
                        Possible,
                        Direct,
                        format!("The scaler {name} wants {wanted} instances, and there are {now}."),
                    );
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Kubernetes(Kubernetes::Pending { count, why }) if *count > 0 => {
                    Some(format!("{count} pods have no node: {why}."))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::ClockWindow,
        role: Role::Change,
        title: "It fails at fixed times",
        means: "The errors fall into few minutes, mostly at the full hour: jobs that all begin at the same moment, certificates or caches that end together.",
        outside: "Errors at :00 and none between.",
        inside: "A histogram of the log by minute.",
        threshold: "More than half of the errors in less than a tenth of the time.",
        fix: "Spread jobs with jitter, and let caches end at times that differ.",
        commands: &["why503 logs FILE"],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Likely, Code, |seen| match seen {
                O::Log(Log::Windowed { errors, time, at })
                    if errors.get() > 0.5 && time.get() < 0.1 =>
                {
                    Some(format!(
                        "{errors} of the errors fall into {time} of the time: {at}."
                    ))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::ClockStep,
        role: Role::Change,
        title: "The clock jumped",
        means: "The wall clock was set by more than a little. Tokens and certificates seem to have ended or not begun, caches and leases end at once, and logs are out of order. The library's own decisions use the monotonic clock and are not moved.",
        outside: "Refused logins and handshakes, all at once.",
        inside: "The wall clock against the monotonic one; the Date of answers against this host's time.",
        threshold: "Two seconds.",
        fix: "Let a time service correct the clock slowly (chrony), and look why it had to be set.",
        commands: &["chronyc tracking", "timedatectl"],
        effects: &[],
        judge: |view, found| {
            for (fact, by) in view.pick(|seen| match seen {
                O::Host(Host::ClockStep { by, .. }) | O::Wire(Wire::ClockOff { by }) => Some(*by),
                _ => None,
            }) {
                if by >= Duration::from_secs(2) && view.has_trouble() {
                    found
                        .find(
                            fact,
                            Possible,
                            Direct,
                            format!("The clocks differ, or one jumped, by {}.", Lasting(by)),
                        )
                        .from("2 s");
                }
            }
            for fact in view.all(|seen| {
                matches!(seen, O::Host(Host::ClockStep { by, .. }) if *by < Duration::from_secs(2))
            }) {
                found.well(fact);
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Host(Host::ClockStep { by, backwards })
                    if *by >= Duration::from_secs(2) && view.has_trouble() =>
                {
                    Some(format!(
                        "The wall clock jumped {} {}.",
                        Lasting(*by),
                        if *backwards { "back" } else { "ahead" }
                    ))
                }
                _ => None,
            });
        },
    },
];

/// As long as an operator would look back for what he did.
const JUST_NOW: Duration = Duration::from_secs(600);

/// Half of all, and twice what it was.
fn grew(now: Ratio, before: Ratio) -> bool {
    now.get() >= 0.5 && now.get() >= 2.0 * before.get()
}
