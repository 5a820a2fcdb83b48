//! For each finding the facts that prove it, and its healthy twin: the same things looked at,
//! and well.
//!
//! length: one table, a case for each id.

use std::time::Duration;

use steadfast_core::{Cause, Rule};
use steadfast_diagnosis::*;

/// One finding's facts.
pub(crate) struct Case {
    pub(crate) id: Id,
    pub(crate) fires: Vec<Fact>,
    pub(crate) twin: Vec<Fact>,
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) fn port(seen: impl Into<Observation>) -> Fact {
    Fact::new("probe", Tied::Port(8000), seen)
}

pub(crate) fn process(seen: impl Into<Observation>) -> Fact {
    Fact::new("/proc/4711", Tied::Process(4711), seen)
}

pub(crate) fn host(seen: impl Into<Observation>) -> Fact {
    Fact::new("/proc", Tied::Host, seen)
}

pub(crate) fn service(seen: impl Into<Observation>) -> Fact {
    Fact::new("the process", Tied::Service, seen)
}

pub(crate) fn db(seen: impl Into<Observation>) -> Fact {
    Fact::new("orders-db", Tied::dependency("orders-db"), seen)
}

pub(crate) fn backend(seen: impl Into<Observation>) -> Fact {
    Fact::new("show stat", Tied::backend("api"), seen)
}

pub(crate) fn probe(outcome: Outcome, after: Duration) -> Fact {
    port(Wire::Probe {
        via: Via::Given,
        path: Path::Given,
        outcome,
        after,
    })
}

pub(crate) fn answered(status: u16) -> Fact {
    probe(Outcome::Answered(status), ms(2))
}

/// Requests fail, and nobody says why.
pub(crate) fn failing() -> Fact {
    port(Wire::Unmarked {
        status: 503,
        server: "".into(),
    })
}

fn made(by: Maker, mark: Mark, status: u16, after: Duration) -> Vec<Fact> {
    vec![
        probe(Outcome::Answered(status), after),
        port(Wire::Made {
            by,
            mark,
            status,
            after,
        }),
    ]
}

fn why(cause: Cause, rule: Option<Rule>) -> Fact {
    port(Wire::Why {
        cause,
        rule,
        id: "0190f5c2".into(),
    })
}

pub(crate) fn refusing(cause: Cause, rule: Option<Rule>) -> Fact {
    service(Own::Refusing {
        cause,
        rule,
        count: 40,
        since: secs(20),
        last: secs(1),
        numbers: "64 of 64".into(),
    })
}

fn reached(kind: ServerKind, how: Reach) -> Fact {
    db(Server::Reached {
        kind,
        how,
        after: ms(1),
    })
}

fn standbys(synchronous: u64, waiting: u64, longest: Duration) -> Fact {
    db(Postgres::Standbys {
        connected: synchronous,
        synchronous,
        wanted: "s1".into(),
        behind: ms(1),
        waiting,
        longest,
    })
}

fn hap_log(code: HaproxyCode) -> Fact {
    backend(Proxy::HaproxyEnds {
        code,
        server: "s1".into(),
        queued: ms(0),
        connecting: ms(0),
        retries: 0,
        count: 3,
    })
}

fn hap_backend(serving: u64, listed: u64) -> Fact {
    backend(Proxy::Backend {
        by: Maker::Haproxy,
        serving,
        listed,
        up: serving > 0 || listed == 0,
    })
}

fn hap_server(is: ServerIs, last_check: &str) -> Fact {
    backend(Proxy::Server {
        by: Maker::Haproxy,
        name: "s1".into(),
        is,
        last_check: last_check.into(),
    })
}

fn nginx(about: NginxLog) -> Fact {
    service(Proxy::NginxSays {
        about,
        line: "2026/11/29 [error] a line".into(),
        count: 2,
    })
}

fn envoy(flag: EnvoyFlag) -> Fact {
    backend(Proxy::EnvoyFlagged {
        flag,
        details: "details".into(),
        host: "-".into(),
        count: 2,
    })
}

fn check(is: CheckIs, class: &str, error: &str) -> Fact {
    db(Own::Check {
        is,
        failures: 3,
        class: class.into(),
        error: error.into(),
        took: None,
        required: true,
    })
}

pub(crate) fn pool(is: PoolIs, waiting: u64, trouble: &str) -> Fact {
    db(Own::Pool {
        is,
        in_use: if is == PoolIs::Well { 1 } else { 10 },
        max: 10,
        waiting,
        trouble: trouble.into(),
    })
}

fn breaker(is: BreakerIs) -> Fact {
    let (why, last_error) = match is {
        BreakerIs::Closed => ("", ""),
        _ => ("5 calls in a row failed", "an error"),
    };
    db(Own::Breaker {
        is,
        why: why.into(),
        last_error: last_error.into(),
        retry_in: None,
    })
}

fn pg_error(code: &str, message: &str) -> Fact {
    db(Postgres::Error {
        code: code.into(),
        message: message.into(),
    })
}

fn redis(is: RedisReply, text: &str) -> Fact {
    db(Redis::Reply {
        is,
        text: text.into(),
    })
}

fn log(about: LogKind) -> Fact {
    process(Process::LogLine {
        about,
        line: "a line".into(),
        count: 1,
    })
}

fn tls(why: TlsFault) -> Fact {
    db(Tls::Fault {
        why,
        detail: "CN=db".into(),
    })
}

fn certificate(left: Duration) -> Fact {
    db(Tls::Certificate {
        subject: "CN=db".into(),
        names: "db".into(),
        left,
    })
}

fn disk(free_bytes: u64, free: f64, free_inodes: f64) -> Fact {
    host(Host::Disk {
        at: "/var".into(),
        free: free.into(),
        free_bytes: Bytes(free_bytes),
        free_inodes: free_inodes.into(),
    })
}

fn pressure(on: Resource, some: f64, full: f64) -> Fact {
    host(Host::Pressure {
        on,
        some: some.into(),
        full: full.into(),
    })
}

/// What looks alarming and is nothing.
pub(crate) fn decoys() -> Vec<Fact> {
    vec![
        host(Host::LoadAverage {
            one: 50.0,
            processors: 2,
        }),
        host(Host::TimeWait { count: 10_000 }),
        host(Host::SinceBoot {
            counter: "ListenOverflows".into(),
            value: 12_345,
        }),
        host(Host::SinceBoot {
            counter: "oom_kill".into(),
            value: 7,
        }),
        Fact::new(
            "INFO",
            Tied::dependency("cache"),
            Redis::Clients {
                now: 9_000,
                max: 10_000,
                refused: 0,
            },
        ),
        Fact::new(
            "pg",
            Tied::dependency("reporting"),
            Postgres::Slots {
                used: 92,
                max: 100,
                reserved: 3,
            },
        ),
        process(Process::Cpu {
            used: 1.9,
            allowed: 2.0,
        }),
        process(Process::Descriptors {
            used: 930,
            max: 1_024,
        }),
        process(Process::Connecting {
            to: "10.0.0.9:443".into(),
            count: 3,
        }),
        host(Host::OomKill {
            name: "cron-job".into(),
            count: 1,
            ours: false,
        }),
        pressure(Resource::Cpu, 0.6, 0.0),
        pressure(Resource::Io, 0.5, 0.3),
        service(Own::Cpu {
            ratio: Ratio::new(0.95),
        }),
        service(Own::Version {
            version: "1.2.3".into(),
            since: secs(30),
        }),
        service(Own::Demand {
            now: 300.0,
            before: 20.0,
            ratio: Ratio::new(0.9),
        }),
        service(Own::Refusing {
            cause: Cause::Overloaded,
            rule: Some(Rule::Limit),
            count: 9,
            since: secs(9_000),
            last: secs(8_000),
            numbers: "".into(),
        }),
    ]
}

fn case(id: Id, fires: Vec<Fact>, twin: Vec<Fact>) -> Case {
    Case { id, fires, twin }
}

fn with(mut facts: Vec<Fact>, fact: Fact) -> Vec<Fact> {
    facts.push(fact);
    facts
}

/// A case for each id.
pub(crate) fn cases() -> Vec<Case> {
    let mut cases = app();
    cases.extend(library());
    cases.extend(host_cases());
    cases.extend(proxies());
    cases.extend(data());
    cases.extend(changes());
    cases.extend(risks());
    cases
}

fn app() -> Vec<Case> {
    let ok = || vec![answered(200)];
    let listens = || {
        process(Process::Listener {
            address: "0.0.0.0:8000".into(),
            loopback: false,
        })
    };
    vec![
        case(
            Id::AppNotListening,
            vec![probe(Outcome::Refused, ms(1)), port(Process::NoListener {})],
            with(ok(), listens()),
        ),
        case(
            Id::AppWrongBind,
            vec![
                probe(Outcome::Refused, ms(1)),
                process(Process::Listener {
                    address: "127.0.0.1:8000".into(),
                    loopback: true,
                }),
                port(Process::AskedAt {
                    address: "10.0.0.5".into(),
                    loopback: false,
                }),
            ],
            vec![
                answered(200),
                listens(),
                port(Process::AskedAt {
                    address: "10.0.0.5".into(),
                    loopback: false,
                }),
            ],
        ),
        case(
            Id::AppCrashLoop,
            vec![
                probe(Outcome::Refused, ms(1)),
                process(Process::Restarts {
                    total: 9,
                    during: 1,
                }),
            ],
            with(
                ok(),
                process(Process::Restarts {
                    total: 9,
                    during: 0,
                }),
            ),
        ),
        case(
            Id::AppHung,
            vec![
                probe(Outcome::Silent, secs(2)),
                process(Process::State {
                    is: RunState::Stopped,
                }),
            ],
            with(
                ok(),
                process(Process::State {
                    is: RunState::Sleeping,
                }),
            ),
        ),
        case(
            Id::AppWorkersBusy,
            vec![
                probe(Outcome::Silent, secs(2)),
                process(Process::Workers { busy: 4, all: 4 }),
                process(Process::AcceptQueue { now: 3, max: 64 }),
            ],
            with(ok(), process(Process::Workers { busy: 1, all: 4 })),
        ),
        case(
            Id::AppWorkerTimeout,
            vec![answered(500), log(LogKind::WorkerTimeout)],
            with(ok(), log(LogKind::Other)),
        ),
        case(Id::AppNotHttp, vec![probe(Outcome::NotHttp, ms(1))], ok()),
        case(Id::AppWrongPath, vec![answered(404)], ok()),
        case(
            Id::AppStarting,
            vec![why(Cause::Starting, None)],
            vec![answered(200), process(Process::Age { age: secs(4) })],
        ),
        case(
            Id::AppMaintenance,
            vec![
                service(Own::Maintenance {
                    reason: "a migration".into(),
                    since: secs(60),
                    left: Some(secs(60)),
                }),
                refusing(Cause::Maintenance, None),
            ],
            ok(),
        ),
        case(
            Id::AppDraining,
            vec![
                why(Cause::Draining, None),
                service(Own::Leaving {
                    running: 3,
                    since: secs(4),
                }),
            ],
            with(
                ok(),
                service(Own::Phase {
                    is: PhaseIs::Ready,
                    since: secs(900),
                }),
            ),
        ),
        case(
            Id::AppNotReady,
            vec![
                answered(503),
                port(Wire::Readiness {
                    status: 503,
                    line: "not ready: orders-db".into(),
                }),
            ],
            with(
                ok(),
                port(Wire::Readiness {
                    status: 200,
                    line: "ready".into(),
                }),
            ),
        ),
        case(
            Id::AppNotHttp,
            vec![
                probe(Outcome::Closed, ms(1)),
                process(Process::Program {
                    name: "redis-server".into(),
                }),
            ],
            ok(),
        ),
        case(
            Id::AppHealthMisconfig,
            vec![
                answered(200),
                port(Wire::HealthCheck {
                    path: "/status".into(),
                    status: 401,
                }),
            ],
            with(
                ok(),
                port(Wire::HealthCheck {
                    path: "/ready/".into(),
                    status: 200,
                }),
            ),
        ),
        case(Id::AppOwn503, vec![why(Cause::Application, None)], ok()),
        case(
            Id::AppForeign503,
            vec![answered(503), failing()],
            vec![answered(200)],
        ),
    ]
}

fn library() -> Vec<Case> {
    let overloaded = || refusing(Cause::Overloaded, Some(Rule::Limit));
    let limit = |in_flight| {
        service(Own::Limit {
            in_flight,
            limit: Some(64),
            waiting: 0,
        })
    };
    let lag = |lag| {
        service(Own::Lag {
            lag,
            allowed: ms(100),
        })
    };
    vec![
        case(
            Id::AppRuntimeStalled,
            vec![
                probe(Outcome::Silent, secs(2)),
                service(Own::Silent { since: secs(14) }),
            ],
            vec![answered(200), service(Own::Silent { since: ms(40) })],
        ),
        case(
            Id::AppBlockingHandler,
            vec![
                overloaded(),
                service(Own::Blocked {
                    workers: 2,
                    of: 2,
                    longest: secs(5),
                }),
            ],
            vec![service(Own::Blocked {
                workers: 0,
                of: 2,
                longest: ms(3),
            })],
        ),
        case(
            Id::AppRuntimeLag,
            vec![
                refusing(Cause::Overloaded, Some(Rule::RuntimeLag)),
                lag(ms(400)),
            ],
            vec![lag(ms(2))],
        ),
        case(
            Id::AppSlowHandler,
            vec![
                overloaded(),
                service(Own::Oldest {
                    route: "GET /report".into(),
                    age: secs(30),
                    ratio: Ratio::new(0.9),
                }),
            ],
            vec![service(Own::Oldest {
                route: "GET /report".into(),
                age: ms(30),
                ratio: Ratio::new(0.9),
            })],
        ),
        case(Id::AppShed, vec![overloaded(), limit(64)], vec![limit(12)]),
        case(
            Id::AppBreakerOpen,
            vec![breaker(BreakerIs::Open)],
            vec![breaker(BreakerIs::Closed)],
        ),
        case(
            Id::AppCheckDisagrees,
            vec![db(Own::CheckDisagrees {
                failures: 3,
                succeeded: 40,
                within: secs(10),
            })],
            vec![check(CheckIs::Passing, "", "")],
        ),
        case(
            Id::DepFailing,
            vec![
                failing(),
                db(Http::Failing {
                    failed: 9,
                    of: 10,
                    last: 500,
                }),
            ],
            vec![db(Http::Failing {
                failed: 0,
                of: 10,
                last: 200,
            })],
        ),
        case(
            Id::PoolLeak,
            vec![
                pool(PoolIs::Busy, 3, ""),
                db(Own::Held {
                    place: "src/orders.rs:41".into(),
                    age: secs(90),
                    count: 8,
                }),
            ],
            vec![
                pool(PoolIs::Well, 0, ""),
                db(Own::Held {
                    place: "src/orders.rs:41".into(),
                    age: secs(90),
                    count: 1,
                }),
            ],
        ),
        case(
            Id::PoolStuck,
            vec![pool(PoolIs::Stuck, 3, "")],
            vec![pool(PoolIs::Well, 0, "")],
        ),
        case(
            Id::PoolUnreachable,
            vec![pool(PoolIs::Unreachable, 3, "no route to host")],
            vec![pool(PoolIs::Well, 0, "")],
        ),
        case(
            Id::PoolServerFull,
            vec![pool(PoolIs::ServerFull, 3, "no session")],
            vec![pool(PoolIs::Well, 0, "")],
        ),
        case(
            Id::PoolSessionsRefused,
            vec![db(Own::SessionsRefused {
                error: "no session".into(),
                still_serving: 4,
            })],
            vec![pool(PoolIs::Well, 0, "")],
        ),
        case(
            Id::PoolApp,
            vec![
                pool(PoolIs::Busy, 7, ""),
                refusing(Cause::PoolExhausted, None),
            ],
            vec![pool(PoolIs::Well, 0, "")],
        ),
    ]
}

fn host_cases() -> Vec<Case> {
    let queue = |now| process(Process::AcceptQueue { now, max: 4 });
    let throttled = |cut| {
        process(Cgroup::Throttled {
            periods: 20,
            cut,
            lost: ms(900),
        })
    };
    vec![
        case(
            Id::HostAcceptQueueFull,
            vec![probe(Outcome::ConnectTimedOut, secs(2)), queue(5)],
            vec![answered(200), queue(0)],
        ),
        case(
            Id::HostSynFlood,
            vec![
                probe(Outcome::ConnectTimedOut, secs(2)),
                host(Host::SynDrops {
                    grew: 40,
                    over: secs(2),
                }),
            ],
            vec![host(Host::SynDrops {
                grew: 0,
                over: secs(2),
            })],
        ),
        case(
            Id::HostFdExhausted,
            vec![
                probe(Outcome::Silent, secs(2)),
                process(Process::Descriptors {
                    used: 1_023,
                    max: 1_024,
                }),
            ],
            vec![process(Process::Descriptors {
                used: 40,
                max: 1_024,
            })],
        ),
        case(
            Id::HostFileTable,
            vec![failing(), host(Host::FileTable { used: 98, max: 100 })],
            vec![host(Host::FileTable { used: 10, max: 100 })],
        ),
        case(
            Id::HostCpuThrottled,
            vec![failing(), throttled(15)],
            vec![throttled(0)],
        ),
        case(
            Id::HostCpuSaturated,
            vec![failing(), pressure(Resource::Cpu, 0.6, 0.0)],
            vec![pressure(Resource::Cpu, 0.02, 0.0)],
        ),
        case(
            Id::HostOomKill,
            vec![
                failing(),
                host(Host::OomKill {
                    name: "shop".into(),
                    count: 1,
                    ours: true,
                }),
            ],
            vec![host(Host::OomKill {
                name: "".into(),
                count: 0,
                ours: false,
            })],
        ),
        case(
            Id::HostMemPressure,
            vec![
                refusing(Cause::Overloaded, Some(Rule::Memory)),
                service(Own::Memory {
                    used: Bytes(96 << 20),
                    max: Bytes(100 << 20),
                    refusing: true,
                }),
            ],
            vec![service(Own::Memory {
                used: Bytes(20 << 20),
                max: Bytes(100 << 20),
                refusing: false,
            })],
        ),
        case(
            Id::HostIoStall,
            vec![
                failing(),
                pressure(Resource::Io, 0.6, 0.4),
                process(Process::State { is: RunState::Disk }),
            ],
            vec![pressure(Resource::Io, 0.0, 0.0)],
        ),
        case(
            Id::HostDiskFull,
            vec![failing(), disk(0, 0.0, 0.5)],
            vec![disk(9 << 30, 0.4, 0.5)],
        ),
        case(
            Id::HostConntrackFull,
            vec![failing(), host(Host::Conntrack { used: 99, max: 100 })],
            vec![host(Host::Conntrack { used: 1, max: 100 })],
        ),
        case(
            Id::HostEphemeralPorts,
            vec![
                failing(),
                host(Host::LocalPorts {
                    to: "10.0.0.9:80".into(),
                    used: 100,
                    all: 100,
                }),
            ],
            vec![host(Host::LocalPorts {
                to: "10.0.0.9:80".into(),
                used: 10,
                all: 100,
            })],
        ),
        case(
            Id::HostPidsLimit,
            vec![
                failing(),
                process(Cgroup::Pids {
                    now: 100,
                    max: 100,
                    refused: 2,
                }),
            ],
            vec![process(Cgroup::Pids {
                now: 10,
                max: 100,
                refused: 0,
            })],
        ),
        case(
            Id::HostFirewallDrop,
            vec![
                probe(Outcome::ConnectTimedOut, secs(2)),
                port(Wire::Probe {
                    via: Via::Direct,
                    path: Path::Given,
                    outcome: Outcome::Answered(200),
                    after: ms(1),
                }),
                queue(0),
            ],
            vec![answered(200), queue(0)],
        ),
    ]
}

fn proxies() -> Vec<Case> {
    let page = || made(Maker::Haproxy, Mark::HaproxyNoServer, 503, ms(0));
    let up = || {
        vec![
            answered(200),
            hap_backend(2, 2),
            hap_server(ServerIs::Up, "L7OK"),
        ]
    };
    let ok = || vec![answered(200)];
    let mut all_down = page();
    all_down.extend([hap_backend(0, 1), hap_server(ServerIs::Down, "L4CON")]);
    let mut behind_login = page();
    behind_login.extend([
        hap_backend(0, 1),
        hap_server(ServerIs::Down, "L7STS 401, Unauthorized"),
    ]);
    let mut maint = page();
    maint.extend([hap_backend(0, 1), hap_server(ServerIs::Maintenance, "")]);
    let mut denied = page();
    denied.extend([
        hap_backend(1, 1),
        service(Proxy::Rule {
            by: Maker::Haproxy,
            at: "haproxy.cfg:12".into(),
            rule: "http-request deny deny_status 503".into(),
        }),
    ]);
    let mut says_503 = made(Maker::Nginx, Mark::NginxUnavailable, 503, ms(0));
    says_503.push(service(Proxy::Rule {
        by: Maker::Nginx,
        at: "nginx.conf:9".into(),
        rule: "return 503".into(),
    }));
    let flag = |id, it| case(id, vec![answered(503), envoy(it)], vec![answered(200)]);
    vec![
        case(Id::HapEmptyBackend, with(page(), hap_backend(0, 0)), up()),
        case(Id::HapMaint, maint, up()),
        case(Id::HapAllDown, all_down, up()),
        case(Id::AppHealthMisconfig, behind_login, up()),
        case(
            Id::HapRefusedUnchecked,
            with(
                page(),
                backend(Proxy::ConnectErrors {
                    by: Maker::Haproxy,
                    errors: 4,
                    retries: 12,
                }),
            ),
            with(
                up(),
                backend(Proxy::ConnectErrors {
                    by: Maker::Haproxy,
                    errors: 0,
                    retries: 0,
                }),
            ),
        ),
        case(
            Id::HapConnectTimeout,
            with(
                made(Maker::Haproxy, Mark::HaproxyNoServer, 503, secs(4)),
                hap_log(HaproxyCode::ConnectTimeout),
            ),
            up(),
        ),
        case(
            Id::HapQueueTimeout,
            with(
                made(Maker::Haproxy, Mark::HaproxyNoServer, 503, secs(5)),
                hap_log(HaproxyCode::QueueTimeout),
            ),
            with(
                up(),
                backend(Proxy::Queue {
                    by: Maker::Haproxy,
                    waiting: 0,
                }),
            ),
        ),
        case(
            Id::HapLocalDeny,
            denied,
            with(
                up(),
                backend(Proxy::Denied {
                    by: Maker::Haproxy,
                    count: 0,
                }),
            ),
        ),
        case(
            Id::HapResource,
            with(page(), hap_log(HaproxyCode::Resource)),
            with(
                up(),
                service(Proxy::Connections {
                    by: Maker::Haproxy,
                    now: 4,
                    max: 100,
                }),
            ),
        ),
        case(
            Id::HapServerTimeout,
            made(Maker::Haproxy, Mark::HaproxyTimeout, 504, secs(30)),
            up(),
        ),
        case(Id::HapUnattributed, page(), up()),
        case(
            Id::NgxLimitReq,
            with(
                made(Maker::Nginx, Mark::NginxUnavailable, 503, ms(0)),
                nginx(NginxLog::LimitReq),
            ),
            ok(),
        ),
        case(
            Id::NgxLimitConn,
            with(
                made(Maker::Nginx, Mark::NginxUnavailable, 503, ms(0)),
                nginx(NginxLog::LimitConn),
            ),
            ok(),
        ),
        case(
            Id::NgxReturn503,
            says_503,
            with(
                ok(),
                service(Proxy::Rule {
                    by: Maker::Nginx,
                    at: "nginx.conf:9".into(),
                    rule: "return 503".into(),
                }),
            ),
        ),
        case(
            Id::NgxPassthrough,
            vec![answered(503), nginx(NginxLog::PassedOn)],
            ok(),
        ),
        case(
            Id::NgxNoLive,
            with(
                made(Maker::Nginx, Mark::NginxBadGateway, 502, ms(0)),
                nginx(NginxLog::NoLive),
            ),
            ok(),
        ),
        case(
            Id::NgxTimeout,
            with(
                made(Maker::Nginx, Mark::NginxTimeout, 504, secs(60)),
                nginx(NginxLog::ReadTimeout),
            ),
            ok(),
        ),
        case(
            Id::NgxWorkerConns,
            vec![answered(503), nginx(NginxLog::WorkerConnections)],
            ok(),
        ),
        case(
            Id::NgxUnattributed,
            made(Maker::Nginx, Mark::NginxUnavailable, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyUh,
            made(Maker::Envoy, Mark::EnvoyNoHealthy, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyUf,
            made(Maker::Envoy, Mark::EnvoyConnectionFailure, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyUo,
            made(Maker::Envoy, Mark::EnvoyOverflow, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyUc,
            made(Maker::Envoy, Mark::EnvoyConnectionTermination, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyUr,
            made(Maker::Envoy, Mark::EnvoyRemoteReset, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyLr,
            made(Maker::Envoy, Mark::EnvoyOtherReset, 503, ms(0)),
            ok(),
        ),
        flag(Id::EnvoyLh, EnvoyFlag::Lh),
        flag(Id::EnvoyDo, EnvoyFlag::Do),
        flag(Id::EnvoyUdo, EnvoyFlag::Udo),
        case(
            Id::EnvoyOm,
            made(Maker::Envoy, Mark::EnvoyLocalOverload, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyNc,
            made(Maker::Envoy, Mark::EnvoyEmpty, 503, ms(0)),
            ok(),
        ),
        case(
            Id::EnvoyUt,
            made(Maker::Envoy, Mark::EnvoyTimeout, 504, secs(15)),
            ok(),
        ),
        flag(Id::EnvoyRl, EnvoyFlag::Rl),
        flag(Id::EnvoyDirect, EnvoyFlag::DirectResponse),
        case(
            Id::TraefikNoServer,
            made(Maker::Traefik, Mark::TraefikNoServer, 503, ms(0)),
            ok(),
        ),
        case(
            Id::TraefikRefused,
            made(Maker::Traefik, Mark::TraefikBadGateway, 502, ms(0)),
            ok(),
        ),
        case(
            Id::TraefikTimeout,
            made(Maker::Traefik, Mark::TraefikTimeout, 504, secs(30)),
            ok(),
        ),
        case(
            Id::CaddyNoUpstream,
            made(Maker::Caddy, Mark::CaddyEmpty, 503, ms(0)),
            ok(),
        ),
        case(
            Id::CaddyRefused,
            made(Maker::Caddy, Mark::CaddyBadGateway, 502, ms(0)),
            ok(),
        ),
        case(
            Id::CaddyRespond,
            made(Maker::Caddy, Mark::Other, 503, ms(0)),
            ok(),
        ),
        case(
            Id::ApacheWorkerError,
            with(
                made(Maker::Apache, Mark::ApacheUnavailable, 503, ms(0)),
                service(Proxy::ApacheSays {
                    about: ApacheLog::WorkerDisabled,
                    line: "AH00959".into(),
                    count: 1,
                }),
            ),
            ok(),
        ),
        case(
            Id::ApacheRespond,
            with(
                made(Maker::Apache, Mark::ApacheUnavailable, 503, ms(0)),
                port(Proxy::Rule {
                    by: Maker::Apache,
                    at: "httpd.conf:7".into(),
                    rule: "RewriteRule ^/closed - [R=503,L]".into(),
                }),
            ),
            ok(),
        ),
        case(
            Id::VarnishSynth,
            with(
                made(Maker::Varnish, Mark::Other, 503, ms(0)),
                port(Proxy::Rule {
                    by: Maker::Varnish,
                    at: "boot".into(),
                    rule: "return (synth(503, \"closed\"));".into(),
                }),
            ),
            ok(),
        ),
        case(
            Id::VarnishBackend,
            made(Maker::Varnish, Mark::VarnishFetchFailed, 503, ms(0)),
            ok(),
        ),
        case(
            Id::LinkerdShed,
            made(Maker::Linkerd, Mark::LinkerdShed, 503, ms(0)),
            ok(),
        ),
        case(
            Id::LinkerdFailfast,
            made(Maker::Linkerd, Mark::LinkerdFailfast, 504, ms(0)),
            ok(),
        ),
        case(
            Id::AlbNoTargets,
            made(Maker::Alb, Mark::AlbUnavailable, 503, ms(0)),
            ok(),
        ),
        case(
            Id::AlbTarget,
            made(Maker::Alb, Mark::AlbTimeout, 504, secs(60)),
            ok(),
        ),
        case(
            Id::K8sNoEndpoints,
            vec![
                answered(503),
                backend(Kubernetes::Endpoints {
                    service: "api".into(),
                    ready: 0,
                    all: 3,
                }),
            ],
            vec![backend(Kubernetes::Endpoints {
                service: "api".into(),
                ready: 3,
                all: 3,
            })],
        ),
        case(
            Id::K8sProbeFailing,
            vec![
                answered(503),
                backend(Kubernetes::Probe {
                    pod: "api-1".into(),
                    kind: ProbeKind::Readiness,
                    says: "statuscode: 503".into(),
                    count: 4,
                }),
            ],
            ok(),
        ),
        case(
            Id::K8sOomKilled,
            vec![
                answered(503),
                backend(Kubernetes::OomKilled {
                    pod: "api-1".into(),
                    container: "api".into(),
                    ago: secs(60),
                }),
            ],
            vec![backend(Kubernetes::OomKilled {
                pod: "api-1".into(),
                container: "api".into(),
                ago: secs(90_000),
            })],
        ),
        case(
            Id::ProxyPassthrough,
            vec![
                answered(503),
                port(Wire::Passed {
                    by: Maker::Envoy,
                    status: 503,
                }),
            ],
            vec![
                answered(200),
                port(Wire::Passed {
                    by: Maker::Envoy,
                    status: 200,
                }),
            ],
        ),
        case(
            Id::ProxyRateLimit,
            vec![
                answered(429),
                port(Wire::Made {
                    by: Maker::Traefik,
                    mark: Mark::RateLimited,
                    status: 429,
                    after: ms(0),
                }),
            ],
            ok(),
        ),
        case(
            Id::ProxyUpstreamDown,
            made(Maker::Cloudflare, Mark::Other, 503, ms(20)),
            ok(),
        ),
        case(
            Id::ProxyUpstreamSlow,
            made(Maker::Apache, Mark::ApacheTimeout, 504, secs(60)),
            ok(),
        ),
        case(
            Id::ProxyRoute,
            made(Maker::Traefik, Mark::TraefikNotFound, 404, ms(0)),
            ok(),
        ),
    ]
}

fn data() -> Vec<Case> {
    let down = |id, kind| {
        case(
            id,
            vec![failing(), reached(kind, Reach::Refused)],
            vec![reached(kind, Reach::Answers)],
        )
    };
    let hung = |id, kind| {
        case(
            id,
            vec![failing(), reached(kind, Reach::Silent)],
            vec![reached(kind, Reach::Answers)],
        )
    };
    let says = |id, fact| {
        case(
            id,
            vec![failing(), fact],
            vec![reached(ServerKind::Redis, Reach::Answers)],
        )
    };
    let slots = |used| {
        db(Postgres::Slots {
            used,
            max: 100,
            reserved: 3,
        })
    };
    vec![
        case(
            Id::DnsFail,
            vec![
                failing(),
                db(Dns::Failed {
                    name: "db".into(),
                    why: DnsFault::TryAgain,
                    after: secs(5),
                }),
            ],
            vec![db(Dns::Found {
                name: "db".into(),
                addresses: 1,
                after: ms(2),
            })],
        ),
        case(
            Id::TlsExpired,
            vec![failing(), tls(TlsFault::Expired)],
            vec![certificate(secs(5_000_000))],
        ),
        case(
            Id::TlsExpiring,
            vec![certificate(secs(86_400))],
            vec![certificate(secs(5_000_000))],
        ),
        case(
            Id::TlsName,
            vec![failing(), tls(TlsFault::WrongName)],
            vec![certificate(secs(5_000_000))],
        ),
        case(
            Id::TlsChain,
            vec![failing(), tls(TlsFault::UnknownIssuer)],
            vec![certificate(secs(5_000_000))],
        ),
        case(
            Id::DepUnreachable,
            vec![
                failing(),
                check(CheckIs::Failing, "unreachable", "connection refused"),
            ],
            vec![check(CheckIs::Passing, "", "")],
        ),
        hung(Id::DepHung, ServerKind::Http),
        case(
            Id::DepReadOnly,
            vec![
                failing(),
                db(Own::ReadOnly {
                    error: "cannot write".into(),
                    since: secs(9),
                }),
            ],
            vec![check(CheckIs::Passing, "", "")],
        ),
        case(
            Id::DepLogin,
            vec![
                failing(),
                check(CheckIs::Failing, "auth", "password authentication"),
            ],
            vec![check(CheckIs::Passing, "", "")],
        ),
        down(Id::MemcachedDown, ServerKind::Memcached),
        down(Id::RabbitDown, ServerKind::Rabbitmq),
        says(
            Id::RabbitBlocked,
            db(Broker::Blocked {
                kind: ServerKind::Rabbitmq,
                by: "disk".into(),
            }),
        ),
        down(Id::KafkaDown, ServerKind::Kafka),
        down(Id::PgDown, ServerKind::Postgres),
        says(
            Id::PgStarting,
            pg_error("57P03", "the database system is starting up"),
        ),
        hung(Id::PgHung, ServerKind::Postgres),
        case(
            Id::PgIdleInTx,
            vec![
                failing(),
                slots(40),
                db(Postgres::IdleInTransaction {
                    count: 30,
                    longest: secs(200),
                    whose: "shop".into(),
                }),
            ],
            vec![
                slots(40),
                db(Postgres::IdleInTransaction {
                    count: 1,
                    longest: secs(200),
                    whose: "shop".into(),
                }),
            ],
        ),
        case(
            Id::PgLocks,
            vec![
                failing(),
                db(Postgres::Locks {
                    waiting: 7,
                    longest: secs(40),
                    root: 99,
                    query: "ALTER TABLE".into(),
                }),
            ],
            vec![db(Postgres::Locks {
                waiting: 1,
                longest: ms(20),
                root: 99,
                query: "UPDATE".into(),
            })],
        ),
        case(
            Id::PgExhausted,
            vec![
                failing(),
                pg_error("53300", "remaining connection slots are reserved"),
            ],
            vec![slots(40)],
        ),
        case(
            Id::PgReplication,
            vec![failing(), standbys(0, 3, secs(40))],
            vec![
                standbys(1, 1, ms(20)),
                db(Postgres::Standby {
                    behind: secs(600),
                    receives: false,
                }),
            ],
        ),
        case(
            Id::PgReadOnly,
            vec![
                failing(),
                db(Postgres::ReadOnly {
                    on: true,
                    why: "in recovery".into(),
                }),
            ],
            vec![db(Postgres::ReadOnly {
                on: true,
                why: "in recovery".into(),
            })],
        ),
        says(
            Id::PgbClientLimit,
            db(Pgbouncer::Error {
                code: "08P01".into(),
                message: "no more connections allowed (max_client_conn)".into(),
            }),
        ),
        case(
            Id::PgbWait,
            vec![
                failing(),
                db(Pgbouncer::Pool {
                    waiting: 4,
                    longest: secs(9),
                    active: 2,
                    max: 2,
                }),
            ],
            vec![db(Pgbouncer::Pool {
                waiting: 0,
                longest: secs(0),
                active: 2,
                max: 2,
            })],
        ),
        down(Id::MysqlDown, ServerKind::Mysql),
        hung(Id::MysqlHung, ServerKind::Mysql),
        case(
            Id::MysqlExhausted,
            vec![
                failing(),
                db(Mysql::Error {
                    code: 1040,
                    message: "Too many connections".into(),
                }),
            ],
            vec![db(Mysql::Sessions { used: 4, max: 100 })],
        ),
        says(
            Id::MysqlHostBlocked,
            db(Mysql::Error {
                code: 1129,
                message: "blocked".into(),
            }),
        ),
        case(
            Id::MysqlLocks,
            vec![
                failing(),
                db(Mysql::Locks {
                    waiting: 4,
                    longest: secs(30),
                    root: 17,
                    holder: "app, in its transaction for 60 s".into(),
                }),
            ],
            vec![db(Mysql::Locks {
                waiting: 1,
                longest: secs(1),
                root: 17,
                holder: "app".into(),
            })],
        ),
        case(
            Id::MysqlReadOnly,
            vec![failing(), db(Mysql::ReadOnly { on: true })],
            vec![db(Mysql::ReadOnly { on: true })],
        ),
        down(Id::RedisDown, ServerKind::Redis),
        hung(Id::RedisHung, ServerKind::Redis),
        case(
            Id::RedisMaxclients,
            vec![
                failing(),
                redis(RedisReply::Maxclients, "ERR max number of clients reached"),
            ],
            vec![db(Redis::Clients {
                now: 9_900,
                max: 10_000,
                refused: 0,
            })],
        ),
        case(
            Id::RedisOom,
            vec![
                failing(),
                db(Redis::Memory {
                    used: Bytes(100),
                    max: Some(Bytes(100)),
                    evicts: false,
                }),
            ],
            vec![db(Redis::Memory {
                used: Bytes(100),
                max: Some(Bytes(100)),
                evicts: true,
            })],
        ),
        says(
            Id::RedisLoading,
            redis(
                RedisReply::Loading,
                "LOADING Redis is loading the dataset in memory",
            ),
        ),
        says(
            Id::RedisReadonly,
            redis(
                RedisReply::Readonly,
                "READONLY You can't write against a read only replica.",
            ),
        ),
        says(
            Id::RedisMisconf,
            redis(RedisReply::Misconf, "MISCONF Redis is configured to save"),
        ),
        says(
            Id::RedisClusterDown,
            redis(RedisReply::ClusterDown, "CLUSTERDOWN Hash slot not served"),
        ),
    ]
}

fn changes() -> Vec<Case> {
    let overloaded = || refusing(Cause::Overloaded, Some(Rule::Limit));
    vec![
        case(
            Id::DeployRollout,
            vec![
                failing(),
                service(Own::Version {
                    version: "1.2.4".into(),
                    since: secs(60),
                }),
            ],
            vec![service(Own::Version {
                version: "1.2.4".into(),
                since: secs(60),
            })],
        ),
        case(
            Id::DeployNoDrain,
            vec![
                answered(503),
                service(Log::AfterStart {
                    refused: 30,
                    within: secs(4),
                }),
            ],
            vec![],
        ),
        case(
            Id::TrafficSurge,
            vec![
                overloaded(),
                service(Own::Demand {
                    now: 400.0,
                    before: 20.0,
                    ratio: Ratio::new(3.0),
                }),
            ],
            vec![service(Own::Demand {
                now: 22.0,
                before: 20.0,
                ratio: Ratio::new(0.3),
            })],
        ),
        case(
            Id::TrafficRoute,
            vec![
                overloaded(),
                service(Own::RouteShare {
                    route: "GET /report".into(),
                    now: Ratio::new(0.8),
                    before: Ratio::new(0.1),
                }),
            ],
            vec![service(Own::RouteShare {
                route: "GET /report".into(),
                now: Ratio::new(0.8),
                before: Ratio::new(0.1),
            })],
        ),
        case(
            Id::TrafficTenant,
            vec![
                overloaded(),
                service(Own::TenantShare {
                    tenant: "acme".into(),
                    now: Ratio::new(0.8),
                    before: Ratio::new(0.1),
                }),
            ],
            vec![service(Own::TenantShare {
                tenant: "acme".into(),
                now: Ratio::new(0.8),
                before: Ratio::new(0.1),
            })],
        ),
        case(
            Id::TrafficTenant,
            vec![
                overloaded(),
                service(Own::TenantHeld {
                    tenant: "acme".into(),
                    asks: 480,
                    fair: 18,
                    limit: 24,
                }),
            ],
            vec![service(Own::TenantHeld {
                tenant: "acme".into(),
                asks: 480,
                fair: 18,
                limit: 24,
            })],
        ),
        case(
            Id::TrafficRetries,
            vec![
                overloaded(),
                service(Own::Retries {
                    repeated: 60,
                    of: 100,
                }),
            ],
            vec![service(Own::Retries {
                repeated: 1,
                of: 100,
            })],
        ),
        case(
            Id::ScaleGap,
            vec![
                overloaded(),
                backend(Kubernetes::Scaler {
                    name: "api".into(),
                    now: 10,
                    max: 10,
                    wanted: 14,
                    load: Ratio::new(1.8),
                }),
            ],
            vec![backend(Kubernetes::Scaler {
                name: "api".into(),
                now: 3,
                max: 10,
                wanted: 3,
                load: Ratio::new(0.8),
            })],
        ),
        case(
            Id::ClockWindow,
            vec![
                failing(),
                service(Log::Windowed {
                    errors: Ratio::new(0.9),
                    time: Ratio::new(0.02),
                    at: ":00".into(),
                }),
            ],
            vec![service(Log::Windowed {
                errors: Ratio::new(0.1),
                time: Ratio::new(0.1),
                at: ":00".into(),
            })],
        ),
        case(
            Id::ClockStep,
            vec![
                failing(),
                host(Host::ClockStep {
                    by: secs(3_600),
                    backwards: true,
                }),
            ],
            vec![host(Host::ClockStep {
                by: ms(20),
                backwards: true,
            })],
        ),
    ]
}

fn risks() -> Vec<Case> {
    let probes = |count, period| {
        service(Own::Probes {
            count,
            period,
            last: (count > 0).then(|| secs(1)),
            from: "10.0.0.1".into(),
        })
    };
    let up = |since| {
        service(Own::Phase {
            is: PhaseIs::Ready,
            since,
        })
    };
    let lame_duck = |max| service(Own::LameDuck { max });
    let keep = |idle| service(Own::KeepAlive { idle });
    let theirs = || {
        service(Proxy::KeepAlive {
            by: Maker::Nginx,
            idle: secs(60),
        })
    };
    let waits = || {
        service(Proxy::Timeout {
            by: Maker::Nginx,
            name: "proxy_read_timeout".into(),
            value: secs(30),
        })
    };
    let sum = |instances| {
        db(Own::PoolSum {
            places: 20,
            instances,
            server_max: 100,
        })
    };
    vec![
        case(
            Id::ProbeMissing,
            vec![up(secs(600)), probes(0, None)],
            vec![up(secs(600)), probes(9, Some(secs(2)))],
        ),
        case(
            Id::ProbeSlow,
            vec![service(Own::ProbeTook { longest: secs(3) })],
            vec![service(Own::ProbeTook { longest: ms(3) })],
        ),
        case(
            Id::ProbeLimited,
            vec![service(Own::ProbesLimited { count: 2 })],
            vec![service(Own::ProbesLimited { count: 0 })],
        ),
        case(
            Id::DeployLameDuck,
            vec![probes(9, Some(secs(10))), lame_duck(secs(10))],
            vec![probes(9, Some(secs(2))), lame_duck(secs(10))],
        ),
        case(
            Id::DeployKeepaliveRace,
            vec![keep(secs(60)), theirs()],
            vec![keep(secs(75)), theirs()],
        ),
        case(
            Id::ConfigCheckTimeout,
            vec![db(Own::CheckTimeout {
                timeout: secs(9),
                period: secs(5),
            })],
            vec![db(Own::CheckTimeout {
                timeout: secs(2),
                period: secs(5),
            })],
        ),
        case(
            Id::ConfigTimeoutOrder,
            vec![service(Own::RequestTimeout { timeout: secs(60) }), waits()],
            vec![service(Own::RequestTimeout { timeout: secs(20) }), waits()],
        ),
        case(Id::ConfigPoolSum, vec![sum(10)], vec![sum(4)]),
        case(
            Id::ConfigCors,
            vec![service(Own::NoCors {
                preflights: 4,
                refused: 2,
            })],
            vec![service(Own::NoCors {
                preflights: 0,
                refused: 2,
            })],
        ),
        case(
            Id::ConfigShadowedRoute,
            vec![service(Own::Shadowed {
                route: "/ready/".into(),
            })],
            vec![],
        ),
        case(
            Id::ConfigGrace,
            vec![service(Own::Grace {
                longest: secs(60),
                allowed: Some(secs(30)),
            })],
            vec![service(Own::Grace {
                longest: secs(28),
                allowed: Some(secs(30)),
            })],
        ),
    ]
}
