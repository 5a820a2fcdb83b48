//! Answers without an end: `/events` and `/ws`. Both end by themselves when the process
//! drains; otherwise each of them would hold the drain up until its grace is over.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    extract::{
        State, WebSocketUpgrade,
        ws::{CloseFrame, Message, WebSocket, close_code},
    },
    response::{
        Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{Stream, StreamExt, stream};
use steadfast::{Control, Phase};

use crate::app::Shop;

const TICK: Duration = Duration::from_secs(1);

/// Largest message that is echoed, in bytes.
const MESSAGE_LEN_MAX: usize = 64 * 1024;

/// One event at once, and one each second.
pub(crate) async fn events(
    State(shop): State<Arc<Shop>>,
) -> Sse<impl Stream<Item = Result<Event, Infallible>>> {
    let clock = tokio::time::interval(TICK);
    let ticks = stream::unfold((clock, 0_u64), |(mut clock, count)| async move {
        clock.tick().await;
        let event = Event::default().event("tick").data(count.to_string());
        Some((Ok(event), (clock, count + 1)))
    });
    let draining = shop.control.clone().reached(Phase::Draining);
    Sse::new(ticks.take_until(Box::pin(draining))).keep_alive(KeepAlive::default())
}

/// Says back what it is told.
pub(crate) async fn ws(State(shop): State<Arc<Shop>>, upgrade: WebSocketUpgrade) -> Response {
    let control = shop.control.clone();
    upgrade
        .max_message_size(MESSAGE_LEN_MAX)
        .on_upgrade(|socket| echo(socket, control))
}

async fn echo(mut socket: WebSocket, control: Control) {
    let draining = control.reached(Phase::Draining);
    tokio::pin!(draining);
    loop {
        let message = tokio::select! {
            () = &mut draining => {
                let away = CloseFrame { code: close_code::AWAY, reason: "draining".into() };
                // Whoever has gone already needs no goodbye.
                let _ = socket.send(Message::Close(Some(away))).await;
                return;
            }
            message = socket.recv() => message,
        };
        let Some(Ok(message @ (Message::Text(_) | Message::Binary(_)))) = message else {
            match message {
                // axum answers a ping by itself.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                _ => return,
            }
        };
        if socket.send(message).await.is_err() {
            return;
        }
    }
}
