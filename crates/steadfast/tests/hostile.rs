//! Peers that mean harm: each is ended by a bound, others are served meanwhile, and nothing of
//! it stays. What is a client's right, and only slow, is in `downloads` and `uploads`; the
//! table of both is in `docs/hostile-peers.md`.

#![cfg(feature = "axum")]
#![cfg(target_os = "linux")]

mod common;

use std::{fs, time::Duration};

use common::{
    frames::{
        CONTINUATION, DATA, END_STREAM, Frames, GOAWAY, HEADERS, PING, RST_STREAM, SETTINGS,
        WINDOW_UPDATE, block, frame, request,
    },
    leaver::{Server, at_once, send},
    soon, until,
};
use steadfast::Connections;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::Instant,
};

const BOUND: Duration = Duration::from_millis(300);

fn bounds() -> Connections {
    Connections::default()
        .first_request(BOUND)
        .header_read(BOUND)
        .idle(BOUND)
        .write_stall(BOUND)
        .read_stall(BOUND)
}

/// Another client asks until it is served. Its connection is bounded too, so one for which this
/// machine took longer than that shows nothing; whoever asks in time is served.
async fn another_is_served(server: &Server, meanwhile: &str) {
    soon(meanwhile, async {
        loop {
            let begun = Instant::now();
            let mut stream = server.connect().await;
            let request = b"GET / HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n";
            let mut answer = Vec::new();
            let _ = stream.write_all(request).await;
            let _ = stream.read_to_end(&mut answer).await;
            if answer.starts_with(b"HTTP/1.1 200") && answer.ends_with(b"hello") {
                return;
            }
            let answer = answer.escape_ascii();
            assert!(Instant::now() >= begun + BOUND, "{meanwhile}: {answer}");
        }
    })
    .await;
}

fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").expect("a list").count()
}

/// What a peer sends: once, and then again and again, with a number that grows.
struct Flood {
    name: &'static str,
    first: Vec<u8>,
    again: fn(u32) -> Vec<u8>,
    /// Whether it reads what it is sent.
    reads: bool,
}

fn priority(stream: u32) -> Vec<u8> {
    frame(2, 0, stream, &[0, 0, 0, 0, 1])
}

fn floods() -> Vec<Flood> {
    let flood = |name, first, again| Flood {
        name,
        first,
        again,
        reads: false,
    };
    let reads = |flood: Flood| Flood {
        reads: true,
        ..flood
    };
    let open = request(1, "POST", "/echo", 0, &[]);
    let unended = frame(HEADERS, 0, 1, &block(&[(":method", "GET")]));
    vec![
        flood("resets", Vec::new(), |n| {
            let mut pair = request(2 * n + 1, "GET", "/", END_STREAM, &[]);
            pair.extend(frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]));
            pair
        }),
        flood("continuation", unended, |_| {
            frame(CONTINUATION, 0, 1, &block(&[("x", "y")]))
        }),
        flood("empty continuation", frame(HEADERS, 0, 1, &[]), |_| {
            frame(CONTINUATION, 0, 1, &[])
        }),
        flood("pings that are not read", Vec::new(), |_| {
            frame(PING, 0, 0, &[7; 8])
        }),
        reads(flood("pings", Vec::new(), |_| frame(PING, 0, 0, &[7; 8]))),
        flood("settings that are not read", Vec::new(), |_| {
            frame(SETTINGS, 0, 0, &[])
        }),
        reads(flood("settings", Vec::new(), |_| {
            frame(SETTINGS, 0, 0, &[])
        })),
        reads(flood("priorities", Vec::new(), |n| {
            priority(2 * (n % 1000) + 1)
        })),
        reads(flood("empty data", open.clone(), |_| {
            frame(DATA, 0, 1, &[])
        })),
        reads(flood("windows by single bytes", open, |_| {
            frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])
        })),
    ]
}

/// Goal: whatever a peer floods a connection with, it is ended, while another client is
/// served, and its descriptors come back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn floods_are_ended_while_others_are_served() {
    let server = Server::with(at_once(), bounds()).await;
    another_is_served(&server, "the start").await;
    let files = open_files();
    for Flood {
        name,
        first,
        again,
        reads,
    } in floods()
    {
        let mut client = Frames::connect(server.address, 65_535).await;
        client.send(first).await;
        let (mut from, mut to) = client.socket.into_split();
        let reader = reads.then(|| {
            tokio::spawn(async move {
                let mut sink = vec![0; 65_536];
                while matches!(from.read(&mut sink).await, Ok(1..)) {}
            })
        });
        let flood = tokio::spawn(async move {
            let mut n = 0;
            loop {
                let part: Vec<u8> = (n..n + 100).flat_map(again).collect();
                n += 100;
                if to.write_all(&part).await.is_err() {
                    return n;
                }
            }
        });
        soon(name, async {
            loop {
                another_is_served(&server, name).await;
                if flood.is_finished() {
                    break;
                }
            }
        })
        .await;
        flood.await.expect("no panic");
        if let Some(reader) = reader {
            soon("its end", reader).await.expect("no panic");
        }
    }
    until("every descriptor to come back", || open_files() <= files).await;
    let shedder = server.control.shedder().clone();
    until("every permit to come back", || shedder.in_flight() == 0).await;
}

/// Goal: a flood that was answered with GOAWAY is not read to its end.
#[tokio::test]
async fn a_flood_that_was_answered_is_not_read_on() {
    let server = Server::with(at_once(), Connections::default()).await;
    let mut client = Frames::connect(server.address, 65_535).await;
    let pairs = |from: u32| -> Vec<u8> {
        let pair = |n| {
            let mut pair = request(2 * n + 1, "GET", "/", END_STREAM, &[]);
            pair.extend(frame(RST_STREAM, 0, 2 * n + 1, &[0, 0, 0, 8]));
            pair
        };
        (from..from + 1000).flat_map(pair).collect()
    };
    client.send(pairs(0)).await;
    let goaway = client.until(GOAWAY, 0).await.expect("it is told");
    assert_eq!(goaway.code(), 11, "ENHANCE_YOUR_CALM");
    // Far more than the buffers between here and there hold.
    let rest = vec![0; 1 << 20];
    let refused = soon("the end", async {
        for _ in 0..64 {
            if !client.try_send(&rest).await {
                return true;
            }
        }
        false
    });
    assert!(refused.await, "everything was read");
    let admitted = server.control.shedder().snapshot().admitted;
    assert!(admitted <= 1000, "{admitted} were worked on");
}

/// Goal: many connections in turn, each left in the middle of something, leave nothing behind.
#[tokio::test]
async fn many_connections_in_turn_leave_nothing_behind() {
    let server = Server::with(at_once(), bounds()).await;
    let files = open_files();
    let halves = [
        "",
        "G",
        "GET / HTTP/1.1\r\nhost: te",
        "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf",
        "POST /echo HTTP/1.1\r\nhost: test\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhe",
        "GET /huge HTTP/1.1\r\nhost: test\r\n\r\n",
        "PRI * HTTP/2.0\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04",
        "\0\u{1}\u{2}\r\n\r\n",
    ];
    for n in 0..1800 {
        let mut stream: TcpStream = server.connect().await;
        send(&mut stream, halves[n % halves.len()]).await;
        // Every other one is reset, the rest is closed in order.
        if n % 2 == 0 {
            let socket = socket2::SockRef::from(&stream);
            socket.set_linger(Some(Duration::ZERO)).expect("set");
        }
    }
    another_is_served(&server, "the end").await;
    until("every descriptor to come back", || open_files() <= files).await;
    let shedder = server.control.shedder().clone();
    until("every permit to come back", || shedder.in_flight() == 0).await;
}
