//! Texts that strangers choose are shown and do nothing, in each form of the page.

use steadfast::{CheckOutcome, Dependency, FailureClass, check};

use super::*;

/// Beginnings of what must not be found raw anywhere.
const LIVE: [&str; 7] = [
    "<script>alert",
    "<img src",
    "\u{1b}[31m",
    "\u{202e}",
    "\u{200b}",
    "\0",
    "\u{2028}",
];

const TEXT: &str =
    "<script>alert(1)</script><img src=x onerror=alert(1)>\u{1b}[31m\u{202e}\u{200b}\0\u{2028}\"'&";

#[tokio::test(start_paused = true)]
async fn a_hostile_text_is_inert_on_the_page_in_json_and_in_events() {
    let fails = check::closure(|| async { CheckOutcome::fail(FailureClass::Other, TEXT) });
    let dependency = Dependency::builder("payments").check(fails).degrades();
    let dependency = dependency.build().expect("valid");
    let gate = dependency.gate();
    let probes = Probes::default().service(TEXT, TEXT);
    let guard = builder().probes(probes).dependency(&dependency).build();
    let guard = guard.expect("valid");
    let app = guard.protect(app().route("/pay/{what}", get(|| async {}).layer(gate)));
    let _running = guard.start().expect("started");
    tokio::time::sleep(60 * SECOND).await;

    let huge = "x".repeat(1024 * 1024);
    let path = format!("/pay/\u{202e}\u{200b}\"'&-{}", "y".repeat(8_000));
    let mut asked = request(
        "GET",
        &path,
        &[("x-request-id", "<script>"), ("x-huge", &huge)],
    );
    let broken = http::HeaderValue::from_bytes(b"00-\xff\xfe<script>").expect("bytes");
    asked.headers_mut().insert("traceparent", broken.clone());
    let refused = ask(&app, asked).await;
    assert_eq!(refused.cause(), "dependency-down", "{}", refused.body);
    // Those who probe have names, too.
    for agent in [
        TEXT.replace(|c: char| c.is_control(), "").as_bytes(),
        b"\xff\xfe",
        huge.as_bytes(),
    ] {
        let mut probe = to("/ready/");
        let agent = http::HeaderValue::from_bytes(agent).expect("bytes");
        probe.headers_mut().insert("user-agent", agent);
        assert_eq!(ask(&app, probe).await.status, 200);
    }
    guard.control().begin_maintenance(TEXT, None);
    let _ = ask(&app, to("/")).await;
    tokio::time::sleep(2 * SECOND).await;

    let mut shown = String::new();
    for path in [
        "/why503/".to_owned(),
        format!("/why503/{}", refused.id()),
        "/why503/find?id=%3Cscript%3Ealert(1)%1b[31m%E2%80%AE%00".to_owned(),
        "/why503/maintenance".to_owned(),
    ] {
        for headers in [&[HTML][..], &[]] {
            let answer = ask(&app, with_token(&path, headers)).await;
            assert!(answer.body.len() < 200_000, "{path}: {}", answer.body.len());
            let is_json = answer.header("content-type").contains("json");
            for live in LIVE {
                // JSON gives `<` no meaning, and is sent as what it is.
                if !(is_json && live.starts_with('<')) {
                    assert!(
                        !answer.body.contains(live),
                        "{live:?} in {path}: {}",
                        answer.body
                    );
                }
            }
            if is_json {
                let _ = answer.json();
                assert_eq!(answer.header("x-content-type-options"), "nosniff");
            }
            shown.push_str(&answer.body);
        }
    }
    assert!(shown.contains("&lt;script&gt;alert(1)"), "it is shown");
}

#[tokio::test]
async fn a_form_of_any_bytes_is_taken() {
    let guard = builder().build().expect("valid");
    let app = guard.protect(app());
    for body in [&b"\xff\xfe=\0&token=%ff%00%zz"[..], b"&&&=&=&", b"token"] {
        let mut request = form("/why503/", "", &[HTML]);
        *request.body_mut() = Body::from(body.to_vec());
        assert_eq!(ask(&app, request).await.status, 401);
    }
}
