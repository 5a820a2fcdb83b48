//! The races between closing and a request that is on its way, one test for each, over real
//! sockets with bytes written by hand. Every claim is about what happened, never about how
//! fast; waits have a deadline that only a failed test reaches.

#![cfg(feature = "axum")]

mod common;

use std::time::Duration;

use common::{
    PATIENCE,
    frames::{Frames, PING, frame},
    leaver::{GET, Server, at_once, read_all, read_to, send},
    soon,
};
use steadfast::Phase;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

/// R2. Goal: what waits in the kernel's queue when the listener closes is served. Method: the
/// runtime has one thread, which the test does not give back between connecting and the
/// drain's begin, so the server cannot have accepted any.
#[tokio::test(flavor = "current_thread")]
async fn r2_connections_in_the_accept_queue_are_served() {
    let server = Server::start(at_once()).await;
    let mut streams: Vec<_> = (0..40)
        .map(|_| {
            use std::io::Write;
            let mut stream = std::net::TcpStream::connect(server.address).expect("queued");
            stream.write_all(GET.as_bytes()).expect("sent");
            stream.set_nonblocking(true).expect("set");
            TcpStream::from_std(stream).expect("a stream")
        })
        .collect();
    server.leave();
    for stream in &mut streams {
        let answer = read_all(stream).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
        assert!(answer.contains("connection: close"), "{answer:?}");
    }
    let address = server.address;
    let report = server.report().await;
    assert_eq!(
        (report.served, report.closed.told_by_header),
        (40, 40),
        "{report}"
    );
    assert!(report.is_clean());
    assert!(
        TcpStream::connect(address).await.is_err(),
        "the listener is closed"
    );
}

/// R5. Goal: a request that lies in the kernel's buffer when the drain begins is served.
/// Method: as for R2, the server's thread is not given back after the bytes were sent.
#[tokio::test(flavor = "current_thread")]
async fn r5_a_request_already_in_the_kernels_buffer_is_served() {
    use std::io::Write;
    let server = Server::start(at_once().idle_linger(Duration::ZERO)).await;
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    read_to(&mut stream, "hello").await;
    let mut stream = stream.into_std().expect("a socket");
    stream.write_all(GET.as_bytes()).expect("sent");
    server.leave();
    let mut stream = TcpStream::from_std(stream).expect("a stream");
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert_eq!(server.report().await.closed.told_by_header, 1);
}

/// R6. Goal: a connection that was opened just before and has sent nothing yet may still
/// send its first request.
#[tokio::test]
async fn r6_a_fresh_connection_may_send_its_first_request() {
    let server = Server::start(at_once()).await;
    let mut stream = server.connect().await;
    server.leave();
    let control = server.control.clone();
    soon("draining", control.reached(Phase::Draining)).await;
    send(&mut stream, GET).await;
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(answer.contains("connection: close"), "{answer:?}");
    assert!(server.report().await.is_clean());
}

/// R6, the bound: one that stays silent does not hold the drain.
#[tokio::test]
async fn a_connection_that_was_never_used_is_closed_in_order() {
    let server = Server::start(at_once()).await;
    let mut stream = server.connect().await;
    server.leave();
    assert_eq!(read_all(&mut stream).await, "");
    drop(stream);
    let report = server.report().await;
    assert_eq!(report.closed.unused, 1, "{report}");
    assert!(report.total < PATIENCE, "{report}");
}

/// R4, as far as a server can: idle connections stay open for a while after the listener is
/// closed, and what comes on them is served with the word that it is the last.
#[tokio::test]
async fn r4_an_idle_connection_is_closed_last() {
    let server = Server::start(at_once().idle_linger(PATIENCE)).await;
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    read_to(&mut stream, "hello").await;
    server.leave();
    let address = server.address;
    soon("the listener's end", async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    send(&mut stream, GET).await;
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(answer.contains("connection: close"), "{answer:?}");
    drop(stream);
    assert!(server.report().await.is_clean());
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_order_when_nothing_comes() {
    let server = Server::start(at_once()).await;
    let mut stream = server.connect().await;
    send(&mut stream, GET).await;
    read_to(&mut stream, "hello").await;
    server.leave();
    assert_eq!(read_all(&mut stream).await, "");
    drop(stream);
    let report = server.report().await;
    assert_eq!(report.closed.idle, 1, "{report}");
}

/// R9. Goal: an answer that comes before the upload has ended reaches the client whole,
/// although the client goes on sending, and nobody is reset.
#[tokio::test]
async fn r9_an_early_answer_survives_an_upload() {
    let server = Server::start(at_once()).await;
    let mut stream = server.connect().await;
    let length = 8 << 20;
    let head = format!("POST /early HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\n\r\n");
    send(&mut stream, head).await;
    let mut sent = 0;
    while sent < length {
        // A broken pipe or a reset here is what this test is about.
        stream.write_all(&[b'x'; 65_536]).await.expect("taken");
        sent += 65_536;
    }
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("enough"), "{answer:?}");
    drop(stream);
    server.leave();
    server.report().await;
}

/// R7. Goal: neither a half-sent nor a silent HTTP/2 preface, nor a PING that is not
/// acknowledged, holds the drain to its deadline.
#[tokio::test]
async fn r7_a_silent_http2_peer_does_not_hold_the_drain() {
    for preface in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    ] {
        let server = Server::start(at_once()).await;
        let mut stream = server.connect().await;
        send(&mut stream, preface).await;
        // Its settings tell that it has understood.
        let mut first = [0; 9];
        soon("settings", stream.read_exact(&mut first))
            .await
            .expect("a frame");
        server.leave();
        let report = server.report().await;
        assert_eq!(report.closed.goaway_unacknowledged, 1, "{report}");
        assert!(!report.forced, "{report}");
        drop(stream);
    }
}

/// R7, of a peer that is there and does not acknowledge: its pings show nothing else.
#[tokio::test]
async fn r7_a_peer_that_only_pings_does_not_hold_the_drain() {
    let server = Server::start(at_once()).await;
    let mut client = Frames::connect(server.address, 65_535).await;
    client.acknowledges = false;
    client.get(1, "/").await;
    assert_eq!(client.body(1).await.as_deref(), Some(&b"hello"[..]));
    server.leave();
    let pings = tokio::spawn(async move {
        while client.try_send(frame(PING, 0, 0, &[7; 8])).await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    let report = server.report().await;
    assert_eq!(report.closed.goaway_unacknowledged, 1, "{report}");
    assert!(!report.forced, "{report}");
    soon("its end", pings).await.expect("no panic");
}
