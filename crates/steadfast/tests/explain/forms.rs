//! The wire form: what each client is told, by which name it finds it again, and for how long
//! it stays away.

use steadfast::RetryHint;

use super::{styles::every_style, *};

#[tokio::test]
async fn the_applications_own_503_is_marked_recorded_and_otherwise_unchanged() {
    let guard = builder().build().expect("valid");
    let own = || async {
        let headers = [("retry-after", "77"), ("content-type", "text/x-mine")];
        (StatusCode::SERVICE_UNAVAILABLE, headers, "we are closed")
    };
    let app = guard.protect(Router::new().route("/", get(own)));
    let answer = ask(&app, to("/")).await;
    assert_eq!(
        (answer.status.as_u16(), &*answer.body),
        (503, "we are closed")
    );
    assert_eq!(
        (answer.header("retry-after"), answer.header("content-type")),
        ("77", "text/x-mine")
    );
    assert_eq!(
        answer.header("why-503"),
        format!("cause=application, id=\"{}\"", answer.id())
    );
    assert_eq!(
        guard.control().explain().ledger().clone_of(&answer.id()),
        ["application"]
    );
}

#[tokio::test]
async fn any_of_three_ids_finds_a_refusal() {
    let (_guard, app) = refusing(ExplainSettings::default());
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let headers = [("x-request-id", "order-77"), ("traceparent", &*traceparent)];
    let refused = ask(&app, request("GET", "/?card=4111", &headers)).await;
    let again = ask(&app, request("GET", "/", &headers[..1])).await;
    for (id, count) in [
        (&*refused.id(), 1),
        ("order-77", 2),
        (trace, 1),
        (&*again.id(), 1),
    ] {
        let page = ask(&app, with_token(&format!("/why503/{id}"), &[])).await;
        let page = (page.status.as_u16(), page.json());
        let found = page.1["refusals"].as_array().expect("a list");
        assert_eq!((page.0, found.len()), (200, count), "{id}");
        assert!(
            found
                .iter()
                .all(|it| it["request"] == "GET /" && it["cause"] == "maintenance")
        );
    }
    assert_eq!(ask(&app, with_token("/why503/none", &[])).await.status, 404);
    let all = ask(&app, with_token("/why503/", &[])).await.body;
    assert!(!all.contains("4111"), "queries are never kept");
}

#[tokio::test]
async fn the_client_chooses_the_form() {
    let (_guard, app) = refusing(ExplainSettings::default());
    for (accept, kind) in [
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("text/plain", "text/plain; charset=utf-8"),
        ("image/avif", "application/problem+json"),
    ] {
        let answer = ask(&app, request("GET", "/", &[("accept", accept)])).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("content-type")),
            (503, kind),
            "{accept}"
        );
        let vary = match kind.starts_with("text/html") {
            true => "accept, accept-language",
            false => "accept",
        };
        assert_eq!(
            (answer.header("vary"), answer.header("cache-control")),
            (vary, "no-store")
        );
        assert!(
            answer.body.contains(&answer.id()),
            "{accept}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn grpc_gets_trailers_only_from_gates_and_from_handlers() {
    let grpc = [("content-type", "application/grpc")];
    let (_guard, app) = refusing(ExplainSettings::default());
    let (guard, payments, _health) = payments_down(builder());
    let handler = guard.protect(every_style(&payments));
    for (app, path, cause) in [
        (app, "/", "maintenance"),
        (handler, "/steadfast", "dependency-down"),
    ] {
        let answer = ask(&app, request("GET", path, &grpc)).await;
        assert_eq!(
            (answer.status.as_u16(), answer.header("grpc-status")),
            (200, "14")
        );
        assert_eq!(
            (answer.cause(), answer.header("content-type")),
            (cause, "application/grpc")
        );
        assert!(
            answer
                .header("grpc-retry-pushback-ms")
                .parse::<u64>()
                .expect("ms")
                >= 1000
        );
        assert_eq!((answer.header("retry-after"), &*answer.body), ("", ""));
    }
    let (_guard, app) = refusing(ExplainSettings::default());
    let web = ask(
        &app,
        request("POST", "/", &[("content-type", "application/grpc-web")]),
    )
    .await;
    assert_eq!(web.status, 503, "browsers read grpc-web as plain HTTP");
}

async fn told(app: &Guarded, path: &str) -> u64 {
    let answer = ask(app, to(path)).await;
    assert_eq!(answer.status, 503);
    let header: u64 = answer.header("retry-after").parse().expect("seconds");
    if answer.header("content-type") == "application/problem+json" {
        let exact = answer.json()["retry_after_ms"].as_u64().expect("ms");
        assert_eq!(header, exact.div_ceil(1000), "rounded up");
    }
    header
}

#[tokio::test(start_paused = true)]
async fn the_retry_hint_follows_the_cause_within_its_bounds_and_is_spread() {
    // Maintenance without an end: 30 s, spread downwards from the cap.
    let (guard, app) = refusing(ExplainSettings::default());
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.insert(told(&app, "/").await);
    }
    assert!(seen.iter().all(|hint| (23..=30).contains(hint)), "{seen:?}");
    assert!(
        seen.len() >= 4,
        "clients refused together do not come back together: {seen:?}"
    );
    // With an end, nobody need ask before it, whatever the cap.
    guard.control().begin_maintenance("", Some(600 * SECOND));
    assert!((600..=750).contains(&told(&app, "/").await));

    // A dependency: the next run of its check, at most 6 s away.
    let (guard, payments, _health) = payments_down(builder());
    let app = guard.protect(every_style(&payments));
    for _ in 0..50 {
        assert!((1..=2).contains(&told(&app, "/steadfast").await));
    }

    // Shedding, measured nothing yet: a second or so.
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let hang = get(|| async { std::future::pending::<()>().await });
    let app = guard.protect(Router::new().route("/", hang));
    let running = tokio::spawn(app.clone().oneshot(to("/")));
    common::until("one to run", || guard.control().shedder().in_flight() == 1).await;
    assert!((1..=2).contains(&told(&app, "/").await));
    running.abort();

    // The configured bounds hold for all of them.
    let bounds = RetryHint::new(7 * SECOND, 9 * SECOND).expect("valid");
    let (_guard, app) = refusing(ExplainSettings::default().retry(bounds));
    for _ in 0..50 {
        assert!((7..=9).contains(&told(&app, "/").await));
    }
}

#[tokio::test]
async fn full_disclosure_shows_source_and_evidence_and_the_default_does_not() {
    let (_guard, app) = refusing(ExplainSettings::default().disclosure(Disclosure::Full));
    let problem = ask(&app, to("/")).await.json();
    assert_eq!(problem["source"], "lifecycle");
    assert_eq!(problem["evidence"]["reason"], "moving house");
    let (_guard, app) = refusing(ExplainSettings::default().type_base("https://help.example/503"));
    let problem = ask(&app, to("/")).await.json();
    assert_eq!(problem["type"], "https://help.example/503#maintenance");
    assert!(problem.get("evidence").is_none() && problem.get("source").is_none());
}

#[tokio::test]
async fn a_house_answers_programs_in_its_own_envelope() {
    let own = ExplainSettings::default().envelope("application/json", |told| {
        let code = told.cause.code();
        format!(
            r#"{{"code":"{code}","id":"{}","says":"{}"}}"#,
            told.id, told.detail
        )
    });
    let (_guard, app) = refusing(own);
    let answer = ask(&app, to("/")).await;
    assert_eq!(answer.header("content-type"), "application/json");
    assert!(answer.header("why-503").starts_with("cause=maintenance"));
    let said = answer.json();
    assert_eq!(said["code"], "maintenance");
    assert_eq!(said["id"], answer.id());
    let wait = answer.header("retry-after");
    let says = said["says"].as_str().expect("a sentence");
    assert!(
        says.contains(&format!("retry after {wait} second")),
        "{says}"
    );
    let answer = ask(&app, request("GET", "/", &[("accept", "text/html")])).await;
    assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
}

#[tokio::test]
async fn whoever_listens_hears_of_each_refusal_once() {
    let heard = Arc::new(Mutex::new(Vec::new()));
    let hears = Arc::clone(&heard);
    let settings = ExplainSettings::default().on_refusal(move |recorded| {
        let told = (
            recorded.id.to_string(),
            recorded.refusal.cause(),
            recorded.answered,
        );
        hears.lock().expect("no panic").push(told);
    });
    let (_guard, app) = refusing(settings);
    let ids = [ask(&app, to("/")).await.id(), ask(&app, to("/")).await.id()];
    let expected = ids.map(|id| (id, Cause::Maintenance, Answered::Refusal));
    assert_eq!(*heard.lock().expect("no panic"), expected);
}
