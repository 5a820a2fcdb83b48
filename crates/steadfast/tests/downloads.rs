//! Downloads that make progress are never cut, and peers that take nothing are gone by a
//! bound, over HTTP/1 and HTTP/2. Method: small bounds, bytes and frames written by hand, and
//! claims about order and count. A slow machine makes a test late and not wrong: what must
//! not be cut has many times the time that it needs.

#![cfg(feature = "axum")]

mod common;

use std::time::Duration;

use common::{
    frames::{DATA, Frames, HEADERS, RST_STREAM},
    leaver::{SECOND, Server, at_once, read_all, read_to, send},
    soon, until,
};
use steadfast::Connections;
use tokio::{
    io::AsyncReadExt,
    net::{TcpSocket, TcpStream},
    time::{Instant, sleep},
};

const STALL: Duration = Duration::from_millis(300);

/// A rate that everybody keeps to.
const LOW: u32 = 1;

/// A rate that nobody here keeps to.
const HIGH: u32 = 1 << 20;

fn bounds(bytes_per_sec_min: u32) -> Connections {
    Connections::default()
        .write_stall(STALL)
        .bytes_per_sec_min(bytes_per_sec_min)
}

/// Connects with a small buffer, so that the server sees what is read and what is not.
async fn connect(server: &Server) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(32 * 1024).expect("set");
    let connected = socket.connect(server.address).await;
    connected.expect("a connection")
}

async fn gone(server: &Server) {
    let shedder = server.control.shedder().clone();
    until("the permit to come back", || shedder.in_flight() == 0).await;
}

/// Goal: a reader that takes bytes all the time gets all it asked for, however long each
/// third of the socket's buffer takes it.
#[tokio::test]
async fn http1_a_slow_reader_is_not_cut() {
    let server = Server::with(at_once(), bounds(LOW)).await;
    let mut stream = connect(&server).await;
    send(&mut stream, "GET /whole HTTP/1.1\r\nhost: test\r\n\r\n").await;
    let (begun, mut taken, mut part) = (Instant::now(), 0, vec![0; 16 * 1024]);
    // Long enough for every bound that knew nothing of the reader to fall due.
    while Instant::now() < begun + 12 * STALL {
        taken += soon("more", stream.read(&mut part)).await.expect("not cut");
        sleep(Duration::from_millis(10)).await;
    }
    while taken < 32 << 20 {
        let bytes = soon("more", stream.read(&mut part)).await.expect("not cut");
        assert!(bytes > 0, "ended after {taken}");
        taken += bytes;
    }
    drop(stream);
    server.leave();
    server.report().await;
}

/// Goal: who takes nothing, and who takes less than the rate, is gone.
#[tokio::test]
async fn http1_a_reader_that_stops_or_trickles_is_cut() {
    for pause in [None, Some(Duration::from_millis(20))] {
        let server = Server::with(at_once(), bounds(HIGH)).await;
        let mut stream = connect(&server).await;
        send(&mut stream, "GET /huge HTTP/1.1\r\nhost: test\r\n\r\n").await;
        read_to(&mut stream, "\r\n\r\n").await;
        match pause {
            None => gone(&server).await,
            Some(pause) => {
                soon("the cut", async {
                    let mut part = [0; 512];
                    while matches!(stream.read(&mut part).await, Ok(1..)) {
                        sleep(pause).await;
                    }
                })
                .await;
            }
        }
        gone(&server).await;
        server.leave();
        server.report().await;
    }
}

/// Goal: a connection is idle from the moment at which its answer has left, and then its
/// bound holds: also when it would have fallen due while the answer was being written.
#[tokio::test]
async fn http1_a_connection_is_closed_idle_after_a_slow_answer() {
    let server = Server::with(at_once(), Connections::default().idle(STALL)).await;
    let mut stream = connect(&server).await;
    send(&mut stream, "GET /whole HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_to(&mut stream, "\r\n\r\n").await;
    let (mut taken, mut part) = (0, vec![0; 1 << 20]);
    while taken < 32 << 20 {
        let bytes = soon("more", stream.read(&mut part)).await.expect("not cut");
        assert!(bytes > 0, "ended after {taken}");
        taken += bytes;
        if taken < 1 << 20 {
            sleep(STALL / 4).await;
        }
    }
    assert_eq!(read_all(&mut stream).await, "", "closed in order");
    server.leave();
    server.report().await;
}

/// The same in a drain: it does not hold the grace.
#[tokio::test]
async fn http1_a_slow_answer_does_not_hold_the_grace() {
    let server = Server::start(at_once()).await;
    let mut stream = connect(&server).await;
    send(&mut stream, "GET /whole HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_to(&mut stream, "\r\n\r\n").await;
    server.leave();
    let (mut taken, mut part) = (0, vec![0; 1 << 20]);
    while taken < 32 << 20 {
        let bytes = soon("more", stream.read(&mut part)).await.expect("not cut");
        assert!(bytes > 0, "ended after {taken}");
        taken += bytes;
        if taken < 1 << 20 {
            sleep(STALL / 4).await;
        }
    }
    let report = server.report().await;
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// Goal: the age of a part of an answer is not taken for silence. One stream whose single
/// part of 32 MiB goes through a small window, by bytes that come all the time.
#[tokio::test]
async fn http2_a_large_part_that_is_taken_slowly_is_not_reset() {
    let server = Server::with(at_once(), bounds(LOW)).await;
    let mut client = Frames::connect(server.address, 65_535).await;
    client.get(1, "/whole").await;
    let begun = Instant::now();
    let mut taken = 0;
    while Instant::now() < begun + 12 * STALL {
        let frame = client.next().await.expect("a connection");
        assert_ne!(frame.kind, RST_STREAM, "reset after {taken}");
        if frame.kind == DATA {
            taken += frame.payload.len();
            sleep(Duration::from_millis(10)).await;
            let bytes = u32::try_from(frame.payload.len()).expect("short");
            client.allow(0, bytes).await;
            client.allow(1, bytes).await;
        }
    }
    assert!(taken > 65_535);
}

/// Goal: streams that wait for their turn are not taken for stuck. A hundred downloads share
/// a connection whose window opens slowly: each alone is far below the rate, all together are
/// far above it.
#[tokio::test]
async fn http2_streams_that_take_turns_are_not_reset() {
    let server = Server::with(at_once(), bounds(64 * 1024)).await;
    let mut client = Frames::connect(server.address, 1 << 20).await;
    for n in 0..100 {
        client.get(1 + 2 * n, "/huge").await;
    }
    let begun = Instant::now();
    let mut last = std::collections::HashMap::new();
    let mut longest = Duration::ZERO;
    while Instant::now() < begun + 12 * STALL {
        let frame = client.next().await.expect("a connection");
        assert_ne!(frame.kind, RST_STREAM, "{frame:?}");
        if frame.kind == DATA {
            let before = last.insert(frame.stream, Instant::now());
            longest = longest.max(Instant::now() - before.unwrap_or(begun));
            sleep(Duration::from_millis(20)).await;
            let bytes = u32::try_from(frame.payload.len()).expect("short");
            client.allow(0, bytes).await;
        }
    }
    assert!(longest > 2 * STALL, "none waited longer than {longest:?}");
}

/// Goal: a stream whose own window is closed, or opens by single bytes, is reset, while the
/// others on its connection go on.
#[tokio::test]
async fn http2_a_stream_with_no_window_or_one_of_a_byte_is_reset() {
    for trickle in [false, true] {
        let server = Server::with(at_once(), bounds(HIGH)).await;
        let mut client = Frames::connect(server.address, 0).await;
        client.get(1, "/huge").await;
        client.get(3, "/huge").await;
        let (mut reset, mut went_on) = (false, 0);
        client.allow(3, 1 << 20).await;
        client.allow(0, 1 << 24).await;
        while !reset || went_on < 10 {
            let frame = client.next().await.expect("a connection");
            match (frame.kind, frame.stream) {
                (RST_STREAM, 1) => reset = true,
                (RST_STREAM, other) => panic!("{other} was reset"),
                (DATA, 3) => {
                    went_on += usize::from(reset);
                    let bytes = u32::try_from(frame.payload.len()).expect("short");
                    client.allow(3, bytes).await;
                    client.allow(0, bytes).await;
                    if trickle && !reset {
                        client.allow(1, 1).await;
                    }
                }
                _ => {}
            }
        }
        drop(client);
        gone(&server).await;
    }
}

/// Goal: where a whole connection takes nothing, its streams are reset and their places come
/// back: of a large answer, and of one whose only part does not fit.
#[tokio::test]
async fn http2_streams_of_a_connection_that_takes_nothing_are_reset() {
    let server = Server::with(at_once(), bounds(HIGH)).await;
    let mut client = Frames::connect(server.address, 0).await;
    client.get(1, "/huge").await;
    client.get(3, "/").await;
    let mut reset = Vec::new();
    while reset.len() < 2 {
        let frame = client.next().await.expect("a connection");
        if frame.kind == RST_STREAM {
            reset.push(frame.stream);
        }
    }
    reset.sort_unstable();
    assert_eq!(reset, [1, 3]);
    gone(&server).await;
    // The connection itself is well, and takes what fits.
    client.get(5, "/nowhere").await;
    assert!(client.until(HEADERS, 5).await.is_some());
    server.leave();
    assert!(!server.report().await.forced);
}

/// Goal: a peer that reads nothing at all of a connection is gone with it.
#[tokio::test]
async fn http2_a_peer_that_reads_nothing_is_cut() {
    let server = Server::with(at_once(), bounds(HIGH)).await;
    let mut client = Frames::connect(server.address, (1 << 31) - 1).await;
    client.allow(0, (1 << 30) - 1).await;
    client.get(1, "/huge").await;
    let shedder = server.control.shedder().clone();
    until("it to run", || shedder.in_flight() == 1).await;
    gone(&server).await;
    sleep(SECOND / 10).await;
    assert!(!client.try_send([0; 65_536]).await || client.until(DATA, 3).await.is_none());
}
