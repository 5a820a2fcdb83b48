//! What is kept: who reads it, without secrets and within bounds.

use axum::extract::Request;
use steadfast::{CheckOutcome, FailureClass};

use super::*;

/// Goal: no password of a connection URL in any byte that a stranger, the operator or the log
/// can read, wherever in the URL it stands.
#[tokio::test(start_paused = true)]
async fn secrets_in_a_checks_error_are_readable_nowhere() {
    let (log, _subscriber) = Log::capture();
    let secret = "hunter2";
    let errors = [
        format!("cannot reach postgres://app:{secret}@db:5432/shop"),
        format!("postgres://{secret}@db/shop refused"),
        format!("postgres://app:{secret}{{|\"<>`@db/shop"),
        format!("postgres://app:two {secret} words@db/shop"),
        format!("postgres://app:x/{secret}?y#z@db/shop"),
        format!("at \"redis://:{secret}@cache:6379/0\": timeout"),
        format!("http://db/path?password={secret}&token={secret}"),
        format!("http://db/path#{secret}"),
        format!("host=db user=app password={secret} dbname=shop"),
        format!("host=db password = '{secret} \\' {secret}' dbname=shop"),
        format!("PGPASSWORD={secret} sslpassword={secret}"),
        format!("datasource.db-password: {secret}"),
        format!("{{\"password\":\"{secret}\",\"api_key\":\"{secret}\"}}"),
        format!("amqps://u:{secret}@a/v, amqps://u:{secret}@b/v"),
    ];
    let mut builder = builder().explain(ExplainSettings::default().disclosure(Disclosure::Full));
    let mut dependencies = Vec::new();
    for (at, error) in errors.iter().enumerate() {
        let error = error.clone();
        let panics = at % 2 == 1;
        // Every second one says it in a panic.
        let fails = check::closure(move || {
            let error = error.clone();
            async move {
                assert!(!panics, "{error}");
                CheckOutcome::fail(FailureClass::Unreachable, error)
            }
        });
        let dependency = Dependency::builder(format!("dependency-{at}")).check(fails);
        let dependency = dependency.degrades().build().expect("valid");
        builder = builder.dependency(&dependency);
        dependencies.push(dependency);
    }
    let guard = builder.build().expect("valid");
    let _running = guard.start().expect("started");
    let all = dependencies.clone();
    let pay = get(move || async move {
        all.iter()
            .find_map(|it| it.require().err())
            .map_or(Ok("paid"), |it| Err(Error::from(it)))
    });
    let app = guard.protect(Router::new().route("/pay", pay));
    tokio::time::sleep(60 * SECOND).await;
    let json = [("accept", "application/health+json")];
    let mut read = String::new();
    for path in [
        "/",
        "/pay",
        "/ready/",
        "/ready/?verbose",
        "/health/",
        "/why503/",
    ] {
        for asked in [to(path), with_token(path, &[]), with_token(path, &json)] {
            let answer = ask(&app, asked).await;
            read.push_str(&format!("{:?} {}\n", answer.headers, answer.body));
        }
    }
    for at in 0..errors.len() {
        let one = ask(&app, with_token(&format!("/ready/dependency-{at}"), &[])).await;
        assert!(one.body.contains("dependency-"), "{}", one.body);
        read.push_str(&one.body);
    }
    read.push_str(&log.lines("").join("\n"));
    read.push_str(&format!("{guard:?} {dependencies:?}"));
    assert!(read.contains("unreachable"), "the errors were shown at all");
    if let Some(at) = read.find(secret) {
        panic!(
            "readable: …{}…",
            &read[at.saturating_sub(120)..(at + 20).min(read.len())]
        );
    }
    assert!(!read.contains(TOKEN), "the token neither");
}

#[tokio::test]
async fn the_ledger_needs_the_token_even_from_this_host() {
    let (_guard, app) = refusing(ExplainSettings::default());
    let id = ask(&app, to("/")).await.id();
    let outer = app.clone();
    let server = common::serve(|listener| axum::serve(listener, outer).into_future()).await;
    for path in [
        "/why503",
        "/why503/",
        "/why503/maintenance",
        &format!("/why503/{id}"),
    ] {
        let answer = common::fetch(server.address, to(path)).await;
        assert_eq!(answer.status, 401, "{path}: 127.0.0.1 opens nothing");
        assert_eq!(answer.header("www-authenticate"), "Bearer realm=\"why503\"");
        assert!(!answer.body.contains("moving house"), "{path}");
        assert_eq!(
            common::fetch(server.address, with_token(path, &[]))
                .await
                .status,
            200,
            "{path}"
        );
        let spoofed: Request = request("GET", path, &[("x-forwarded-for", "127.0.0.1")]);
        assert_eq!(
            common::fetch(server.address, spoofed).await.status,
            401,
            "{path}"
        );
    }
    let page = common::fetch(server.address, with_token("/why503/", &[])).await;
    assert_eq!(
        (page.header("content-type"), page.header("cache-control")),
        ("application/json", "no-store")
    );
    let page = page.json();
    let state = page["state"].as_str().expect("a sentence");
    assert!(
        state.starts_with("Refusing ") && state.contains("maintenance: moving house"),
        "{state}"
    );
    assert_eq!(page["incidents"][0]["cause"], "maintenance");
    assert_eq!(page["refusals"]["by_cause"]["maintenance"], 1);
    assert_eq!(page["recent"][0]["id"], id);
}

#[tokio::test(start_paused = true)]
async fn a_reason_is_kept_in_bounds_wherever_it_is_kept() {
    let (_guard, app) = refusing(ExplainSettings::default());
    let mut order = with_token(
        &format!("/why503/maintenance?reason={}", "x".repeat(20_000)),
        &[],
    );
    *order.method_mut() = http::Method::PUT;
    assert_eq!(ask(&app, order).await.status, 200);
    let page = ask(&app, with_token("/why503/", &[])).await;
    assert!(page.body.len() < 10_000, "{}", page.body.len());
}
