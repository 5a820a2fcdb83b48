//! The async runtime under the process: stalled, blocked, late, or held by one route.

use std::time::Duration;

use steadfast_core::{Cause, Rule};

use super::{effects::at_the_proxy, lately};
use crate::{
    Confidence::{Likely, Possible, Proven},
    Id, Lasting, Observation as O, Own, Role, Wire,
    engine::Strength::{Direct, Pressure},
    knowledge::Row,
};

/// Longer than any paging that a process recovers from.
const STALLED: Duration = Duration::from_secs(10);

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::AppRuntimeStalled,
        role: Role::Fault,
        title: "The runtime stands still",
        means: "The async runtime has given no heartbeat for many seconds: every worker thread is stuck in something that does not yield, or the process was stopped. Nothing on it answers, probes included, unless they have a listener of their own.",
        outside: "Silence on the service's port; `/health/` on the probe listener says 503 and for how long.",
        inside: "The time since the last heartbeat, on the operator's page of the probe listener.",
        threshold: "10 s without a heartbeat.",
        fix: "Take a dump of the threads now (gdb, or eu-stack), then restart. What is found there blocks: a lock held across a wait, a loop without an await, a blocking driver.",
        commands: &["eu-stack -p PID", "cat /proc/PID/status"],
        effects: at_the_proxy![
            Id::AppHung,
            Id::AppNotReady,
            Id::AppRuntimeLag,
            Id::HostAcceptQueueFull
        ],
        judge: |view, found| {
            for (fact, since) in view.pick(|seen| match seen {
                O::Own(Own::Silent { since }) => Some(*since),
                _ => None,
            }) {
                if since >= STALLED {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("The runtime has given no heartbeat for {}.", Lasting(since)),
                        )
                        .from("10 s");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Wire(Wire::Liveness {
                    status,
                    stalled: Some(stalled),
                }) if *status >= 500 => Some(format!(
                    "`/health/` says that the runtime has stood still for {}.",
                    Lasting(*stalled)
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::AppBlockingHandler,
        role: Role::Fault,
        title: "Handlers block the runtime's threads",
        means: "Worker threads of the async runtime have been inside one poll for long: a handler computes, or calls something that blocks, without giving the thread back. Every other request on that thread waits behind it, healthy ones too.",
        outside: "All routes become slow together, in steps; then refusals with `rule=runtime-lag`.",
        inside: "Blocked workers and the longest poll, which the runtime's own metrics tell.",
        threshold: "A poll of more than 100 ms on half of the workers, or of a second on one.",
        fix: "Move what blocks to `tokio::task::spawn_blocking` or a pool of threads of its own, and use async drivers. For computing that has to be done in the request, bound how much runs at once.",
        commands: &["eu-stack -p PID"],
        effects: &[
            Id::AppRuntimeLag,
            Id::AppShed,
            Id::ProbeSlow,
            Id::AppRuntimeStalled,
        ],
        judge: |view, found| {
            for (fact, (workers, of, longest)) in view.pick(|seen| match seen {
                O::Own(Own::Blocked {
                    workers,
                    of,
                    longest,
                }) => Some((*workers, *of, *longest)),
                _ => None,
            }) {
                let many = workers.saturating_mul(2) >= of
                    && workers > 0
                    && longest >= Duration::from_millis(100);
                if many || longest >= Duration::from_secs(1) {
                    found.find(fact, Proven, Direct, format!("{workers} of {of} threads of the runtime have been in one poll for up to {}: a handler blocks them.", Lasting(longest))).from("100 ms on half of them, or 1 s on one");
                } else {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::AppRuntimeLag,
        role: Role::Fault,
        title: "The runtime is late",
        means: "A task that is ready waits long for its turn: there is more to compute than processors, or a handler blocks. The queue is in front of every handler, where no count of requests sees it.",
        outside: "Latency of all routes rises together; refusals with `rule=runtime-lag`.",
        inside: "The runtime's lag, and the processor time that the process uses of what it may.",
        threshold: "The lag that the guard allows (`shed.lag`); refusals by that rule are proof.",
        fix: "If the processors are used up: scale out, or make the expensive route cheaper or bounded. If they are not, look for handlers that block. If the quota cuts (see host.cpu_throttled), raise it, and let the runtime have as many workers as the quota has processors.",
        commands: &["top -H -p PID", "cat /sys/fs/cgroup/cpu.stat"],
        effects: &[Id::AppShed, Id::ProbeSlow],
        judge: |view, found| {
            let cpu = view.all(|seen| matches!(seen, O::Own(Own::Cpu { .. })));
            let punctual = view
                .all(|seen| matches!(seen, O::Own(Own::Lag { lag, allowed }) if lag <= allowed));
            let by_lag = |seen: &O| match seen {
                O::Own(Own::Refusing {
                    cause: Cause::Overloaded,
                    rule: Some(Rule::RuntimeLag),
                    count,
                    last,
                    ..
                }) if *last <= lately() => Some(*count),
                _ => None,
            };
            for (fact, count) in view.pick(by_lag) {
                let is = if punctual.is_empty() { "is" } else { "was" };
                let case = found.find(fact, Proven, Direct, format!("The runtime {is} late: {count} requests were refused because their turn would have come too late."));
                punctual.iter().for_each(|fact| {
                    case.but(fact);
                });
                cpu.iter().for_each(|fact| {
                    case.cite(fact);
                });
            }
            for (fact, (lag, allowed)) in view.pick(|seen| match seen {
                O::Own(Own::Lag { lag, allowed }) => Some((*lag, *allowed)),
                _ => None,
            }) {
                let sure = if view.has_trouble() { Likely } else { Possible };
                if lag > allowed && allowed > Duration::ZERO {
                    found
                        .find(
                            fact,
                            sure,
                            Pressure,
                            format!(
                                "The runtime is {} late; {} is allowed.",
                                Lasting(lag),
                                Lasting(allowed)
                            ),
                        )
                        .from(Lasting(allowed).to_string());
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Wire(Wire::Why {
                    cause: Cause::Overloaded,
                    rule: Some(Rule::RuntimeLag),
                    ..
                }) => Some("The service refuses because its runtime is late.".to_owned()),
                _ => None,
            });
        },
    },
    Row {
        id: Id::AppSlowHandler,
        role: Role::Fault,
        title: "One route holds the places",
        means: "Requests of one route run for long and hold most of the places, so that others find none. The process is not busy; it waits.",
        outside: "That route is slow; others get 503 with `rule=limit`.",
        inside: "The longest running request, its route, and the share of all places that its route holds.",
        threshold: "Half of the places, and the oldest older than 5 s, while requests are refused.",
        fix: "Give what the route waits for a time-out. If the route is meant to be long, give it a class of its own (streams, or a lower priority) so that it cannot take every place.",
        commands: &[],
        effects: &[
            Id::AppShed,
            Id::ProxyUpstreamSlow,
            Id::NgxTimeout,
            Id::HapServerTimeout,
            Id::EnvoyUt,
            Id::TraefikTimeout,
        ],
        judge: |view, found| {
            for (fact, (route, age, ratio)) in view.pick(|seen| match seen {
                O::Own(Own::Oldest { route, age, ratio }) => Some((route, *age, *ratio)),
                _ => None,
            }) {
                let holds = ratio.get() >= 0.5 && age >= Duration::from_secs(5);
                if holds && view.has_trouble() {
                    found.find(fact, Likely, Direct, format!("Requests of {route} hold {ratio} of the places, the oldest for {}.", Lasting(age))).from("50 % and 5 s");
                } else if !holds {
                    found.well(fact);
                }
            }
        },
    },
];
