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

/// Goal: whatever bytes a path has, the page stays whole. Method: over a real connection, since
/// a request in memory cannot have them.
#[tokio::test]
async fn a_path_of_any_bytes_leaves_the_page_whole() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let guard = builder().build().expect("valid");
    let control = guard.control();
    let main = guard.protect(app());
    let app = main.clone();
    let server = common::serve(|listener| async move { guard.serve(listener, main).await }).await;
    control.begin_maintenance("moving house", None);
    let asks = async |path: &[u8]| {
        let stream = tokio::net::TcpStream::connect(server.address).await;
        let mut stream = stream.expect("a connection");
        let head = [
            b"GET ",
            path,
            b" HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n",
        ];
        stream.write_all(&head.concat()).await.expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an answer");
        String::from_utf8_lossy(&answer).into_owned()
    };
    // What is no text is no path, and nobody's refusal.
    for path in [&b"/\xff\xfe"[..], b"/\xed\xa0\x80", b"/\xc3("] {
        let answer = asks(path).await;
        assert!(answer.starts_with("HTTP/1.1 400"), "{path:?}: {answer}");
    }
    for path in [
        &b"/%ff%fe%00%1b[31m%3Cscript%3Ealert(1)%E2%80%AE"[..],
        "/\u{202e}\u{200b}\u{2028}".as_bytes(),
    ] {
        let answer = asks(path).await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{path:?}: {answer}");
    }
    for headers in [&[HTML][..], &[]] {
        let page = ask(&app, with_token("/why503/", headers)).await;
        assert_eq!(page.status, 200);
        for live in LIVE.iter().filter(|live| !live.starts_with('<')) {
            assert!(!page.body.contains(live), "{live:?} in {}", page.body);
        }
        assert!(
            page.body.contains("/%ff%fe%00%1b[31m%3Cscript%3E"),
            "{}",
            page.body
        );
    }
}

/// Goal: a history that somebody else has written does nothing on the page.
#[tokio::test]
async fn a_hostile_history_is_inert() {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join("history");
    let hostile = serde_json::to_string(TEXT).expect("text");
    let said = [
        format!(
            r#"{{"run":"a","what":"started","at":"2999-01-01T00:00:00.000Z","version":{hostile},"pid":7}}"#
        ),
        format!(
            r#"{{"run":"a","what":"changed","at":"2999-01-01T00:00:01.000Z","subject":{hostile},"from":{hostile},"to":{hostile},"why":{hostile}}}"#
        ),
        format!(
            r#"{{"run":"a","what":"began","at":"2999-01-01T00:00:02.000Z","cause":{hostile},"rule":{hostile},"source":{hostile},"evidence":{{"reason":{hostile},{hostile}:7,"deep":[{hostile}]}}}}"#
        ),
        format!(r#"{{"run":"a","what":"ended","at":"2999-01-01T00:00:03.000Z","how":{hostile}}}"#),
    ];
    let lines: String = said
        .iter()
        .map(|json| format!("{} {json}\n", checksum(json)))
        .collect();
    std::fs::write(&file, lines).expect("written");
    let guard = builder().history_file(&file).build().expect("valid");
    let app = guard.protect(app());
    let _running = guard.start().expect("started");
    let read = async || !ask(&app, with_token("/why503/", &[])).await.json()["earlier"].is_null();
    common::soon("the history", async {
        while !read().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await;
    for headers in [&[HTML][..], &[]] {
        let page = ask(&app, with_token("/why503/", headers)).await;
        let is_json = page.header("content-type").contains("json");
        for live in LIVE
            .iter()
            .filter(|live| !(is_json && live.starts_with('<')))
        {
            assert!(!page.body.contains(live), "{live:?} in {}", page.body);
        }
        assert!(page.body.contains("alert(1)"), "it is shown: {}", page.body);
    }
}

/// As each line of a history begins.
fn checksum(json: &str) -> String {
    use sha2::{Digest, Sha256};
    let digest = Sha256::digest(json.as_bytes());
    digest[..8]
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}
