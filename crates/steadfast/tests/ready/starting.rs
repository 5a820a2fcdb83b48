//! From the start to the first traffic, and out of it again when a dependency is required.

use steadfast::{Deadlines, Drain, Explain, Lifecycle, Start};

use super::*;

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
async fn a_second_start_is_an_error() {
    let service = start(builder().drain(Drain::default()));
    assert!(service.guard.start().is_err());
}

/// A dependency whose first answer takes this long, and is this.
fn slow_to_answer(name: &str, after: Duration, outcome: fn() -> CheckOutcome) -> Dependency {
    let check = check::closure(move || async move {
        tokio::time::sleep(after).await;
        outcome()
    });
    let slow = Dependency::builder(name).timeout(20 * SECOND).check(check);
    slow.build().expect("valid")
}

/// How much of the paused time has gone by.
fn since(moment: tokio::time::Instant) -> Duration {
    tokio::time::Instant::now().saturating_duration_since(moment)
}

fn unreachable() -> CheckOutcome {
    CheckOutcome::fail(FailureClass::Unreachable, "connection refused")
}

#[tokio::test(start_paused = true)]
async fn a_request_that_comes_at_once_waits_for_the_first_round_and_is_served() {
    let checks = [
        slow_to_answer("db", SECOND, CheckOutcome::pass),
        slow_to_answer("cache", 3 * SECOND / 2, CheckOutcome::pass),
    ];
    let builder = checks.iter().fold(builder(), GuardBuilder::dependency);
    let service = start(builder);
    let came = tokio::time::Instant::now();
    let asked = (0..50).map(|_| service.ask("/"));
    let answers = futures_util::future::join_all(asked).await;
    assert!(answers.iter().all(|answer| answer.body == "hello"));
    let waited = since(came);
    assert!(
        waited >= 3 * SECOND / 2 && waited < 2 * SECOND,
        "{waited:?}"
    );
    assert_eq!(service.ready().await.0, 200);
}

#[tokio::test(start_paused = true)]
async fn an_application_of_which_nothing_is_checked_answers_at_once() {
    let service = start(builder());
    let came = tokio::time::Instant::now();
    assert_eq!(service.ask("/").await.status, 200);
    assert_eq!(since(came), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_wait_ends_with_the_round_the_bound_or_the_deadline() {
    let deadline = [("x-envoy-expected-rq-timeout-ms", "700")];
    let within = |wait_max: Duration, after, headers: &'static [(&str, &str)]| async move {
        let db = slow_to_answer("db", after, unreachable);
        let service = start(builder().start_wait_max(wait_max).dependency(&db));
        let came = tokio::time::Instant::now();
        let answer = ask(&service.app, request("GET", "/", headers)).await;
        assert_eq!((answer.status.as_u16(), answer.cause()), (503, "starting"));
        assert!(answer.header("why-503").contains("safe-to-retry"));
        since(came).as_millis()
    };
    // A timer of tokio has a resolution of a millisecond.
    for (wait_max, after, headers, expected) in [
        (2 * SECOND, 10 * SECOND, &[][..], 2000),
        (2 * SECOND, SECOND, &[], 1000),
        (2 * SECOND, 10 * SECOND, deadline.as_slice(), 700),
        (5 * SECOND, 10 * SECOND, &[], 5000),
        (Duration::ZERO, 10 * SECOND, &[], 0),
    ] {
        let headers: &'static [_] = headers.to_vec().leak();
        let waited = within(wait_max, after, headers).await;
        assert!(
            (expected..expected + 5).contains(&waited),
            "{waited} {expected}"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn probes_do_not_wait_and_maintenance_ends_the_wait() {
    let db = slow_to_answer("db", 3 * SECOND / 2, CheckOutcome::pass);
    let service = start(builder().dependency(&db));
    let came = tokio::time::Instant::now();
    let mut waiting = std::pin::pin!(service.ask("/"));
    assert!(steadfast::test_util::poll_once(waiting.as_mut()).is_pending());
    assert_eq!(service.ready().await.1, "not ready: starting\n");
    assert_eq!(service.ask("/health/").await.status, 200);
    service.guard.control().begin_maintenance("moving", None);
    assert_eq!(waiting.await.cause(), "maintenance");
    assert_eq!(since(came), Duration::ZERO);
}

/// Goal: a signal during the start opens nothing; who waits is served if the checks pass, and
/// refused as before if they do not.
#[tokio::test(start_paused = true)]
async fn a_signal_during_the_start_opens_no_gate() {
    for (outcome, cause) in [
        (CheckOutcome::pass as fn() -> _, ""),
        (unreachable, "starting"),
    ] {
        let service = start(builder().dependency(&slow_to_answer("db", SECOND, outcome)));
        let control = service.guard.control();
        control.begin_drain("a test");
        let answer = service.ask("/").await;
        assert_eq!(answer.cause(), cause);
        assert_eq!(control.phase(), Some(Phase::LameDuck));
        assert_eq!(service.ask("/").await.cause(), cause);
        assert_eq!(service.ready().await.1, "not ready: draining\n");
    }
}

#[tokio::test(start_paused = true)]
async fn a_signal_during_a_maintenance_opens_no_gate() {
    let service = start(builder());
    let control = service.guard.control();
    control.begin_maintenance("a migration", None);
    assert_eq!(service.ask("/").await.cause(), "maintenance");
    control.begin_drain("a test");
    for phase in [Phase::LameDuck, Phase::Draining] {
        control.clone().reached(phase).await;
        assert_eq!(service.ask("/").await.cause(), "maintenance", "{phase}");
    }
    control.end_maintenance();
    assert_eq!(
        service.ask("/").await.status,
        200,
        "until the grace is over"
    );
    control.drained().await;
    assert_eq!(service.ask("/").await.cause(), "draining");
}

#[tokio::test(start_paused = true)]
async fn the_drain_layer_alone_lets_requests_wait_too() {
    use tower::{Layer, ServiceExt};
    let life = Arc::new(Lifecycle::new(tokio::time::Instant::now().into_std()));
    let layer = steadfast::DrainLayer::new(Arc::clone(&life), Explain::default())
        .deadlines(Deadlines::default().header("x-timeout"));
    let app = layer.layer(Router::new().route("/", get(|| async { "hello" })));
    let ask = |headers: &[(&str, &str)]| app.clone().oneshot(request("GET", "/", headers));
    assert_eq!(
        ask(&[]).await.expect("infallible").status(),
        200,
        "not started"
    );
    let now = || tokio::time::Instant::now().into_std();
    life.start(Start::default(), now());
    let came = now();
    let hurried = ask(&[("x-timeout", "300ms")]).await.expect("infallible");
    assert_eq!(
        (hurried.status().as_u16(), (now() - came).as_millis() / 10),
        (503, 30)
    );
    let pass = async {
        tokio::time::sleep(SECOND).await;
        life.advance(Phase::Ready, now());
    };
    let (answer, ()) = tokio::join!(ask(&[]), pass);
    assert_eq!(answer.expect("infallible").status(), 200);
}
