//! From the start to the first traffic, and out of it again when a dependency is required.

use steadfast::Drain;

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
