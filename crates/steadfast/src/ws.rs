//! WebSockets that end in order when the process leaves.
//!
//! Once upgraded, a connection is no request any more: no layer sees it, and `axum::serve`
//! neither waits for it nor tells it anything, so a restart cuts it without a close frame.
//! A [`DrainSocket`] sends *1001, going away* when its [`DrainToken`] says so, and the drain
//! waits for it. Over HTTP/2 a WebSocket is one stream of its connection (RFC 8441): it is
//! told and waited for alike, and the connection stays open for it after its GOAWAY.
//!
//! Whoever uses the socket learns of it: in `recv` and in `send`, also if messages never stop coming
//! or the peer takes none. A handler that does neither, because it waits for something to
//! push, loses its socket a second later: the peer has its close frame, and the next `send`
//! fails. Where several tasks need the socket at once, wait for a [`DrainToken`] beside it.
//!
//! Each is a stream, and counted with the streams: one too many is refused before it is
//! upgraded.
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

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code},
    response::{IntoResponse, Response},
};
use futures_util::FutureExt;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    clock,
    drain::{DrainPermit, DrainToken, READY_MAX, StreamPlace},
};

/// How long the peer may take to answer the close frame, and how long what was under way may
/// go on before it.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// Upgrades to a WebSocket that the drain waits for and tells.
pub fn on_upgrade<C, F>(upgrade: WebSocketUpgrade, token: DrainToken, callback: C) -> Response
where
    C: FnOnce(DrainSocket) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let place = match token.stream() {
        Ok(place) => place,
        Err(refusal) => return crate::Error::from(refusal).into_response(),
    };
    // From here on and not from the callback on: the upgrade itself is waited for too.
    let permit = token.socket();
    upgrade.on_upgrade(move |socket| async move {
        let open = Open {
            socket,
            since: clock::now(),
            _permit: permit,
            _place: place,
        };
        let socket = DrainSocket::new(open, token.clone());
        let shared = Arc::downgrade(&socket.shared);
        let mut handler = std::pin::pin!(callback(socket));
        tokio::select! {
            () = &mut handler => return,
            () = close_unused(token, shared) => {}
        }
        handler.await;
    })
}

/// Closes the socket of a handler that is told to leave and does not ask for it.
async fn close_unused(token: DrainToken, shared: Weak<Shared>) {
    token.leaving().await;
    // Whoever uses it does better: what has come is answered first.
    let _ = timeout(CLOSE_MAX, token.cancelled()).await;
    let Some(shared) = shared.upgrade() else {
        return std::future::pending().await;
    };
    let open = shared.0.lock().await.take();
    if let Some(open) = open {
        open.close(&token).await;
    }
}

/// A socket with what it holds.
struct Open {
    socket: WebSocket,
    since: Instant,
    _permit: DrainPermit,
    _place: StreamPlace,
}

/// `None` once it is closed.
struct Shared(Mutex<Option<Open>>);

type Leaving = Pin<Box<dyn Future<Output = ()> + Send + Sync>>;

/// A WebSocket that closes with 1001 when the process leaves.
pub struct DrainSocket {
    shared: Arc<Shared>,
    token: DrainToken,
    leaving: Leaving,
    closing: Option<Closing>,
}

/// What is still sent and received before the socket closes.
struct Closing {
    until: Instant,
    /// Messages, in and out.
    left: u8,
}

impl DrainSocket {
    fn new(open: Open, token: DrainToken) -> Self {
        Self {
            shared: Arc::new(Shared(Mutex::new(Some(open)))),
            leaving: Box::pin(token.clone().until_leaving_begins()),
            token,
            closing: None,
        }
    }

    /// Receives the next message; `None` when the peer has closed, and also when the process
    /// leaves: then the close frame has been sent and answered, or had a second for it. What
    /// has come by then is received first, 32 messages of a peer that does not stop.
    ///
    /// # Errors
    /// Those of the socket.
    ///
    /// # Cancel safety
    /// Dropping it loses no message.
    pub async fn recv(&mut self) -> Option<Result<Message, Error>> {
        let mut slot = self.shared.0.lock().await;
        let open = slot.as_mut()?;
        if self.closing.is_none() {
            tokio::select! {
                biased;
                () = &mut self.leaving => {}
                message = open.socket.recv() => return message,
            }
        }
        if self.closing.get_or_insert_with(Closing::new).goes_on() {
            if let Some(message) = open.socket.recv().now_or_never() {
                return message;
            }
        }
        if let Some(open) = slot.take() {
            open.close(&self.token).await;
        }
        None
    }

    /// Sends a message. When the process leaves, what is being sent has a second to go out, and
    /// answers to what has come go out too; after that the socket is closed.
    ///
    /// # Errors
    /// Those of the socket, and that it is closed because the process leaves.
    ///
    /// # Cancel safety
    /// Dropped, the message may be sent or not.
    pub async fn send(&mut self, message: Message) -> Result<(), Error> {
        let mut slot = self.shared.0.lock().await;
        let Some(open) = slot.as_mut() else {
            return Err(closed());
        };
        let sent = sends(open, &mut self.leaving, &mut self.closing, message).await;
        if let Some(sent) = sent {
            return sent;
        }
        if let Some(open) = slot.take() {
            open.close(&self.token).await;
        }
        Err(closed())
    }
}

/// Sends, and listens meanwhile. Returns nothing if the socket is to be closed instead.
async fn sends(
    open: &mut Open,
    leaving: &mut Leaving,
    closing: &mut Option<Closing>,
    message: Message,
) -> Option<Result<(), Error>> {
    let mut sending = std::pin::pin!(open.socket.send(message));
    if closing.is_none() {
        tokio::select! {
            // It is asked first: a peer that takes everything at once must not hide it.
            biased;
            () = leaving => {}
            sent = &mut sending => return Some(sent),
        }
    }
    let closing = closing.get_or_insert_with(Closing::new);
    if !closing.goes_on() {
        return None;
    }
    let left = closing.until.saturating_duration_since(clock::now());
    timeout(left, sending).await.ok()
}

impl Open {
    /// Sends the close frame, and waits for the peer's.
    async fn close(mut self, token: &DrainToken) {
        let frame = CloseFrame {
            code: close_code::AWAY,
            reason: "the server leaves".into(),
        };
        let (socket, mut sent) = (&mut self.socket, false);
        let closing = async {
            let gone = socket.send(Message::Close(Some(frame))).await.is_err();
            sent = true;
            if gone {
                return;
            }
            // The peer answers with a close frame, behind what it had already sent.
            while let Some(Ok(message)) = socket.recv().await {
                if matches!(message, Message::Close(_)) {
                    return;
                }
            }
        };
        let _ = timeout(CLOSE_MAX, closing).await;
        if !sent {
            // It takes nothing, so it cannot be told and sees the connection end.
            token.cut_socket(clock::now().saturating_duration_since(self.since));
        }
    }
}

impl Closing {
    fn new() -> Self {
        Self {
            until: clock::now() + CLOSE_MAX,
            left: READY_MAX,
        }
    }

    /// Whether one message more is taken.
    fn goes_on(&mut self) -> bool {
        let goes_on = self.left > 0 && clock::now() < self.until;
        self.left = self.left.saturating_sub(1);
        goes_on
    }
}

fn closed() -> Error {
    Error::new(io::Error::new(
        io::ErrorKind::NotConnected,
        "the socket was closed because the process leaves",
    ))
}

impl fmt::Debug for DrainSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainSocket").finish_non_exhaustive()
    }
}
