//! The races between closing and a request that is on its way, one test for each, over real
//! sockets with bytes written by hand. Every claim is about what happened, never about how
//! fast; waits have a deadline that only a failed test reaches.

mod common;

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    response::sse,
    routing::{any, get, post},
};
use common::{PATIENCE, soon, until};
use futures_util::stream;
use steadfast::{Connections, Control, Drain, DrainReport, Guard, Phase};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

const SECOND: Duration = Duration::from_secs(1);

/// A server that leaves when it is told to.
struct Server {
    address: SocketAddr,
    control: Control,
    end: JoinHandle<std::io::Result<DrainReport>>,
}

impl Server {
    async fn start(drain: Drain) -> Self {
        Self::with(drain, Connections::default()).await
    }

    async fn with(drain: Drain, connections: Connections) -> Self {
        let guard = Guard::builder()
            .without_signals()
            .drain(drain)
            .connections(connections)
            .build()
            .expect("valid");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let control = guard.control();
        let app = guard.protect(app());
        let end = tokio::spawn(async move { guard.serve(listener, app).await });
        until("the start", || control.phase() == Some(Phase::Ready)).await;
        Self {
            address,
            control,
            end,
        }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
    }

    fn leave(&self) {
        self.control.begin_drain("a test");
    }

    async fn report(self) -> DrainReport {
        let report = soon("the end of serving", self.end).await;
        report.expect("no panic").expect("served")
    }
}

fn app() -> Router {
    let endless = || async {
        let events = stream::unfold(0_u64, |n| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((
                Ok::<_, std::convert::Infallible>(sse::Event::default().data(n.to_string())),
                n + 1,
            ))
        });
        sse::Sse::new(events)
    };
    let huge = || async {
        let parts =
            stream::repeat_with(|| Ok::<_, std::io::Error>(Bytes::from(vec![b'x'; 65_536])));
        Body::from_stream(parts)
    };
    Router::new()
        .route("/", any(|| async { "hello" }))
        .route("/echo", post(|body: String| async move { body }))
        .route("/early", post(|| async { "enough" }))
        .route("/events", get(endless))
        .route("/huge", get(huge))
        .route("/hang", get(std::future::pending::<String>))
}

/// No lame duck, and a grace that no test reaches unless it means to.
fn at_once() -> Drain {
    Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(PATIENCE)
        .idle_linger(Duration::from_millis(200))
}

/// A grace that a test means to reach.
fn short() -> Drain {
    at_once().grace(SECOND)
}

const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

async fn send(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).await.expect("sent");
}

/// Reads until what was read ends with this.
async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    soon(end, async {
        while !text.ends_with(end.as_bytes()) {
            text.push(stream.read_u8().await.expect("more"));
        }
    })
    .await;
    String::from_utf8(text).expect("text")
}

/// Reads to the end, which must come in order and not as a reset.
async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    soon("the end", stream.read_to_end(&mut text))
        .await
        .expect("an end in order");
    String::from_utf8(text).expect("text")
}

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

/// Each awkward peer, what it is cut in, and what it sends. The drain ends when its grace is
/// over, and the report names the one.
#[tokio::test]
async fn awkward_peers_are_cut_at_the_deadline_and_named() {
    let upload = "POST /echo HTTP/1.1\r\nhost: test\r\ncontent-length: 10\r\n\r\nhalf";
    for (bytes, answer, reason) in [
        ("GET / HTTP/1.1\r\nhost: te", "", "handshake"),
        ("PRI * HTTP/2.0\r\n", "", "handshake"),
        (upload, "", "request-body"),
        ("GET /hang HTTP/1.1\r\nhost: test\r\n\r\n", "", "handler"),
        (
            "GET /huge HTTP/1.1\r\nhost: test\r\n\r\n",
            "\r\n\r\n",
            "body",
        ),
    ] {
        let server = Server::start(short()).await;
        let mut stream = server.connect().await;
        send(&mut stream, bytes).await;
        read_to(&mut stream, answer).await;
        server.leave();
        let report = server.report().await;
        let cut: Vec<_> = report
            .cut
            .by_reason()
            .into_iter()
            .filter(|it| it.1 > 0)
            .collect();
        assert_eq!(cut, [(reason, 1)], "{report}");
        assert_eq!(report.stuck[0].reason, reason, "{report}");
        let path = bytes.split(' ').nth(1).filter(|_| reason != "handshake");
        assert_eq!(&*report.stuck[0].route, path.unwrap_or(""), "{report}");
        assert!(report.forced && report.draining >= SECOND, "{report}");
        assert_eq!(report.exit_status() == 0, reason == "handshake", "{report}");
        drop(stream);
    }
}

/// Goal: an endless event stream is ended in order in the first half of the grace, without
/// the handler's help.
#[tokio::test]
async fn server_sent_events_end_with_their_last_chunk() {
    let server = Server::start(at_once().grace(4 * SECOND)).await;
    let mut stream = server.connect().await;
    send(&mut stream, "GET /events HTTP/1.1\r\nhost: test\r\n\r\n").await;
    read_to(&mut stream, "data: 3\n\n").await;
    server.leave();
    let rest = read_all(&mut stream).await;
    assert!(rest.ends_with("\r\n0\r\n\r\n"), "{rest:?}");
    drop(stream);
    let report = server.report().await;
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// Goal: peers that send or read too slowly are closed while nobody leaves.
#[tokio::test]
async fn slow_peers_are_closed_without_a_drain() {
    let limits = Connections::default()
        .first_request(SECOND / 10)
        .header_read(SECOND / 10)
        .idle(SECOND / 10)
        .write_stall(SECOND / 10);
    let server = Server::with(at_once(), limits).await;
    for bytes in [
        "",
        "GET / HT",
        "PRI * HT",
        GET,
        "GET /huge HTTP/1.1\r\nhost: test\r\n\r\n",
    ] {
        let mut stream = server.connect().await;
        send(&mut stream, bytes).await;
        if bytes.contains("huge") {
            // Reads nothing until the server has given up; then there is an end.
            let shedder = server.control.shedder().clone();
            until("the body to be dropped", || shedder.in_flight() == 1).await;
            until("the body to be dropped", || shedder.in_flight() == 0).await;
        }
        let mut all = Vec::new();
        let _ = soon("the close", stream.read_to_end(&mut all)).await;
    }
    server.leave();
    server.report().await;
}

/// Goal: no more connections than allowed are accepted; the next one is as soon as there is
/// room.
#[tokio::test]
async fn connections_above_the_maximum_wait_for_room() {
    let server = Server::with(at_once(), Connections::default().max(1)).await;
    let mut first = server.connect().await;
    send(&mut first, GET).await;
    read_to(&mut first, "hello").await;
    let mut second = server.connect().await;
    send(&mut second, GET).await;
    let shedder = server.control.shedder().clone();
    let admitted = shedder.snapshot().admitted;
    send(&mut first, GET).await;
    read_to(&mut first, "hello").await;
    assert_eq!(
        shedder.snapshot().admitted,
        admitted + 1,
        "the second waits"
    );
    drop(first);
    read_to(&mut second, "hello").await;
    drop(second);
    server.leave();
    server.report().await;
}
