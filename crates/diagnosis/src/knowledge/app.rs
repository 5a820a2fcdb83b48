//! The process as it is seen from outside and on its host.
//!
//! length: a table of ten rows, mostly prose.

use std::time::Duration;

use super::{
    effects::{at_the_proxy, passed_on},
    lately,
};
use crate::{
    Confidence::{Likely, Possible, Proven},
    Fact, Id, Lasting, LogKind, Maker, Mark, Observation as O, Outcome, Own, Path, Process, Role,
    RunState, Via, Wire,
    engine::Strength::{Direct, Timing},
    knowledge::Row,
};

pub(super) const ROWS: &[Row] = &[
    Row {
        id: Id::AppNotListening,
        role: Role::Fault,
        title: "Nothing listens on the port",
        means: "No process has a listening socket on this port, so the kernel refuses each connection at once. The service is not started, has ended, or listens elsewhere.",
        outside: "*Connection refused* within a few milliseconds. A proxy in front makes 502 of it (nginx, Caddy, Traefik) or 503 (HAProxy, Envoy, Apache, Varnish).",
        inside: "No socket in state LISTEN (0A) with this port in /proc/net/tcp and tcp6 of the service's own network namespace. The unit's state and the last lines of its log say why.",
        threshold: "No listener is proof. A refused connection alone may also be a firewall that rejects.",
        fix: "Start the service, and read the last lines of its log for the reason it is not running. If it runs, look which port it is told to use.",
        commands: &[
            "ss -ltnp",
            "systemctl status UNIT",
            "journalctl -u UNIT -n 50 --no-pager",
        ],
        effects: at_the_proxy![],
        judge: |view, found| {
            let taken = view.all(is_taken);
            let taken_at = |fact: &Fact| taken.iter().find(|it| it.tied == fact.tied).copied();
            for fact in view.all(|seen| matches!(seen, O::Process(Process::NoListener {}))) {
                // The kernel may hand connections on to another place, and no socket shows it.
                if taken_at(fact).is_none() {
                    let says = "Nothing listens on the port, so each connection is refused.";
                    found.find(fact, Proven, Direct, says);
                }
            }
            let refused = |seen: &O| {
                let outcome = Outcome::Refused;
                matches!(seen, O::Wire(Wire::Probe { outcome: it, .. }) if *it == outcome)
            };
            if !view.any(|seen| matches!(seen, O::Process(Process::Listener { .. }))) {
                for fact in view.all(refused) {
                    let says = "Connections are refused at once: nothing listens there, or something on the way rejects them.";
                    match taken_at(fact) {
                        None => {
                            found.find(fact, Likely, Direct, says);
                        }
                        Some(taken) => {
                            let says = "Some connections are refused at once and others taken: for a while nothing listened there, or at one of several places nothing does.";
                            found.find(fact, Likely, Direct, says).but(taken);
                        }
                    }
                }
            }
            if found.is_empty() {
                for fact in view.all(|seen| matches!(seen, O::Process(Process::Listener { .. }))) {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::AppWrongBind,
        role: Role::Fault,
        title: "It listens on loopback only",
        means: "The service has its port open on 127.0.0.1 or ::1 alone, which only processes of the same host and network namespace reach. In a container that is nobody.",
        outside: "Refused at the host's address, and well at 127.0.0.1.",
        inside: "The listening socket's local address is 127.0.0.1 or ::1.",
        threshold: "A listener on loopback alone, asked for at another address.",
        fix: "Let the service listen on 0.0.0.0 or [::], or let the proxy ask on loopback.",
        commands: &["ss -ltn"],
        effects: at_the_proxy![],
        judge: |view, found| {
            let elsewhere = view.all(|seen| {
                matches!(
                    seen,
                    O::Process(Process::AskedAt {
                        loopback: false,
                        ..
                    })
                )
            });
            let Some(asked) = elsewhere.first() else {
                return;
            };
            let refused = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        via: Via::Given,
                        outcome: Outcome::Refused,
                        ..
                    })
                )
            });
            let open = view.any(|seen| {
                matches!(
                    seen,
                    O::Process(Process::Listener {
                        loopback: false,
                        ..
                    })
                )
            });
            for (fact, address) in view.pick(|seen| match seen {
                O::Process(Process::Listener {
                    address,
                    loopback: true,
                }) => Some(address),
                _ => None,
            }) {
                if open || refused.is_empty() {
                    found.well(fact);
                    continue;
                }
                let case = found.find(fact, Proven, Direct, format!("The service listens on {address} only, and is asked for at another address."));
                case.cite(asked);
                refused.iter().for_each(|fact| {
                    case.cite(fact);
                });
            }
        },
    },
    Row {
        id: Id::AppCrashLoop,
        role: Role::Fault,
        title: "It ends and is started again and again",
        means: "The process dies soon after its start and the service manager starts it anew, so it answers now and then. After enough starts the manager gives up.",
        outside: "Refused and answered in turn; short successes.",
        inside: "NRestarts grows while one looks, the unit is in auto-restart, or its result is exit-code, signal, oom-kill or start-limit-hit. In Kubernetes, CrashLoopBackOff.",
        threshold: "One restart during the look, or three starts in ten minutes.",
        fix: "Read why it ended (the last lines before each start), mend that, and reset the unit's counter.",
        commands: &[
            "systemctl show UNIT -p ActiveState,SubState,Result,ExecMainStatus,NRestarts",
            "journalctl -u UNIT -n 100 --no-pager",
            "systemctl reset-failed UNIT",
        ],
        effects: at_the_proxy![Id::AppNotListening, Id::AppStarting],
        judge: |view, found| {
            for (fact, (during, total)) in view.pick(|seen| match seen {
                O::Process(Process::Restarts { total, during }) => Some((*during, *total)),
                _ => None,
            }) {
                if during > 0 {
                    found.find(fact, Proven, Direct, format!("The service manager restarted it {during} times while it was looked at, {total} times in all.")).from("1 during the look");
                } else {
                    found.well(fact);
                }
            }
            for (fact, (count, within)) in view.pick(|seen| match seen {
                O::Process(Process::Starts { count, within }) => Some((*count, *within)),
                _ => None,
            }) {
                if count >= 3 && within <= Duration::from_secs(600) {
                    found
                        .find(
                            fact,
                            Proven,
                            Direct,
                            format!("It was started {count} times within {}.", Lasting(within)),
                        )
                        .from("3 in 10 min");
                }
            }
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Process(Process::Unit { sub, result, .. })
                    if sub.as_str() == "auto-restart" || result.as_str() == "start-limit-hit" =>
                {
                    Some(format!(
                        "The unit is {sub}, with the result {result}: it ends and is started again."
                    ))
                }
                O::Kubernetes(crate::Kubernetes::Waiting {
                    pod,
                    reason,
                    restarts,
                }) if reason.as_str().contains("BackOff") => Some(format!(
                    "Pod {pod} waits in {reason} after {restarts} restarts."
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::AppHung,
        role: Role::Fault,
        title: "It accepts connections and does not answer",
        means: "The kernel completes the handshake by itself, so a connection says nothing about the process. No byte comes back: the process is stopped, waits for a disk, spins, or does not get round to accepting.",
        outside: "Connected within a millisecond, then silence until the client's time-out; behind a proxy a 504, or HAProxy's 503 after its connect time-out once the queue is full.",
        inside: "The state in /proc/PID/stat: T is stopped (a debugger, SIGSTOP, a frozen group), D waits for a disk, R at full processor time spins. S with a growing accept queue does not accept.",
        threshold: "Connected and no byte in time. With state T it is proven.",
        fix: "Stopped: let it go on with SIGCONT, and find out who stopped it. Otherwise take a dump of its threads before you restart it, and look for calls that block the threads of an async runtime.",
        commands: &[
            "grep State /proc/PID/status",
            "kill -CONT PID",
            "cat /proc/PID/wchan",
            "ss -ltn",
        ],
        effects: at_the_proxy![Id::HostAcceptQueueFull, Id::AppNotReady],
        judge: |view, found| {
            let silent = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        outcome: Outcome::Silent,
                        ..
                    })
                )
            });
            let answered = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        via: Via::Given,
                        outcome: Outcome::Answered(_) | Outcome::Grpc(_),
                        ..
                    })
                )
            });
            let stopped = view.all(|seen| {
                matches!(
                    seen,
                    O::Process(Process::State {
                        is: RunState::Stopped
                    })
                )
            });
            for fact in &stopped {
                let case = found.find(fact, Proven, Direct, "The process is stopped (state T), so connections are accepted by the kernel and never answered.");
                silent.iter().for_each(|fact| {
                    case.cite(fact);
                });
            }
            let told_apart = !stopped.is_empty() || view.any(|seen| matches!(seen, O::Process(Process::Workers { busy, all }) if *all > 0 && busy >= all));
            if told_apart {
                return;
            }
            let waits =
                view.all(|seen| matches!(seen, O::Process(Process::State { is: RunState::Disk })));
            for fact in &silent {
                let says = match (waits.is_empty(), answered.is_empty()) {
                    (true, true) => "Connections are accepted, and no byte comes back in time.",
                    (true, false) => {
                        "Connections are accepted; some requests get no byte in time, and others are answered."
                    }
                    (false, _) => {
                        "Connections are accepted, and no byte comes back: the process waits for a disk (state D)."
                    }
                };
                let case = found.find(fact, Likely, Direct, says);
                if let Some(answered) = answered.first() {
                    case.but(answered).fix("The process lives, since it answers others: find what these requests wait for (a lock, a query, a call), and give that a time-out. A dump of its threads shows where they stand.");
                }
                waits.iter().for_each(|fact| {
                    case.cite(fact);
                });
                for fact in view.all(
                    |seen| matches!(seen, O::Process(Process::AcceptQueue { now, .. }) if *now > 0),
                ) {
                    case.cite(fact);
                }
            }
            if silent.is_empty() {
                for fact in view.all(|seen| matches!(seen, O::Process(Process::State { .. }))) {
                    found.well(fact);
                }
            }
        },
    },
    Row {
        id: Id::AppWorkersBusy,
        role: Role::Fault,
        title: "Every worker is busy",
        means: "A server with a fixed number of workers (gunicorn, uWSGI, PHP-FPM, Puma) answers as many requests at once as it has workers. All of them are in a request now, and what comes waits in the kernel's accept queue, where no log and no metric of the server sees it.",
        outside: "Connected, then silence for as long as the slowest request takes; behind a proxy a 504 or a 502.",
        inside: "No worker of the process waits in accept: each is at work or waits for something else; the accept queue is not empty.",
        threshold: "All workers busy in each sample while somebody waits.",
        fix: "Find what the workers wait for: usually a slow dependency or a report. Give slow calls time-outs shorter than the proxy's, move slow work out of requests, and only then add workers or threads.",
        commands: &["ss -ltn", "pgrep -P PID | xargs -I{} cat /proc/{}/wchan"],
        effects: at_the_proxy![
            Id::HostAcceptQueueFull,
            Id::AppHung,
            Id::AppWorkerTimeout,
            Id::AppForeign503
        ],
        judge: |view, found| {
            let silent = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        outcome: Outcome::Silent,
                        ..
                    })
                )
            });
            let waiting = view.all(
                |seen| matches!(seen, O::Process(Process::AcceptQueue { now, .. }) if *now > 0),
            );
            for (fact, (busy, all)) in view.pick(|seen| match seen {
                O::Process(Process::Workers { busy, all }) => Some((*busy, *all)),
                _ => None,
            }) {
                if all == 0 || busy < all {
                    found.well(fact);
                    continue;
                }
                let sure = if silent.is_empty() && waiting.is_empty() {
                    Possible
                } else {
                    Proven
                };
                let case = found.find(
                    fact,
                    sure,
                    Direct,
                    format!(
                        "All {all} workers are in a request, and new ones wait in the accept queue."
                    ),
                );
                silent.iter().chain(&waiting).for_each(|fact| {
                    case.cite(fact);
                });
            }
        },
    },
    Row {
        id: Id::AppWorkerTimeout,
        role: Role::Fault,
        title: "A worker was killed by its time-out",
        means: "The server's own watchdog ended a worker that had been in one request for too long. The client of that request gets a 500 or a cut connection, and everybody else one worker less for the moment of its start.",
        outside: "A 500 with the server's page, or a closed connection, exactly after the time-out (30 s in gunicorn).",
        inside: "`WORKER TIMEOUT (pid:…)` in the server's log.",
        threshold: "One such line in the window.",
        fix: "Find what that request did: the time-out is the messenger. Give its calls time-outs of their own that are shorter. Raise the worker's time-out only for work that is meant to be long.",
        commands: &["journalctl -u UNIT --no-pager | grep -n 'WORKER TIMEOUT'"],
        effects: at_the_proxy![Id::AppForeign503],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Process(Process::LogLine {
                    about: LogKind::WorkerTimeout,
                    count,
                    ..
                }) => Some(format!(
                    "A worker was killed by its time-out, {count} times."
                )),
                _ => None,
            });
            found.tell(view, Likely, Timing, |seen| match seen {
                O::Wire(Wire::Made { by: Maker::Gunicorn, mark: Mark::GunicornError, status, after }) if *after >= Duration::from_secs(1) => {
                    Some(format!("gunicorn answered {status} after {}: a worker was killed in the middle of the request.", Lasting(*after)))
                }
                _ => None,
            });
        },
    },
    Row {
        id: Id::AppNotHttp,
        role: Role::Fault,
        title: "What answers there does not speak HTTP",
        means: "Something listens, and it is not the web service, or it speaks TLS where plain HTTP was tried, or the other way round.",
        outside: "An answer that is no HTTP, or a connection that is closed at the first byte.",
        inside: "The owner of the listening socket.",
        threshold: "Bytes came that do not begin an HTTP answer.",
        fix: "Look who owns the port. If it is the service, try the other scheme.",
        commands: &["ss -ltnp", "curl -skv https://127.0.0.1:PORT/"],
        effects: at_the_proxy![],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Wire(Wire::Probe {
                    outcome: Outcome::NotHttp,
                    path: Path::Given,
                    ..
                }) => Some("Something listens there that does not speak HTTP.".to_owned()),
                _ => None,
            });
            // Some servers hang up without a word when they are spoken to in HTTP.
            let hung_up = view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        outcome: Outcome::Closed,
                        path: Path::Given,
                        ..
                    })
                )
            });
            if let Some(first) = hung_up.first() {
                for (fact, name) in view.pick(|seen| match seen {
                    O::Process(Process::Program { name }) => other_protocol(name.as_str()),
                    _ => None,
                }) {
                    found
                        .find(
                            fact,
                            Likely,
                            Direct,
                            format!("{name} listens there, which does not speak HTTP, and it closed the connection."),
                        )
                        .cite(first);
                }
            }
        },
    },
    Row {
        id: Id::AppWrongPath,
        role: Role::Fault,
        title: "The path does not exist",
        means: "The service answers, and does not know this path: a wrong URL, a prefix that a proxy adds or takes away, or another service on the port.",
        outside: "404 here, and an answer at `/`.",
        inside: "The routes of the service; the proxy's rewriting rules.",
        threshold: "404 for the URL. A 503 this is not.",
        fix: "Ask for the right path. Behind a proxy, compare the path that the service's log shows with the one that was asked.",
        commands: &["curl -si URL"],
        effects: &[],
        judge: |view, found| {
            let others = view.all(|seen| matches!(seen, O::Wire(Wire::Probe { path: Path::Root, outcome: Outcome::Answered(status), .. }) if *status < 400));
            for fact in view.all(|seen| {
                matches!(
                    seen,
                    O::Wire(Wire::Probe {
                        path: Path::Given,
                        outcome: Outcome::Answered(404),
                        ..
                    })
                )
            }) {
                let case = found.find(
                    fact,
                    Likely,
                    Direct,
                    "The service answers 404: it does not know this path.",
                );
                others.iter().for_each(|fact| {
                    case.cite(fact);
                });
            }
        },
    },
    Row {
        id: Id::AppOwn503,
        role: Role::Symptom,
        title: "The application itself answered 503",
        means: "A handler made this answer; no gate of the library and no proxy did. The library only marked and counted it.",
        outside: "503 with `why-503: cause=application`.",
        inside: "The refusal's id leads to the route and the moment; the application's log says more.",
        threshold: "The header, or a fresh incident on the operator's page.",
        fix: "Look in the application's log at that moment, by the request's id. If the handler says 503 because something that it calls is down, put that call behind a `Dependency`, and the answer will say so.",
        commands: &[
            "curl -s -H \"Authorization: Bearer $WHY503_TOKEN\" http://127.0.0.1:PORT/why503/",
        ],
        effects: passed_on![],
        judge: |view, found| {
            found.tell(view, Proven, Direct, |seen| match seen {
                O::Wire(Wire::Why {
                    cause: steadfast_core::Cause::Application,
                    ..
                }) => Some("The application's own handler answered 503.".to_owned()),
                O::Own(Own::Refusing {
                    cause: steadfast_core::Cause::Application,
                    count,
                    since,
                    last,
                    ..
                }) if *last <= lately() => Some(format!(
                    "The application's own handlers have answered 503 {count} times in {}.",
                    Lasting(*since)
                )),
                _ => None,
            });
        },
    },
    Row {
        id: Id::AppForeign503,
        role: Role::Symptom,
        title: "The service made it and does not say why",
        means: "The answer bears no mark of a proxy that is known here and none of the library. The service behind the address made it, and its reason is not in the answer.",
        outside: "503 without a known body or header.",
        inside: "Only the service's own log knows.",
        threshold: "What remains when no maker is known by its marks.",
        fix: "Look into the service's log at that moment. Ask the service directly, around every proxy, to see whether the answer is the same.",
        commands: &["curl -sv URL", "journalctl -u UNIT -n 100 --no-pager"],
        effects: &[],
        judge: |view, found| {
            found.tell(view, Likely, Direct, |seen| match seen {
                O::Wire(Wire::Unmarked { status, .. }) if *status >= 500 => Some(format!(
                    "The service behind the address answered {status} itself and does not say why."
                )),
                _ => None,
            });
        },
    },
];

/// Whether a probe's connection was taken, whatever came of it.
const fn is_taken(seen: &O) -> bool {
    let O::Wire(Wire::Probe { outcome, .. }) = seen else {
        return false;
    };
    !matches!(
        outcome,
        Outcome::Refused | Outcome::ConnectTimedOut | Outcome::Unroutable | Outcome::NameUnknown
    )
}

/// The program, if it is a server of another protocol.
fn other_protocol(name: &str) -> Option<&'static str> {
    let known = [
        "redis-server",
        "valkey-server",
        "postgres",
        "pgbouncer",
        "mysqld",
        "mariadbd",
        "memcached",
        "mongod",
        "beam.smp",
        "sshd",
    ];
    known.into_iter().find(|it| *it == name)
}
