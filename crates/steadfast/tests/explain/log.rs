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
    let said = log.lines("a refusal left the application as another answer");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(
        said[0].contains("ERROR")
            && said[0].contains("payments")
            && said[0].contains("answered=500"),
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
        log.lines("a refusal left the application as another answer")
            .len(),
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
    // Somebody has ordered it, so nobody is asked to do anything.
    assert!(first.contains("INFO") && first.contains("maintenance") && first.contains("lifecycle"));
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

/// Goal: whatever an application makes of a refusal, it is written down once, with what it
/// was answered as, and the first of a run is in the log with the last error.
#[tokio::test(start_paused = true)]
async fn a_refusal_is_written_down_whatever_the_answer_became() {
    for (status, cause) in [
        (StatusCode::NOT_FOUND, ""),
        (StatusCode::BAD_GATEWAY, ""),
        (StatusCode::INTERNAL_SERVER_ERROR, ""),
        (StatusCode::OK, ""),
        (StatusCode::SERVICE_UNAVAILABLE, "dependency-down"),
    ] {
        let (log, _guard) = Log::capture();
        let (guard, payments, _health) = payments_down(builder());
        let hide = move || async move {
            // Asked twice in one request, as by a retry.
            let _ = payments.require();
            payments.require().map_err(|_| status)
        };
        let app = guard.protect(Router::new().route("/", get(hide)));
        let answer = ask(&app, to("/")).await;
        assert_eq!((answer.status, answer.cause()), (status, cause));
        let view = guard.control().explain().ledger().view();
        let [recorded] = &view.recent[..] else {
            panic!("{status}: {:?}", view.recent);
        };
        assert_eq!(recorded.answered, Answered::Status(status.as_u16()));
        assert_eq!(recorded.refusal.cause(), Cause::DependencyDown);
        assert!(!recorded.refusal.safe_to_retry());
        assert_eq!(view.incidents.len(), 1, "{status}");
        let lines = log.lines("refusing requests");
        assert_eq!(lines.len(), 1, "{lines:?}");
        for part in ["WARN", "payments", "connection refused", status.as_str()] {
            assert!(lines[0].contains(part), "{part}: {lines:?}");
        }
        let is_error = status.as_u16() >= 400 && status != StatusCode::SERVICE_UNAVAILABLE;
        let said = log.lines("a refusal left the application");
        assert_eq!(said.len(), usize::from(is_error), "{status}: {said:?}");
    }
}

/// A refusal of one dependency that was made good, and of another that was not.
#[tokio::test(start_paused = true)]
async fn a_refusal_that_is_passed_on_is_written_down_once_and_others_beside_it() {
    let (guard, payments, _health) = payments_down(builder());
    let cache = Dependency::builder("cache").build().expect("valid");
    cache.set_mode(steadfast::BreakerMode::ForcedOpen);
    let handler = move || async move {
        let _fallback = cache.require();
        payments.require().map_err(Error::from)
    };
    let app = guard.protect(Router::new().route("/", get(handler)));
    assert_eq!(ask(&app, to("/")).await.cause(), "dependency-down");
    let recent = guard.control().explain().ledger().view().recent;
    let mut seen: Vec<_> = recent
        .iter()
        .map(|it| (it.refusal.refused_by().to_string(), it.answered))
        .collect();
    seen.sort_by(|a, b| a.0.cmp(&b.0));
    let expected = [
        ("cache", Answered::Status(503)),
        ("payments", Answered::Refusal),
    ];
    assert_eq!(
        seen,
        expected.map(|(name, answered)| (name.to_owned(), answered))
    );
}

/// Goal: one outage is one warning with its last error and one note of its end, and the page
/// tells the same.
#[tokio::test(start_paused = true)]
async fn an_outage_is_logged_once_with_its_error_and_its_end_with_length_and_count() {
    let (log, _subscriber) = Log::capture();
    let (payments, health) = test_util::dependency("payments");
    let guard = builder().dependency(&payments).build().expect("valid");
    let _running = guard.start().expect("started");
    let app = guard.protect(Router::new());
    tokio::time::sleep(SECOND).await;
    let call = async |answer: Result<(), io::Error>| payments.call(async { answer }).await;
    assert!(call(Ok(())).await.is_ok());
    health.fail("connection refused");
    for _ in 0..30 {
        let failed = io::Error::other("reset by peer at postgres://app:pw@db/x");
        let _ = call(Err(failed)).await;
    }
    tokio::time::sleep(20 * SECOND).await;
    let down = log.lines("a dependency is down");
    assert_eq!(down.len(), 1, "{down:#?}");
    assert!(
        down[0].contains("WARN") && down[0].contains("dependency=\"payments\""),
        "{down:?}"
    );
    let has_error = down[0].contains("reset by peer") || down[0].contains("connection refused");
    assert!(has_error && !down[0].contains("app:pw"), "{down:?}");
    assert_eq!(log.lines("WARN").len(), 1, "{:#?}", log.lines("WARN"));
    let page =
        async || ask(&app, with_token("/why503/", &[])).await.json()["dependencies"][0].clone();
    let seen = page().await;
    assert_eq!(
        (&seen["outages"], &seen["health"]),
        (&1.into(), &"failing".into())
    );
    assert!(seen["last_outage"]["lasted_ms"].is_null(), "{seen}");
    assert!(log.lines("a dependency is up again").is_empty());

    health.pass();
    for _ in 0..60 {
        tokio::time::sleep(SECOND).await;
        let _ = call(Ok(())).await;
    }
    let up = log.lines("a dependency is up again");
    assert_eq!(
        (up.len(), log.lines("a dependency is down").len()),
        (1, 1),
        "{up:#?}"
    );
    assert!(up[0].contains("INFO"), "{up:?}");
    let seen = page().await;
    let last = &seen["last_outage"];
    for (field, value) in [
        ("lasted_ms", &last["lasted_ms"]),
        ("refused", &last["refused"]),
        ("failed", &last["failed"]),
    ] {
        assert!(up[0].contains(&format!("{field}={value}")), "{up:?} {last}");
        assert!(value.as_u64() > Some(0), "{field} {last}");
    }
    assert_eq!(seen["outages"], 1);
}

/// Goal: what hides a refusal from browsers, and a route from everybody, is said once.
#[tokio::test(start_paused = true)]
async fn parts_that_hide_each_other_are_said_once() {
    let (log, _subscriber) = Log::capture();
    let cors = || tower_http::cors::CorsLayer::permissive();
    let hello = || Router::new().route("/", get(|| async { "hello" }));
    let browser = || {
        let mut request = to("/");
        let origin = http::HeaderValue::from_static("https://shop.example");
        request.headers_mut().insert("origin", origin);
        request
    };
    for (inside, said) in [(false, 0), (true, 1)] {
        let guard = builder().build().expect("valid");
        let _running = guard.start().expect("started");
        let app = match inside {
            true => guard.protect(hello().layer(cors())).into_router(),
            false => guard.protect(hello()).layer(cors()).into_router(),
        };
        let ask = async || {
            let answer = app.clone().oneshot(browser()).await;
            let answer = answer.expect("infallible");
            let readable = answer.headers().contains_key("access-control-allow-origin");
            (answer.status().as_u16(), readable)
        };
        guard.control().begin_maintenance("moving house", None);
        assert_eq!(ask().await, (503, !inside));
        guard.control().end_maintenance();
        for _ in 0..3 {
            assert_eq!(ask().await, (200, true));
        }
        assert_eq!(log.lines("the CORS layer is inside the guard").len(), said);
    }
    let guard = builder().build().expect("valid");
    let app = hello().route("/health", get(|| async { "mine" }));
    let app = app.nest(
        "/ready",
        Router::new().route("/report", get(|| async { "mine" })),
    );
    let _app = guard.protect(app);
    let said = log.lines("never asked");
    assert_eq!(said.len(), 1, "{said:?}");
    assert!(said[0].contains("/health /ready/report"), "{said:?}");
}
