//! Goal: nothing is found against what the same run saw.

use std::time::Duration;

use steadfast_core::{Cause, Rule};
use steadfast_diagnosis::*;

fn told(facts: impl IntoIterator<Item = Fact>) -> Diagnosis {
    let mut evidence = Evidence::new();
    facts.into_iter().for_each(|fact| evidence.push(fact));
    diagnose(&evidence)
}

fn ids(diagnosis: &Diagnosis) -> Vec<Id> {
    diagnosis.findings.iter().map(|it| it.id).collect()
}

fn port(seen: impl Into<Observation>) -> Fact {
    Fact::new("probe", Tied::Port(8000), seen)
}

fn service(seen: impl Into<Observation>) -> Fact {
    Fact::new("the process", Tied::Service, seen)
}

/// Requests fail, and nobody says why.
fn failing() -> Fact {
    let server = "".into();
    port(Wire::Unmarked {
        status: 503,
        server,
    })
}

fn answered(path: Path, status: u16) -> Fact {
    port(Wire::Probe {
        via: Via::Given,
        path,
        outcome: Outcome::Answered(status),
        after: Duration::from_millis(1),
    })
}

fn readiness(status: u16, line: &str) -> Fact {
    let line = line.into();
    service(Wire::Readiness { status, line })
}

#[test]
fn who_has_started_is_not_starting_however_young() {
    let told_of = |beside: Option<Fact>| {
        let age = Duration::from_millis(2_600);
        let young = Fact::new("/proc/4711", Tied::Process(4711), Process::Age { age });
        told([failing(), young].into_iter().chain(beside))
    };
    let is_suspected = |it: &Diagnosis| ids(it).contains(&Id::AppStarting);
    let is_ruled_out = |it: &Diagnosis| it.ruled_out.iter().any(|out| out.id == Id::AppStarting);
    assert!(is_suspected(&told_of(None)));
    let hidden = readiness(503, "not ready: maintenance: moving house");
    assert!(!is_ruled_out(&told_of(Some(hidden))), "it may hide a start");
    let is = PhaseIs::Ready;
    let since = Duration::from_secs(1);
    for started in [
        readiness(200, "ready"),
        readiness(200, "degraded: payments"),
        readiness(503, "not ready: check failing"),
        answered(Path::Ready, 200),
        service(Own::Phase { is, since }),
    ] {
        let diagnosis = told_of(Some(started));
        assert!(!is_suspected(&diagnosis), "{:?}", ids(&diagnosis));
        assert!(is_ruled_out(&diagnosis));
    }
}

#[test]
fn what_stands_behind_a_reason_of_readiness_is_none() {
    for (line, id) in [
        (
            "not ready: maintenance: start of the new cluster, drain first",
            Id::AppMaintenance,
        ),
        ("not ready: restart-db failing (timeout)", Id::AppNotReady),
        (
            "not ready: starting, waiting for draining-db",
            Id::AppStarting,
        ),
    ] {
        let found = ids(&told([failing(), readiness(503, line)]));
        assert_eq!(found.first(), Some(&id), "{line}: {found:?}");
        let of_life = [Id::AppMaintenance, Id::AppStarting, Id::AppDraining];
        let mut others = found.iter().filter(|it| **it != id && of_life.contains(it));
        assert_eq!(others.next(), None, "{line}");
    }
}

fn went(outcome: Outcome) -> Fact {
    port(Wire::Probe {
        via: Via::Given,
        path: Path::Given,
        outcome,
        after: Duration::from_secs(1),
    })
}

fn speaks_against(diagnosis: &Diagnosis, id: Id) -> usize {
    let mut found = diagnosis.findings.iter().filter(|it| it.id == id);
    found.next().expect("it is found").against.len()
}

#[test]
fn a_port_that_answers_is_listened_to_wherever_its_socket_is() {
    let none = || port(Process::NoListener {});
    let forwarded = told([none(), answered(Path::Given, 200)]);
    assert_eq!(
        (forwarded.verdict.state, ids(&forwarded)),
        (State::Well, vec![])
    );
    let elsewhere = Fact::new("/proc/net/tcp", Tied::Port(8001), Process::NoListener {});
    let behind = told([elsewhere, answered(Path::Given, 503)]);
    assert!(
        ids(&behind).contains(&Id::AppNotListening),
        "a proxy answers"
    );
    let gone = told([none(), went(Outcome::Refused)]);
    assert_eq!(gone.findings[0].confidence, Confidence::Proven);
    let again = told([none(), went(Outcome::Refused), answered(Path::Given, 200)]);
    let finding = &again.findings[0];
    assert_eq!(
        (finding.id, finding.confidence),
        (Id::AppNotListening, Confidence::Likely)
    );
    assert_eq!(finding.against.len(), 1);
}

#[test]
fn who_answers_others_does_not_stand_still() {
    let hung = told([went(Outcome::Silent)]);
    assert_eq!(speaks_against(&hung, Id::AppHung), 0);
    let one_path = told([went(Outcome::Silent), answered(Path::Ready, 200)]);
    assert_eq!(speaks_against(&one_path, Id::AppHung), 1);
    assert!(one_path.verdict.summary.ends_with("others are answered."));
    assert_ne!(one_path.findings[0].fix.text, hung.findings[0].fix.text);
}

#[test]
fn what_is_over_is_told_as_over() {
    let db = |seen: Own| Fact::new("the process", Tied::dependency("orders-db"), seen);
    let refusing = |cause, rule| Own::Refusing {
        cause,
        rule,
        count: 7,
        since: Duration::from_secs(20),
        last: Duration::from_secs(9),
        numbers: "".into(),
    };
    let lag = |lag: u64| {
        let (lag, allowed) = (Duration::from_millis(lag), Duration::from_millis(50));
        service(Own::Lag { lag, allowed })
    };
    let memory = |refusing| {
        let (used, max) = (Bytes(50), Bytes(100));
        service(Own::Memory {
            used,
            max,
            refusing,
        })
    };
    let breaker = |is| {
        let (why, last_error) = ("5 in a row".into(), "".into());
        let retry_in = None;
        db(Own::Breaker {
            is,
            why,
            last_error,
            retry_in,
        })
    };
    let pool = |is, in_use| {
        let (max, waiting, trouble) = (8, 0, "".into());
        db(Own::Pool {
            is,
            in_use,
            max,
            waiting,
            trouble,
        })
    };
    let by_rule = |rule| service(refusing(Cause::Overloaded, Some(rule)));
    for (id, refused, now, over, past) in [
        (
            Id::AppBreakerOpen,
            db(refusing(Cause::DependencyDown, None)),
            breaker(BreakerIs::Open),
            breaker(BreakerIs::Closed),
            "was down",
        ),
        (
            Id::PoolApp,
            db(refusing(Cause::PoolExhausted, None)),
            pool(PoolIs::Busy, 8),
            pool(PoolIs::Well, 1),
            "found no",
        ),
        (
            Id::AppRuntimeLag,
            by_rule(Rule::RuntimeLag),
            lag(90),
            lag(1),
            "was late",
        ),
        (
            Id::HostMemPressure,
            by_rule(Rule::Memory),
            memory(true),
            memory(false),
            "was nearly",
        ),
    ] {
        assert_eq!(speaks_against(&told([refused.clone(), now]), id), 0, "{id}");
        let over = told([refused, over]);
        assert_eq!(speaks_against(&over, id), 1, "{id}");
        let told = over.findings.iter().find(|it| it.id == id);
        let told = told.map(|it| it.summary.as_str());
        assert!(told.is_some_and(|it| it.contains(past)), "{told:?}");
    }
}

#[test]
fn a_check_that_is_refused_at_a_service_that_fails_is_no_wrong_door() {
    let check = |status| {
        let path = "/health".into();
        service(Wire::HealthCheck { path, status })
    };
    let works = told([
        check(401),
        answered(Path::Given, 401),
        answered(Path::Root, 200),
    ]);
    assert!(ids(&works).contains(&Id::AppHealthMisconfig));
    let fails = told([
        check(401),
        answered(Path::Given, 401),
        answered(Path::Root, 503),
    ]);
    assert!(
        !ids(&fails).contains(&Id::AppHealthMisconfig),
        "{:?}",
        ids(&fails)
    );
}

#[test]
fn what_is_empty_is_not_written() {
    let (why, last_error, trouble, class) = (
        Text::default(),
        Text::default(),
        Text::default(),
        Text::default(),
    );
    let (error, retry_in, took) = (Text::default(), None, None);
    let (in_use, max, waiting) = (0, 10, 0);
    let breaker = |why: Text, last_error: Text| Own::Breaker {
        is: BreakerIs::Closed,
        why,
        last_error,
        retry_in,
    };
    for (seen, text) in [
        (breaker(why, last_error), "closed"),
        (
            breaker("5 in a row".into(), "refused".into()),
            "closed: 5 in a row; refused",
        ),
        (
            Own::Pool {
                is: PoolIs::Well,
                in_use,
                max,
                waiting,
                trouble,
            },
            "well: 0 of 10 in use, 0 wait",
        ),
        (
            Own::Check {
                is: CheckIs::Passing,
                failures: 0,
                class,
                error,
                took,
                required: true,
            },
            "passing, 0 failures",
        ),
    ] {
        assert_eq!(seen.to_string(), text);
    }
}

#[test]
fn a_service_that_calls_itself_degraded_is_not_well() {
    let degraded = || readiness(200, "degraded");
    let found = told([answered(Path::Given, 200), degraded()]);
    assert_eq!(
        (found.verdict.state, ids(&found)),
        (State::AtRisk, vec![Id::DepFailing])
    );
    assert!(found.findings[0].fix.text.contains("--token"));
    let ready = told([answered(Path::Given, 200), readiness(200, "ready")]);
    assert_eq!(ready.verdict.state, State::Well);
    // Where something fails, or the page was read, others know better.
    assert!(!ids(&told([failing(), degraded()])).contains(&Id::DepFailing));
    let since = Duration::from_secs(9);
    let is = PhaseIs::Ready;
    assert!(ids(&told([degraded(), service(Own::Phase { is, since })])).is_empty());
}

#[test]
fn a_pool_that_had_room_is_not_used_up() {
    let refused = |numbers: &str| {
        let seen = Own::Refusing {
            cause: Cause::PoolExhausted,
            rule: None,
            count: 3,
            since: Duration::from_secs(6),
            last: Duration::from_secs(1),
            numbers: numbers.into(),
        };
        told([Fact::new("x", Tied::dependency("orders-db"), seen)])
    };
    let full = refused("class saturated, dependency orders-db, in_use 10, max 10, waiting 4");
    assert!(
        full.verdict.summary.contains("found no connection"),
        "{:?}",
        full.verdict
    );
    for numbers in [
        "class saturated, dependency orders-db, in_use 1, max 10, waiting 0",
        "dependency orders-db, in use 1, max 10, waiting 0, waited 2.0 s, class saturated",
    ] {
        let room = refused(numbers);
        let said = &room.verdict.summary;
        assert!(said.contains("only 1 of 10 were in use"), "{said}");
        assert!(room.findings[0].fix.text.starts_with("The pool has room"));
    }
    // The server's word is another story, and so is a text of any kind.
    for numbers in [
        "in_use 1, max 3, class refused-by-server",
        "in_use , max",
        "",
    ] {
        let said = refused(numbers).verdict.summary;
        assert!(said.contains("found no connection"), "{said}");
    }
}

#[test]
fn a_check_that_warns_is_told_before_anything_fails() {
    let warns = |class: &str, error: &str| {
        let seen = Own::Check {
            is: CheckIs::Warning,
            failures: 0,
            class: class.into(),
            error: error.into(),
            took: None,
            required: true,
        };
        Fact::new("the process", Tied::dependency("orders-db"), seen)
    };
    let lost =
        "new sessions are refused: unable to open database file (14); 1 old one still serves";
    let told_of = |beside: Fact| ids(&told([answered(Path::Given, 200), beside]));
    assert_eq!(
        told_of(warns("misconfigured", lost)),
        [Id::PoolSessionsRefused]
    );
    assert_eq!(
        told_of(warns("read-only", "2 % are free")),
        [Id::DepFailing]
    );
    assert!(told_of(warns("saturated", "all connections are in use")).is_empty());
    let beside = told([failing(), warns("read-only", "2 % are free")]);
    let found = beside.findings.iter().find(|it| it.id == Id::DepFailing);
    assert_eq!(found.map(|it| it.confidence), Some(Confidence::Possible));
}
