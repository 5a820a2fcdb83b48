//! Ten thousand idle keep-alive connections: the drain closes each in order and in time.
#![cfg(unix)]

mod common;

use std::time::Duration;

use axum::{Router, routing::get};
use common::{PATIENCE, soon, until};
use rustix::process::{Resource, getrlimit, setrlimit};
use steadfast::{Drain, Guard, Phase};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

const WANTED: u64 = 10_000;

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

#[tokio::test]
async fn ten_thousand_idle_connections_are_closed_in_order() {
    let count = connections();
    assert!(count >= 400, "the limit on open files allows only {count}");
    let drain = Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(4 * PATIENCE);
    let guard = Guard::builder().without_signals().drain(drain).build();
    let guard = guard.expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let control = guard.control();
    let app = guard.protect(Router::new().route("/", get(|| async { "hello" })));
    let server = tokio::spawn(async move { guard.serve(listener, app).await });
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
    until("the start", || control.phase() == Some(Phase::Ready)).await;
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
