//! Idle keep-alive connections: what is one, and that a drain closes ten thousand of them in
//! order and in time.

#![cfg(feature = "axum")]
#![cfg(unix)]

mod common;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    routing::{get, post},
};
use common::{PATIENCE, soon, until};
use rustix::process::{Resource, getrlimit, setrlimit};
use steadfast::{Connections, Control, Drain, DrainReport, Guard, Phase};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Notify, mpsc},
    task::JoinHandle,
};

const WANTED: u64 = 10_000;

const IDLE_LINGER: Duration = Duration::from_millis(200);

/// Files that the process needs for anything else.
const OTHER_FILES: u64 = 200;

/// Raises the limit on open files, and returns how many connections fit: both ends are here.
fn connections() -> u64 {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    WANTED.min(files.saturating_sub(OTHER_FILES) / 2)
}

async fn serve(
    connections: Connections,
    app: Router,
) -> (
    SocketAddr,
    Control,
    JoinHandle<std::io::Result<DrainReport>>,
) {
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .idle_linger(IDLE_LINGER)
        .grace(4 * PATIENCE);
    let guard = Guard::builder()
        .without_signals()
        .connections(connections)
        .drain(drain);
    let guard = guard.build().expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (control, app) = (guard.control(), guard.protect(app));
    let end = tokio::spawn(async move { guard.serve(listener, app).await });
    until("the start", || control.phase() == Some(Phase::Ready)).await;
    (address, control, end)
}

#[tokio::test]
async fn ten_thousand_idle_connections_are_closed_in_order() {
    let count = connections();
    assert!(count >= 400, "the limit on open files allows only {count}");
    let app = Router::new().route("/", get(|| async { "hello" }));
    let (address, control, server) = serve(Connections::default(), app).await;
    let mut idle = Vec::new();
    for _ in 0..count {
        let mut stream = TcpStream::connect(address).await.expect("connected");
        stream
            .write_all(b"GET / HTTP/1.1\r\nhost: test\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        idle.push(stream);
    }
    control.begin_drain("a test");
    for stream in &mut idle {
        let mut rest = Vec::new();
        let end = stream.read_to_end(&mut rest);
        soon("the close", end).await.expect("in order, not a reset");
    }
    drop(idle);
    let report = soon("the end", server)
        .await
        .expect("no panic")
        .expect("served");
    assert_eq!(report.closed.idle, count, "{report}");
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// A bound on heads that a connection which waits for one would not outlive in these tests.
const HEAD_MAX: Duration = Duration::from_millis(100);

/// Reads an answer without a body.
async fn read_answer(stream: &mut TcpStream, status: &str) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = soon("the answer", stream.read_u8()).await;
        head.push(byte.expect("open"));
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.contains(status), "{head}");
}

/// Goal: an answer to an upload that its handler never read leaves the connection idle. What
/// is thrown away of the body, after the answer, is not the head of another request.
/// Method: the body is in the kernel's buffer before the handler answers, and hyper has not
/// read it, because the handler has not asked for what the client expects to be asked for.
#[tokio::test]
async fn a_connection_is_idle_when_what_was_left_of_an_upload_is_gone() {
    let (entered, answer) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let signals = (Arc::clone(&entered), Arc::clone(&answer));
    let ignores = move |unread: Body| async move {
        signals.0.notify_one();
        signals.1.notified().await;
        drop(unread);
    };
    let app = Router::new().route("/", post(ignores));
    let connections = Connections::default().header_read(HEAD_MAX);
    let (address, control, server) = serve(connections, app).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    for _ in 0..2 {
        let head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\
            expect: 100-continue\r\n\r\n";
        stream.write_all(head).await.expect("sent");
        soon("the handler", entered.notified()).await;
        stream.write_all(b"hello").await.expect("sent");
        // A turn of the driver, after which the body is known to be there.
        tokio::time::sleep(Duration::from_millis(1)).await;
        answer.notify_one();
        read_answer(&mut stream, "200 OK").await;
        tokio::time::sleep(4 * HEAD_MAX).await;
    }
    control.begin_drain("a test");
    let mut rest = Vec::new();
    let end = stream.read_to_end(&mut rest);
    soon("the close", end).await.expect("in order, not a reset");
    let report = soon("the end", server).await.expect("no panic");
    let report = report.expect("served");
    assert_eq!(
        (report.closed.idle, report.closed.total()),
        (1, 1),
        "{report}"
    );
}

/// Goal: a body that is read after the answer is part of its request: it is not taken for a
/// head, however long it takes, and a drain waits for it.
#[tokio::test]
async fn an_upload_that_is_read_after_its_answer_is_waited_for() {
    let (read, mut all) = mpsc::channel(1);
    let accepts = move |body: Body| async move {
        tokio::spawn(async move {
            let body = axum::body::to_bytes(body, 1024).await;
            read.send(body).await.expect("asked");
        });
    };
    let app = Router::new().route("/", post(accepts));
    let connections = Connections::default().header_read(HEAD_MAX);
    let (address, control, server) = serve(connections, app).await;
    let mut stream = TcpStream::connect(address).await.expect("connected");
    let head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\n";
    stream.write_all(head).await.expect("sent");
    read_answer(&mut stream, "200 OK").await;
    stream.write_all(b"he").await.expect("sent");
    tokio::time::sleep(4 * HEAD_MAX).await;
    control.begin_drain("a test");
    control.clone().reached(Phase::Draining).await;
    tokio::time::sleep(2 * IDLE_LINGER).await;
    stream.write_all(b"llo").await.expect("sent");
    let body = soon("the body", all.recv()).await.expect("read");
    assert_eq!(body.expect("whole"), "hello");
    let report = soon("the end", server).await.expect("no panic");
    let report = report.expect("served");
    assert!(report.is_clean() && !report.forced, "{report}");
}
