//! WebSockets over real sockets: told with 1001, waited for, and counted when they do not go.

mod common;

use std::time::Duration;

use axum::{
    Router,
    extract::ws::{Message, WebSocketUpgrade},
    routing::any,
};
use common::{PATIENCE, soon, until};
use futures_util::{SinkExt, StreamExt};
use steadfast::{Drain, DrainReport, DrainToken, Guard, Phase, ws};
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_tungstenite::tungstenite;

const SECOND: Duration = Duration::from_secs(1);

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
        .route("/deaf", any(deaf))
}

async fn serve(
    drain: Drain,
) -> (
    std::net::SocketAddr,
    steadfast::Control,
    JoinHandle<std::io::Result<DrainReport>>,
) {
    let guard = Guard::builder()
        .without_signals()
        .drain(drain.lame_duck_max(Duration::ZERO));
    let guard = guard.build().expect("valid");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let (control, app) = (guard.control(), guard.protect(app()));
    let end = tokio::spawn(async move { guard.serve(listener, app).await });
    until("the start", || control.phase() == Some(Phase::Ready)).await;
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
