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
mod frames;
mod handshake;
mod io;
mod limits;
mod message;
mod patience;
mod registry;
mod service;
mod slots;
mod slow;
mod sniff;
mod state;
mod streams;
mod turns;
mod unacknowledged;
mod upload;
mod writes;

use std::{convert::Infallible, fmt::Debug, sync::Arc, time::Duration};

use axum::{extract::Request, response::Response, serve::Listener};
use steadfast_core::Local;
use tokio::sync::OwnedSemaphorePermit;
use tower_service::Service;

use crate::{
    clock,
    drain::{Room, Server, Stage},
    gate::shed::Shedder,
    instance::Control,
};
use conn::Conn;
use io::Io;
use registry::Registry;
use service::OnConnection;
use slow::Slow;
use unacknowledged::Ends;

pub use handshake::Handshake;
pub use limits::Connections;

/// How long connections that were cut may take to end.
const CUT_MAX: Duration = Duration::from_millis(400);

/// Accepts until the drain says that it is enough, and finishes what runs. Returns once the
/// last connection has gone, or has been cut.
pub(crate) async fn run<L, S>(control: &Control, limits: Connections, listener: L, app: S)
where
    L: Listener,
    L::Addr: Debug + Clone + Send + Sync + 'static,
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    let room = control.room();
    room.tally().connections_seen = true;
    room.server_is(Server::Accepting);
    let _gone = Gone(room.clone());
    let mut serving = Serving {
        app,
        room: room.clone(),
        shedder: control.shedder().clone(),
        registry: Arc::new(Registry::new(limits.max)),
        slow: Arc::default(),
        limits,
    };
    serving.accept(listener).await;
    room.server_is(Server::Closed);
    serving.finish().await;
    room.server_is(Server::Gone);
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
    app: S,
    room: Local<Room>,
    shedder: Shedder,
    registry: Arc<Registry>,
    slow: Arc<Slow>,
    limits: Connections,
}

impl<S> Serving<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
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
        accept::heal(&listener);
        let mut spare = accept::Spare::new();
        loop {
            if !self.registry.has_room() {
                let open = self.registry.count();
                tracing::warn!(target: "steadfast", open, "no room for more connections; further ones wait");
            }
            let registry = Arc::clone(&self.registry);
            let short = || registry.make_some_room();
            let accepted = tokio::select! {
                biased;
                () = &mut closing => break,
                accepted = async {
                    // The place first: what is accepted without one would have to be dropped.
                    let place = registry.room().await;
                    (accept::next(&mut listener, short).await, place)
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
        let registry = Arc::clone(&self.registry);
        let rest = accept::rest(
            &mut listener.0,
            |(socket, peer)| self.serve(socket, peer, None),
            // Those in the queue have asked for something, and idle ones have not.
            || registry.make_room(usize::MAX, Duration::ZERO),
        );
        tokio::select! {
            () = rest => {}
            () = cutting => {
                spare.give_up();
                let left_over = accept::left_over(&mut listener.0);
                self.room.tally().cut.queued += left_over;
            }
        }
    }

    fn serve<I, A>(&mut self, socket: I, peer: A, place: Option<OwnedSemaphorePermit>)
    where
        I: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
        A: Clone + Send + Sync + 'static,
    {
        accept::prepare(&socket, &self.limits);
        let ends = Ends::of(&socket);
        let slow = Arc::clone(&self.slow);
        let conn = Conn::new(self.room.clone(), self.limits, slow, ends, clock::now());
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
