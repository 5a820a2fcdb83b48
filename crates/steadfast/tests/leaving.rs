//! What a drain owes to those beside it: whoever shares the listener's socket, an application
//! that drops `serve` or leaves before it serves, a peer that reads slowly.

#![cfg(feature = "axum")]

mod common;

use std::{sync::Arc, time::Duration};

use axum::{Router, routing::get, serve::Listener};
use common::{PATIENCE, soon, until};
use http_body_util::{BodyExt, Empty};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use steadfast::{CheckOutcome, Dependency, Drain, Guard, Handshake, HookEnd, Phase, check};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
};

/// Long against the second after which a silent HTTP/2 peer is dropped.
const SLOW_READ: Duration = Duration::from_millis(150);

const LARGE: usize = 4 << 20;

fn guard() -> Guard {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(4 * PATIENCE);
    let guard = Guard::builder().without_signals().drain(drain).build();
    guard.expect("valid")
}

fn app() -> Router {
    Router::new()
        .route("/", get(|| async { "hello" }))
        .route("/large", get(|| async { vec![b'x'; LARGE] }))
}

/// Goal: a socket that another process holds too, as with socket activation, still takes
/// connections when this one has left.
#[tokio::test]
async fn a_shared_listener_goes_on_without_us() {
    let ours = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    ours.set_nonblocking(true).expect("a socket");
    let theirs = ours.try_clone().expect("a second handle");
    let theirs = TcpListener::from_std(theirs).expect("a listener");
    let ours = TcpListener::from_std(ours).expect("a listener");
    let address = ours.local_addr().expect("bound");
    let guard = guard();
    let control = guard.control();
    let server = tokio::spawn(async move { guard.serve(ours, guard.protect(app())).await });
    until("the start", || control.phase() == Some(Phase::Ready)).await;
    control.begin_drain("a test");
    let served = soon("the end", server).await.expect("no panic");
    assert!(served.expect("served").is_clean());
    let client = tokio::spawn(TcpStream::connect(address));
    soon("the successor's first connection", theirs.accept())
        .await
        .expect("accepted");
    client.await.expect("no panic").expect("connected");
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_server_that_was_dropped() {
    let guard = guard();
    let control = guard.control();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    tokio::select! {
        _ = guard.serve(listener, guard.protect(app())) => panic!("it ended by itself"),
        () = until("the start", || control.phase() == Some(Phase::Ready)) => {}
    }
    control.begin_drain("a test");
    let report = soon("the end", control.drained()).await;
    assert!(report.is_clean() && !report.forced, "{report}");
}

#[tokio::test]
async fn a_drain_that_was_ordered_before_the_start_is_carried_out() {
    let guard = guard();
    guard.control().begin_drain("a test");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let served = soon("the end", guard.serve(listener, guard.protect(app()))).await;
    assert!(served.expect("no error").is_clean());
}

/// Goal: a hook that hangs while requests finish is named, and what it hindered with it.
#[tokio::test]
async fn a_hook_that_hangs_is_in_the_report() {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(Duration::from_secs(1));
    let guard = Guard::builder().without_signals().drain(drain).build();
    let guard = guard.expect("valid");
    let control = guard.control();
    control.after_listener_closed("hangs", std::future::pending::<()>);
    control.begin_drain("a test");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let served = soon("the end", guard.serve(listener, guard.protect(app()))).await;
    let report = served.expect("no error");
    assert!(report.to_string().contains("hangs"), "{report}");
    assert!(!report.is_clean(), "{report}");
}

/// A listener whose clients send a byte before anything else, as with TLS they send more.
struct Shaken(TcpListener);

impl Listener for Shaken {
    type Io = Handshake<TcpStream>;
    type Addr = std::net::SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (mut socket, peer) = Listener::accept(&mut self.0).await;
        let shaken = async move {
            match socket.read_u8().await? {
                b'!' => Ok(socket),
                other => Err(std::io::Error::other(format!("found {other}"))),
            }
        };
        (Handshake::new(shaken), peer)
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

/// Goal: a handshake that is half done when the process leaves ends in an answer, and keeps
/// nobody else from theirs; one that fails ends its connection alone.
#[tokio::test]
async fn a_half_done_handshake_is_not_lost_and_keeps_nobody_waiting() {
    let guard = guard();
    let control = guard.control();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = guard.serve(Shaken(listener), guard.protect(app()));
    let clients = async {
        until("the start", || control.phase() == Some(Phase::Ready)).await;
        let connect = || async { TcpStream::connect(address).await.expect("connected") };
        let mut slow = connect().await;
        for (hello, expected) in [(b'!', "HTTP/1.1 200"), (b'?', "")] {
            let mut other = connect().await;
            let answer = exchange(&mut other, hello).await;
            assert_eq!(answer.get(..expected.len()), Some(expected));
            assert_eq!(answer.is_empty(), expected.is_empty(), "{answer}");
        }
        control.begin_drain("a test");
        control.clone().reached(Phase::Draining).await;
        assert!(exchange(&mut slow, b'!').await.starts_with("HTTP/1.1 200"));
    };
    let (served, ()) = soon("the end", async { tokio::join!(server, clients) }).await;
    let report = served.expect("no error");
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// Shakes hands, asks and reads to the end.
async fn exchange(client: &mut TcpStream, hello: u8) -> String {
    let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
    client.write_u8(hello).await.expect("sent");
    client.write_all(request).await.expect("sent");
    let mut answer = String::new();
    // A failed handshake may reset.
    let _ = soon("the answer", client.read_to_string(&mut answer)).await;
    answer
}

/// Goal: a second signal ends the hooks that wait for requests too, and the report says so.
#[tokio::test]
async fn a_hook_that_was_hurried_is_in_the_report_with_those_behind_it() {
    let guard = guard();
    let control = guard.control();
    let begun = Arc::new(Notify::new());
    let begins = Arc::clone(&begun);
    control.after_listener_closed("hangs", || async move {
        begins.notify_one();
        std::future::pending().await
    });
    control.after_listener_closed("behind it", || async {});
    control.after_drain("at the end", || async {});
    control.begin_drain("a test");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let hurry = async {
        begun.notified().await;
        control.hurry();
    };
    let (served, ()) = soon("the end", async {
        tokio::join!(guard.serve(listener, guard.protect(app())), hurry)
    })
    .await;
    let report = served.expect("no error");
    let ends: Vec<_> = report.hooks.iter().map(|it| (&*it.name, it.end)).collect();
    let expected = [
        ("hangs", HookEnd::TimedOut),
        ("behind it", HookEnd::NotRun),
        ("at the end", HookEnd::Done),
    ];
    assert_eq!(ends, expected, "{report}");
    assert!(!report.is_clean(), "{report}");
}

/// Goal: where nobody says that the listener is closed, hooks for that moment are not run,
/// and not forgotten.
#[tokio::test]
async fn a_hook_whose_moment_never_comes_is_in_the_report() {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(Duration::from_millis(10));
    let guard = Guard::builder().without_signals().drain(drain).build();
    let guard = guard.expect("valid");
    let control = guard.control();
    control.after_listener_closed("forgotten", || async {});
    let _running = guard.start().expect("it starts");
    control.begin_drain("a test");
    let report = soon("the report", async {
        until("it", || control.report().is_some()).await;
        control.report().expect("it is there")
    })
    .await;
    let ends: Vec<_> = report.hooks.iter().map(|it| (&*it.name, it.end)).collect();
    assert_eq!(ends, [("forgotten", HookEnd::NotRun)], "{report}");
}

/// Goal: who has heard that an HTTP/2 connection ends still gets all of its answer, however
/// slowly it reads.
#[tokio::test]
async fn a_slow_reader_gets_its_whole_answer_after_goaway() {
    let guard = guard();
    let control = guard.control();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move { guard.serve(listener, guard.protect(app())).await });
    let stream = TcpStream::connect(address).await.expect("connected");
    let (mut client, connection) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(256 * 1024)
        .handshake(TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    let connection = tokio::spawn(connection);
    let request = http::Request::get(format!("http://{address}/large"))
        .body(Empty::<bytes::Bytes>::new())
        .expect("a request");
    let mut body = soon("the head", client.send_request(request))
        .await
        .expect("an answer")
        .into_body();
    control.begin_drain("a test");
    let (mut length, mut paused_at) = (0, 0);
    while let Some(frame) = soon("more of the body", body.frame()).await {
        let frame = frame.expect("not cut");
        length += frame.data_ref().map_or(0, bytes::Bytes::len);
        if length - paused_at >= LARGE / 20 {
            paused_at = length;
            tokio::time::sleep(SLOW_READ).await;
        }
    }
    assert_eq!(length, LARGE);
    drop(client);
    let _ = soon("the connection's end", connection).await;
    let served = soon("the end", server).await.expect("no panic");
    assert!(served.expect("served").is_clean());
}

/// Goal: a restart makes no 503 for clients that no balancer keeps away. Method: clients
/// connect and ask while the first check has not answered; it does when all have asked.
#[tokio::test]
async fn who_connects_before_the_first_check_has_answered_is_served() {
    let answers = Arc::new(Notify::new());
    let waits = Arc::clone(&answers);
    let check = check::closure(move || {
        let waits = Arc::clone(&waits);
        async move {
            waits.notified().await;
            CheckOutcome::pass()
        }
    });
    let db = Dependency::builder("db").timeout(4 * PATIENCE).check(check);
    let guard = Guard::builder()
        .without_signals()
        .start_wait_max(PATIENCE)
        .dependency(&db.build().expect("valid"))
        .build()
        .expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let control = guard.control();
    let server = tokio::spawn(async move { guard.serve(listener, guard.protect(app())).await });
    let mut clients = Vec::new();
    for _ in 0..20 {
        let mut client = TcpStream::connect(address).await.expect("connected");
        let head = b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        client.write_all(head).await.expect("sent");
        clients.push(client);
    }
    assert_eq!(control.phase(), Some(Phase::Starting));
    answers.notify_one();
    for mut client in clients {
        let mut answer = String::new();
        let read = client.read_to_string(&mut answer);
        soon("an answer", read).await.expect("read");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    server.abort();
}
