//! Uploads that make progress are never cut, and peers that send nothing are gone by a bound,
//! over HTTP/1 and HTTP/2; a handler that is slow is never taken for a slow peer. Method: as
//! for downloads.

#![cfg(feature = "axum")]

mod common;

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Request,
    response::Response,
    routing::post,
};
use common::{
    PATIENCE,
    frames::{self, DATA, END_STREAM, Frames, HEADERS, WINDOW_UPDATE, frame},
    leaver::{Server, read_all, read_to, send},
    soon, until,
};
use http_body_util::BodyExt;
use steadfast::{Connections, Control, Drain, Guard, RouteClass, Shed, Streams};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, sleep},
};

const STALL: Duration = Duration::from_millis(300);
const LOW: u32 = 1;
const HIGH: u32 = 1 << 20;

/// What a handler saw of a body.
async fn read(body: Body) -> String {
    match body.collect().await {
        Ok(body) => format!("{} bytes", body.to_bytes().len()),
        Err(error) => {
            let mut source = Some(&error as &dyn std::error::Error);
            while let Some(error) = source {
                let error_of_io = error.downcast_ref::<std::io::Error>();
                if error_of_io.is_some_and(|it| it.kind() == std::io::ErrorKind::TimedOut) {
                    return "timed out".to_owned();
                }
                source = error.source();
            }
            format!("{error:?}")
        }
    }
}

fn app() -> Router {
    let late = |request: Request| async move {
        sleep(4 * STALL).await;
        read(request.into_body()).await
    };
    // As a stream in both directions: the answer begins, and its end waits for the request's.
    let both_ways = |request: Request| async move {
        let read = futures_util::stream::once(async move {
            Ok::<_, std::io::Error>(Bytes::from(read(request.into_body()).await))
        });
        let answer = Response::builder().header("content-type", "application/grpc");
        answer.body(Body::from_stream(read)).expect("valid")
    };
    Router::new()
        .route("/", post(|| async { "hello" }))
        .route("/read", post(|request: Request| read(request.into_body())))
        .route(
            "/bytes",
            post(|body: Bytes| async move { body.len().to_string() }),
        )
        .route("/late", post(late))
        .route(
            "/silent",
            post(|request: Request| read(request.into_body())),
        )
        .route("/pkg.Service/Call", post(both_ways))
}

async fn serve(bytes_per_sec_min: u32) -> (SocketAddr, Control) {
    let bounds = Connections::default()
        .read_stall(STALL)
        .bytes_per_sec_min(bytes_per_sec_min);
    let drain = Drain::default().lame_duck_max(Duration::ZERO);
    let guard = Guard::builder()
        .connections(bounds)
        .shed(Shed::fixed(8))
        .route("/silent", RouteClass::new().with_streams(Streams::Always))
        .drain(drain.grace(PATIENCE));
    let Server {
        address, control, ..
    } = Server::serving(guard, app()).await;
    (address, control)
}

async fn connect(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.expect("a connection")
}

fn head(path: &str, length: usize) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nhost: test\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n"
    )
}

/// Goal: uploads that send nothing, or a byte now and then, give their places back, and their
/// readers hear why.
#[tokio::test]
async fn http1_uploads_that_stall_or_trickle_give_their_places_back() {
    let (address, control) = serve(HIGH).await;
    let mut stuck = Vec::new();
    for n in 0..8 {
        let mut stream = connect(address).await;
        let begins = if n % 2 == 0 { "x" } else { "" };
        send(&mut stream, head("/read", 1 << 20) + begins).await;
        stuck.push(stream);
    }
    let shedder = control.shedder().clone();
    until("all to be admitted", || shedder.snapshot().admitted == 8).await;
    let trickles = stuck.pop().expect("eight");
    let (mut reads, mut writes) = trickles.into_split();
    let trickle = tokio::spawn(async move {
        while writes.write_all(b"x").await.is_ok() {
            sleep(STALL / 10).await;
        }
    });
    until("every place to come back", || shedder.in_flight() == 0).await;
    for stream in &mut stuck {
        let answer = read_all(stream).await;
        assert!(answer.ends_with("timed out"), "{answer:?}");
    }
    let mut answer = Vec::new();
    let _ = soon("its answer", reads.read_to_end(&mut answer)).await;
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.ends_with("timed out"), "{answer:?}");
    soon("the end of the trickle", trickle)
        .await
        .expect("no panic");
}

/// Goal: an extractor of axum turns it into an answer, without the handler's help.
#[tokio::test]
async fn an_extractor_answers_for_an_upload_that_stalls() {
    let (address, _control) = serve(HIGH).await;
    let mut stream = connect(address).await;
    send(&mut stream, head("/bytes", 10)).await;
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 400"), "{answer:?}");
}

#[tokio::test]
async fn http2_uploads_that_stall_give_their_places_back() {
    let (address, control) = serve(HIGH).await;
    let mut client = Frames::connect(address, 65_535).await;
    for n in 0..8 {
        let request = frames::request(1 + 2 * n, "POST", "/read", 0, &[]);
        client.send(request).await;
    }
    let shedder = control.shedder().clone();
    until("all to be admitted", || shedder.snapshot().admitted == 8).await;
    assert_eq!(client.body(1).await.as_deref(), Some(&b"timed out"[..]));
    until("every place to come back", || shedder.in_flight() == 0).await;
}

/// Uploads single bytes over HTTP/1 and HTTP/2. Returns what the answers end with, and the
/// longest time from one byte to the next.
async fn byte_by_byte(address: SocketAddr) -> ([String; 2], Duration) {
    let mut stream = connect(address).await;
    let mut client = Frames::connect(address, 65_535).await;
    let mut last = Instant::now();
    // Whoever is cut cannot send: the answers tell.
    let _ = stream.write_all(head("/read", 24).as_bytes()).await;
    let request = frames::request(1, "POST", "/read", 0, &[]);
    client.try_send(request).await;
    let mut longest = Duration::ZERO;
    for n in 0..24 {
        // Far below the bound, and all together far above it.
        sleep(STALL / 6).await;
        let _ = stream.write_all(b"x").await;
        let end = if n == 23 { END_STREAM } else { 0 };
        client.try_send(frame(DATA, end, 1, b"x")).await;
        longest = longest.max(Instant::now() - last);
        last = Instant::now();
    }
    let mut first = Vec::new();
    let _ = soon("an answer", stream.read_to_end(&mut first)).await;
    let second = client.body(1).await.unwrap_or_default();
    longest = longest.max(Instant::now() - last);
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    ([text(first), text(second)], longest)
}

/// Goal: an upload whose bytes keep coming is never cut, however long it takes. Method: one in
/// which this machine let them wait shows nothing, and is repeated.
#[tokio::test]
async fn uploads_that_go_on_are_not_cut() {
    let (address, _control) = serve(LOW).await;
    soon("uploads that go on", async {
        loop {
            let (answers, longest) = byte_by_byte(address).await;
            if answers.iter().all(|it| it.ends_with("24 bytes")) {
                return;
            }
            assert!(longest > STALL / 2, "cut after {longest:?}: {answers:?}");
        }
    })
    .await;
}

/// Goal: a handler that does something else before it reads is not taken for a slow peer,
/// whose bytes wait in a buffer of ours.
#[tokio::test]
async fn a_slow_handler_is_not_taken_for_a_slow_peer() {
    let (address, _control) = serve(HIGH).await;
    let mut stream = connect(address).await;
    send(&mut stream, head("/late", 4) + "body").await;
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("4 bytes"), "{answer:?}");
}

/// Goal: nor is a peer that cannot send, because the bytes of another request that nobody
/// reads fill the window that all requests of the connection share. Method: it goes on before
/// the window opens; where this machine was too slow for that, it is repeated.
#[tokio::test]
async fn a_peer_whose_window_another_handler_keeps_closed_is_not_slow() {
    let (address, _control) = serve(HIGH).await;
    soon("a peer in time", async {
        while !goes_on_before_the_window_opens(address).await {}
    })
    .await;
}

/// Returns whether it did.
async fn goes_on_before_the_window_opens(address: SocketAddr) -> bool {
    let mut client = Frames::connect(address, 65_535).await;
    // Once it has acknowledged the server's settings, the window is as large as they say.
    client.until(WINDOW_UPDATE, 0).await.expect("a window");
    let asked = Instant::now();
    client
        .send(frames::request(1, "POST", "/late", 0, &[]))
        .await;
    let part = [0; 16 * 1024];
    for _ in 0..63 {
        client.send(frame(DATA, 0, 1, &part)).await;
    }
    client
        .send(frames::request(3, "POST", "/read", 0, &[]))
        .await;
    let begun = Instant::now();
    while Instant::now() < begun + 3 * STALL {
        if let Ok(Some(frame)) = tokio::time::timeout(STALL / 10, client.next()).await {
            // From then on the other handler reads, and the window is open.
            if Instant::now() >= asked + 4 * STALL {
                return false;
            }
            assert!(frame.stream != 3, "answered early: {frame:?}");
        }
    }
    client.send(frame(DATA, END_STREAM, 1, b"x")).await;
    client.send(frame(DATA, END_STREAM, 3, b"x")).await;
    if Instant::now() >= asked + 4 * STALL {
        return false;
    }
    let mut answers = [None, None];
    while answers.contains(&None) {
        let frame = client.next().await.expect("a connection");
        if frame.kind == DATA && !frame.payload.is_empty() {
            let at = usize::from(frame.stream == 3);
            answers[at] = Some(String::from_utf8(frame.payload).expect("text"));
        }
    }
    let expected = [
        format!("{} bytes", 63 * 16 * 1024 + 1),
        "1 bytes".to_owned(),
    ];
    assert_eq!(answers.map(|it| it.expect("there")), expected);
    true
}

/// Goal: a route that says that it is a stream may be silent.
#[tokio::test]
async fn a_route_of_streams_may_be_silent() {
    let (address, _control) = serve(HIGH).await;
    let mut stream = connect(address).await;
    send(&mut stream, head("/silent", 4)).await;
    sleep(4 * STALL).await;
    send(&mut stream, "body").await;
    let answer = read_all(&mut stream).await;
    assert!(answer.ends_with("4 bytes"), "{answer:?}");
}

/// Goal: a gRPC request may be silent where the service has answered in gRPC; the content
/// type alone opens nothing to a stranger.
#[tokio::test]
async fn a_grpc_request_may_be_silent_where_grpc_is_spoken() {
    let (address, _control) = serve(HIGH).await;
    let grpc = [("content-type", "application/grpc")];
    let mut client = Frames::connect(address, 65_535).await;
    client
        .send(frames::request(1, "POST", "/read", 0, &grpc))
        .await;
    assert_eq!(client.body(1).await.as_deref(), Some(&b"timed out"[..]));
    client
        .send(frames::request(3, "POST", "/pkg.Service/Call", 0, &grpc))
        .await;
    assert!(client.until(HEADERS, 3).await.is_some(), "it speaks gRPC");
    sleep(4 * STALL).await;
    client.send(frame(DATA, END_STREAM, 3, b"message")).await;
    assert_eq!(client.body(3).await.as_deref(), Some(&b"7 bytes"[..]));
}

/// Goal: half a head that came with the request before it has the time of a head, not that
/// of an idle connection; an empty line is no head.
#[tokio::test]
async fn half_a_head_is_bounded_wherever_it_came_and_an_empty_line_is_none() {
    let bounds = Connections::default().header_read(STALL);
    let builder = Guard::builder().connections(bounds);
    let server = Server::of(builder).await;
    let body = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 5\r\n\r\nhello";
    for (first, ends_with) in [(common::leaver::GET, "hello"), (body, "hello")] {
        let mut slow = server.connect().await;
        send(&mut slow, format!("{first}GET / HT")).await;
        read_to(&mut slow, ends_with).await;
        // It comes as a reset, since half a head is left unread.
        let mut rest = Vec::new();
        let end = slow.read_to_end(&mut rest);
        let _ = soon("the end", end).await;
        let mut polite = server.connect().await;
        send(&mut polite, first).await;
        read_to(&mut polite, ends_with).await;
        send(&mut polite, "\r\n").await;
        sleep(3 * STALL).await;
        send(&mut polite, common::leaver::GET).await;
        read_to(&mut polite, "hello").await;
    }
}
