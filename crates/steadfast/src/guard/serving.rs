//! The guard serves: it starts, hands the application to the accept loop, and gives the
//! report of its drain.

use std::{
    convert::Infallible,
    fmt::{self, Debug},
    io,
    sync::Arc,
};

use axum_core::{extract::Request, response::IntoResponse};
use tower_service::Service;

use super::{Guard, Guarded};
#[cfg(feature = "tls")]
use crate::serve::Tls;
use crate::{
    drain::DrainReport,
    serve::{self, Endpoint, Listener},
};

impl Guard {
    /// Starts the guard and serves `app` until a signal, or [`crate::Control::begin_drain`],
    /// has led to the end of the drain. Returns its report: what was served on the way out,
    /// how connections ended, what had to be cut.
    ///
    /// HTTP/1 and HTTP/2 (with prior knowledge) are told apart by their first bytes. Handlers
    /// find the peer's address in `ConnectInfo<L::Addr>`, or by [`crate::peer`], and can ask for a
    /// [`crate::DrainToken`]. Everything is bounded: see [`crate::Connections`] and [`crate::Drain`].
    ///
    /// ```no_run
    /// use axum::{Router, routing::get};
    /// use std::process::ExitCode;
    /// use steadfast::Guard;
    /// use tokio::net::TcpListener;
    ///
    /// #[tokio::main]
    /// async fn main() -> Result<ExitCode, Box<dyn std::error::Error>> {
    ///     let guard = Guard::builder().build()?;
    ///     let app = Router::new().route("/", get(|| async { "hello" }));
    ///     let listener = TcpListener::bind("0.0.0.0:8000").await?;
    ///     let report = guard.serve(listener, guard.protect(app)).await?;
    ///     println!("{report}");
    ///     // 75 if the drain had to cut something, so that whoever deploys notices.
    ///     Ok(ExitCode::from(report.exit_status()))
    /// }
    /// ```
    ///
    /// Two kinds of peers can still lose a request to the close of an idle connection: one
    /// that sends after more than [`crate::Drain::idle_linger`] of silence at just that
    /// moment, and one behind a TLS listener of its own, whose buffers cannot be asked.
    ///
    /// # Listeners of your own, and TLS
    /// A `TcpListener` or `UnixListener` of tokio is asked itself, without its `accept`. Any
    /// other type is another listener, also one of those inside `ListenerExt::tap_io`; use
    /// [`Server::listen_tapped`] instead, which has none of what follows, or for `TCP_NODELAY`
    /// just [`crate::Connections::nodelay`]:
    ///
    /// - Its `accept` is dropped, wherever it waits, when the lame duck is over, and when a
    ///   signal ends it sooner. A TLS handshake that `accept` is in the middle of is lost with
    ///   it, and its client sees the connection close. While it waits for one client's
    ///   handshake, it also accepts nobody else.
    ///   So let `accept` return once the socket is there, with a [`crate::Handshake`]: it is then done
    ///   on the connection's own task, within [`crate::Connections::first_request`], and waited for
    ///   like a first request.
    /// - The queue is emptied by polling `accept` once after each turn of the runtime's
    ///   driver, about a millisecond a connection, until one finds nothing. Nothing keeps
    ///   the kernel from taking in one more between that look and the close; it is reset.
    /// - Its errors are its own to log and to wait out.
    ///
    /// A proxy that ends TLS in front has none of this, and neither has `Server::listen_tls`
    /// (feature `tls`), which shakes hands itself.
    ///
    /// # Errors
    /// The guard cannot be started (see [`Guard::start`]).
    ///
    /// # Cancel safety
    /// Dropping it ends every connection at once.
    pub async fn serve<L, S>(&self, listener: L, app: Guarded<S>) -> io::Result<DrainReport>
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request> + Clone + Send + 'static,
        S::Response: IntoResponse,
        S::Error: Into<Infallible>,
        S::Future: Send,
    {
        self.server().listen(listener, app).run().await
    }

    /// Begins a server with more than one listener, or with TLS.
    ///
    /// ```no_run
    /// # use axum::Router;
    /// # async fn run(guard: steadfast::Guard, app: Router, admin: Router) -> std::io::Result<()> {
    /// use tokio::net::{TcpListener, UnixListener};
    ///
    /// let report = guard
    ///     .server()
    ///     .listen(TcpListener::bind("0.0.0.0:8000").await?, guard.protect(app))
    ///     .listen(UnixListener::bind("/run/shop.sock")?, guard.protect(admin))
    ///     .run()
    ///     .await?;
    /// println!("{report}");
    /// # Ok(())
    /// # }
    /// ```
    pub fn server(&self) -> Server {
        Server {
            guard: self.clone(),
            endpoints: Vec::new(),
        }
    }
}

/// Serves at several listeners under one drain. See [`Guard::server`].
///
/// All have the guard's bounds in common, [`crate::Connections::max`] included, and leave
/// together: they are closed at the same moment of the drain, and its report counts them as
/// one. What is said of listeners at [`Guard::serve`] holds for each.
#[must_use = "it serves once it runs"]
pub struct Server {
    guard: Guard,
    endpoints: Vec<Endpoint>,
}

impl Server {
    /// Serves `app` at this listener too. It may be another application than elsewhere.
    pub fn listen<L, S>(mut self, listener: L, app: Guarded<S>) -> Self
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request> + Clone + Send + 'static,
        S::Response: IntoResponse,
        S::Error: Into<Infallible>,
        S::Future: Send,
    {
        self.endpoints.push(Endpoint::new(listener, app));
        self
    }

    /// Serves `app` at this listener, and shows each socket to `tap` before it is read from:
    /// to set its options, or to count it. Unlike a listener inside `ListenerExt::tap_io`, this
    /// one is still asked itself, so that none of its connections is lost when it is closed.
    /// What `tap` sets comes after [`crate::Connections::nodelay`].
    ///
    /// ```no_run
    /// # async fn run(guard: steadfast::Guard, app: axum::Router) -> std::io::Result<()> {
    /// use tokio::net::{TcpListener, TcpStream};
    ///
    /// let listener = TcpListener::bind("0.0.0.0:8000").await?;
    /// let short_lived = |socket: &mut TcpStream| {
    ///     let _ = socket.set_ttl(16);
    /// };
    /// let server = guard.server();
    /// server.listen_tapped(listener, short_lived, guard.protect(app)).run().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn listen_tapped<L, S>(
        mut self,
        listener: L,
        tap: impl Fn(&mut L::Io) + Send + Sync + 'static,
        app: Guarded<S>,
    ) -> Self
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request> + Clone + Send + 'static,
        S::Response: IntoResponse,
        S::Error: Into<Infallible>,
        S::Future: Send,
    {
        self.endpoints.push(Endpoint::tapped(listener, tap, app));
        self
    }

    /// Serves `app` at this listener over TLS. The handshake is done on the connection's own
    /// task, within [`crate::Connections::first_request`], and a drain waits for it like for a
    /// first request.
    #[cfg(feature = "tls")]
    pub fn listen_tls<L, S>(mut self, listener: L, tls: &Tls, app: Guarded<S>) -> Self
    where
        L: Listener,
        L::Addr: Debug + Clone + Send + Sync + 'static,
        S: Service<Request> + Clone + Send + 'static,
        S::Response: IntoResponse,
        S::Error: Into<Infallible>,
        S::Future: Send,
    {
        self.endpoints
            .push(Endpoint::tls(listener, tls.clone(), app));
        self
    }

    /// Starts the guard and serves until the end of the drain, as [`Guard::serve`] does.
    ///
    /// # Errors
    /// The guard cannot be started (see [`Guard::start`]).
    ///
    /// # Cancel safety
    /// Dropping it ends every connection at once.
    pub async fn run(self) -> io::Result<DrainReport> {
        let _running = self.guard.start()?;
        let control = self.guard.control();
        let paths = self.guard.own_paths().0.paths.clone();
        serve::run(&control, self.guard.connections(), paths, self.endpoints).await;
        Ok(Arc::unwrap_or_clone(control.drained().await))
    }
}

impl Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("listeners", &self.endpoints.len())
            .finish_non_exhaustive()
    }
}
