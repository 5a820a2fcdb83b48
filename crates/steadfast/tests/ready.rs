//! Probes: what balancers, kubelets and people read, and what the checks behind it do when
//! dependencies misbehave.
//!
//! length: the claims of one subject in one file, because they share its fixtures.

mod common;

use std::{
    collections::VecDeque,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use axum::{Router, routing::get};
use common::{Answer, TOKEN, ask, fetch, get as to, request, until, with_token};
use steadfast::{
    CheckOutcome, Dependency, DependencyBuilder, Drain, FailureClass, Guard, GuardBuilder, Guarded,
    Health, Phase, Probes, Running, check,
};

const SECOND: Duration = Duration::from_secs(1);

fn builder() -> GuardBuilder {
    Guard::builder().without_signals().token(TOKEN)
}

/// A guard that runs around a small application.
struct Service {
    guard: Guard,
    app: Guarded,
    _running: Running,
}

fn start(builder: GuardBuilder) -> Service {
    let guard = builder.build().expect("valid");
    let running = guard.start().expect("started");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    Service {
        guard,
        app,
        _running: running,
    }
}

impl Service {
    async fn ask(&self, path: &str) -> Answer {
        ask(&self.app, to(path)).await
    }

    async fn ready(&self) -> (u16, String) {
        let answer = self.ask("/ready/").await;
        (answer.status.as_u16(), answer.body)
    }

    /// What an authorised probe reads.
    async fn ready_in_full(&self) -> (u16, String) {
        let answer = ask(&self.app, with_token("/ready/", &[])).await;
        (answer.status.as_u16(), answer.body)
    }
}

/// What a scripted check does in one run.
#[derive(Clone, Copy, Debug)]
enum Does {
    Pass,
    Fail,
    Panic,
    Hang,
}

/// A check that does what a script says, then repeats its last step, and counts.
#[derive(Clone)]
struct Script {
    steps: Arc<Mutex<VecDeque<Does>>>,
    runs: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    most_at_once: Arc<AtomicUsize>,
}

impl Script {
    fn new(steps: &[Does]) -> Self {
        Self {
            steps: Arc::new(Mutex::new(steps.iter().copied().collect())),
            runs: Arc::default(),
            at_once: Arc::default(),
            most_at_once: Arc::default(),
        }
    }

    /// Replaces what comes from now on.
    fn then(&self, does: Does) {
        *self.steps.lock().expect("no panic") = [does].into();
    }

    fn runs(&self) -> usize {
        self.runs.load(Ordering::SeqCst)
    }

    fn run(&self) -> Pin<Box<dyn Future<Output = CheckOutcome> + Send>> {
        struct Leave(Arc<AtomicUsize>);
        impl Drop for Leave {
            fn drop(&mut self) {
                self.0.fetch_sub(1, Ordering::SeqCst);
            }
        }
        self.runs.fetch_add(1, Ordering::SeqCst);
        let now = self.at_once.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_at_once.fetch_max(now, Ordering::SeqCst);
        let leave = Leave(Arc::clone(&self.at_once));
        let does = {
            let mut steps = self.steps.lock().expect("no panic");
            let next = *steps.front().expect("a step");
            if steps.len() > 1 {
                steps.pop_front();
            }
            next
        };
        Box::pin(async move {
            let _leave = leave;
            match does {
                Does::Pass => CheckOutcome::pass(),
                Does::Fail => CheckOutcome::fail(FailureClass::Unreachable, "connection refused"),
                Does::Panic => panic!("told to panic"),
                Does::Hang => std::future::pending().await,
            }
        })
    }

    fn named(&self, name: &str) -> DependencyBuilder {
        let script = self.clone();
        Dependency::builder(name).check(check::closure(move || script.run()))
    }
}

fn passing(name: &str) -> Dependency {
    Script::new(&[Does::Pass])
        .named(name)
        .build()
        .expect("valid")
}

#[tokio::test(start_paused = true)]
async fn probes_answer_with_and_without_slash_and_for_each_method_of_a_probe() {
    let service = start(builder());
    for path in ["/ready", "/ready/", "/health", "/health/", "/ready/?x=1"] {
        for (method, has_body) in [("GET", true), ("OPTIONS", true), ("HEAD", false)] {
            let answer = ask(&service.app, request(method, path, &[])).await;
            assert_eq!(answer.status, 200, "{method} {path}");
            assert_eq!(
                answer.header("cache-control"),
                "no-store",
                "{method} {path}"
            );
            assert_eq!(answer.body.is_empty(), !has_body, "{method} {path}");
        }
        let answer = ask(&service.app, request("POST", path, &[])).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("allow")),
            (405, "GET, HEAD, OPTIONS")
        );
    }
    assert_eq!(service.ready().await, (200, "ready\n".to_owned()));
    assert_eq!(
        service.ask("/health/").await.header("content-type"),
        "application/health+json"
    );
    assert_eq!(
        service.ask("/readyx").await.status,
        404,
        "the application's own"
    );
}

/// HAProxy's `option httpchk` in its old default form.
#[tokio::test]
async fn http_1_0_without_a_host_is_answered() {
    let service = start(builder());
    let app = service.app.clone();
    let server = common::serve(|listener| axum::serve(listener, app).into_future()).await;
    let answer = common::raw(server.address, "OPTIONS /ready/ HTTP/1.0\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\nready\n"), "{answer}");
    service.guard.control().begin_maintenance("", None);
    let answer = common::raw(server.address, "OPTIONS /ready HTTP/1.0\r\n\r\n").await;
    assert!(
        answer.starts_with("HTTP/1.0 503 Service Unavailable\r\n"),
        "{answer}"
    );
    let answer = common::raw(server.address, "HEAD /ready HTTP/1.0\r\n\r\n").await;
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn each_form_of_the_answer_says_the_same() {
    let down = Script::new(&[Does::Pass, Does::Fail]);
    let payments = down.named("payments").degrades().build().expect("valid");
    let service = start(
        builder()
            .dependency(&passing("orders-db"))
            .dependency(&payments),
    );
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(service.ready().await, (200, "degraded\n".to_owned()));
    let (status, line) = service.ready_in_full().await;
    assert_eq!(
        (status, &*line),
        (200, "degraded: payments failing (unreachable)\n")
    );

    let verbose = ask(&service.app, with_token("/ready/?verbose", &[])).await;
    for line in [
        "[+]lifecycle ok",
        "[+]orders-db ok",
        "[-]payments failed: reason withheld",
    ] {
        assert!(
            verbose.body.lines().any(|found| found == line),
            "{line} in {}",
            verbose.body
        );
    }
    assert!(
        verbose.body.ends_with("readyz check passed\n"),
        "{}",
        verbose.body
    );

    let json = ask(
        &service.app,
        with_token("/ready/", &[("accept", "application/health+json")]),
    )
    .await;
    assert_eq!(json.header("content-type"), "application/health+json");
    let json = json.json();
    assert_eq!(json["status"], "warn");
    let entry = &json["checks"]["payments:responseTime"][0];
    assert_eq!(
        (entry["status"].as_str(), entry["class"].as_str()),
        (Some("fail"), Some("unreachable"))
    );
    assert_eq!(entry["output"], "connection refused");

    for (path, status) in [
        ("/ready/orders-db", 200),
        ("/ready/payments/", 503),
        ("/ready/none", 404),
    ] {
        assert_eq!(
            ask(&service.app, with_token(path, &[])).await.status,
            status,
            "{path}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn names_and_details_are_for_the_authorised_only() {
    let down = Script::new(&[Does::Fail]);
    let service = start(
        builder()
            .dependency(&down.named("payments").degrades().build().expect("valid"))
            .probes(Probes::default().service("shop", "1.2.3")),
    );
    tokio::time::sleep(60 * SECOND).await;
    let json = [("accept", "application/health+json")];
    let wrong = [("authorization", "Bearer 0123456789abcdef-wrong")];
    let forwarded = [
        ("x-forwarded-for", "127.0.0.1"),
        ("forwarded", "for=127.0.0.1"),
    ];
    for headers in [&[][..], &json, &wrong, &forwarded] {
        for path in [
            "/ready/",
            "/ready/?verbose",
            "/health/",
            "/ready/payments",
            "/why503/",
        ] {
            let answer = ask(&service.app, request("GET", path, headers)).await;
            let seen = format!("{:?} {}", answer.headers, answer.body);
            for secret in ["payments", "unreachable", "refused", "shop", "1.2.3"] {
                assert!(!seen.contains(secret), "{secret} in {path}: {seen}");
            }
        }
    }
    let health = ask(&service.app, with_token("/health/", &[])).await.json();
    assert_eq!(
        (health["serviceId"].as_str(), health["releaseId"].as_str()),
        (Some("shop"), Some("1.2.3"))
    );
    assert!(health["checks"]["payments:responseTime"].is_array());
}

#[tokio::test(start_paused = true)]
async fn full_disclosure_names_the_dependency_to_everybody() {
    let down = Script::new(&[Does::Fail])
        .named("payments")
        .degrades()
        .build()
        .expect("valid");
    let explain = steadfast::ExplainSettings::default().disclosure(steadfast::Disclosure::Full);
    let service = start(
        Guard::builder()
            .without_signals()
            .explain(explain)
            .dependency(&down),
    );
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(
        service.ready().await.1,
        "degraded: payments failing (unreachable)\n"
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_of_the_application_authorises_beside_the_token() {
    let rule = |parts: &http::request::Parts| parts.headers.contains_key("x-from-our-proxy");
    let service = start(Guard::builder().without_signals().authorize(rule));
    let page = |headers| ask(&service.app, request("GET", "/why503/", headers));
    assert_eq!(page(&[]).await.status, 401);
    assert_eq!(page(&[("x-from-our-proxy", "1")]).await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn aliases_are_mounted_when_asked_for() {
    let down = Script::new(&[Does::Fail]);
    let service = start(
        builder()
            .probes(Probes::default().aliases())
            .dependency(&down.named("db").build().expect("valid")),
    );
    tokio::time::sleep(10 * SECOND).await;
    for (path, status, body) in [
        ("/livez", 200, "alive\n"),
        ("/readyz", 503, "not ready: starting\n"),
        ("/startupz", 503, "starting\n"),
    ] {
        let answer = service.ask(path).await;
        assert_eq!(
            (answer.status.as_u16(), &*answer.body),
            (status, body),
            "{path}"
        );
    }
    down.then(Does::Pass);
    tokio::time::sleep(10 * SECOND).await;
    for path in ["/livez/", "/readyz/", "/startupz/"] {
        assert_eq!(service.ask(path).await.status, 200, "{path}");
    }
    assert_eq!(
        ask(&service.app, with_token("/readyz/db", &[]))
            .await
            .status,
        200
    );
}

#[tokio::test(start_paused = true)]
async fn health_fails_for_a_dependency_only_when_strict() {
    for (probes, status) in [(Probes::default(), 200), (Probes::default().strict(), 503)] {
        let down = Script::new(&[Does::Pass, Does::Fail]);
        let db = down.named("db").build().expect("valid");
        let service = start(builder().probes(probes).dependency(&db));
        tokio::time::sleep(60 * SECOND).await;
        assert_eq!(service.ask("/health/").await.status, status);
        assert_eq!(service.ready().await.0, 200, "degraded");
    }
}

#[tokio::test(start_paused = true)]
async fn envoy_reads_its_own_headers() {
    let down = Script::new(&[Does::Pass, Does::Fail]);
    let db = down.named("db").build().expect("valid");
    let service = start(builder().probes(Probes::default().envoy()).dependency(&db));
    tokio::time::sleep(60 * SECOND).await;
    let degraded = service.ask("/ready/").await;
    assert_eq!(
        (
            degraded.status.as_u16(),
            degraded.header("x-envoy-degraded")
        ),
        (200, "1")
    );
    service.guard.control().begin_drain("a test");
    let leaving = service.ask("/ready/").await;
    assert_eq!(leaving.status, 503);
    assert_eq!(
        leaving.header("x-envoy-immediate-health-check-fail"),
        "true"
    );
    let answer = service.ask("/").await;
    assert_eq!(answer.status, 200, "still served");
    assert_eq!(
        answer.header("x-envoy-immediate-health-check-fail"),
        "true",
        "Envoy reads it on any answer"
    );
}

#[tokio::test(start_paused = true)]
async fn haproxy_reads_404_while_leaving_and_503_otherwise() {
    let service = start(builder().probes(Probes::default().not_found_while_draining()));
    service.guard.control().begin_maintenance("", None);
    assert_eq!(service.ready().await.0, 503);
    service.guard.control().end_maintenance();
    service.guard.control().begin_drain("a test");
    assert_eq!(
        service.ready().await,
        (404, "not ready: draining\n".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn paths_can_be_chosen() {
    let probes = Probes::default()
        .health_path("/_/health/")
        .ready_path("/_/ready")
        .operator_path("/_/why");
    let service = start(builder().probes(probes));
    for path in ["/_/health", "/_/health/", "/_/ready", "/_/ready/"] {
        assert_eq!(service.ask(path).await.status, 200, "{path}");
    }
    assert_eq!(
        ask(&service.app, with_token("/_/why/", &[])).await.status,
        200
    );
    for path in ["/health", "/ready", "/why503"] {
        assert_eq!(service.ask(path).await.status, 404, "{path}");
    }
}

/// A path below another one would be read as the name of a check, and never answer.
#[test]
fn paths_that_hide_each_other_are_faults() {
    for (health, ready, operator) in [
        ("/x/", "/x", "/why503"),
        ("/ready/health", "/ready", "/why503"),
        ("/health", "/ready", "/ready/why"),
    ] {
        let probes = Probes::default()
            .health_path(health)
            .ready_path(ready)
            .operator_path(operator);
        let error = builder().probes(probes).build().expect_err(health);
        assert_eq!(error.faults().len(), 1, "{error}");
    }
    for (health, ready, operator) in [
        ("/ready-or-health", "/ready", "/readyx/why"),
        ("/health", "/health/ready", "/health/why"),
    ] {
        let probes = Probes::default()
            .health_path(health)
            .ready_path(ready)
            .operator_path(operator);
        assert!(builder().probes(probes).build().is_ok(), "{health}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_thousand_concurrent_probes_cause_no_dependency_call() {
    let script = Script::new(&[Does::Pass]);
    let service = start(builder().dependency(&script.named("db").build().expect("valid")));
    tokio::time::sleep(SECOND).await;
    let before = script.runs();
    let probes = (0..1000).map(|at| {
        let path = ["/ready/", "/health/", "/ready/?verbose", "/ready/db"][at % 4];
        ask(&service.app, with_token(path, &[]))
    });
    let answers = futures_util::future::join_all(probes).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(script.runs(), before);
}

#[tokio::test(start_paused = true)]
async fn failures_that_are_not_in_a_row_do_not_bring_it_down() {
    use Does::{Fail, Pass};
    let script = Script::new(&[Pass, Fail, Pass, Fail, Pass, Fail, Pass]);
    let db = script.named("db").fall(3).build().expect("valid");
    let service = start(builder().dependency(&db));
    while script.runs() < 8 {
        tokio::time::sleep(SECOND / 10).await;
        assert_eq!(db.health(), Health::Passing, "after {} runs", script.runs());
        assert_eq!(service.ready().await, (200, "ready\n".to_owned()));
    }
    // And three in a row do, two passes in a row bring it back.
    script.then(Fail);
    tokio::time::sleep(20 * SECOND).await;
    assert_eq!(db.health(), Health::Failing);
    script.then(Pass);
    let failing_runs = script.runs();
    while script.runs() == failing_runs {
        tokio::time::sleep(SECOND / 10).await;
    }
    assert_eq!(db.health(), Health::Failing, "one success is not enough");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(db.health(), Health::Passing);
}

#[tokio::test(start_paused = true)]
async fn a_check_that_hangs_or_panics_becomes_unknown_by_name_and_others_go_on() {
    for does in [Does::Hang, Does::Panic] {
        let (bad, good) = (Script::new(&[Does::Pass, does]), Script::new(&[Does::Pass]));
        let db = bad.named("bad-db").build().expect("valid");
        let other = good.named("good-db").build().expect("valid");
        let service = start(builder().dependency(&db).dependency(&other));
        tokio::time::sleep(SECOND).await;
        assert_eq!(service.ready().await.0, 200);
        let good_runs = good.runs();
        // The stale window of the defaults: three intervals and a timeout, from the last
        // answer, which was within the first second.
        tokio::time::sleep(16 * SECOND).await;
        assert_eq!(db.health(), Health::Unknown, "{does:?}");
        let (status, line) = service.ready_in_full().await;
        assert_eq!(status, 200, "{does:?}");
        assert!(
            line.starts_with("degraded: bad-db unknown"),
            "{does:?}: {line}"
        );
        assert!(!line.contains("good-db"), "{line}");
        assert!(
            good.runs() >= good_runs + 2,
            "{does:?}: the other check goes on"
        );
        assert_eq!(
            bad.most_at_once.load(Ordering::SeqCst),
            1,
            "{does:?}: single flight"
        );
        assert!(bad.runs() > 2, "{does:?}: it is asked again");
        bad.then(Does::Pass);
        tokio::time::sleep(5 * SECOND).await;
        assert_eq!(
            service.ready().await.1,
            "ready\n",
            "{does:?}: and comes back"
        );
    }
}

/// Method: real time with short intervals, since a blocked thread does not know about a
/// paused clock. Nothing depends on how long the steps take.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn a_check_that_blocks_its_thread_becomes_unknown_by_name_and_is_not_started_again() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Arc::new(Mutex::new(blocked));
    let runs = Arc::new(AtomicUsize::new(0));
    let check = {
        let runs = Arc::clone(&runs);
        check::closure(move || {
            let (run, blocked) = (runs.fetch_add(1, Ordering::SeqCst), Arc::clone(&blocked));
            async move {
                if run == 1 {
                    let _ = blocked.lock().expect("no panic").recv();
                }
                CheckOutcome::pass()
            }
        })
    };
    let short = Duration::from_millis(20);
    let quick = |name: &str| Dependency::builder(name).interval(short).timeout(short);
    let bad = quick("bad-db").check(check).build().expect("valid");
    let good_runs = Arc::new(AtomicUsize::new(0));
    let good = quick("good-db")
        .check({
            let runs = Arc::clone(&good_runs);
            check::closure(move || {
                runs.fetch_add(1, Ordering::SeqCst);
                async { CheckOutcome::pass() }
            })
        })
        .build()
        .expect("valid");
    let service = start(builder().dependency(&bad).dependency(&good));
    until("it to go stale", || {
        bad.health() == Health::Unknown && runs.load(Ordering::SeqCst) == 2
    })
    .await;
    let before = good_runs.load(Ordering::SeqCst);
    until("the other check", || {
        good_runs.load(Ordering::SeqCst) > before + 5
    })
    .await;
    let (status, line) = service.ready_in_full().await;
    assert_eq!(status, 200);
    assert!(line.contains("bad-db unknown"), "{line}");
    assert_eq!(
        runs.load(Ordering::SeqCst),
        2,
        "not started again while it has not come back"
    );
    drop(release);
    until("it to come back", || bad.health() == Health::Passing).await;
    assert!(runs.load(Ordering::SeqCst) > 2);
}

#[tokio::test(start_paused = true)]
async fn a_database_down_before_the_start_holds_requests_until_the_first_round_passes() {
    let script = Script::new(&[Does::Fail]);
    let service = start(builder().dependency(&script.named("orders-db").build().expect("valid")));
    let refused = service.ask("/").await;
    assert_eq!(
        (refused.status.as_u16(), refused.cause()),
        (503, "starting")
    );
    tokio::time::sleep(10 * SECOND).await;
    assert_eq!(
        service.ready().await,
        (503, "not ready: starting\n".to_owned())
    );
    let (_, line) = service.ready_in_full().await;
    assert!(
        line.starts_with("not ready: starting, waiting for orders-db"),
        "{line}"
    );
    assert_eq!(service.ask("/").await.cause(), "starting");
    assert_eq!(
        service.ask("/health/").await.status,
        200,
        "alive all the same"
    );
    script.then(Does::Pass);
    // Two passes in a row, each up to 1.2 s after the last run.
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ready().await, (200, "ready\n".to_owned()));
    assert_eq!(service.ask("/").await.status, 200);
    script.then(Does::Fail);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(
        service.ready().await,
        (200, "degraded\n".to_owned()),
        "after the start it degrades"
    );
    assert_eq!(service.ask("/").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn when_the_hold_is_over_requests_are_served_and_readiness_keeps_its_opinion() {
    let script = Script::new(&[Does::Fail]);
    let db = script.named("db").build().expect("valid");
    let service = start(builder().start_hold(20 * SECOND).dependency(&db));
    tokio::time::sleep(19 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 503);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 200);
    assert_eq!(
        service.ready().await,
        (503, "not ready: starting\n".to_owned())
    );
}

/// The hint while starting is the next round of checks, also before the first has ended:
/// a client must not be sent away for the whole hold when the round takes a moment.
#[tokio::test(start_paused = true)]
async fn in_the_first_moment_a_client_is_told_to_come_back_after_the_first_round() {
    let script = Script::new(&[Does::Hang]);
    let db = script
        .named("db")
        .timeout(2 * SECOND)
        .build()
        .expect("valid");
    let service = start(builder().dependency(&db));
    for _ in 0..20 {
        let told: u64 = service
            .ask("/")
            .await
            .header("retry-after")
            .parse()
            .expect("seconds");
        assert!((1..=3).contains(&told), "{told}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_required_dependency_takes_the_instance_out_and_fails_open_after_its_budget() {
    let script = Script::new(&[Does::Pass, Does::Fail]);
    let db = script.named("db").required().build().expect("valid");
    let service = start(builder().unready_budget(120 * SECOND).dependency(&db));
    tokio::time::sleep(30 * SECOND).await;
    assert_eq!(
        service.ready().await,
        (503, "not ready: check failing\n".to_owned())
    );
    assert_eq!(
        service.ask("/").await.status,
        200,
        "requests that come are still served"
    );
    tokio::time::sleep(130 * SECOND).await;
    assert_eq!(service.ready().await, (200, "degraded\n".to_owned()));
    let (_, line) = service.ready_in_full().await;
    assert_eq!(line, "degraded: db failing (unreachable), failed open\n");
}

#[tokio::test(start_paused = true)]
async fn somebody_can_wait_until_it_is_ready() {
    let script = Script::new(&[Does::Fail]);
    let service = start(builder().dependency(&script.named("db").build().expect("valid")));
    let control = service.guard.control();
    let mut ready = std::pin::pin!(control.when_ready());
    let mut in_phase = std::pin::pin!(control.clone().reached(Phase::Ready));
    tokio::select! {
        () = &mut ready => panic!("too early"),
        () = &mut in_phase => panic!("too early"),
        () = tokio::time::sleep(10 * SECOND) => {}
    }
    script.then(Does::Pass);
    common::soon("readiness", ready).await;
    common::soon("the phase", in_phase).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_start_it_is_not_ready_and_serves() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    assert_eq!(
        ask(&app, to("/ready/")).await.body,
        "not ready: not started\n"
    );
    assert_eq!(ask(&app, to("/")).await.body, "hello");
}

#[tokio::test(start_paused = true)]
async fn maintenance_by_the_api_refuses_requests_and_ends_by_itself() {
    let service = start(builder());
    let control = service.guard.control();
    control.begin_maintenance("moving house", Some(60 * SECOND));
    assert_eq!(
        service.ready().await,
        (503, "not ready: maintenance\n".to_owned())
    );
    let (_, line) = service.ready_in_full().await;
    assert_eq!(line, "not ready: maintenance: moving house\n");
    let refused = service.ask("/").await;
    assert_eq!(
        (refused.status.as_u16(), refused.cause()),
        (503, "maintenance")
    );
    assert!(!refused.body.contains("moving"), "{}", refused.body);
    let told: u64 = refused.header("retry-after").parse().expect("seconds");
    assert!((60..=75).contains(&told), "not before its end: {told}");
    assert_eq!(service.ask("/health/").await.status, 200);
    tokio::time::sleep(60 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 200);
    assert_eq!(service.ready().await.0, 200);
    tokio::time::sleep(2 * SECOND).await;
    let changes = control.explain().ledger().view().changes;
    let ends = changes
        .iter()
        .filter(|it| it.subject.as_str() == "maintenance" && &*it.to == "off");
    assert_eq!(ends.count(), 1, "its end is told once: {changes:?}");
    control.begin_maintenance("again", None);
    assert_eq!(service.ask("/").await.status, 503);
    control.end_maintenance();
    assert_eq!(
        (
            service.ask("/").await.status.as_u16(),
            service.ready().await.0
        ),
        (200, 200)
    );
}

#[tokio::test(start_paused = true)]
async fn maintenance_by_a_file_lasts_as_long_as_the_file() {
    let path = std::env::temp_dir().join(format!("steadfast-maintenance-{}", std::process::id()));
    let service = start(builder().maintenance_file(&path));
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 200);
    std::fs::write(&path, "schema change\nsecond line\n").expect("written");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.cause(), "maintenance");
    assert_eq!(
        service.ready_in_full().await.1,
        "not ready: maintenance: schema change\n"
    );
    service.guard.control().end_maintenance();
    assert_eq!(service.ask("/").await.status, 503, "only the file ends it");
    std::fs::write(&path, "").expect("written");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(
        service.ready_in_full().await.1,
        "not ready: maintenance: declared by file\n"
    );
    std::fs::remove_file(&path).expect("removed");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(
        (
            service.ask("/").await.status.as_u16(),
            service.ready().await.0
        ),
        (200, 200)
    );
}

/// Goal: the timeline says off when requests pass again, not when one of two who declared a
/// maintenance has ended theirs.
#[tokio::test(start_paused = true)]
async fn a_maintenance_that_two_declared_is_off_when_both_have_ended() {
    let file = format!("steadfast-maintenance-both-{}", std::process::id());
    let path = std::env::temp_dir().join(file);
    std::fs::write(&path, "schema change").expect("written");
    let service = start(builder().maintenance_file(&path));
    let control = service.guard.control();
    tokio::time::sleep(3 * SECOND).await;
    control.begin_maintenance("moving house", None);
    control.end_maintenance();
    assert_eq!(service.ask("/").await.status, 503);
    control.begin_maintenance("moving again", Some(SECOND));
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 503);
    std::fs::remove_file(&path).expect("removed");
    tokio::time::sleep(3 * SECOND).await;
    assert_eq!(service.ask("/").await.status, 200);
    let changes = control.explain().ledger().view().changes;
    // The newest comes first.
    let seen: Vec<_> = changes
        .iter()
        .rev()
        .filter(|it| it.subject.as_str() == "maintenance")
        .map(|it| (&*it.from, &*it.to, &*it.why))
        .collect();
    let expected = [
        ("off", "on", "schema change"),
        ("on", "on", "moving house"),
        ("on", "on", "the operator's has ended; still: schema change"),
        ("on", "on", "moving again"),
        (
            "on",
            "on",
            "the operator's time is over; still: schema change",
        ),
        ("on", "off", "the file's has ended"),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test(start_paused = true)]
async fn maintenance_by_a_request_needs_the_token() {
    let service = start(builder());
    let order = |method: &str, query: &str, authorised: bool| {
        let path = format!("/why503/maintenance{query}");
        let mut order = if authorised {
            with_token(&path, &[])
        } else {
            to(&path)
        };
        *order.method_mut() = method.parse().expect("a method");
        ask(&service.app, order)
    };
    assert_eq!(order("PUT", "?reason=x", false).await.status, 401);
    assert_eq!(service.ask("/").await.status, 200);
    let on = order("PUT", "?reason=schema%20change&for=10m", true).await;
    assert_eq!(
        (on.status.as_u16(), on.json()["reason"].as_str()),
        (200, Some("schema change"))
    );
    assert_eq!(service.ask("/").await.cause(), "maintenance");
    assert_eq!(order("DELETE", "", false).await.status, 401);
    assert_eq!(order("PUT", "?for=long", true).await.status, 400);
    assert_eq!(order("PUT", "?fro=10m", true).await.status, 400);
    assert_eq!(order("PATCH", "", true).await.status, 405);
    assert_eq!(order("DELETE", "", true).await.json()["maintenance"], false);
    assert_eq!(service.ask("/").await.status, 200);
}

/// Whatever is wrong with however many dependencies, a probe's body stays under 10 KiB.
#[tokio::test(start_paused = true)]
async fn a_probe_of_sixty_four_checks_stays_under_ten_kibibytes() {
    let mut builder = builder();
    for at in 0..64 {
        let name = format!("{at:02}-{}", "x".repeat(60));
        let check = check::closure(|| async {
            let message = "words of a failing server \"\\ ".repeat(40);
            CheckOutcome::fail(FailureClass::RefusedByServer, message)
                .number("connections", 1)
                .number("pool_size", 2)
        });
        let dependency = Dependency::builder(name)
            .check(check)
            .build()
            .expect("valid");
        builder = builder.dependency(&dependency);
    }
    let service = start(builder);
    tokio::time::sleep(120 * SECOND).await;
    let json = [("accept", "application/health+json")];
    for path in ["/ready/", "/health/", "/ready/?verbose", "/ready/00-x"] {
        for headers in [&[][..], &json] {
            for asked in [request("GET", path, headers), with_token(path, headers)] {
                let answer = ask(&service.app, asked).await;
                assert!(
                    answer.body.len() < 10 * 1024,
                    "{path}: {} bytes",
                    answer.body.len()
                );
                if answer.header("content-type") == "application/health+json" {
                    let body = answer.json();
                    if let Some(checks) = body["checks"].as_object() {
                        let left_out = body["checks_left_out"].as_u64().expect("a number");
                        assert_eq!(checks.len() as u64 + left_out, 64);
                        assert!(checks.len() >= 2, "{}", checks.len());
                    }
                }
            }
        }
    }
}

/// The failing ones are shown first when not all have room.
#[tokio::test(start_paused = true)]
async fn what_is_wrong_is_shown_before_what_is_well() {
    let mut builder = builder();
    for at in 0..63 {
        builder = builder.dependency(&passing(&format!("fine-{at}")));
    }
    let down = Script::new(&[Does::Fail])
        .named("zz-broken")
        .degrades()
        .build()
        .expect("valid");
    let service = start(builder.dependency(&down));
    tokio::time::sleep(60 * SECOND).await;
    let health = ask(&service.app, with_token("/health/", &[])).await.json();
    assert_eq!(
        health["checks"]["zz-broken:responseTime"][0]["status"],
        "fail"
    );
    assert!(health["checks_left_out"].as_u64() > Some(0));
}

/// A runtime of its own for a guard, so that a test can block all of it, and another one
/// outside for whoever probes.
struct Blockable {
    service: tokio::runtime::Runtime,
    outside: tokio::runtime::Runtime,
    guard: Guard,
    running: Running,
}

impl Blockable {
    fn start() -> Self {
        let service = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let outside = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let any_port = "127.0.0.1:0".parse().expect("an address");
        let guard = builder().probe_listener(any_port).build().expect("valid");
        let running = service.block_on(async { guard.start() }).expect("started");
        Self {
            service,
            outside,
            guard,
            running,
        }
    }

    /// Blocks every worker thread until what is returned is dropped.
    fn block(&self) -> std::sync::mpsc::Sender<()> {
        let (release, blocked) = std::sync::mpsc::channel();
        let (entered, is_in) = std::sync::mpsc::channel();
        self.service.spawn(async move {
            entered.send(()).expect("somebody waits");
            let _ = blocked.recv();
        });
        is_in.recv().expect("it runs");
        release
    }

    fn probe(&self, path: &str) -> Answer {
        let address = self.running.probe_address().expect("a listener");
        self.outside.block_on(fetch(address, to(path)))
    }

    /// Probes again and again until the answer is as wanted.
    fn probe_until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let address = self.running.probe_address().expect("a listener");
        self.outside.block_on(common::soon(path, async {
            loop {
                let answer = fetch(address, to(path)).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }
}

#[test]
fn with_every_worker_blocked_the_probe_listener_answers_and_shows_the_lag() {
    let process = Blockable::start();
    let release = process.block();
    for path in ["/ready/", "/health/", "/why503/"] {
        assert_eq!(process.probe(path).status, 200, "{path}");
    }
    assert_eq!(
        process.probe("/").status,
        404,
        "the application is not here"
    );
    let late = |answer: &Answer| answer.json()["runtime_lag_ms"].as_u64() >= Some(300);
    process.probe_until("/why503/", late);
    drop(release);
    assert_eq!(process.guard.control().phase(), Some(Phase::Ready));
}

/// Goal: a runtime that is blocked from its first moment on is called stalled after ten
/// seconds, and well again when it runs. Real time: the heartbeat is what is tested.
#[test]
fn with_every_worker_blocked_for_ten_seconds_the_probe_listener_says_for_how_long() {
    let process = Blockable::start();
    let release = process.block();
    assert_eq!(
        process.probe("/health/").status,
        200,
        "a moment is not a stall"
    );
    let stalled = process.probe_until("/health/", |answer| answer.status == 503);
    let body = stalled.json();
    assert_eq!(body["status"], "fail");
    let note = body["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("runtime stalled for 10."), "{note}");
    let ready = process.probe("/ready/");
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.starts_with("not ready: runtime stalled for 1"),
        "{}",
        ready.body
    );
    drop(release);
    process.probe_until("/health/", |answer| answer.status == 200);
    assert_eq!(process.probe("/ready/").body, "ready\n");
}

#[test]
fn the_probe_listener_shows_names_and_takes_no_orders_without_the_token() {
    let process = Blockable::start();
    let address = process.running.probe_address().expect("a listener");
    process.outside.block_on(async {
        assert_eq!(fetch(address, to("/why503/")).await.status, 200);
        let order = fetch(address, request("PUT", "/why503/maintenance", &[])).await;
        assert_eq!(order.status, 401);
        let answer = common::raw(address, "OPTIONS /ready/ HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    });
    drop(process.running);
    process.outside.block_on(async {
        common::soon("the listener's end", async {
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    });
}

#[tokio::test]
async fn a_probe_address_that_is_taken_is_an_error_of_start() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = taken.local_addr().expect("an address");
    let guard = builder().probe_listener(address).build().expect("valid");
    let error = guard.start().expect_err("taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    drop(taken);
    assert!(guard.start().is_ok(), "it can be tried again");
}

#[tokio::test(start_paused = true)]
async fn a_second_start_is_an_error() {
    let service = start(builder().drain(Drain::default()));
    assert!(service.guard.start().is_err());
}
