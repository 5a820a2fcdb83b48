//! The probe listener, which answers while the main runtime cannot.

use tokio::time::Instant;

use crate::common::fetch;

use super::*;

/// A runtime of its own for a guard, so that a test can block all of it, and another one
/// outside for whoever probes.
struct Blockable {
    service: tokio::runtime::Runtime,
    outside: tokio::runtime::Runtime,
    guard: Guard,
    running: Running,
}

impl Blockable {
    fn start() -> Self {
        let service = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let outside = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let any_port = "127.0.0.1:0".parse().expect("an address");
        let guard = builder().probe_listener(any_port).build().expect("valid");
        let running = service.block_on(async { guard.start() }).expect("started");
        Self {
            service,
            outside,
            guard,
            running,
        }
    }

    /// Blocks every worker thread until what is returned is dropped.
    fn block(&self) -> std::sync::mpsc::Sender<()> {
        let (release, blocked) = std::sync::mpsc::channel();
        let (entered, is_in) = std::sync::mpsc::channel();
        self.service.spawn(async move {
            entered.send(()).expect("somebody waits");
            let _ = blocked.recv();
        });
        is_in.recv().expect("it runs");
        release
    }

    fn probe(&self, path: &str) -> Answer {
        let address = self.running.probe_address().expect("a listener");
        self.outside.block_on(fetch(address, to(path)))
    }

    /// Probes again and again until the answer is as wanted.
    fn probe_until(&self, path: &str, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let address = self.running.probe_address().expect("a listener");
        self.outside.block_on(common::soon(path, async {
            loop {
                let answer = fetch(address, to(path)).await;
                if wanted(&answer) {
                    return answer;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }))
    }
}

#[test]
fn with_every_worker_blocked_the_probe_listener_answers_and_shows_the_lag() {
    let process = Blockable::start();
    let release = process.block();
    for path in ["/ready/", "/health/", "/why503/"] {
        assert_eq!(process.probe(path).status, 200, "{path}");
    }
    assert_eq!(
        process.probe("/").status,
        404,
        "the application is not here"
    );
    let late = |answer: &Answer| answer.json()["runtime_lag_ms"].as_u64() >= Some(300);
    process.probe_until("/why503/", late);
    // Which worker it is, and for how long, as far as tokio can tell.
    let named = |answer: &Answer| answer.json()["runtime"]["blocked"][0]["worker"] == 0;
    let page = process.probe_until("/why503/", named).json();
    let blocked = &page["runtime"]["blocked"];
    assert!(blocked[0]["for_ms"].as_u64() >= Some(500), "{blocked}");
    assert!(
        page["runtime"]["longest_poll_ms"].as_u64() >= Some(500),
        "{page}"
    );
    let checklist = page["checklist"].to_string();
    assert!(
        checklist.contains("Worker 0 of 1 has been in one task for"),
        "{checklist}"
    );
    drop(release);
    assert_eq!(process.guard.control().phase(), Some(Phase::Ready));
}

/// Returns for how long a text says that the runtime has stalled, in seconds.
fn said(text: &str) -> f64 {
    let (_, rest) = text.split_once("runtime stalled for ").expect(text);
    let (secs, _) = rest.split_once(" s").expect(text);
    secs.parse().expect(text)
}

/// Goal: a runtime that is blocked from its first moment on is called stalled after ten
/// seconds, not before and not later, and well again when it runs. Real time: the heartbeat is
/// what is tested.
#[test]
fn with_every_worker_blocked_for_ten_seconds_the_probe_listener_says_for_how_long() {
    let begun = Instant::now();
    let process = Blockable::start();
    let release = process.block();
    let blocked = Instant::now();
    let stalled = loop {
        let asked = Instant::now() - blocked;
        let answer = process.probe("/health/");
        if answer.status == 503 {
            break answer;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        // Its last beat was before that moment.
        assert!(asked < Duration::from_secs(10), "well after {asked:?}");
        let pause = async { tokio::time::sleep(Duration::from_millis(20)).await };
        process.outside.block_on(pause);
    };
    let body = stalled.json();
    assert_eq!(body["status"], "fail");
    let note = body["notes"][0].as_str().expect("a note");
    assert!(note.starts_with("runtime stalled for "), "{note}");
    let ready = process.probe("/ready/");
    assert_eq!(ready.status, 503);
    assert!(
        ready.body.starts_with("not ready: runtime stalled for "),
        "{}",
        ready.body
    );
    // As they round it.
    let possible = 10.0..=(Instant::now() - begun).as_secs_f64() + 0.1;
    for text in [note, &ready.body] {
        assert!(
            possible.contains(&said(text)),
            "{text} is not in {possible:?}"
        );
    }
    drop(release);
    process.probe_until("/health/", |answer| answer.status == 200);
    assert_eq!(process.probe("/ready/").body, "ready\n");
}

#[test]
fn the_probe_listener_shows_names_and_takes_no_orders_without_the_token() {
    let process = Blockable::start();
    let address = process.running.probe_address().expect("a listener");
    process.outside.block_on(async {
        assert_eq!(fetch(address, to("/why503/")).await.status, 200);
        let order = fetch(address, request("PUT", "/why503/maintenance", &[])).await;
        assert_eq!(order.status, 401);
        let answer = common::raw(address, "OPTIONS /ready/ HTTP/1.0\r\n\r\n").await;
        assert!(answer.starts_with("HTTP/1.0 200 OK\r\n"), "{answer}");
    });
    drop(process.running);
    process.outside.block_on(async {
        common::soon("the listener's end", async {
            while tokio::net::TcpStream::connect(address).await.is_ok() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        })
        .await;
    });
}

/// Goal: a probe listener that others reach too tells names to the token alone, and one of
/// this host's own tells none to a page on the web that a browser here has open.
#[tokio::test]
async fn names_at_the_probe_listener_are_for_the_token_unless_only_operators_reach_it() {
    let start = |address: &str, trusted: bool| {
        let (payments, health) = steadfast::test_util::dependency("payments");
        health.fail("connection refused");
        let guard = builder().dependency(&payments);
        let guard = guard.probe_listener(address.parse().expect("an address"));
        let guard = if trusted {
            guard.probe_listener_trusted()
        } else {
            guard
        };
        let guard = guard.build().expect("valid");
        let running = guard.start().expect("started");
        let port = running.probe_address().expect("a listener").port();
        (running, std::net::SocketAddr::from(([127, 0, 0, 1], port)))
    };
    for (address, trusted, host, shows) in [
        ("127.0.0.1:0", false, "localhost", true),
        ("127.0.0.1:0", false, "rebound.example", false),
        ("0.0.0.0:0", false, "localhost", false),
        ("0.0.0.0:0", true, "localhost", true),
    ] {
        let (_running, probe) = start(address, trusted);
        let host = [("host", host)];
        let page = fetch(probe, request("GET", "/why503/", &host)).await;
        assert_eq!(
            page.status,
            if shows { 200 } else { 401 },
            "{address} {host:?}"
        );
        let ready = fetch(probe, request("GET", "/ready/?verbose", &host)).await;
        assert_eq!(ready.body.contains("payments"), shows, "{}", ready.body);
        let with_token = fetch(probe, with_token("/why503/", &host)).await;
        assert_eq!(with_token.status, 200, "{address} {host:?}");
    }
}

#[tokio::test]
async fn a_probe_address_that_is_taken_is_an_error_of_start() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let address = taken.local_addr().expect("an address");
    let guard = builder().probe_listener(address).build().expect("valid");
    let error = guard.start().expect_err("taken");
    assert!(error.to_string().contains(&address.to_string()), "{error}");
    drop(taken);
    assert!(guard.start().is_ok(), "it can be tried again");
}

/// Asks at a socket in the file system.
#[cfg(unix)]
async fn ask_socket(path: &std::path::Path, request: axum::extract::Request) -> Answer {
    let stream = tokio::net::UnixStream::connect(path)
        .await
        .expect("it listens");
    let io = hyper_util::rt::TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http1::handshake(io)
        .await
        .expect("HTTP/1");
    let serving = tokio::spawn(connection);
    let answer = sender.send_request(request).await.expect("an answer");
    let answer = Answer::read(answer).await;
    drop(sender);
    serving.abort();
    answer
}

/// Goal: whoever reaches the socket reads names without a token and orders with it, whatever
/// host is asked for; nobody else reaches it; and it is gone with the guard.
#[cfg(unix)]
#[tokio::test]
async fn names_at_a_socket_need_no_token_and_orders_do() {
    use std::os::unix::fs::{FileTypeExt, PermissionsExt};

    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("probe.sock");
    let (payments, health) = steadfast::test_util::dependency("payments");
    health.fail("connection refused");
    let guard = builder().dependency(&payments).probe_socket(&path);
    let guard = guard.build().expect("valid");
    let running = guard.start().expect("started");
    assert_eq!(running.probe_address(), None);
    let rights = std::fs::metadata(&path).expect("a socket").permissions();
    assert_eq!(rights.mode() & 0o777, 0o660);
    for host in ["localhost", "shop.example"] {
        let host = [("host", host)];
        let page = ask_socket(&path, request("GET", "/why503/", &host)).await;
        assert_eq!(page.status, 200);
        assert!(page.body.contains("payments"), "{}", page.body);
        let ready = ask_socket(&path, request("GET", "/ready/?verbose", &host)).await;
        assert!(ready.body.contains("payments"), "{}", ready.body);
        let order = ask_socket(&path, request("PUT", "/why503/maintenance", &host)).await;
        assert_eq!(order.status, 401);
        let other = ask_socket(&path, request("GET", "/", &host)).await;
        assert_eq!(other.status, 404, "the application is not here");
    }
    let order = with_token("/why503/drain?begin", &[("host", "localhost")]);
    assert_eq!(ask_socket(&path, order).await.status, 202);
    // A successor puts its own in place, and what the one before takes away is not that.
    let second = builder().probe_socket(&path).build().expect("valid");
    let successor = second.start().expect("started");
    drop(running);
    let ready = ask_socket(&path, request("GET", "/ready/", &[("host", "a")])).await;
    assert_eq!(ready.status, 200, "{}", ready.body);
    drop(successor);
    assert!(!path.exists(), "it is gone with its guard");
    // What a killed process has left is replaced, and what is no socket is not.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("a socket"));
    assert!(
        std::fs::metadata(&path)
            .expect("left")
            .file_type()
            .is_socket()
    );
    let third = builder().probe_socket(&path).build().expect("valid");
    drop(third.start().expect("it is replaced"));
    std::fs::write(&path, "a letter").expect("a file");
    let fourth = builder().probe_socket(&path).build().expect("valid");
    let error = fourth.start().expect_err("a file").to_string();
    assert!(
        error.contains("probe.sock") && error.contains("allowed"),
        "{error}"
    );
    assert_eq!(std::fs::read_to_string(&path).expect("whole"), "a letter");
    assert_eq!(
        std::fs::read_dir(directory.path()).expect("there").count(),
        1
    );
}
