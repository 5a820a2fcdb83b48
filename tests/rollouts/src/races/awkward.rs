//! Peers that never finish.

use std::time::Duration;

use tokio::{io::AsyncReadExt, net::TcpStream, time::timeout};

use super::{
    Client,
    arena::{Arena, Close, Stage, read_to_end},
};
use crate::{
    backend::Ended,
    client::{Method, h1},
};

/// Most idle connections.
pub(super) const IDLE_MAX: usize = 10_000;

/// Reading ends with the process, which is waited for beside it.
const READ_MAX: Duration = Duration::from_secs(60);

/// `SETTINGS`, empty: type 4 on stream 0.
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];

/// The type of a GOAWAY frame.
const GOAWAY: u8 = 7;

/// The first byte of a WebSocket's close frame, and the code of one who goes away.
const CLOSE_FRAME: u8 = 0x88;
const GOING_AWAY: u16 = 1001;

pub(super) async fn half_header(stage: Stage<'_>) -> (Ended, Client) {
    silent(stage, b"GET /fast HTTP/1.1\r\nhost: rollouts").await
}

pub(super) async fn half_body(stage: Stage<'_>) -> (Ended, Client) {
    let head = b"POST /length HTTP/1.1\r\nhost: rollouts.test\r\ncontent-length: 100\r\n\r\nhalf";
    silent(stage, head).await
}

pub(super) async fn silent_preface(stage: Stage<'_>) -> (Ended, Client) {
    silent(stage, b"PRI * HTTP/2.0\r\n").await
}

/// A peer that says no more; all that can be asked of the process is to end.
async fn silent(stage: Stage<'_>, bytes: &[u8]) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let mut stream = arena.wrote(bytes).await;
    arena.has_taken_all().await;
    arena.tell();
    let (ended, (read, close)) = tokio::join!(arena.ends(), read_to_end(&mut stream, READ_MAX));
    let said = String::from_utf8_lossy(&read);
    let said = said.lines().next().unwrap_or("nothing").to_owned();
    (
        ended,
        Client::new(true, format!("{said}, {}", close.text())),
    )
}

pub(super) async fn events(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let mut stream = arena
        .wrote(&h1::request(Method::Get, "/events", "events"))
        .await;
    first_bytes(&mut stream).await;
    arena.tell();
    let (ended, (read, close)) = tokio::join!(arena.ends(), read_to_end(&mut stream, READ_MAX));
    // The chunk that says the body has ended.
    let whole = read.ends_with(b"\r\n0\r\n\r\n") || read == b"0\r\n\r\n";
    let saw = if whole {
        "ended properly"
    } else {
        "CUT within the stream"
    };
    (
        ended,
        Client::new(whole, format!("{saw}, {}", close.text())),
    )
}

pub(super) async fn web_socket(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let upgrade = b"GET /ws HTTP/1.1\r\nhost: rollouts.test\r\nconnection: upgrade\r\n\
        upgrade: websocket\r\nsec-websocket-version: 13\r\n\
        sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let mut stream = arena.wrote(upgrade).await;
    first_bytes(&mut stream).await;
    arena.has_taken_all().await;
    arena.tell();
    let (ended, (read, close)) = tokio::join!(arena.ends(), read_to_end(&mut stream, READ_MAX));
    let frame = read.iter().position(|byte| *byte == CLOSE_FRAME);
    let code =
        frame.and_then(|at| Some(u16::from_be_bytes([*read.get(at + 2)?, *read.get(at + 3)?])));
    let saw = match code {
        Some(code) => format!("close frame {code}, {}", close.text()),
        None => format!("NO close frame, {}", close.text()),
    };
    (ended, Client::new(code == Some(GOING_AWAY), saw))
}

pub(super) async fn no_ping_ack(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let preface = [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", SETTINGS].concat();
    let mut stream = arena.wrote(&preface).await;
    // The server's settings: it has seen ours.
    first_bytes(&mut stream).await;
    arena.tell();
    let (ended, (read, close)) = tokio::join!(arena.ends(), read_to_end(&mut stream, READ_MAX));
    let goaway = frames(&read).any(|kind| kind == GOAWAY);
    let saw = if goaway { "GOAWAY" } else { "NO GOAWAY" };
    (
        ended,
        Client::new(goaway, format!("{saw}, {}", close.text())),
    )
}

pub(super) async fn never_reads(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let stream = arena
        .wrote(&h1::request(Method::Get, "/flood", "flood"))
        .await;
    arena.has_taken_all().await;
    arena.tell();
    let ended = arena.ends().await;
    drop(stream);
    (ended, Client::new(true, "an answer without an end, unread"))
}

pub(super) async fn idle(stage: Stage<'_>, count: usize) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let mut kept = arena.kept(count).await;
    arena.tell();
    let ended = arena.ends().await;
    // The process is gone, so each has its end.
    let mut resets = 0;
    for connection in &mut kept {
        let (_, close) = read_to_end(connection.stream(), READ_MAX).await;
        resets += usize::from(close != Close::End);
    }
    let saw = format!("{} of {count} closed in order", count - resets);
    (ended, Client::new(resets == 0, saw))
}

pub(super) async fn endless_handler(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let mut stream = arena
        .wrote(&h1::request(Method::Get, "/take/600000", "endless"))
        .await;
    arena.has_noted("endless").await;
    arena.tell();
    let (ended, (read, close)) = tokio::join!(arena.ends(), read_to_end(&mut stream, READ_MAX));
    let said = String::from_utf8_lossy(&read);
    let said = said.lines().next().unwrap_or("nothing").to_owned();
    (
        ended,
        Client::new(true, format!("{said}, {}", close.text())),
    )
}

/// Waits until something has come; what it was does not matter.
async fn first_bytes(stream: &mut TcpStream) {
    let mut some = [0; 512];
    let read = timeout(READ_MAX, stream.read(&mut some)).await;
    assert!(matches!(read, Ok(Ok(1..))), "nothing came: {read:?}");
}

/// The types of the HTTP/2 frames in these bytes, which begin with a frame.
fn frames(mut bytes: &[u8]) -> impl Iterator<Item = u8> {
    std::iter::from_fn(move || {
        let (head, rest) = bytes.split_at_checked(9)?;
        let length = usize::from(head[0]) << 16 | usize::from(head[1]) << 8 | usize::from(head[2]);
        bytes = rest.get(length..).unwrap_or_default();
        Some(head[3])
    })
}
