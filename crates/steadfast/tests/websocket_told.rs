//! WebSockets that are never idle, or whose handlers wait for something else, are told all the
//! same; and each is a stream that has to find a place.

#![cfg(feature = "axum")]

mod common;

use std::time::Duration;

use axum::{
    Router,
    extract::ws::{Message, WebSocketUpgrade},
    routing::any,
};
use common::{PATIENCE, leaver::Server, soon};
use futures_util::{SinkExt, StreamExt};
use steadfast::{
    Drain, DrainReport, DrainToken, Guard, Shed,
    ws::{self, DrainSocket},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, tungstenite};

type Client = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn echo(mut socket: DrainSocket) {
    while let Some(Ok(message)) = socket.recv().await {
        if matches!(message, Message::Binary(_)) && socket.send(message).await.is_err() {
            return;
        }
    }
}

/// Never reads, and never waits for anything but the socket.
async fn push(mut socket: DrainSocket) {
    let message = Message::Binary(vec![0; 256 * 1024].into());
    while socket.send(message.clone()).await.is_ok() {}
}

/// Waits for something to push, for ever.
async fn quiet(socket: DrainSocket) {
    std::future::pending::<()>().await;
    drop(socket);
}

fn app() -> Router {
    let echo = |upgrade: WebSocketUpgrade, token: DrainToken| async move {
        ws::on_upgrade(upgrade, token, echo)
    };
    let push = |upgrade: WebSocketUpgrade, token: DrainToken| async move {
        ws::on_upgrade(upgrade, token, push)
    };
    let quiet = |upgrade: WebSocketUpgrade, token: DrainToken| async move {
        ws::on_upgrade(upgrade, token, quiet)
    };
    Router::new()
        .route("/echo", any(echo))
        .route("/push", any(push))
        .route("/quiet", any(quiet))
}

/// Its grace is longer than any test waits: what ends has been told.
async fn start(shed: Shed) -> Server {
    let drain = Drain::default().lame_duck_max(Duration::ZERO);
    let drain = drain.grace(PATIENCE - Duration::from_secs(5));
    Server::serving(Guard::builder().shed(shed).drain(drain), app()).await
}

async fn open(server: &Server, path: &str) -> Client {
    let url = format!("ws://{}{path}", server.address);
    let opened = soon("the upgrade", tokio_tungstenite::connect_async(url)).await;
    opened.expect("upgraded").0
}

async fn report(server: Server) -> DrainReport {
    let report = server.report().await;
    assert!(
        !report.forced,
        "nothing had to wait for the grace: {report}"
    );
    report
}

/// Reads until the close frame, which must say 1001, and answers it.
async fn reads_1001(client: &mut Client) {
    soon("the close frame", async {
        loop {
            match client.next().await.expect("open").expect("a message") {
                tungstenite::Message::Close(frame) => {
                    let code = frame.expect("a reason").code;
                    assert_eq!(u16::from(code), 1001);
                    return;
                }
                _ => continue,
            }
        }
    })
    .await;
    while let Some(Ok(_)) = client.next().await {}
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_never_stops_sending_is_told() {
    let server = start(Shed::fixed(64)).await;
    let (mut sending, mut reading) = open(&server, "/echo").await.split();
    let flood = tokio::spawn(async move {
        let message = tungstenite::Message::binary(vec![1; 1024]);
        while sending.send(message.clone()).await.is_ok() {}
    });
    soon("an echo", reading.next())
        .await
        .expect("open")
        .expect("a message");
    server.control.begin_drain("a test");
    let code = soon("the close frame", async {
        loop {
            match reading.next().await.expect("open").expect("a message") {
                tungstenite::Message::Close(frame) => return frame.expect("a reason").code,
                _ => continue,
            }
        }
    })
    .await;
    assert_eq!(u16::from(code), 1001);
    let report = report(server).await;
    assert_eq!(report.cut.total(), 0, "{report}");
    flood.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_handler_that_only_pushes_is_told_busy_or_waiting() {
    let server = start(Shed::fixed(64)).await;
    let (mut busy, mut quiet) = (open(&server, "/push").await, open(&server, "/quiet").await);
    server.control.begin_drain("a test");
    tokio::join!(reads_1001(&mut busy), reads_1001(&mut quiet));
    let report = report(server).await;
    assert_eq!(
        (report.cut.total(), report.closed.upgraded),
        (0, 2),
        "{report}"
    );
}

/// Goal: a handler that is blocked in `send`, because its peer takes nothing, is let go; what
/// cannot be told is cut, and counted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_takes_nothing_is_cut_and_counted() {
    let server = start(Shed::fixed(64)).await;
    let deaf = open(&server, "/push").await;
    server.control.begin_drain("a test");
    let report = report(server).await;
    assert_eq!((report.cut.upgrade, report.cut.total()), (1, 1), "{report}");
    drop(deaf);
}

#[tokio::test]
async fn a_websocket_is_a_stream_that_needs_a_place() {
    let server = start(Shed::fixed(8).streams_max(1)).await;
    let shedder = server.control.shedder().clone();
    let first = open(&server, "/quiet").await;
    let seen = shedder.snapshot();
    assert_eq!((seen.in_flight, seen.streams.open), (0, 1));
    let url = format!("ws://{}/echo", server.address);
    let refused = tokio_tungstenite::connect_async(&url).await;
    let tungstenite::Error::Http(answer) = refused.expect_err("no place") else {
        panic!("it is no answer");
    };
    assert_eq!(answer.status(), 503);
    let why = answer.headers()["why-503"].to_str().expect("text");
    assert!(why.starts_with("cause=overloaded"), "{why}");
    drop(first);
    server.control.begin_drain("a test");
    report(server).await;
    assert_eq!(shedder.snapshot().streams.open, 0);
}
