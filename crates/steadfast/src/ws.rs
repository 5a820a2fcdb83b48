//! WebSockets that end in order when the process leaves.
//!
//! Once upgraded, a connection is no request any more: no layer sees it, and `axum::serve`
//! neither waits for it nor tells it anything, so a restart cuts it without a close frame.
//! A [`DrainSocket`] sends *1001, going away* when its [`DrainToken`] says so, and the drain
//! waits for it. Over HTTP/2 a WebSocket is one stream of its connection (RFC 8441): it is
//! told and waited for alike, and the connection stays open for it after its GOAWAY.
//!
//! ```
//! use axum::{Router, extract::ws::WebSocketUpgrade, response::Response, routing::get};
//! use steadfast::{DrainToken, ws};
//!
//! async fn echo(upgrade: WebSocketUpgrade, token: DrainToken) -> Response {
//!     ws::on_upgrade(upgrade, token, |mut socket| async move {
//!         while let Some(Ok(message)) = socket.recv().await {
//!             if socket.send(message).await.is_err() {
//!                 return;
//!             }
//!         }
//!     })
//! }
//! # let _: Router = Router::new().route("/echo", get(echo));
//! ```

use std::{fmt, future::Future, pin::Pin, time::Duration};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    response::Response,
};

use crate::drain::{DrainPermit, DrainToken};

/// How long the peer may take to answer the close frame.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Upgrades to a WebSocket that the drain waits for and tells.
pub fn on_upgrade<C, F>(upgrade: WebSocketUpgrade, token: DrainToken, callback: C) -> Response
where
    C: FnOnce(DrainSocket) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    // From here on and not from the callback on: the upgrade itself is waited for too.
    let permit = token.socket();
    upgrade.on_upgrade(move |socket| {
        callback(DrainSocket {
            socket,
            told: Box::pin(token.told()),
            _permit: permit,
        })
    })
}

/// A WebSocket that closes with 1001 when the process leaves.
pub struct DrainSocket {
    socket: WebSocket,
    told: Pin<Box<dyn Future<Output = ()> + Send + Sync>>,
    _permit: DrainPermit,
}

impl DrainSocket {
    /// Receives the next message; `None` when the peer has closed, and also when the process
    /// leaves: then the close frame has been sent and answered, or had a second for it.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Cancel safety
    /// Dropping it loses no message.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        tokio::select! {
            // What has come is delivered first.
            biased;
            message = self.socket.recv() => return message,
            () = &mut self.told => {}
        }
        self.close().await;
        None
    }

    /// Sends a message.
    ///
    /// # Errors
    /// Those of the socket.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        self.socket.send(message).await
    }

    async fn close(&mut self) {
        // Asked again, it says the same.
        self.told = Box::pin(std::future::ready(()));
        let frame = CloseFrame {
            code: close_code::AWAY,
            reason: "the server leaves".into(),
        };
        let closing = async {
            if self.socket.send(Message::Close(Some(frame))).await.is_err() {
                return;
            }
            // The peer answers with a close frame, behind what it had already sent.
            while let Some(Ok(message)) = self.socket.recv().await {
                if matches!(message, Message::Close(_)) {
                    return;
                }
            }
        };
        let _ = tokio::time::timeout(CLOSE_MAX, closing).await;
    }
}

impl fmt::Debug for DrainSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainSocket").finish_non_exhaustive()
    }
}
