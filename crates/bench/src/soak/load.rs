//! One generation's clients: those that ask and read, and beside them those that do not.

use std::{cell::Cell, io, net::SocketAddr, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::{JoinSet, LocalSet},
    time::{Instant, sleep, timeout},
};

use super::{harm, options::Share};
use crate::serve::one_over_http2;

/// Connections that are in use at a time.
const WORKERS: usize = 64;

/// Hundredths of the connections that are still to be opened when the drain begins, so that
/// there is load during it.
const BEYOND: u64 = 5;

/// Every so many connections one speaks HTTP/2.
const HTTP2_EVERY: u64 = 8;

/// How long peers that mean harm stay once the drain has begun; then they leave.
const LEAVE_AFTER: Duration = Duration::from_millis(300);

/// Longest that one answer may take; nothing here takes a second on its own.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// What came of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Done {
    pub(super) answered: u64,
    pub(super) connections: u64,
    pub(super) hostile: usize,
    pub(super) crossed: u64,
    pub(super) unexpected: u64,
}

/// Asks for everything, and says when the drain is to begin.
pub(super) async fn run(
    share: Share,
    address: SocketAddr,
    begin_drain: impl FnOnce() -> io::Result<()>,
) -> io::Result<Done> {
    let local = LocalSet::new();
    local.run_until(all(share, address, begin_drain)).await
}

async fn all(
    share: Share,
    address: SocketAddr,
    begin_drain: impl FnOnce() -> io::Result<()>,
) -> io::Result<Done> {
    let done = Rc::new(Cell::new(Done::default()));
    let next = Rc::new(Cell::new(0));
    let most = share.connections * (100 + BEYOND) / 100;
    let mut hostile = JoinSet::new();
    for number in 0..share.hostile {
        let kind = harm::Kind::ALL[number % harm::Kind::ALL.len()];
        hostile.spawn_local(async move { kind.begin(address).await.map(|peer| (peer, kind)) });
    }
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        let (done, next) = (Rc::clone(&done), Rc::clone(&next));
        workers.spawn_local(async move {
            while next.get() < most {
                let number = next.replace(next.get() + 1);
                if !connection(number, share.requests_each, address, &done).await {
                    return;
                }
            }
        });
    }
    while next.get() < share.connections && !workers.is_empty() {
        sleep(Duration::from_millis(5)).await;
    }
    begin_drain()?;
    sleep(LEAVE_AFTER).await;
    let mut there = 0;
    while let Some(begun) = hostile.try_join_next() {
        // One that was refused a connection did no harm.
        there += usize::from(begun.is_ok_and(|it| it.is_ok()));
    }
    hostile.shutdown().await;
    while let Some(ended) = workers.join_next().await {
        ended.map_err(io::Error::other)?;
    }
    Ok(Done {
        hostile: there,
        ..done.get()
    })
}

/// Uses one connection for so many requests. Returns whether there may be another one.
async fn connection(number: u64, requests: u64, address: SocketAddr, done: &Cell<Done>) -> bool {
    let note = |change: fn(&mut Done)| {
        let mut now = done.get();
        change(&mut now);
        done.set(now);
    };
    let Ok(mut socket) = TcpStream::connect(address).await else {
        // The generation has left.
        return false;
    };
    note(|it| it.connections += 1);
    let over_http2 = number.is_multiple_of(HTTP2_EVERY);
    let request = match over_http2 {
        true => one_over_http2("/small"),
        false => b"GET /small HTTP/1.1\r\nhost: bench\r\n\r\n".to_vec(),
    };
    let requests = if over_http2 { 1 } else { requests };
    for _ in 0..requests {
        match answer(&mut socket, &request, over_http2).await {
            Ok(End::Whole) => note(|it| it.answered += 1),
            Ok(End::Last) => {
                note(|it| it.answered += 1);
                return true;
            }
            Ok(End::Crossed) => {
                note(|it| it.crossed += 1);
                return true;
            }
            Err(_) => {
                note(|it| it.unexpected += 1);
                return true;
            }
        }
    }
    true
}

/// How a request ended that was not a failure.
enum End {
    Whole,
    /// Answered, and the connection ends with it.
    Last,
    /// The connection ended before a byte of an answer.
    Crossed,
}

async fn answer(socket: &mut TcpStream, request: &[u8], over_http2: bool) -> io::Result<End> {
    let until = Instant::now() + ANSWER_MAX;
    if socket.write_all(request).await.is_err() {
        return Ok(End::Crossed);
    }
    let (mut bytes, mut got) = ([0; 1024], Vec::new());
    let is_whole = |got: &[u8]| match over_http2 {
        true => got.windows(5).any(|it| it == b"hello"),
        false => got.ends_with(b"hello"),
    };
    while !is_whole(&got) {
        let left = until.saturating_duration_since(Instant::now());
        match timeout(left, socket.read(&mut bytes)).await? {
            Ok(0) | Err(_) if got.is_empty() => return Ok(End::Crossed),
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(read) => got.extend(&bytes[..read]),
            Err(error) => return Err(error),
        }
    }
    if over_http2 {
        return Ok(End::Last);
    }
    let head = String::from_utf8_lossy(&got).to_ascii_lowercase();
    if !head.starts_with("http/1.1 200 ") {
        return Err(io::Error::other("not the answer that was asked for"));
    }
    match head.contains("\r\nconnection: close") {
        true => Ok(End::Last),
        false => Ok(End::Whole),
    }
}
