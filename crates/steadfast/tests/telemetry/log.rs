//! The log: which line stands for what, how urgent it is, and that strangers do not write it.

use steadfast::{Shed, test_util};

use super::{lines::Lines, *};

#[tokio::test(start_paused = true)]
async fn an_incident_is_two_lines_with_its_length_and_count() {
    let (lines, _keep) = Lines::keep();
    let guard = builder().shed(Shed::fixed(1)).build().expect("valid");
    let _running = guard.start().expect("started");
    let hang = get(|| async { std::future::pending::<()>().await });
    let app = guard.protect(Router::new().route("/", hang));
    let _held = tokio::spawn(app.clone().oneshot(Request::new(Body::empty())));
    tokio::time::sleep(SECOND).await;
    for _ in 0..5 {
        assert_eq!(ask(&app, "/").await.status(), 503);
        tokio::time::sleep(SECOND).await;
    }
    tokio::time::sleep(20 * SECOND).await;
    let told = lines.of("steadfast::incident");
    let said: Vec<_> = told.iter().map(|it| (it.level, it.says.as_str())).collect();
    assert_eq!(
        said,
        [("WARN", "refusing requests"), ("INFO", "refusing no more")]
    );
    assert_eq!(told[0].field("cause"), "overloaded");
    assert_eq!(told[0].field("rule"), "limit");
    assert_eq!(told[0].field("id").len(), 36);
    assert_eq!(
        (told[1].field("lasted_ms"), told[1].field("refused")),
        ("4000", "5")
    );
    assert_eq!(told[1].field("cause"), "overloaded");
}

#[tokio::test(start_paused = true)]
async fn an_incident_that_lasts_when_the_guard_stops_has_its_end_told() {
    let (lines, _keep) = Lines::keep();
    let guard = builder().build().expect("valid");
    let running = guard.start().expect("started");
    let app = hello(&guard);
    guard.control().begin_maintenance("moving house", None);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(ask(&app, "/").await.status(), 503);
    drop(running);
    let told = lines.of("steadfast::incident");
    let said: Vec<_> = told.iter().map(|it| (it.level, it.says.as_str())).collect();
    // What somebody has ordered asks nobody to do anything.
    assert_eq!(
        said,
        [("INFO", "refusing requests"), ("INFO", "refusing no more")]
    );
    assert_eq!(told[1].field("how"), "the guard stopped");
}

#[tokio::test(start_paused = true)]
async fn an_outage_is_a_warning_with_its_last_error_and_its_end_is_not() {
    let (lines, _keep) = Lines::keep();
    let (payments, health) = test_util::dependency("payments");
    let guard = builder().dependency(&payments).build().expect("valid");
    let _running = guard.start().expect("started");
    tokio::time::sleep(2 * SECOND).await;
    health.fail("connection refused");
    tokio::time::sleep(60 * SECOND).await;
    health.pass();
    tokio::time::sleep(60 * SECOND).await;
    let told = lines.of("steadfast::dependency");
    let said: Vec<_> = told.iter().map(|it| (it.level, it.says.as_str())).collect();
    assert_eq!(
        said,
        [
            ("WARN", "a dependency is down"),
            ("INFO", "a dependency is up again")
        ]
    );
    assert_eq!(told[0].field("last_error"), "connection refused");
    assert!(!told[1].field("lasted_ms").is_empty());
}

#[tokio::test(start_paused = true)]
async fn every_step_of_the_process_is_one_line() {
    let (lines, _keep) = Lines::keep();
    let guard = builder().build().expect("valid");
    let _running = guard.start().expect("started");
    tokio::time::sleep(2 * SECOND).await;
    guard.control().begin_maintenance("moving house", None);
    guard.control().end_maintenance();
    guard.control().begin_drain("a test");
    tokio::time::timeout(60 * SECOND, guard.control().drained())
        .await
        .expect("nothing runs");
    let steps: Vec<_> = lines
        .of("steadfast::state")
        .iter()
        .filter(|it| it.says == "state changed")
        .map(|it| {
            format!(
                "{} {} {}",
                it.field("subject"),
                it.field("from"),
                it.field("to")
            )
        })
        .collect();
    for step in [
        "maintenance off on",
        "maintenance on off",
        "lifecycle ready lame-duck",
    ] {
        let times = steps.iter().filter(|it| *it == step).count();
        assert_eq!(times, 1, "{step}: {steps:#?}");
    }
    let drain = lines.of("steadfast::drain");
    let said: Vec<_> = drain
        .iter()
        .map(|it| (it.level, it.says.as_str()))
        .collect();
    assert_eq!(said, [("INFO", "leaving"), ("INFO", "drained")]);
}

#[tokio::test(start_paused = true)]
async fn what_strangers_wrote_is_inert_and_short_in_the_log() {
    let (lines, _keep) = Lines::keep();
    let (payments, health) = test_util::dependency("payments");
    let guard = builder().dependency(&payments).build().expect("valid");
    let _running = guard.start().expect("started");
    let app = hello(&guard);
    tokio::time::sleep(2 * SECOND).await;
    for text in hostile() {
        health.fail(&text);
        tokio::time::sleep(60 * SECOND).await;
        health.pass();
        tokio::time::sleep(60 * SECOND).await;
        guard.control().begin_maintenance(&text, None);
        let plain = text
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !b"\"<>\\`{}|^#".contains(&byte));
        let path = if plain {
            format!("/{}", &text[..1000])
        } else {
            "/%1b%00".to_owned()
        };
        let mut request = Request::get(path).body(Body::empty()).expect("a request");
        if let Ok(value) = http::HeaderValue::from_bytes(
            text.replace(['\0', '\u{1b}', '\u{7}', '\r', '\n'], " ")
                .as_bytes(),
        ) {
            request.headers_mut().insert("x-request-id", value.clone());
            request.headers_mut().insert("user-agent", value);
        }
        let answer = app.clone().oneshot(request).await.expect("infallible");
        assert_eq!(answer.status(), 503);
        guard.control().end_maintenance();
    }
    guard.control().begin_drain(&hostile().concat());
    tokio::time::timeout(60 * SECOND, guard.control().drained())
        .await
        .expect("nothing runs");
    let all = lines.all();
    assert!(all.len() > 30, "{}", all.len());
    for line in all {
        for text in line.fields.iter().map(|(_, text)| text).chain([&line.says]) {
            assert!(is_inert(text), "{line:?}");
            assert!(text.len() <= 2048, "{} bytes: {}", text.len(), line.says);
        }
    }
}
