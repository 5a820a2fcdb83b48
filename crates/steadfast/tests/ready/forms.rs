//! Every form of the answer, for whoever asks in whatever way, within its bounds.

use super::*;

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
