//! Answers without an end of their own, when the process leaves: each is ended between two of
//! the things it is made of, or cut so that its client sees it and the report counts it.

#![cfg(feature = "axum")]

mod common;

use std::{convert::Infallible, sync::LazyLock, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    extract::Path,
    response::Response,
    routing::get,
};
use common::{Connection, PATIENCE, get as request_for, http2, leaver::Server, soon};
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Full};
use hyper::{body::Incoming, client::conn};
use steadfast::{Drain, DrainToken, Guard, RouteClass, WhenDraining};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};

const SECOND: Duration = Duration::from_secs(1);

/// How long the parts of a feed are apart.
const PAUSE: Duration = Duration::from_millis(150);

/// Parts that come again and again, with a pause after each.
fn feed(kind: &str, pause: Duration, parts: &'static [&'static [u8]]) -> Response {
    let parts = stream::iter(parts.iter().cycle()).then(move |part| async move {
        if !pause.is_zero() {
            tokio::time::sleep(pause).await;
        }
        Ok::<_, Infallible>(Bytes::from_static(part))
    });
    Response::builder()
        .header("content-type", kind)
        .body(Body::from_stream(parts))
        .expect("a response")
}

const EVENTS: &str = "text/event-stream";

/// Feeds of server-sent events, as handlers, proxies and slow writers make them.
async fn events(Path(kind): Path<String>) -> Response {
    match kind.as_str() {
        "whole" => feed(EVENTS, PAUSE, &[b"data: 1\n\n"]),
        "split" => feed(EVENTS, PAUSE, &[b"data: {\"n\":", b"1}\n", b"\n"]),
        "crlf" => feed(
            EVENTS,
            PAUSE,
            &[b"data: 1\r\n\r", b"\ndata: 2\r\n", b"\r\n"],
        ),
        "cr" => feed(EVENTS, PAUSE, &[b"data: 1\r", b"\rdata: 2\r\r"]),
        "pings" => feed(
            EVENTS,
            PAUSE,
            &[b": ping\n", b": ping\n\n", b"data: 1", b"\n\n"],
        ),
        "behind" => feed(
            EVENTS,
            PAUSE,
            &[b"data: 1\n\ndata: ", b"2\n\ndata: ", b"3\n\n"],
        ),
        "hot" => feed(EVENTS, Duration::ZERO, &*HOT),
        "never" => feed(EVENTS, Duration::ZERO, &[&[b'x'; 1 << 20]]),
        other => panic!("{other}"),
    }
}

/// An event in two parts, which are large because HTTP/2 clients take a flood of small frames
/// for an attack.
static HOT: LazyLock<[&[u8]; 2]> = LazyLock::new(|| {
    let middle = "x".repeat(8 * 1024);
    let part = |text: String| -> &'static [u8] { text.leak().as_bytes() };
    [
        part(format!("data: {middle}")),
        part(format!("{middle}}}\n\n")),
    ]
});

const KINDS: [&str; 6] = ["whole", "split", "crlf", "cr", "pings", "behind"];

fn app() -> Router {
    let gzip = || async {
        let mut answer = feed(EVENTS, PAUSE, &[b"data: 1\n\n"]);
        let headers = answer.headers_mut();
        headers.insert("content-encoding", http::HeaderValue::from_static("gzip"));
        answer
    };
    let known = || async {
        let bytes = Bytes::from_static(b"data: a replay\n\n");
        let body = Full::new(bytes);
        ([("content-type", EVENTS)], Body::new(body))
    };
    let items = |token: DrainToken| async move {
        let hot = stream::repeat(Ok::<_, Infallible>("item;"));
        Body::from_stream(token.until_leaving(hot))
    };
    let grpc = || async { feed("application/grpc+proto", PAUSE, &[b"\0\0\0\0\x02a", b"b"]) };
    let picture: &[&[u8]] = &[b"--cut\r\n\r\none\r\n", b"--cut\r\n\r\ntw", b"o\r\n"];
    Router::new()
        .route("/events/{kind}", get(events))
        .route("/gzip", get(gzip))
        .route("/known", get(known))
        .route("/items", get(items))
        .route("/lines", get(|| async { feed("application/x-ndjson", PAUSE, &[b"{\"a\":", b"1}\n"]) }))
        .route("/bytes", get(|| async { feed("application/octet-stream", PAUSE, &[b"x"]) }))
        .route("/grpc", get(grpc))
        .route("/call", get(grpc))
        .route(
            "/picture",
            get(move || async move { feed("multipart/x-mixed-replace;boundary=cut", PAUSE, picture) }),
        )
}

async fn start(grace: Duration) -> Server {
    let leave = || RouteClass::new().when_draining(WhenDraining::Leave);
    let guard = Guard::builder()
        .drain(Drain::default().lame_duck_max(Duration::ZERO).grace(grace))
        .route("/lines", leave())
        .route("/bytes", leave())
        .route("/grpc", leave());
    Server::serving(guard, app()).await
}

async fn open(server: &Server, path: &str) -> Incoming {
    let mut connection = Connection::open(server.address).await;
    connection.send(request_for(path)).await.into_body()
}

type Http2 = conn::http2::SendRequest<Full<Bytes>>;

async fn open2(client: &mut Http2, path: &str) -> Incoming {
    let request = http::Request::get(format!("http://test{path}"))
        .body(Full::default())
        .expect("a request");
    client.ready().await.expect("open");
    let answer = soon("an answer", client.send_request(request)).await;
    answer.expect("an answer").into_body()
}

/// The last bytes of an answer, its trailers, and whether it came to its end.
#[derive(Debug)]
struct End {
    tail: Vec<u8>,
    trailers: Option<http::HeaderMap>,
    in_order: bool,
}

async fn read(mut body: Incoming) -> End {
    let (mut tail, mut trailers) = (Vec::new(), None);
    loop {
        match body.frame().await {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => {
                    tail.extend_from_slice(&data);
                    tail.drain(..tail.len().saturating_sub(32));
                }
                Err(frame) => trailers = frame.into_trailers().ok(),
            },
            end => {
                return End {
                    tail,
                    trailers,
                    in_order: end.is_none(),
                };
            }
        }
    }
}

/// Whether what was read ends with the end of an event, whatever its lines end with.
fn ends_with_an_event(tail: &[u8]) -> bool {
    let tail = String::from_utf8_lossy(tail)
        .replace("\r\n", "\n")
        .replace('\r', "\n");
    tail.is_empty() || tail.ends_with("\n\n") || tail.ends_with(": ping\n")
}

/// Goal: of 1,000 answers none ends inside an event as if it were whole, and the report knows
/// of each that was cut. Method: feeds of every kind, half of them over HTTP/2, told at
/// their own moments.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_answer_of_a_thousand_ends_inside_an_event_as_if_it_were_whole() {
    let server = start(6 * SECOND).await;
    let mut readers = JoinSet::new();
    let mut clients = Vec::new();
    for _ in 0..5 {
        clients.push(http2(server.address).await);
    }
    for n in 0..1_000 {
        // A few that are always ready are as much work as all the others, and come last.
        let kind = if n >= 992 {
            "hot"
        } else {
            KINDS[n % KINDS.len()]
        };
        let path = format!("/events/{kind}");
        let body = if n % 2 == 0 {
            open(&server, &path).await
        } else {
            let at = n % clients.len();
            open2(&mut clients[at], &path).await
        };
        readers.spawn(async move { (kind, read(body).await) });
    }
    server.leave();
    let (mut in_order, mut cut) = (0, 0);
    while let Some(read) = soon("every end", readers.join_next()).await {
        let (kind, end) = read.expect("no panic");
        let whole = ends_with_an_event(&end.tail);
        let tail = end.tail.escape_ascii();
        assert!(
            whole || !end.in_order,
            "{kind} ends in order after ...{tail}"
        );
        if end.in_order {
            in_order += 1;
        } else {
            cut += 1;
        }
    }
    let report = server.report().await;
    println!("{in_order} ended in order, {cut} were cut");
    assert_eq!(
        (in_order + cut, report.cut.total()),
        (1_000, cut),
        "{report}"
    );
    // How many depends on the machine; that it is not all of them does not.
    assert!(in_order > 500, "{in_order} ended in order, {cut} were cut");
}

/// Goal: a feed that never makes its reader wait is told all the same, also as a stream of
/// items, long before the grace is over.
#[tokio::test]
async fn what_is_always_ready_is_told() {
    let server = start(PATIENCE / 3).await;
    let hot = open(&server, "/events/hot").await;
    let items = open(&server, "/items").await;
    let readers = [tokio::spawn(read(hot)), tokio::spawn(read(items))];
    server.leave();
    for (reader, end) in readers.into_iter().zip(["}\n\n", "item;"]) {
        let read = soon("an end", reader).await.expect("no panic");
        assert!(
            read.in_order && read.tail.ends_with(end.as_bytes()),
            "{read:?}"
        );
    }
    let report = server.report().await;
    assert!(report.is_clean(), "{report}");
}

/// Goal: an event that is larger than what its reader has taken cannot be ended in order; it is
/// cut and counted.
#[tokio::test]
async fn an_answer_that_nobody_reads_is_cut_and_counted() {
    let server = start(SECOND).await;
    let mut socket = TcpStream::connect(server.address).await.expect("connected");
    let head = b"GET /events/never HTTP/1.1\r\nhost: test\r\n\r\n";
    socket.write_all(head).await.expect("sent");
    let mut first = [0];
    socket.peek(&mut first).await.expect("an answer");
    server.leave();
    let report = server.report().await;
    assert_eq!(report.cut.total(), 1, "{report}");
    let mut read = Vec::new();
    // A reset, or an end without the last chunk.
    let _ = soon("the end", socket.read_to_end(&mut read)).await;
    assert!(!read.ends_with(b"\r\n0\r\n\r\n"), "it looks whole");
}

/// Goal: what has no end that anybody knows is cut where its client sees it, never ended as if
/// it were whole: at once where its route leaves, at the last moment otherwise.
#[tokio::test]
async fn what_has_no_known_end_is_cut_and_counted() {
    let server = start(2 * SECOND).await;
    let mut client = http2(server.address).await;
    let mut bodies = Vec::new();
    for path in ["/bytes", "/gzip"] {
        bodies.push(open(&server, path).await);
        bodies.push(open2(&mut client, path).await);
    }
    let known = open(&server, "/known").await;
    server.leave();
    for body in bodies {
        let end = soon("the end", read(body)).await;
        assert!(!end.in_order, "{end:?}");
    }
    let known = soon("the end", read(known)).await;
    assert!(known.in_order && known.tail.ends_with(b"replay\n\n"));
    let report = server.report().await;
    assert_eq!(report.cut.total(), 4, "{report}");
    let mut routes: Vec<_> = report.stuck.iter().map(|it| &*it.route).collect();
    routes.sort_unstable();
    assert_eq!(routes, ["/bytes", "/bytes", "/gzip", "/gzip"]);
}

/// Goal: lines end at a line, pictures with the closing delimiter.
#[tokio::test]
async fn lines_and_parts_end_where_they_say() {
    let server = start(8 * SECOND).await;
    let (lines, picture) = (
        open(&server, "/lines").await,
        open(&server, "/picture").await,
    );
    server.leave();
    let (lines, picture) = (
        soon("lines", read(lines)).await,
        soon("parts", read(picture)).await,
    );
    assert!(lines.in_order && lines.tail.ends_with(b"1}\n"), "{lines:?}");
    let closed = picture.tail.ends_with(b"\r\n--cut--\r\n");
    assert!(picture.in_order && closed, "{picture:?}");
    assert!(server.report().await.is_clean());
}

/// Goal: a gRPC stream whose route leaves ends between two messages, with the status that lets
/// its client call again; any other is waited for, and reset at the end of the grace.
#[tokio::test]
async fn a_grpc_stream_ends_with_trailers_or_a_reset() {
    let server = start(3 * SECOND).await;
    let mut client = http2(server.address).await;
    let mut leaves = open2(&mut client, "/grpc").await;
    let stays = open2(&mut client, "/call").await;
    // The first half of a message is out when it is told, so the second has to follow.
    let half = soon("half a message", leaves.frame()).await;
    assert!(half.is_some_and(|half| half.is_ok()), "a part");
    server.leave();
    let leaves = soon("the trailers", read(leaves)).await;
    assert!(leaves.in_order && leaves.tail.ends_with(b"b"), "{leaves:?}");
    let trailers = leaves.trailers.expect("trailers");
    assert_eq!(trailers["grpc-status"], "14");
    let stays = soon("the reset", read(stays)).await;
    assert!(!stays.in_order && stays.trailers.is_none(), "{stays:?}");
    let report = server.report().await;
    assert_eq!(
        (report.cut.total(), &*report.stuck[0].route),
        (1, "/call"),
        "{report}"
    );
}
