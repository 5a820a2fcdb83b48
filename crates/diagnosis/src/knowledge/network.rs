//! The kernel's side of connections: queues, handshakes, tracking, ports, packets.

use super::effects::at_the_proxy;
use crate::{
    Confidence::{Likely, Possible, Proven},
    Host, Id, KernelLog, Lasting, LogKind, Observation as O, Outcome, Process, Ratio, Role, Via,
    Wire,
    engine::Strength::{Direct, Pressure, Timing},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::HostAcceptQueueFull,
        role: Role::Fault,
        title: "The accept queue is full",
        means: "Connections whose handshake is complete wait in the kernel for the process to accept them. The queue has a bound, and it is met: the kernel drops what comes, and the clients' kernels ask again after 1, 3 and 7 seconds. Nobody is ever *refused* by it.",
        outside: "Connect time-outs, or answers after 1 s, 3 s or 7 s; HAProxy answers 503 (sC) after its connect time-out, nginx and Traefik 504, Envoy 503 (connection timeout).",
        inside: "The queue and its bound from sock_diag (`ss -ltn`: Recv-Q and Send-Q of the listener; /proc/net/tcp has the queue but not the bound). ListenOverflows grows, but it counts for the whole host and since boot.",
        threshold: "More in the queue than its bound, which means full. From 80 % in each of three samples it is a suspect.",
        fix: "First find out why the process accepts slowly: it hangs, is out of descriptors, or has no processor time. Only then raise the bound, which is the smaller of the argument of listen() and net.core.somaxconn.",
        commands: &[
            "ss -ltn sport = :PORT",
            "nstat -az TcpExtListenOverflows TcpExtListenDrops",
            "sysctl net.core.somaxconn",
        ],
        effects: at_the_proxy![Id::AppForeign503],
        judge: |view, found| {
            let grew = view.all(
                |seen| matches!(seen, O::Host(Host::ListenOverflows { grew, .. }) if *grew > 0),
            );
            let queues = view.pick(|seen| match seen {
                O::Process(Process::AcceptQueue { now, max }) => Some((*now, *max)),
                _ => None,
            });
            let close = |(now, max): (u64, u64)| max > 0 && Ratio::of(now, max).get() >= 0.8;
            let stays = queues.len() >= 3 && queues.iter().all(|(_, it)| close(*it));
            for (fact, (now, max)) in queues {
                if now > max {
                    let case = found.find(fact, Proven, Direct, format!("The accept queue is full: {now} connections wait, and it holds {max}.")).from(format!("more than {max}"));
                    grew.iter().for_each(|fact| {
                        case.cite(fact);
                    });
                } else if stays {
                    found
                        .find(
                            fact,
                            Possible,
                            Pressure,
                            format!("The accept queue stays nearly full: {now} of {max}."),
                        )
                        .from("80 % in 3 samples");
                } else if !close((now, max)) {
                    found.well(fact);
                }
            }
            let silent = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        outcome: Outcome::ConnectTimedOut,
                        ..
                    })
                )
            });
            if found.is_empty()
                && !view.any(|seen| matches!(seen, O::Process(Process::AcceptQueue { .. })))
            {
                for fact in silent {
                    found.find(fact, Possible, Timing, "The handshake is not answered: a full accept queue looks so, and so does a firewall that drops.");
                }
            }
        },
    },
    Row {
        id: Id::HostSynFlood,
        role: Role::Fault,
        title: "Too many half-open connections",
        means: "Handshakes that have begun and are not complete fill their own queue, by attack or because answers get lost. The kernel drops new ones or answers with cookies.",
        outside: "Connect time-outs while the accept queue is not full.",
        inside: "Sockets in SYN_RECV; TCPReqQFullDrop and TCPReqQFullDoCookies grow; the kernel says *possible SYN flooding*.",
        threshold: "Those counters grow while one looks.",
        fix: "Leave net.ipv4.tcp_syncookies on, raise net.ipv4.tcp_max_syn_backlog, and filter the source if it is one.",
        commands: &[
            "nstat -az TcpExtTCPReqQFullDrop TcpExtTCPReqQFullDoCookies TcpExtSyncookiesSent",
            "ss -tn state syn-recv | wc -l",
        ],
        effects: at_the_proxy![],
        judge: |view, found| {
            for (fact, (grew, over)) in view.pick(|seen| match seen {
                O::Host(Host::SynDrops { grew, over }) => Some((*grew, *over)),
                _ => None,
            }) {
                if grew > 0 {
                    let unanswered = view.all(|seen| {
                        matches!(
                            seen,
                            O::Wire(Wire::Probe {
                                outcome: Outcome::ConnectTimedOut,
                                ..
                            })
                        )
                    });
                    let sure = if view.has_trouble() { Proven } else { Possible };
                    let case = found
                        .find(
                            fact,
                            sure,
                            Direct,
                            format!(
                                "The kernel dropped or cookied {grew} handshakes in {}.",
                                Lasting(over)
                            ),
                        )
                        .from("1 during the look");
                    unanswered.iter().for_each(|fact| {
                        case.cite(fact);
                    });
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Likely, Pressure, |seen| match seen {
                O::Host(Host::Kernel {
                    about: KernelLog::SynFlood,
                    ..
                }) => Some("The kernel's log says that handshakes flood a port.".to_owned()),
                _ => None,
            });
        },
    },
    Row {
        id: Id::HostConntrackFull,
        role: Role::Fault,
        title: "Connection tracking is full",
        means: "The firewall remembers each connection in a table with a bound. When it is full, packets of new connections are dropped, at random as it seems, while old ones work.",
        outside: "Some connects time out, others work.",
        inside: "nf_conntrack_count beside nf_conntrack_max; *table full, dropping packet* in the kernel's log.",
        threshold: "95 %, or the line in the window.",
        fix: "Raise net.netfilter.nf_conntrack_max, shorten its time-outs, or take the service's port out of tracking.",
        commands: &["sysctl net.netfilter.nf_conntrack_count net.netfilter.nf_conntrack_max"],
        effects: at_the_proxy![Id::DepUnreachable, Id::PoolUnreachable],
        judge: |view, found| {
            for (fact, (used, max)) in view.pick(|seen| match seen {
                O::Host(Host::Conntrack { used, max }) => Some((*used, *max)),
                _ => None,
            }) {
                if Ratio::of(used, max).get() >= 0.95 {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("{used} of {max} tracked connections: new ones are dropped."),
                        )
                        .from("95 %");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Host(Host::Kernel {
                    about: KernelLog::ConntrackFull,
                    ..
                }) => Some("The kernel's log says that connection tracking is full.".to_owned()),
                _ => None,
            });
        },
    },
    Row {
        id: Id::HostEphemeralPorts,
        role: Role::Fault,
        title: "No local port is left towards one place",
        means: "A connection needs a local port, and there are some 28,000 for each destination. Whoever opens a new connection for each request to one address uses them up: closed ones keep theirs for a minute.",
        outside: "The proxy or the application cannot connect to one upstream while others work.",
        inside: "EADDRNOTAVAIL (99) in the log; connections to that one address and port beside net.ipv4.ip_local_port_range. The number of TIME_WAIT sockets alone means nothing.",
        threshold: "90 % of the range towards one destination, or the error in the log.",
        fix: "Keep connections alive to that upstream. Widen the range, or spread over more addresses, only after that.",
        commands: &[
            "ss -tan | awk '{print $5}' | sort | uniq -c | sort -rn | head",
            "sysctl net.ipv4.ip_local_port_range",
        ],
        effects: &[
            Id::DepUnreachable,
            Id::PoolUnreachable,
            Id::HapRefusedUnchecked,
            Id::NgxNoLive,
            Id::EnvoyUf,
            Id::AppBreakerOpen,
            Id::AppOwn503,
            Id::AppForeign503,
        ],
        judge: |view, found| {
            for (fact, (to, used, all)) in view.pick(|seen| match seen {
                O::Host(Host::LocalPorts { to, used, all }) => Some((to, *used, *all)),
                _ => None,
            }) {
                if all > 0 && used >= all {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("All {all} local ports towards {to} are in use."),
                        )
                        .from(format!("{all}"));
                } else if Ratio::of(used, all).get() >= 0.9 {
                    found
                        .find(
                            fact,
                            Likely,
                            Pressure,
                            format!("{used} of {all} local ports towards {to} are in use."),
                        )
                        .from("90 %");
                } else {
                    found.well(fact);
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Process(Process::LogLine {
                    about: LogKind::NoAddress,
                    count,
                    ..
                }) => Some(format!(
                    "The service's log says {count} times that it could not assign a local address."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::HostFirewallDrop,
        role: Role::Fault,
        title: "Packets to the port are dropped on the way",
        means: "The service answers on its own host, its accept queue is empty, and from outside the handshake gets no answer: a firewall, a security group or a route drops it.",
        outside: "Connect time-out.",
        inside: "The direct probe answers at once, the accept queue is empty, and no overflow is counted.",
        threshold: "Direct works, from outside times out, and the queue is empty.",
        fix: "Open the port in the firewall or security group, and look at routes and network policies.",
        commands: &["nft list ruleset", "iptables -L -n -v"],
        effects: at_the_proxy![],
        judge: |view, found| {
            let direct = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        via: Via::Direct,
                        outcome: Outcome::Answered(_),
                        ..
                    })
                )
            });
            let queued = view.any(
                |seen| matches!(seen, O::Process(Process::AcceptQueue { now, .. }) if *now > 0),
            );
            for fact in view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        via: Via::Given,
                        outcome: Outcome::ConnectTimedOut,
                        ..
                    })
                )
            }) {
                let known =
                    view.any(|seen| matches!(seen, O::Process(Process::AcceptQueue { .. })));
                let (sure, strength) = match (direct.is_empty(), queued) {
                    (_, true) => return,
                    (false, false) if known => (Proven, Direct),
                    (false, false) => (Likely, Direct),
                    (true, false) => (Possible, Timing),
                };
                let case = found.find(
                    fact,
                    sure,
                    strength,
                    "The handshake gets no answer from outside: something on the way drops it.",
                );
                direct.iter().for_each(|fact| {
                    case.cite(fact);
                });
            }
        },
    },
];
