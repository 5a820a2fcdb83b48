//! WebSockets over real sockets: told with 1001, waited for, and counted when they do not go;
//! over HTTP/1 and over HTTP/2 (RFC 8441), where one is a stream among others.

#![cfg(feature = "axum")]

mod common;

use std::{net::SocketAddr, time::Duration};

use axum::{
    Router,
    extract::{
        Request,
        ws::{Message, WebSocketUpgrade},
    },
    routing::{any, get},
};
use bytes::Bytes;
use common::{PATIENCE, leaver::Server, soon};
use futures_util::{SinkExt, StreamExt};
use http::Method;
use http_body_util::{BodyExt, Empty};
use hyper::{client::conn::http2, ext::Protocol, upgrade::Upgraded};
use hyper_util::rt::{TokioExecutor, TokioIo};
use steadfast::{Connections, Drain, DrainReport, DrainToken, Guard, RouteClass, WhenDraining, ws};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinHandle,
    time::Instant,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, protocol::Role},
};

const SECOND: Duration = Duration::from_secs(1);

/// Bounds that a connection without a request would not outlive in these tests.
const SHORT: Duration = Duration::from_millis(100);

fn app() -> Router {
    let echo = |upgrade: WebSocketUpgrade, token: DrainToken| async move {
        ws::on_upgrade(upgrade, token, |mut socket| async move {
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Text(_)) && socket.send(message).await.is_err() {
                    return;
                }
            }
        })
    };
    let deaf = |upgrade: WebSocketUpgrade| async move {
        upgrade.on_upgrade(|mut socket| async move { while socket.recv().await.is_some() {} })
    };
    Router::new()
        .route("/echo", any(echo))
        .route("/late", any(echo))
        .route("/deaf", any(deaf))
        .route("/", get(|| async { "hello" }))
        .fallback(tunnel)
}

/// Echoes what comes through a tunnel that CONNECT has opened.
async fn tunnel(request: Request) {
    tokio::spawn(async move {
        let upgraded = hyper::upgrade::on(request).await.expect("a tunnel");
        let (mut read, mut write) = tokio::io::split(TokioIo::new(upgraded));
        let _ = tokio::io::copy(&mut read, &mut write).await;
    });
}

async fn serve(
    drain: Drain,
) -> (
    SocketAddr,
    steadfast::Control,
    JoinHandle<std::io::Result<DrainReport>>,
) {
    let guard = Guard::builder()
        .route(
            "/late",
            RouteClass::new().when_draining(WhenDraining::Finish),
        )
        .connections(Connections::default().idle(SHORT).write_stall(SHORT))
        .drain(drain.lame_duck_max(Duration::ZERO));
    let Server {
        address,
        control,
        end,
    } = Server::serving(guard, app()).await;
    (address, control, end)
}

/// Goal: what was sent before is answered, the close frame says 1001, and the drain ends with
/// the socket, long before its grace.
#[tokio::test]
async fn a_websocket_is_closed_with_1001_and_waited_for() {
    let (address, control, end) = serve(Drain::default().grace(PATIENCE / 4)).await;
    let url = format!("ws://{address}/echo");
    let (mut client, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("upgraded");
    client
        .send(tungstenite::Message::text("hello"))
        .await
        .expect("sent");
    let answer = soon("the echo", client.next())
        .await
        .expect("open")
        .expect("a message");
    assert_eq!(answer.into_text().expect("text").as_str(), "hello");
    control.begin_drain("a test");
    let close = soon("the close frame", client.next())
        .await
        .expect("open")
        .expect("a frame");
    let tungstenite::Message::Close(Some(frame)) = close else {
        panic!("{close:?}");
    };
    assert_eq!(u16::from(frame.code), 1001);
    // Reading on sends the answer to the close frame.
    assert!(
        soon("the end", client.next())
            .await
            .is_none_or(|last| last.is_err())
    );
    let report = soon("the report", end)
        .await
        .expect("no panic")
        .expect("served");
    assert_eq!(
        (report.closed.upgraded, report.cut.total()),
        (1, 0),
        "{report}"
    );
    assert!(report.is_clean() && !report.forced, "{report}");
}

/// Goal: a handler that does not listen is cut at the deadline and counted, once.
#[tokio::test]
async fn a_websocket_that_nobody_tells_is_cut_and_counted() {
    let (address, control, end) = serve(Drain::default().grace(SECOND)).await;
    let url = format!("ws://{address}/deaf");
    let (client, _) = tokio_tungstenite::connect_async(url)
        .await
        .expect("upgraded");
    control.begin_drain("a test");
    let report = soon("the report", end)
        .await
        .expect("no panic")
        .expect("served");
    assert_eq!((report.cut.upgrade, report.cut.total()), (1, 1), "{report}");
    assert_eq!(
        (report.stuck[0].reason, &*report.stuck[0].route),
        ("upgrade", "/deaf")
    );
    drop(client);
}

type Http2 = http2::SendRequest<Empty<Bytes>>;

async fn http2_client(address: SocketAddr) -> Http2 {
    let stream = TcpStream::connect(address).await.expect("connected");
    let handshake = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
    let (client, connection) = handshake.expect("HTTP/2");
    tokio::spawn(connection);
    client
}

async fn open(client: &mut Http2, path: &str) -> WebSocketStream<TokioIo<Upgraded>> {
    let answer = soon("the upgrade", async {
        loop {
            let request = http::Request::builder()
                .method(Method::CONNECT)
                .uri(format!("http://test{path}"))
                .extension(Protocol::from_static("websocket"))
                .header("sec-websocket-version", "13")
                .body(Empty::new())
                .expect("a request");
            // Until the server's settings are there, extended CONNECT is not known to be allowed.
            match client.send_request(request).await {
                Ok(answer) => return answer,
                Err(_) => tokio::time::sleep(Duration::from_millis(1)).await,
            }
        }
    })
    .await;
    assert_eq!(answer.status(), 200);
    let upgraded = hyper::upgrade::on(answer).await.expect("upgraded");
    WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Client, None).await
}

async fn is_echoed(socket: &mut WebSocketStream<TokioIo<Upgraded>>) {
    let message = tungstenite::Message::text("hello");
    socket.send(message.clone()).await.expect("sent");
    let answer = soon("the echo", socket.next()).await.expect("open");
    assert_eq!(answer.expect("a message"), message);
}

/// Whether the next that comes is a close frame with 1001, and the last.
async fn closes_with_1001(socket: &mut WebSocketStream<TokioIo<Upgraded>>) -> bool {
    let close = soon("the close frame", socket.next()).await;
    let Some(Ok(tungstenite::Message::Close(Some(frame)))) = close else {
        return false;
    };
    let last = soon("the end", socket.next()).await;
    u16::from(frame.code) == 1001 && last.is_none_or(|last| last.is_err())
}

/// Goal: WebSockets are requests of their connection for as long as they live. It is neither
/// idle nor slow because nothing is sent, GOAWAY lets them go on, each is told at the time
/// of its route, and the report counts them. Method: the last moment of the grace is short,
/// and a drain in which this machine took longer shows nothing of it, so it is repeated.
#[tokio::test]
async fn websockets_over_http2_keep_their_connection_and_are_closed_with_1001() {
    soon("a drain without a pause", async {
        while !websockets_over_http2_are_closed().await {}
    })
    .await;
}

/// How long before the end of the grace they are told who are told last.
const LAST_MOMENT: Duration = Duration::from_millis(250);

/// Returns whether this machine was fast enough.
async fn websockets_over_http2_are_closed() -> bool {
    let (address, control, end) = serve(Drain::default().grace(8 * SECOND)).await;
    let mut client = http2_client(address).await;
    let mut early = open(&mut client, "/echo").await;
    let mut late = open(&mut client, "/late").await;
    tokio::time::sleep(4 * SHORT).await;
    is_echoed(&mut early).await;
    is_echoed(&mut late).await;
    let request = http::Request::get("http://test/").body(Empty::new());
    let beside = client.send_request(request.expect("a request"));
    let answer = soon("the answer", beside).await.expect("an answer");
    let body = answer.into_body().collect().await.expect("a body");
    assert_eq!(body.to_bytes(), "hello");
    control.begin_drain("a test");
    assert!(closes_with_1001(&mut early).await);
    is_echoed(&mut late).await;
    // Its last moment is now.
    let hurried = Instant::now();
    control.hurry();
    let is_told = closes_with_1001(&mut late).await;
    if Instant::now() >= hurried + LAST_MOMENT {
        return false;
    }
    assert!(is_told);
    let report = soon("the report", end).await.expect("no panic");
    let report = report.expect("served");
    assert_eq!(report.closed.upgraded, 2, "{report}");
    assert!(report.is_clean(), "{report}");
    true
}

/// Goal: over HTTP/2 too, handlers that do not listen are cut at the deadline, by name.
#[tokio::test]
async fn websockets_over_http2_that_nobody_tells_are_cut_and_counted() {
    let (address, control, end) = serve(Drain::default().grace(SECOND)).await;
    let mut client = http2_client(address).await;
    let _deaf = open(&mut client, "/deaf").await;
    let _deaf_too = open(&mut client, "/deaf").await;
    control.begin_drain("a test");
    let report = soon("the report", end).await.expect("no panic");
    let report = report.expect("served");
    assert_eq!((report.cut.upgrade, report.cut.total()), (2, 2), "{report}");
    let stuck: Vec<_> = report
        .stuck
        .iter()
        .map(|it| (it.reason, &*it.route))
        .collect();
    assert_eq!(stuck, [("upgrade", "/deaf"); 2]);
    assert_eq!(report.closed.upgraded, 0, "{report}");
}

/// Goal: a tunnel that CONNECT opens over HTTP/1 has no 101, and is an upgrade all the same.
#[tokio::test]
async fn a_tunnel_is_an_upgraded_connection() {
    let (address, control, end) = serve(Drain::default().grace(SECOND)).await;
    let mut client = TcpStream::connect(address).await.expect("connected");
    let connect = b"CONNECT there:1 HTTP/1.1\r\nhost: there:1\r\n\r\n";
    client.write_all(connect).await.expect("sent");
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon("the head", client.read_u8()).await.expect("open"));
    }
    assert!(head.starts_with(b"HTTP/1.1 200"), "{}", head.escape_ascii());
    client.write_all(b"hello").await.expect("sent");
    let mut echo = [0; 5];
    soon("the echo", client.read_exact(&mut echo))
        .await
        .expect("open");
    assert_eq!(&echo, b"hello");
    control.begin_drain("a test");
    let report = soon("the report", end).await.expect("no panic");
    let report = report.expect("served");
    assert_eq!((report.cut.upgrade, report.cut.total()), (1, 1), "{report}");
}
