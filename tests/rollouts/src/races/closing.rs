//! Requests that cross the end of their connection, of the listener or of the process.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{
    Client,
    arena::{Arena, Close, LAME_DUCK, Stage, files_max, is_good, post, read_to_end},
};
use crate::{
    backend::Ended,
    client::{Method, h1, h2},
};

/// Connections of a race: enough for a coin to fall on both sides.
const COUNT: usize = 20;

/// Between two new connections, and before a kept one is used: long against the time in
/// which today's ways close everything, 2 ms.
const LATER: Duration = Duration::from_millis(20);

/// Requests in the kernel's buffers: more than the 1,024 sockets of one look.
const BUFFERED: usize = 1_500;

/// More than the buffers between two processes take on the loopback.
const UPLOAD: usize = 8 << 20;

/// What an answer needs at most, and what the end of a connection may take.
const READ_MAX: Duration = Duration::from_secs(20);

pub(super) async fn connect_after(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, LAME_DUCK).await;
    arena.tell();
    let mut good = 0;
    for _ in 0..COUNT {
        sleep(LATER).await;
        if let Ok(mut connection) = h1::Connection::open(arena.address()).await {
            good += usize::from(is_good(&connection.send(&post("after")).await));
        }
    }
    arena.tell_again();
    (arena.ends().await, Client::served(good, COUNT))
}

pub(super) async fn accept_queue(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let address = arena.address();
    let mut streams = Vec::new();
    arena
        .tell_while_stopped(async {
            for _ in 0..COUNT {
                let mut connection = h1::Connection::open(address).await.expect("it is queued");
                let stream = connection.stream();
                stream.write_all(&post("queued")).await.expect("it is open");
                streams.push(connection);
            }
        })
        .await;
    let good = answered(streams).await;
    (arena.ends().await, Client::served(good, COUNT))
}

pub(super) async fn idle_reuse(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, LAME_DUCK).await;
    let kept = arena.kept(COUNT).await;
    arena.tell();
    sleep(LATER).await;
    let mut good = 0;
    for mut connection in kept {
        good += usize::from(is_good(&connection.send(&post("later")).await));
    }
    arena.tell_again();
    (arena.ends().await, Client::served(good, COUNT))
}

/// More connections have a request than the runtime sees in one look at its sockets, and
/// the signal was there before them all. Both threads of the subject are kept busy until
/// everything has arrived.
pub(super) async fn in_kernel_buffer(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let count = files_max().min(BUFFERED);
    let mut kept = arena.kept(count).await;
    let mut busy = arena.block_all_threads().await;
    arena.tell();
    for connection in &mut kept {
        let stream = connection.stream();
        // One that is closed already says so when its answer is read.
        let _ = stream.write_all(&post("buffered")).await;
    }
    let good = answered(kept).await;
    while busy.join_next().await.is_some() {}
    (arena.ends().await, Client::served(good, count))
}

pub(super) async fn fresh(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let mut opened = Vec::new();
    for _ in 0..COUNT {
        opened.push(arena.connect().await);
    }
    arena.has_taken_all().await;
    arena.tell();
    arena.closes().await;
    for connection in &mut opened {
        // One that is closed already says so when its answer is read.
        let _ = connection.stream().write_all(&post("first")).await;
    }
    let good = answered(opened).await;
    (arena.ends().await, Client::served(good, COUNT))
}

pub(super) async fn http2_handshake(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let address = arena.address();
    let mut streams = Vec::new();
    for _ in 0..COUNT {
        streams.push(TcpStream::connect(address).await.expect("it listens"));
    }
    arena.has_taken_all().await;
    let mut asked = JoinSet::new();
    arena
        .tell_while_stopped(async {
            for stream in streams {
                asked.spawn(async move {
                    let mut connection = h2::Connection::over(stream).await?;
                    connection.send(address, Method::Get, "/fast", "h2").await
                });
            }
            // For what they write to arrive; nobody answers.
            sleep(LATER * 5).await;
        })
        .await;
    let mut good = 0;
    while let Some(answer) = asked.join_next().await {
        good += usize::from(is_good(&answer.expect("it does not panic")));
    }
    (arena.ends().await, Client::served(good, COUNT))
}

/// The first answer closes the connection, with a second request behind it that is too
/// long to have been read.
pub(super) async fn pipelined(stage: Stage<'_>) -> (Ended, Client) {
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let mut connection = arena.connect().await;
    let first = h1::request(Method::Get, "/slow", "pipelined");
    let stream = connection.stream();
    stream.write_all(&first).await.expect("it is open");
    arena.has_noted("pipelined").await;
    arena.tell();
    let second =
        format!("POST /length HTTP/1.1\r\nhost: rollouts.test\r\ncontent-length: {UPLOAD}\r\n\r\n");
    let _ = stream.write_all(second.as_bytes()).await;
    // What the buffers take; the rest waits for a reader that may never come.
    let _ = timeout(LATER * 10, stream.write_all(&vec![b'x'; UPLOAD])).await;
    let answer = timeout(READ_MAX, connection.answer()).await;
    let whole = answer.is_ok_and(|answer| is_good(&answer));
    let (_, close) = read_to_end(connection.stream(), READ_MAX).await;
    let saw = format!(
        "answer {}, then {}",
        if whole { "whole" } else { "LOST" },
        close.text()
    );
    (
        arena.ends().await,
        Client::new(whole && close != Close::Open, saw),
    )
}

/// The client sends its whole body before it reads, as many do; the answer has been there
/// for long.
pub(super) async fn early_answer(stage: Stage<'_>) -> (Ended, Client) {
    const UPLOADS: usize = 5;
    let mut arena = Arena::start(stage, Duration::ZERO).await;
    let mut good = 0;
    for _ in 0..UPLOADS {
        let head = format!(
            "POST /early HTTP/1.1\r\nhost: rollouts.test\r\ncontent-length: {UPLOAD}\r\n\r\n"
        );
        let mut stream = arena.wrote(head.as_bytes()).await;
        let body = vec![b'x'; UPLOAD];
        let sent = timeout(READ_MAX, stream.write_all(&body)).await;
        let mut first = [0; 12];
        let read = timeout(READ_MAX, stream.read_exact(&mut first)).await;
        let has_answer = matches!(read, Ok(Ok(_))) && &first == b"HTTP/1.1 413";
        good += usize::from(matches!(sent, Ok(Ok(()))) && has_answer);
    }
    arena.tell();
    (arena.ends().await, Client::served(good, UPLOADS))
}

/// How many of these get their answer.
async fn answered(connections: Vec<h1::Connection>) -> usize {
    let mut reading = JoinSet::new();
    for mut connection in connections {
        reading.spawn(async move {
            let answer = timeout(READ_MAX, connection.answer()).await;
            answer.is_ok_and(|answer| is_good(&answer))
        });
    }
    let mut good = 0;
    while let Some(answered) = reading.join_next().await {
        good += usize::from(answered.expect("it does not panic"));
    }
    good
}
