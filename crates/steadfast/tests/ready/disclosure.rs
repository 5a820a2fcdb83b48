//! Who reads names and details.

use super::*;

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

/// Goal: what a proxy adds to everybody who is logged in lets them read, and turns no link
/// into an order.
#[tokio::test(start_paused = true)]
async fn orders_need_the_token_whatever_a_rule_says() {
    let rule = |parts: &http::request::Parts| parts.headers.contains_key("x-logged-in");
    let service = start(builder().authorize(rule));
    let logged_in = [("x-logged-in", "yes")];
    let order = async |method, path, headers| {
        let answer = ask(&service.app, request(method, path, headers)).await;
        answer.status.as_u16()
    };
    assert_eq!(order("GET", "/why503/", &logged_in).await, 200);
    for (method, path) in [
        ("GET", "/why503/drain?begin"),
        ("POST", "/why503/drain"),
        ("PUT", "/why503/maintenance?reason=x"),
        ("DELETE", "/why503/maintenance"),
    ] {
        assert_eq!(
            order(method, path, &logged_in).await,
            401,
            "{method} {path}"
        );
    }
    assert_eq!(service.ask("/").await.status, 200);
    assert_eq!(service.guard.control().phase(), Some(Phase::Ready));
}
