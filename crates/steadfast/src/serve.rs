//! Serving: an accept loop that loses no request when the process leaves.
//!
//! ```text
//! listener ─▶ accept ─▶ task of a connection ─▶ hyper ─▶ the guarded application
//!               │          │  bounds, the drain's stage
//!               │          └ conn: what it is doing          registry: all that are open
//!               └ at the end: the kernel's queue, then the listener is closed
//! ```
//!
//! `axum::serve` closes its listener and every idle connection at the moment of the signal,
//! when no balancer knows of it yet; it has no bound on anything. Here the listener stays
//! open for the lame duck and its queue is emptied before it is closed; an idle connection
//! is closed last, and only after the kernel was asked whether a request is in its buffer
//! ([`io`]); every wait has a bound ([`limits`]), and what is cut at the end of the grace is
//! counted by what it was doing ([`conn`]).

mod accept;
mod conn;
mod connection;
mod handshake;
mod io;
mod limits;
mod registry;
mod service;
mod slots;
mod sniff;
mod streams;

use std::{convert::Infallible, fmt::Debug, sync::Arc, time::Duration};

use axum::{extract::Request, response::IntoResponse, serve::Listener};
use steadfast_core::{DrainReport, Local};
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use crate::{
    clock,
    drain::{Room, Server, Stage},
    gate::shed::Shedder,
    guard::{Guard, Guarded},
};
use conn::Conn;
use io::Io;
use registry::Registry;
use service::OnConnection;

pub use handshake::Handshake;
pub use limits::Connections;

/// How long connections that were cut may take to end.
const CUT_MAX: Duration = Duration::from_millis(400);

impl Guard {
    /// Starts the guard and serves `app` until a signal, or [`crate::Control::begin_drain`],
    /// has led to the end of the drain. Returns its report: what was served on the way out,
    /// how connections ended, what had to be cut.
    ///
    /// HTTP/1 and HTTP/2 (with prior knowledge) are told apart by their first bytes. Handlers
    /// find the peer's address in `ConnectInfo<L::Addr>` and can ask for a
    /// [`crate::DrainToken`]. Everything is bounded: see [`Connections`] and [`crate::Drain`].
    ///
    /// Two kinds of peers can still lose a request to the close of an idle connection: one
    /// that sends after more than [`crate::Drain::idle_linger`] of silence at just that
    /// moment, and one behind a TLS listener of its own, whose buffers cannot be asked.
    ///
    /// # Listeners of your own, and TLS
    /// A `TcpListener` or `UnixListener` of tokio is asked itself, without its `accept`. Any
    /// other type is another listener, also one of those inside `ListenerExt::tap_io`:
    ///
    /// - Its `accept` is dropped, wherever it waits, when the lame duck is over, and when a
    ///   signal ends it sooner. A TLS handshake that `accept` is in the middle of is lost with
    ///   it, and its client sees the connection close. While it waits for one client's
    ///   handshake, it also accepts nobody else.
    ///   So let `accept` return once the socket is there, with a [`Handshake`]: it is then done
    ///   on the connection's own task, within [`Connections::first_request`], and waited for
    ///   like a first request.
    /// - The queue is emptied by polling `accept` once after each turn of the runtime's
    ///   driver, about a millisecond a connection, until one finds nothing. Nothing keeps
    ///   the kernel from taking in one more between that look and the close; it is reset.
    /// - Its errors are its own to log and to wait out.
    ///
    /// A proxy that ends TLS in front has none of this.
    ///
    /// # Errors
    /// The guard cannot be started (see [`Guard::start`]).
    ///
    /// # Cancel safety
    /// Dropping it ends every connection at once.
    pub async fn serve<L, S>(&self, listener: L, app: Guarded<S>) -> std::io::Result<DrainReport>
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request> + Clone + Send + 'static,
        S::Response: IntoResponse,
        S::Error: Into<Infallible>,
        S::Future: Send,
    {
        let _running = self.start()?;
        let control = self.control();
        let room = control.room();
        room.tally().connections_seen = true;
        room.server_is(Server::Accepting);
        let _gone = Gone(room.clone());
        let mut serving = Serving {
            app,
            room: room.clone(),
            shedder: control.shedder().clone(),
            registry: Registry::new(self.connections().max),
            limits: self.connections(),
        };
        serving.accept(listener).await;
        room.server_is(Server::Closed);
        serving.finish().await;
        room.server_is(Server::Gone);
        Ok(Arc::unwrap_or_clone(control.drained().await))
    }
}

/// Says that nobody accepts any more, also when the future that did is dropped: a drain
/// must not wait for it.
struct Gone(Local<Room>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.server_is(Server::Gone);
    }
}

/// What every connection needs.
struct Serving<S> {
    app: Guarded<S>,
    room: Local<Room>,
    shedder: Shedder,
    registry: Registry,
    limits: Connections,
}

impl<S> Serving<S>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Error: Into<Infallible>,
    S::Future: Send,
{
    /// Accepts until the lame duck is over, then what is queued, and closes the listener.
    async fn accept<L>(&mut self, mut listener: L)
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
    {
        let mut stages = self.room.stage.subscribe();
        let closing = async {
            let _ = stages.wait_for(Stage::is_closing).await;
        };
        tokio::pin!(closing);
        loop {
            if !self.registry.has_room() {
                let open = self.registry.count();
                tracing::warn!(target: "steadfast", open, "no room for more connections; further ones wait");
            }
            let registry = &self.registry;
            let accepted = tokio::select! {
                biased;
                () = &mut closing => break,
                accepted = async {
                    // The place first: what is accepted without one would have to be dropped.
                    let place = registry.place().await;
                    (accept::next(&mut listener).await, place)
                } => accepted,
            };
            let ((socket, peer), place) = accepted;
            self.serve(socket, peer, place);
        }
        let mut listener = accept::Closing(listener);
        let mut stages = self.room.stage.subscribe();
        // A queue that fills as fast as it is emptied must not outlast the grace.
        let cutting = async move {
            let _ = stages.wait_for(|stage| *stage >= Stage::Cutting).await;
        };
        let rest = accept::rest(&mut listener.0, |(socket, peer)| {
            self.serve(socket, peer, None)
        });
        tokio::select! {
            () = rest => {}
            () = cutting => {}
        }
    }

    fn serve<I, A>(&mut self, socket: I, peer: A, place: Option<OwnedSemaphorePermit>)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        A: Clone + Send + Sync + 'static,
    {
        let conn = Conn::new(self.room.clone(), self.limits, clock::now());
        let place = self.registry.enter(&conn, place);
        let io = Io::new(socket, Arc::clone(&conn), place);
        let service = OnConnection {
            app: self.app.clone(),
            peer,
            conn: Arc::clone(&conn),
            shedder: self.shedder.clone(),
        };
        let task = tokio::spawn(connection::run(io, service, self.limits));
        conn.runs_as(task.abort_handle());
    }

    /// Waits for the last connection, and cuts what is there when the grace is over.
    async fn finish(&mut self) {
        let mut stages = self.room.stage.subscribe();
        tokio::select! {
            () = self.registry.none() => return,
            _ = stages.wait_for(|stage| *stage >= Stage::Cutting) => {}
        }
        self.registry.cut_all(&self.room);
        if tokio::time::timeout(CUT_MAX, self.registry.none())
            .await
            .is_err()
        {
            let open = self.registry.count();
            tracing::warn!(target: "steadfast", open, "connections whose task blocks its thread are left behind");
        }
    }
}
