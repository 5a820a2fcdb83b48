//! The front door: one call that wraps an application.
//!
//! A [`Guard`] holds the gates, the readiness and the ledger of one process. It is made of
//! the same gates that work alone as layers ([`crate::ShedLayer`], [`crate::DrainLayer`],
//! [`crate::ExplainLayer`]), in this order:
//!
//! ```text
//! request ─▶ the application's own outer layers (cors, trace, request id)
//!         ─▶ own paths: /health/ /ready/ /why503/        answered here, always
//!         ─▶ drain: starting, maintenance, draining  refused here, or waits for the first checks
//!         ─▶ shed:  more than may run                refused here, or a permit taken
//!         ─▶ explain: renders what handlers refused, marks the application's own 503s
//!         ─▶ the application
//! ```
//!
//! [`Guard::protect`] wraps a Router and [`Guard::protect_service`] any service; [`Guard::layer`] is the same as a tower layer. Building
//! and wrapping spawn nothing; [`Guard::start`] does, and [`Guard::serve`] calls it.

mod any_service;
mod builder;
#[cfg(feature = "config")]
pub(crate) mod config;
#[cfg(feature = "config")]
mod configure;
mod guarded;
mod hints;
mod running;
mod service;
mod serving;
mod watch;

use std::{io, net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

#[cfg(feature = "axum")]
use axum::Router;
use axum_core::{BoxError, extract::Request};
use bytes::Bytes;
use steadfast_core::plumbing::Start;
use tower_layer::Layer;
use tower_service::Service;

use crate::{
    background::environment::Budget,
    drain::Drain,
    gate::drain::{DrainLayer, IsOwnPath},
    instance::Control,
    probe::{listener::At, paths::OwnPaths},
    serve::Connections,
};

pub use any_service::{AnyFuture, AnyService};
pub use builder::GuardBuilder;
#[cfg(feature = "config")]
pub(crate) use builder::{START_HOLD_MAX, START_WAIT_LONGEST};
pub use guarded::{AxumFuture, AxumGuard, Guarded, GuardedFuture};
pub use running::Running;
pub use service::{GuardBody, GuardLayer, GuardService};
pub use serving::Server;

/// Wraps an application and answers for it. Clones share everything.
#[derive(Clone, Debug)]
pub struct Guard {
    control: Control,
    layer: GuardLayer,
    settings: Settings,
}

/// What `start` and `protect` need to know.
#[derive(Clone, Debug)]
struct Settings {
    name: Option<String>,
    start: Start,
    connections: Connections,
    budget: Option<Budget>,
    probe_listener: Option<SocketAddr>,
    probe_listener_trusted: bool,
    probe_socket: Option<PathBuf>,
    history_file: Option<PathBuf>,
    maintenance_file: Option<PathBuf>,
    request_timeout: Option<Duration>,
    unready_when_refusing: Option<f64>,
    signals: bool,
    mounted: String,
}

impl Settings {
    /// Where probes are answered beside the application.
    fn probe_listeners(&self) -> impl Iterator<Item = At> {
        let trusted = self.probe_listener_trusted;
        let address = self.probe_listener;
        let address = address.map(|address| At::Address { address, trusted });
        let socket = self.probe_socket.clone().map(At::Socket);
        address.into_iter().chain(socket)
    }
}

impl Guard {
    /// Begins a guard. Without a setter it answers probes, explains 503s, drains, and
    /// observes load without refusing any. What is wrong with the settings is said by
    /// [`GuardBuilder::build`], all of it at once.
    ///
    /// ```
    /// use std::time::Duration;
    /// use steadfast::{Dependency, Drain, Guard, Shed, check};
    ///
    /// # fn guard() -> Result<Guard, steadfast::ConfigError> {
    /// let orders_db = Dependency::builder("orders-db")
    ///     .check(check::tcp("db.internal:5432"))
    ///     .build()?;
    /// let guard = Guard::builder()
    ///     .name("shop")
    ///     .shed(Shed::adaptive())
    ///     .dependency(&orders_db)
    ///     .drain(Drain::default().grace(Duration::from_secs(20)))
    ///     .probe_listener(([0, 0, 0, 0], 9090).into())
    ///     .build()?;
    /// # Ok(guard)
    /// # }
    /// # guard().unwrap();
    ///
    /// let both = Guard::builder().shed(Shed::fixed(0)).token("short");
    /// assert_eq!(both.build().unwrap_err().into_faults().len(), 2);
    /// ```
    pub fn builder() -> GuardBuilder {
        GuardBuilder::default()
    }

    /// Wraps an application. What must also see refusals (CORS, access log) goes outside,
    /// with [`Guarded::layer`]: behind a CORS layer inside the Router, a refusal has no
    /// `access-control-allow-origin`, and a browser shows its script a network error. The
    /// guard says so in the log when it happens.
    ///
    /// The guard's own paths come first. A route of the application at one of them, or under
    /// `/ready/` or `/why503/`, is never asked; the guard says so in the log and goes on.
    ///
    /// A guarded application is not a Router any more, so it cannot be protected twice:
    ///
    /// ```compile_fail
    /// let guard = steadfast::Guard::builder().build().unwrap();
    /// let app = guard.protect(axum::Router::new());
    /// guard.protect(app);
    /// ```
    ///
    /// What [`Guarded::into_router`] or [`Guard::layer`] makes of it is a Router, which can be.
    /// The inner one of two then steps aside, and says so in the log at ERROR, once.
    #[cfg(feature = "axum")]
    #[must_use]
    pub fn protect(&self, app: Router) -> Guarded {
        hints::warn_of_shadowed(&app, self.own_paths());
        let app = match self.settings.request_timeout {
            // Inside the gates, so that a request that is cut gives its permit back.
            Some(limit) => app.layer(tower_http::timeout::TimeoutLayer::with_status_code(
                http::StatusCode::GATEWAY_TIMEOUT,
                limit,
            )),
            None => app,
        };
        Guarded::new(AxumGuard::new(self.layer.layer(app)))
    }

    /// Wraps any tower service over HTTP: tonic's, a plain hyper one, a stack of layers. It is
    /// asked with axum's body ([`crate::Body`]), which a service generic over its body takes as
    /// it is; one that names hyper's `Incoming` names this instead. Its answers may have any
    /// body; its errors are logged and become a 500.
    ///
    /// ```
    /// use std::convert::Infallible;
    /// use http::{Request, Response};
    /// use steadfast::{Body, Guard};
    ///
    /// async fn hello(_: Request<Body>) -> Result<Response<String>, Infallible> {
    ///     Ok(Response::new("hello\n".to_owned()))
    /// }
    ///
    /// let guard = Guard::builder().build().unwrap();
    /// let app = guard.protect_service(tower::service_fn(hello));
    /// // guard.serve(listener, app).await
    /// # let _ = app;
    /// ```
    #[must_use]
    pub fn protect_service<S, B>(&self, service: S) -> Guarded<AxumGuard<AnyService<S>>>
    where
        S: Service<Request, Response = http::Response<B>> + Clone,
        S::Error: Into<BoxError>,
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let service = AnyService::new(service, self.settings.request_timeout);
        Guarded::new(AxumGuard::new(self.layer.layer(service)))
    }

    /// Returns the guard as a layer, for a Router's own `.layer(…)` (applied last) or any
    /// tower stack. All services it makes share one state.
    #[must_use]
    pub fn layer(&self) -> GuardLayer {
        self.layer.clone()
    }

    /// Returns the drain alone as a layer, for `axum::serve`: it refuses what comes too
    /// early or too late, ends keep-alive connections by header while the process leaves,
    /// and gives handlers their [`DrainToken`](crate::DrainToken). It cannot see connections:
    /// what that takes, [`Guard::serve`] does.
    ///
    /// ```no_run
    /// # use steadfast::{Guard, Phase};
    /// # async fn run(app: axum::Router, listener: tokio::net::TcpListener) -> Result<(), Box<dyn std::error::Error>> {
    /// let guard = Guard::builder().build()?;
    /// let _running = guard.start()?;
    /// axum::serve(listener, app.layer(guard.drain_layer()))
    ///     .with_graceful_shutdown(guard.control().reached(Phase::Draining))
    ///     .await?;
    /// println!("{}", guard.control().drained().await);
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn drain_layer(&self) -> DrainLayer {
        let life = Arc::clone(&self.control.readiness().life);
        let deadlines = self.control.shedder().deadlines().clone();
        let drain = self.control.drain_state().clone();
        let explain = self.control.explain().clone();
        let own_paths = self.own_paths().clone();
        let own = IsOwnPath(Arc::new(move |path: &str| own_paths.wants(path)));
        let layer = DrainLayer::of_guard(life, explain, deadlines, drain).passing(own);
        if self.layer.envoy() {
            layer.envoy()
        } else {
            layer
        }
    }

    /// Returns the operator's end.
    #[must_use]
    pub fn control(&self) -> Control {
        self.control.clone()
    }

    /// Starts what runs in the background: the checks, the runtime's heartbeat, the
    /// maintenance file's watch, metrics, the probe listener and the signal handlers.
    /// Without it, `/ready/` says `not ready: not started`.
    ///
    /// Keep the [`Running`]: dropped, it stops all of this.
    ///
    /// # Errors
    /// It was started before, there is no tokio runtime here, or the probe listener's
    /// address is taken.
    pub fn start(&self) -> io::Result<Running> {
        Running::start(self)
    }

    fn own_paths(&self) -> &OwnPaths {
        self.layer.own_paths()
    }

    pub(crate) fn connections(&self) -> Connections {
        self.settings.connections
    }

    fn drain(&self) -> Drain {
        self.control.drain_settings()
    }
}
