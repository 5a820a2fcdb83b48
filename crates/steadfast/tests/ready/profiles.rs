//! Paths and profiles: what balancers and meshes want to read, and where.

use super::*;

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
