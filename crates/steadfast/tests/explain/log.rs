//! What is said aloud, and how often.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_refusal_that_leaves_as_a_500_is_noticed_and_said_at_most_once_per_incident() {
    let (log, _guard) = Log::capture();
    let (guard, payments, _health) = payments_down(builder());
    let hide = move || async move {
        payments
            .require()
            .map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    };
    let app = guard.protect(Router::new().route("/", get(hide)));
    for _ in 0..5 {
        assert_eq!(ask(&app, to("/")).await.status, 500);
    }
    let said = log.lines("a refusal left the application as a 500");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("ERROR") && said[0].contains("payments"),
        "{said:?}"
    );
    let changes = guard.control().explain().ledger().view().changes;
    let hidden: Vec<_> = changes
        .iter()
        .filter(|change| &*change.to == "500")
        .collect();
    assert_eq!((hidden.len(), hidden[0].subject.as_str()), (1, "payments"));
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(ask(&app, to("/")).await.status, 500);
    assert_eq!(
        log.lines("a refusal left the application as a 500").len(),
        2
    );
}

#[tokio::test(start_paused = true)]
async fn the_log_has_one_event_for_each_incident_and_each_state_change() {
    let (log, _subscriber) = Log::capture();
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let _running = guard.start().expect("started");
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    let control = guard.control();
    assert_eq!(log.lines("guard started").len(), 1);
    assert!(log.lines("guard started")[0].contains("/health/ /ready/ /why503/"));
    control.begin_maintenance("moving house", None);
    for _ in 0..50 {
        assert_eq!(ask(&app, to("/")).await.status, 503);
    }
    let incidents = log.lines("refusing requests");
    assert_eq!(incidents.len(), 1, "{incidents:?}");
    let first = &incidents[0];
    assert!(first.contains("WARN") && first.contains("maintenance") && first.contains("lifecycle"));
    tokio::time::sleep(11 * SECOND).await;
    assert_eq!(ask(&app, to("/")).await.status, 503);
    assert_eq!(log.lines("refusing requests").len(), 2, "a new incident");
    control.end_maintenance();
    control.begin_drain("a test");
    tokio::time::sleep(60 * SECOND).await;
    let changes = log.lines("state changed");
    for (subject, from, to) in [
        ("lifecycle", "not started", "starting"),
        ("lifecycle", "starting", "ready"),
        ("maintenance", "off", "on"),
        ("maintenance", "on", "off"),
        ("lifecycle", "ready", "lame-duck"),
        ("lifecycle", "lame-duck", "draining"),
        ("lifecycle", "draining", "stopped"),
    ] {
        let found = changes.iter().filter(|line| {
            line.contains(&format!("subject={subject} from=\"{from}\" to=\"{to}\""))
        });
        assert_eq!(found.count(), 1, "{subject} {from} {to}: {changes:#?}");
    }
}

#[tokio::test]
async fn a_balancer_that_probes_the_health_path_is_warned_about_once() {
    let (log, _subscriber) = Log::capture();
    let guard = builder().build().expect("valid");
    let app = guard.protect(Router::new());
    let balancer = [("user-agent", "ELB-HealthChecker/2.0")];
    ask(&app, request("GET", "/ready/", &balancer)).await;
    ask(
        &app,
        request("GET", "/health/", &[("user-agent", "kube-probe/1.30")]),
    )
    .await;
    assert_eq!(log.lines("a load balancer probes the health path").len(), 0);
    for _ in 0..5 {
        ask(&app, request("GET", "/health/", &balancer)).await;
    }
    assert_eq!(log.lines("a load balancer probes the health path").len(), 1);
}
