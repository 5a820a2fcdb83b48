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
//! ([`io`]); a client that asks again as soon as it is refused is read later while many do
//! ([`haste`]); every wait has a bound ([`limits`]), and what is cut at the end of the grace is
//! counted by what it was doing ([`conn`]).

mod accept;
mod conn;
mod connection;
mod frames;
mod handshake;
mod haste;
mod io;
mod limits;
mod listener;
mod message;
mod mode;
mod next;
mod patience;
mod peer;
mod registry;
mod service;
mod slots;
mod slow;
mod sniff;
mod state;
mod stream_stall;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod unacknowledged;
mod upload;
mod writes;

use std::{
    any::Any,
    convert::Infallible,
    fmt::{self, Debug},
    future::{Future, poll_fn},
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::Poll,
    time::Duration,
};

use axum_core::{extract::Request, response::Response};
use steadfast_core::Local;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::OwnedSemaphorePermit,
};
use tower_service::Service;

use crate::{
    clock,
    drain::{DrainState, Server, Stage},
    gate::shed::Shedder,
    instance::Control,
    log::Seldom,
    probe::paths::Paths,
};
use conn::{Conn, Probes};
use io::Io;
use registry::Registry;
use service::OnConnection;
use slow::Slow;
use unacknowledged::Ends;

pub use handshake::Handshake;
pub use limits::Connections;
pub use listener::Listener;
pub use peer::peer;
#[cfg(feature = "tls")]
pub use tls::Tls;

/// How long connections that were cut may take to end.
const CUT_MAX: Duration = Duration::from_millis(400);

/// A listener with the application behind it.
pub(crate) struct Endpoint(Box<dyn FnOnce(Shared) -> Accepting + Send>);

type Accepting = Pin<Box<dyn Future<Output = ()> + Send>>;

impl Endpoint {
    pub(crate) fn new<L, S>(listener: L, app: S) -> Self
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        Self(Box::new(move |shared| {
            let mut serving = Serving { app, shared };
            Box::pin(async move { serving.accept(listener, |socket| socket).await })
        }))
    }

    /// Shows each socket to `tap`, and asks the listener itself for them.
    pub(crate) fn tapped<L, S>(
        listener: L,
        tap: impl Fn(&mut L::Io) + Send + Sync + 'static,
        app: S,
    ) -> Self
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        Self(Box::new(move |shared| {
            let mut serving = Serving { app, shared };
            Box::pin(async move {
                let show = |mut socket| {
                    tap(&mut socket);
                    socket
                };
                serving.accept(listener, show).await;
            })
        }))
    }

    /// Speaks TLS, and follows the files of its certificates.
    #[cfg(feature = "tls")]
    pub(crate) fn tls<L, S>(listener: L, tls: Tls, app: S) -> Self
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
        S::Future: Send,
    {
        Self(Box::new(move |shared| {
            let mut serving = Serving { app, shared };
            Box::pin(async move {
                tokio::select! {
                    () = serving.accept(listener, |socket| tls.wrap(socket)) => {}
                    () = tls.follow() => {}
                }
            })
        }))
    }
}

impl Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Endpoint")
    }
}

/// Accepts at every endpoint until the drain says that it is enough, and finishes what runs.
/// Returns once the last connection has gone, or has been cut.
pub(crate) async fn run(
    control: &Control,
    limits: Connections,
    paths: Paths,
    endpoints: Vec<Endpoint>,
) {
    let drain = control.drain_state();
    drain.tally().connections_seen = true;
    drain.server_is(Server::Accepting);
    let _gone = Gone(drain.clone());
    let shared = Shared {
        control: control.clone(),
        drain: drain.clone(),
        shedder: control.shedder().clone(),
        registry: Arc::new(Registry::new(limits.max)),
        slow: Arc::default(),
        probes: Arc::new(Probes {
            paths,
            around: Arc::clone(control.around()),
        }),
        limits,
    };
    let accepting = endpoints
        .into_iter()
        .map(|endpoint| (endpoint.0)(shared.clone()));
    all(accepting.collect()).await;
    drain.server_is(Server::Closed);
    shared.finish().await;
    drain.server_is(Server::Gone);
}

/// Waits for all of them, on this task: dropped, none goes on.
async fn all(mut accepting: Vec<Accepting>) {
    poll_fn(|cx| {
        accepting.retain_mut(|endpoint| endpoint.as_mut().poll(cx).is_pending());
        match accepting.is_empty() {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
}

/// Says that nobody accepts any more, also when the future that did is dropped: a drain
/// must not wait for it.
struct Gone(Local<DrainState>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.server_is(Server::Gone);
    }
}

/// The port of a listener that has one.
fn port_of<L>(listener: &L) -> Option<u16>
where
    L: Listener,
    L::Addr: 'static,
{
    let address = listener.local_addr().ok()?;
    let address = (&address as &dyn Any).downcast_ref::<SocketAddr>()?;
    Some(address.port())
}

/// What every connection needs, whichever endpoint it came through.
#[derive(Clone)]
pub(crate) struct Shared {
    control: Control,
    drain: Local<DrainState>,
    shedder: Shedder,
    registry: Arc<Registry>,
    slow: Arc<Slow>,
    probes: Arc<Probes>,
    limits: Connections,
}

/// One endpoint.
struct Serving<S> {
    app: S,
    shared: Shared,
}

impl<S> Serving<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
{
    /// Accepts until the lame duck is over, then what is queued, and closes the listener.
    /// `wrap` makes of a socket what is read and written.
    async fn accept<L, I>(&mut self, mut listener: L, wrap: impl Fn(L::Io) -> I)
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        if let Some(port) = port_of(&listener) {
            self.shared.control.listens_at(port);
        }
        let mut stages = self.shared.drain.stage.subscribe();
        let closing = async {
            let _ = stages.wait_for(Stage::is_closing).await;
        };
        tokio::pin!(closing);
        accept::heal(&listener);
        accept::set_backlog(&listener, self.shared.limits.backlog);
        let mut spare = accept::Spare::new();
        let (mut full, mut errors) = (Seldom::default(), Seldom::default());
        loop {
            if !self.shared.registry.has_room() {
                if let Some(unsaid) = full.may_say(clock::now()) {
                    let open = self.shared.registry.count();
                    tracing::warn!(target: crate::log::SERVE, open, unsaid, "no room for more connections; further ones wait");
                }
            }
            let registry = Arc::clone(&self.shared.registry);
            let short = || registry.make_some_room();
            let accepted = tokio::select! {
                biased;
                () = &mut closing => break,
                accepted = async {
                    // The place first: what is accepted without one would have to be dropped.
                    let place = registry.room().await;
                    (accept::next(&mut listener, &mut errors, short).await, place)
                } => accepted,
            };
            let ((socket, peer), place) = accepted;
            self.serve(socket, &wrap, peer, place);
        }
        let mut listener = accept::Closing(listener);
        let mut stages = self.shared.drain.stage.subscribe();
        // A queue that fills as fast as it is emptied must not outlast the grace.
        let cutting = async move {
            let _ = stages.wait_for(|stage| *stage >= Stage::Cutting).await;
        };
        let registry = Arc::clone(&self.shared.registry);
        let rest = accept::rest(
            &mut listener.0,
            |(socket, peer)| self.serve(socket, &wrap, peer, None),
            // Those in the queue have asked for something, and idle ones have not.
            || registry.make_room(usize::MAX, Duration::ZERO),
        );
        tokio::select! {
            () = rest => {}
            () = cutting => {
                spare.give_up();
                let left_over = accept::left_over(&mut listener.0);
                self.shared.drain.tally().cut.queued += left_over;
            }
        }
    }

    fn serve<R, I, A>(
        &mut self,
        socket: R,
        wrap: &impl Fn(R) -> I,
        peer: A,
        place: Option<OwnedSemaphorePermit>,
    ) where
        R: Send + 'static,
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
        A: Clone + Send + Sync + 'static,
    {
        accept::prepare(&socket, &self.shared.limits);
        let ends = Ends::of(&socket);
        let slow = Arc::clone(&self.shared.slow);
        let conn = Conn::new(
            self.shared.drain.clone(),
            self.shared.limits,
            slow,
            Arc::clone(&self.shared.probes),
            ends,
            self.shared.shedder.clone(),
            clock::now(),
        );
        let place = self.shared.registry.enter(&conn, place);
        let io = Io::new(wrap(socket), Arc::clone(&conn), place);
        let service = OnConnection {
            app: self.app.clone(),
            peer,
            conn: Arc::clone(&conn),
        };
        let task = tokio::spawn(connection::run(io, service, self.shared.limits));
        conn.runs_as(task.abort_handle());
    }
}

impl Shared {
    /// Waits for the last connection, and cuts what is there when the grace is over.
    async fn finish(&self) {
        let mut stages = self.drain.stage.subscribe();
        tokio::select! {
            () = self.registry.none() => return,
            _ = stages.wait_for(|stage| *stage >= Stage::Cutting) => {}
        }
        self.registry.cut_all(&self.drain);
        if tokio::time::timeout(CUT_MAX, self.registry.none())
            .await
            .is_err()
        {
            let open = self.registry.count();
            tracing::warn!(target: crate::log::SERVE, open, "connections whose task blocks its thread are left behind");
        }
    }
}
