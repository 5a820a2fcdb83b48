//! Clients that ask again as soon as they are refused, while many of them keep the runtime
//! busy: who is paced, who never is, and what is answered all the same. Over pipes in paused
//! time, where a pause is seen to the millisecond; what bytes on a socket do, over sockets.

#![cfg(feature = "axum")]

mod common;

use std::{
    future::pending,
    io,
    time::{Duration, Instant},
};

use axum::serve::Listener;
use common::{
    Answer, Connection, get, http2_over,
    leaver::{Server, app, at_once, read_all},
    request, soon,
};
use http_body_util::Full;
use steadfast::{Connections, Control, Drain, Guard, Shed, test_util::pace};
use tokio::{
    io::{AsyncWriteExt, DuplexStream, duplex},
    sync::mpsc,
    task::JoinHandle,
};

/// What a pipe holds: more than any request or answer here.
const PIPE: usize = 64 * 1024;

/// The pause of [`pace`], and what differs between two.
const SHORTEST: Duration = Duration::from_millis(185);
const LONGEST: Duration = Duration::from_millis(313);

/// From this refusal in a row on, a client that did not wait is paced.
const HASTY: usize = 4;

/// Connections of one process.
struct Pipes(mpsc::UnboundedReceiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = u32;

    async fn accept(&mut self) -> (DuplexStream, u32) {
        match self.0.recv().await {
            Some(stream) => (stream, 0),
            None => pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<u32> {
        Ok(0)
    }
}

/// A service that has room for one request, and whoever has it.
struct Rig {
    control: Control,
    pipes: mpsc::UnboundedSender<DuplexStream>,
    occupant: JoinHandle<()>,
    flood: JoinHandle<()>,
    _serving: JoinHandle<()>,
}

impl Rig {
    async fn new() -> Self {
        Self::with(at_once(), Connections::default()).await
    }

    async fn with(drain: Drain, connections: Connections) -> Self {
        let guard = Guard::builder()
            .without_signals()
            .drain(drain)
            .connections(connections)
            .shed(Shed::fixed(1))
            .build()
            .expect("valid");
        let control = guard.control();
        let (pipes, accepted) = mpsc::unbounded_channel();
        let app = guard.protect(app());
        let serving = tokio::spawn(async move {
            guard.serve(Pipes(accepted), app).await.expect("served");
        });
        let mut rig = Self {
            control: control.clone(),
            pipes,
            occupant: tokio::spawn(async {}),
            flood: tokio::spawn(flood(control)),
            _serving: serving,
        };
        let mut first = rig.connect().await;
        rig.occupant = tokio::spawn(async move {
            first.send(get("/hang")).await;
        });
        while rig.control.shedder().in_flight() == 0 || rig.pause().is_none() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        rig
    }

    fn pipe(&self) -> DuplexStream {
        let (ours, theirs) = duplex(PIPE);
        self.pipes.send(theirs).expect("it accepts");
        ours
    }

    async fn connect(&self) -> Connection {
        Connection::over(self.pipe()).await
    }

    /// Asks on this connection; how long it took.
    async fn ask(
        &self,
        connection: &mut Connection,
        request: http::Request<axum::body::Body>,
    ) -> (Answer, Duration) {
        let asked = now();
        let answer = connection.ask(request).await;
        (answer, now() - asked)
    }

    /// Asks in vain so many times, without a pause.
    async fn haste(&self, connection: &mut Connection, times: usize) -> Vec<Duration> {
        let mut took = Vec::new();
        for _ in 0..times {
            let (answer, length) = self.ask(connection, get("/")).await;
            assert_eq!(answer.cause(), "overloaded");
            took.push(length);
        }
        took
    }

    fn pause(&self) -> Option<Duration> {
        self.control.shedder().snapshot().pacing.pause
    }

    fn paced(&self) -> u64 {
        self.control.shedder().snapshot().pacing.paced
    }
}

/// Many hasty clients, elsewhere.
async fn flood(control: Control) {
    loop {
        pace(&control);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[tokio::test(start_paused = true)]
async fn a_hasty_client_is_paced_and_answered_in_the_end() {
    let rig = Rig::new().await;
    let mut connection = rig.connect().await;
    let took = rig.haste(&mut connection, 20).await;
    let (before, paced) = took.split_at(HASTY);
    assert_eq!(before, [Duration::ZERO; HASTY], "{took:?}");
    for length in paced {
        assert!((SHORTEST..=LONGEST).contains(length), "{took:?}");
    }
    // After the last refusal as well.
    assert_eq!(rig.paced(), 20 - HASTY as u64 + 1);
    assert!(paced.iter().any(|it| *it != paced[0]), "not all at once");

    rig.occupant.abort();
    while rig.control.shedder().in_flight() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let (answer, _) = rig.ask(&mut connection, get("/")).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "hello"));
    let (_, length) = rig.ask(&mut connection, get("/")).await;
    assert_eq!(length, Duration::ZERO, "who is served is not paced");
}

/// Goal: who waits at all, who is answered otherwise in between, who comes over another
/// connection, who speaks HTTP/2, and who is not to be paced, never is.
#[tokio::test(start_paused = true)]
async fn others_are_never_paced() {
    let rig = Rig::new().await;
    let mut patient = rig.connect().await;
    let mut mixed = rig.connect().await;
    let mut http2 = http2_over(rig.pipe()).await;
    for _ in 0..20 {
        let (answer, length) = rig.ask(&mut patient, get("/")).await;
        assert_eq!((answer.cause(), length), ("overloaded", Duration::ZERO));
        let took = rig.haste(&mut mixed, HASTY - 1).await;
        assert_eq!(took, [Duration::ZERO; HASTY - 1]);
        let (answer, length) = rig.ask(&mut mixed, get("/health/")).await;
        assert_eq!((answer.status.as_u16(), length), (200, Duration::ZERO));
        let mut fresh = rig.connect().await;
        let (answer, length) = rig.ask(&mut fresh, get("/ready/")).await;
        assert_eq!((answer.status.as_u16(), length), (200, Duration::ZERO));
        for _ in 0..HASTY {
            let (asked, request) = (now(), get("http://localhost/").map(|_| Full::default()));
            let answer = http2.send_request(request).await.expect("an answer");
            assert_eq!(
                (answer.status().as_u16(), now() - asked),
                (503, Duration::ZERO)
            );
        }
        tokio::time::sleep(Duration::from_millis(201)).await;
    }
    assert_eq!(rig.paced(), 0);

    let rig = Rig::with(at_once(), Connections::default().pacing(false)).await;
    let mut connection = rig.connect().await;
    let took = rig.haste(&mut connection, 20).await;
    assert_eq!(took, [Duration::ZERO; 20]);
    assert_eq!(rig.paced(), 0);
}

/// Goal: while the runtime is well nobody is paced, whatever a client does.
#[tokio::test(start_paused = true)]
async fn while_the_runtime_is_well_nobody_is_paced() {
    let rig = Rig::new().await;
    rig.flood.abort();
    while rig.pause().is_some() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let mut connection = rig.connect().await;
    for _ in 0..1_000 {
        let asked = now();
        let answer = connection.ask(get("/")).await;
        assert_eq!(
            (answer.cause(), now() - asked),
            ("overloaded", Duration::ZERO)
        );
    }
    assert_eq!(rig.paced(), 0);
}

#[tokio::test(start_paused = true)]
async fn where_requests_are_passed_on_a_pause_is_short() {
    for header in ["x-forwarded-for", "forwarded", "via"] {
        let rig = Rig::new().await;
        let mut connection = rig.connect().await;
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let passed_on = request("GET", "/", &[(header, "192.0.2.7")]);
            let (answer, length) = rig.ask(&mut connection, passed_on).await;
            assert_eq!(answer.cause(), "overloaded");
            longest = longest.max(length);
        }
        // A timer is as much as a millisecond late.
        assert!(longest <= Duration::from_millis(51), "{header} {longest:?}");
        assert!(rig.paced() > 0, "{header}");
    }
}

/// Goal: a drain waits for no pause, and begins none.
#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_pause_and_begins_none() {
    let lame_duck = Drain::default()
        .lame_duck_max(Duration::from_secs(10))
        .failing_probes(1000);
    for drain in [at_once(), lame_duck] {
        let rig = Rig::with(drain, Connections::default()).await;
        let mut connection = rig.connect().await;
        rig.haste(&mut connection, 2 * HASTY).await;
        let paced = rig.paced();
        let asked = now();
        let answer = connection.ask(get("/"));
        let leaves = async {
            // It lies in the pipe.
            tokio::time::sleep(Duration::from_millis(20)).await;
            rig.control.begin_drain("a test");
        };
        let (answer, ()) = tokio::join!(answer, leaves);
        assert_eq!(answer.status, 503);
        let length = now() - asked;
        assert!(length < SHORTEST / 2, "{length:?}");
        assert_eq!(rig.paced(), paced, "none begins");
    }
}

/// Goal: what lies in a connection that is paced is answered whole and in order: requests that
/// were sent without waiting for an answer, one in two parts, and those whose body nobody read. A client that closes its half
/// is closed on in order.
#[tokio::test]
async fn whatever_was_sent_meanwhile_is_answered_in_order() {
    const GET: &str = "GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let server = occupied().await;
    let shedder = server.control.shedder().clone();
    let paced = || shedder.snapshot().pacing.paced;
    let mut stream = server.connect().await;
    tokio::spawn(flood(server.control.clone()));
    let ask = async |stream: &mut tokio::net::TcpStream, bytes: &str| {
        stream.write_all(bytes.as_bytes()).await.expect("sent");
    };
    soon("a pause", async {
        while paced() == 0 {
            ask(&mut stream, GET).await;
            refusals(&mut stream, 1).await;
        }
    })
    .await;
    ask(&mut stream, &GET.repeat(12)).await;
    refusals(&mut stream, 12).await;
    let (half, rest) = GET.split_at(10);
    ask(&mut stream, half).await;
    tokio::time::sleep(Duration::from_millis(1)).await;
    ask(&mut stream, rest).await;
    refusals(&mut stream, 1).await;
    // More than hyper reads at first, so that it looks for the rest once nobody wants it.
    let head = "POST / HTTP/1.1\r\nhost: localhost\r\ncontent-length: 12000\r\n\r\n";
    let post = format!("{head}{}", "x".repeat(12_000));
    for _ in 0..8 {
        ask(&mut stream, &post).await;
        refusals(&mut stream, 1).await;
    }
    // Who is slow for a moment is not hasty, and has to be it again.
    soon("a pause after them", async {
        loop {
            let before = paced();
            ask(&mut stream, GET).await;
            refusals(&mut stream, 1).await;
            if paced() > before {
                break;
            }
        }
    })
    .await;
    stream.shutdown().await.expect("closed");
    assert_eq!(read_all(&mut stream).await, "", "closed in order");
}

/// A server whose only place is taken for good, so that all that follows is refused.
async fn occupied() -> Server {
    let server = Server::of(Guard::builder().drain(at_once()).shed(Shed::fixed(1))).await;
    let mut first = Connection::open(server.address).await;
    tokio::spawn(async move {
        first.send(get("/hang")).await;
    });
    let shedder = server.control.shedder().clone();
    common::until("a request that runs", || shedder.in_flight() == 1).await;
    server
}

/// Reads so many refusals and no byte more.
async fn refusals(stream: &mut tokio::net::TcpStream, count: usize) {
    use tokio::io::AsyncReadExt;
    let mut text = String::new();
    for _ in 0..count {
        while !text.ends_with("\r\n\r\n") {
            let byte = soon("a head", stream.read_u8()).await.expect("a byte");
            text.push(byte.into());
        }
        assert!(text.starts_with("HTTP/1.1 503"), "{text}");
        let length = text.split("content-length: ").nth(1).expect("a length");
        let length = length.split("\r\n").next().expect("a line");
        let mut body = vec![0; length.parse().expect("a number")];
        soon("a body", stream.read_exact(&mut body))
            .await
            .expect("whole");
        text.clear();
    }
}

/// Goal: no connection that rests is forgotten, on whatever thread it does.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn none_that_rests_is_forgotten() {
    let server = occupied().await;
    let shedder = server.control.shedder().clone();
    tokio::spawn(flood(server.control.clone()));
    let clients = (0..64).map(|_| {
        let address = server.address;
        tokio::spawn(async move {
            let mut connection = Connection::open(address).await;
            for _ in 0..30 {
                let passed_on = request("GET", "/", &[("via", "1.1 test")]);
                assert_eq!(connection.ask(passed_on).await.cause(), "overloaded");
            }
        })
    });
    for client in clients.collect::<Vec<_>>() {
        client.await.expect("answered each time");
    }
    assert!(shedder.snapshot().pacing.paced > 0);
}
