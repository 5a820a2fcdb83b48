//! Goal: of two faults at once the root is named first, with the chain; and whatever comes,
//! the diagnosis holds together.

mod cases;

use cases::{cases, db, decoys, failing, pool, process, refusing, service};
use proptest::prelude::*;
use std::time::Duration;
use steadfast_core::{Cause, Rule};
use steadfast_diagnosis::{
    BreakerIs, Bytes, Cgroup, CheckIs, Confidence, Diagnosis, Evidence, Fact, Id, Maker, Mark, Own,
    PoolIs, Postgres, Proxy, Ratio, Reach, Redis, Role, Server, ServerIs, ServerKind, State, Tied,
    Wire, diagnose,
};

fn told(facts: impl IntoIterator<Item = Fact>) -> Diagnosis {
    let mut evidence = Evidence::new();
    facts.into_iter().for_each(|fact| evidence.push(fact));
    diagnose(&evidence)
}

fn ids(diagnosis: &Diagnosis) -> Vec<Id> {
    diagnosis.findings.iter().map(|it| it.id).collect()
}

fn facts_of(ids: &[Id]) -> Vec<Fact> {
    cases()
        .into_iter()
        .filter(|case| ids.contains(&case.id))
        .flat_map(|case| case.fires)
        .collect()
}

/// Both faults at once: the first is named first, and explains the second.
fn check(root: Id, symptom: Id) {
    let diagnosis = told(facts_of(&[root, symptom]));
    let found = ids(&diagnosis);
    assert_eq!(
        found.first(),
        Some(&root),
        "{root} and {symptom}: {found:?}"
    );
    let chain: Vec<_> = diagnosis.verdict.chain.iter().map(|link| link.id).collect();
    assert_eq!(
        chain.first(),
        Some(&root),
        "{root} and {symptom}: {chain:?}"
    );
    let effects = &diagnosis.findings[0].effects;
    assert!(
        effects.contains(&symptom),
        "{root} and {symptom}: {effects:?}"
    );
}

#[test]
fn the_root_is_named_first() {
    for (root, symptom) in [
        (Id::PgHung, Id::PoolApp),
        (Id::PgHung, Id::PoolStuck),
        (Id::PgDown, Id::AppBreakerOpen),
        (Id::PgExhausted, Id::PoolServerFull),
        (Id::PgIdleInTx, Id::PgExhausted),
        (Id::PgLocks, Id::PoolStuck),
        (Id::PoolLeak, Id::AppBreakerOpen),
        (Id::RedisDown, Id::AppBreakerOpen),
        (Id::RedisOom, Id::AppOwn503),
        (Id::DnsFail, Id::DepUnreachable),
        (Id::TlsExpired, Id::AppBreakerOpen),
        (Id::HostDiskFull, Id::RedisMisconf),
        (Id::HostDiskFull, Id::AppForeign503),
        (Id::HostFdExhausted, Id::HostAcceptQueueFull),
        (Id::AppHung, Id::HostAcceptQueueFull),
        (Id::AppWorkersBusy, Id::HostAcceptQueueFull),
        (Id::HostOomKill, Id::AppCrashLoop),
        (Id::HostCpuThrottled, Id::AppRuntimeLag),
        (Id::AppBlockingHandler, Id::AppRuntimeLag),
        (Id::AppRuntimeLag, Id::AppShed),
        (Id::HostMemPressure, Id::AppShed),
        (Id::AppNotListening, Id::HapAllDown),
        (Id::AppHung, Id::HapConnectTimeout),
        (Id::AppHealthMisconfig, Id::HapAllDown),
        (Id::AppHealthMisconfig, Id::EnvoyUh),
        (Id::AppDraining, Id::HapAllDown),
        (Id::PgDown, Id::HapAllDown),
        (Id::HapAllDown, Id::HapUnattributed),
        (Id::HapEmptyBackend, Id::HapUnattributed),
        (Id::NgxLimitReq, Id::NgxUnattributed),
        (Id::K8sNoEndpoints, Id::TraefikNoServer),
        (Id::K8sOomKilled, Id::K8sNoEndpoints),
        (Id::AppShed, Id::NgxPassthrough),
        (Id::AppBreakerOpen, Id::ProxyPassthrough),
        (Id::ScaleGap, Id::AppShed),
    ] {
        check(root, symptom);
    }
}

#[test]
fn a_paused_database_explains_the_pool_and_the_pool_the_refusals() {
    let facts = [
        db(Server::Reached {
            kind: ServerKind::Postgres,
            how: Reach::Silent,
            after: Duration::from_secs(2),
        }),
        pool(PoolIs::Stuck, 12, ""),
        refusing(Cause::Overloaded, Some(Rule::Limit)),
        service(Own::Oldest {
            route: "POST /orders".into(),
            age: Duration::from_secs(30),
            ratio: Ratio::new(0.9),
        }),
    ];
    let diagnosis = told(facts);
    assert_eq!(
        ids(&diagnosis),
        [Id::PgHung, Id::PoolStuck, Id::AppSlowHandler, Id::AppShed]
    );
    let chain: Vec<_> = diagnosis.verdict.chain.iter().map(|link| link.id).collect();
    assert_eq!(
        chain,
        [Id::PgHung, Id::PoolStuck, Id::AppSlowHandler, Id::AppShed]
    );
    assert_eq!(diagnosis.verdict.state, State::Explained);
    assert!(diagnosis.findings[0].effects.contains(&Id::AppShed));
}

#[test]
fn two_dependencies_are_two_stories() {
    let other = |seen: Own| Fact::new("payments", Tied::dependency("payments"), seen);
    let open = Own::Breaker {
        is: BreakerIs::Open,
        why: "5 in a row".into(),
        last_error: "HTTP 500".into(),
        retry_in: None,
    };
    let diagnosis = told([
        db(Server::Reached {
            kind: ServerKind::Postgres,
            how: Reach::Refused,
            after: Duration::ZERO,
        }),
        other(open),
    ]);
    let database = diagnosis
        .findings
        .iter()
        .find(|it| it.id == Id::PgDown)
        .expect("it is down");
    assert!(
        !database.effects.contains(&Id::AppBreakerOpen),
        "the breaker is another dependency's"
    );
}

#[test]
fn what_explains_the_failure_goes_before_what_is_broken_beside_it() {
    let mut facts = facts_of(&[Id::NgxLimitReq]);
    facts.push(Fact::new(
        "INFO",
        Tied::dependency("cache"),
        Redis::Memory {
            used: Bytes(9),
            max: Some(Bytes(9)),
            evicts: false,
        },
    ));
    assert_eq!(ids(&told(facts)).first(), Some(&Id::NgxLimitReq));
}

#[test]
fn a_state_of_the_process_is_told_by_the_words_of_its_server() {
    for (text, id) in [
        (
            "FATAL: remaining connection slots are reserved (53300)",
            Id::PgExhausted,
        ),
        ("the database system is starting up (57P03)", Id::PgStarting),
        (
            "ERROR 1040 (HY000): Too many connections",
            Id::MysqlExhausted,
        ),
        ("ERR max number of clients reached", Id::RedisMaxclients),
        (
            "OOM command not allowed when used memory > 'maxmemory'.",
            Id::RedisOom,
        ),
        (
            "READONLY You can't write against a read only replica.",
            Id::RedisReadonly,
        ),
        ("query_wait_timeout", Id::PgbWait),
    ] {
        let class = "refused-by-server".into();
        let check = Own::Check {
            is: CheckIs::Failing,
            failures: 3,
            class,
            error: text.into(),
            took: None,
            required: true,
        };
        let found = ids(&told([db(check), failing()]));
        assert_eq!(found.first(), Some(&id), "{text}: {found:?}");
    }
}

#[test]
fn how_it_stands_follows_from_what_was_seen() {
    let state = |facts: Vec<Fact>| told(facts).verdict.state;
    assert_eq!(state(vec![]), State::Well);
    assert_eq!(state(vec![cases::answered(200)]), State::Well);
    assert_eq!(state(vec![cases::answered(503)]), State::Unexplained);
    assert_eq!(
        state(vec![cases::answered(503), failing()]),
        State::Unexplained,
        "made there, and no reason is known"
    );
    assert_eq!(state(facts_of(&[Id::AppNotListening])), State::Unreachable);
    assert_eq!(state(facts_of(&[Id::EnvoyUh])), State::Explained);
    assert_eq!(state(facts_of(&[Id::HapUnattributed])), State::Suspected);
    assert_eq!(state(facts_of(&[Id::DeployLameDuck])), State::AtRisk);
    let full = process(Cgroup::Throttled {
        periods: 20,
        cut: 15,
        lost: Duration::from_secs(1),
    });
    assert_eq!(state(vec![full]), State::AtRisk);
}

#[test]
fn commands_name_the_case_and_quote_what_strangers_wrote() {
    let mut evidence = Evidence::new();
    let evil = Tied::dependency("db'; rm -rf / #");
    evidence.saw(
        "x",
        evil,
        Server::Reached {
            kind: ServerKind::Postgres,
            how: Reach::Refused,
            after: Duration::ZERO,
        },
    );
    let diagnosis = diagnose(&evidence);
    let command = &diagnosis.findings[0].fix.commands[0];
    assert_eq!(command, r"pg_isready -d 'db'\''; rm -rf / #'");
    let mut evidence = Evidence::new();
    evidence.target.pid = Some(4_711);
    evidence.saw(
        "/proc",
        Tied::Service,
        steadfast_diagnosis::Process::State {
            is: steadfast_diagnosis::RunState::Stopped,
        },
    );
    assert!(
        diagnose(&evidence).findings[0]
            .fix
            .commands
            .contains(&"kill -CONT 4711".to_owned())
    );
}

#[test]
fn a_replica_that_is_meant_to_be_one_is_no_fault() {
    let replica = || {
        Fact::new(
            "INFO",
            Tied::dependency("replica"),
            Redis::Role {
                master: false,
                link_up: true,
                reads_only: true,
            },
        )
    };
    let standby = || {
        Fact::new(
            "pg",
            Tied::dependency("standby"),
            Postgres::ReadOnly {
                on: true,
                why: "in recovery".into(),
            },
        )
    };
    assert!(
        told([replica(), standby(), cases::answered(200)])
            .findings
            .is_empty()
    );
    let page = facts_of(&[Id::HapMaint]);
    assert_eq!(
        ids(&told(page.into_iter().chain([replica(), standby()]))).first(),
        Some(&Id::HapMaint)
    );
}

#[test]
fn time_tells_which_of_its_time_outs_haproxy_waited_for() {
    let timeout = |name: &str, secs| {
        service(Proxy::Timeout {
            by: Maker::Haproxy,
            name: name.into(),
            value: Duration::from_secs(secs),
        })
    };
    let page = |after| {
        cases::port(Wire::Made {
            by: Maker::Haproxy,
            mark: Mark::HaproxyNoServer,
            status: 503,
            after: Duration::from_millis(after),
        })
    };
    let first = |after| {
        ids(&told([
            timeout("timeout queue", 7),
            timeout("timeout connect", 5),
            page(after),
        ]))
        .first()
        .copied()
    };
    assert_eq!(first(7_020), Some(Id::HapQueueTimeout));
    assert_eq!(first(15_060), Some(Id::HapConnectTimeout));
    assert_eq!(first(0), Some(Id::HapUnattributed));
}

#[test]
fn servers_of_one_backend_are_not_those_of_another() {
    let of = |name: &str, seen: Proxy| Fact::new("show stat", Tied::backend(name), seen);
    let by = Maker::Haproxy;
    let diagnosis = told([
        of(
            "a",
            Proxy::Backend {
                by,
                serving: 0,
                listed: 1,
                up: false,
            },
        ),
        of(
            "a",
            Proxy::Server {
                by,
                name: "a1".into(),
                is: ServerIs::Down,
                last_check: "L4CON".into(),
            },
        ),
        of(
            "b",
            Proxy::Backend {
                by,
                serving: 0,
                listed: 1,
                up: false,
            },
        ),
        of(
            "b",
            Proxy::Server {
                by,
                name: "b1".into(),
                is: ServerIs::Maintenance,
                last_check: "".into(),
            },
        ),
    ]);
    let about = |id| {
        diagnosis
            .findings
            .iter()
            .find(|it| it.id == id)
            .map(|it| it.about.to_string())
    };
    assert_eq!(about(Id::HapAllDown).as_deref(), Some("backend a"));
    assert_eq!(about(Id::HapMaint).as_deref(), Some("backend b"));
}

fn whole() -> Vec<Fact> {
    let of_cases = cases()
        .into_iter()
        .flat_map(|case| case.fires.into_iter().chain(case.twin));
    of_cases.chain(decoys()).collect()
}

/// What must hold whatever was seen.
fn holds_together(diagnosis: &Diagnosis) {
    for (at, finding) in diagnosis.findings.iter().enumerate() {
        assert!(
            !finding.evidence.is_empty(),
            "{} leans on nothing",
            finding.id
        );
        assert!(!finding.summary.is_empty() && !finding.fix.text.is_empty());
        for effect in &finding.effects {
            let later = diagnosis
                .findings
                .iter()
                .skip(at + 1)
                .any(|it| it.id == *effect);
            assert!(later, "{} stands behind its effect {effect}", finding.id);
        }
        if finding.role == Role::Change {
            assert!(finding.effects.is_empty());
        }
    }
    let first = diagnosis.findings.first();
    assert_eq!(diagnosis.verdict.id, first.map(|it| it.id));
    if diagnosis.verdict.state == State::Explained {
        assert_eq!(diagnosis.verdict.confidence, Some(Confidence::Proven));
    }
    assert!(
        diagnosis
            .ruled_out
            .iter()
            .all(|out| !diagnosis.findings.iter().any(|it| it.id == out.id))
    );
}

#[test]
fn everything_at_once_holds_together() {
    holds_together(&told(whole()));
}

proptest! {
    /// Goal: it never panics, does not depend on the order of facts or on doubles, and each
    /// finding cites a fact.
    #[test]
    fn any_facts_in_any_order_give_one_diagnosis(
        (facts, other) in proptest::sample::subsequence(whole(), 0..40)
            .prop_flat_map(|facts| (Just(facts.clone()), Just(facts).prop_shuffle())),
        doubled in any::<bool>(),
    ) {
        let one = told(facts.clone());
        holds_together(&one);
        let again = if doubled { [other.clone(), other].concat() } else { other };
        prop_assert_eq!(one, told(again));
    }

    /// Goal: numbers and texts of any size are taken.
    #[test]
    fn any_numbers_and_texts_are_taken(
        (a, b) in any::<(u64, u64)>(),
        ratio in any::<f64>(),
        seconds in any::<u64>(),
        text in ".*",
    ) {
        let after = Duration::from_secs(seconds);
        let facts = vec![
            process(steadfast_diagnosis::Process::AcceptQueue { now: a, max: b }),
            process(steadfast_diagnosis::Process::Descriptors { used: a, max: b }),
            process(steadfast_diagnosis::Process::Workers { busy: a, all: b }),
            process(Cgroup::Throttled { periods: a, cut: b, lost: after }),
            process(Cgroup::Memory { used: Bytes(a), max: Bytes(b) }),
            db(Postgres::Slots { used: a, max: b, reserved: a }),
            db(Postgres::IdleInTransaction { count: a, longest: after, whose: text.as_str().into() }),
            db(Own::PoolSum { places: a, instances: b, server_max: a }),
            service(Own::Demand { now: ratio, before: ratio, ratio: ratio.into() }),
            service(Own::LameDuck { max: after }),
            service(Own::Probes { count: a, period: Some(after), last: Some(after), from: text.as_str().into() }),
            cases::port(Wire::Made { by: Maker::Haproxy, mark: Mark::HaproxyNoServer, status: 503, after }),
            service(Proxy::Timeout { by: Maker::Haproxy, name: "timeout queue connect".into(), value: after }),
            service(Own::Blocked { workers: a, of: b, longest: after }),
            Fact::new(&text, Tied::dependency(&text), Own::Held { place: text.as_str().into(), age: after, count: a }),
            Fact::new(&text, Tied::dependency(&text), Own::Pool { is: PoolIs::Busy, in_use: a, max: b, waiting: a, trouble: text.as_str().into() }),
        ];
        holds_together(&told(facts));
    }
}

#[cfg(feature = "serde")]
#[test]
fn evidence_goes_through_json_and_gives_the_same_diagnosis() {
    let mut evidence = Evidence::new();
    whole().into_iter().for_each(|fact| evidence.push(fact));
    evidence.could_not(Id::HostFdExhausted, "no permission", "run as root");
    let text = serde_json::to_string(&evidence).expect("it is data");
    let back: Evidence = serde_json::from_str(&text).expect("it was written by us");
    assert_eq!(diagnose(&back), diagnose(&evidence));
    let told = serde_json::to_value(diagnose(&back)).expect("it is data");
    assert_eq!(told["not_checked"][0]["id"], "host.fd_exhausted");
    assert_eq!(told["findings"][0]["id"], told["verdict"]["id"]);
}
