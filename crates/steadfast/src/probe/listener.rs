//! The probe listener: an own port on an own thread with an own runtime.
//!
//! When a handler blocks every worker thread, nothing on the main runtime answers, also not
//! the probe that should say so. This thread still runs: it reads the same snapshot, sees
//! that the main runtime's heartbeat has stopped, and says for how long.
//!
//! It can also be a socket in the file system, which only whoever has the right to it reaches:
//! there names and numbers need no token.

mod socket;

use std::{
    fmt::Display,
    io,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    thread,
    time::Duration,
};

use http::Request;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    runtime::Handle,
    sync::{Notify, Semaphore, watch},
};

use self::socket::SocketFile;
use crate::{
    clock,
    instance::workers,
    probe::paths::{Answer, Door, OwnPaths},
    request::body::OwnBody,
};

/// Probe connections at once. A node has one kubelet, a few balancers and a person.
const CONNECTIONS_MAX: usize = 64;

/// Longest wait for a probe's head, so that silent connections free their place.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a probe listener listens.
#[derive(Clone, Debug)]
pub(crate) enum At {
    /// An address; names are for the token unless it is the loopback's, or trusted.
    Address { address: SocketAddr, trusted: bool },
    /// A socket in the file system, whose rights say who reaches it.
    Socket(PathBuf),
}

/// A probe thread that runs. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct ProbeListener {
    address: Option<SocketAddr>,
    _stop: watch::Sender<()>,
    _file: Option<SocketFile>,
}

impl ProbeListener {
    /// Binds and answers probes there. From here the workers of `main` are looked at, also
    /// while none of them runs.
    pub(crate) fn start(at: &At, own_paths: OwnPaths, main: Handle) -> io::Result<Self> {
        let (listener, door, address, file) = match at {
            At::Address { address, trusted } => {
                let listener =
                    TcpListener::bind(address).map_err(|error| named(address, &error))?;
                listener.set_nonblocking(true)?;
                let address = listener.local_addr()?;
                let trusted = *trusted || address.ip().is_loopback();
                (
                    Bound::Tcp(listener),
                    Door::Probe { trusted },
                    Some(address),
                    None,
                )
            }
            At::Socket(path) => {
                let (listener, file) =
                    socket::bind(path).map_err(|error| named(path.display(), &error))?;
                (Bound::Unix(listener), Door::Socket, None, Some(file))
            }
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(());
        thread::Builder::new()
            .name("steadfast-probe".to_owned())
            .spawn(move || {
                runtime.block_on(async move {
                    tokio::select! {
                        () = listen(listener, door, own_paths.clone(), stopped) => {}
                        () = watch_workers(own_paths, main) => {}
                    }
                });
            })?;
        Ok(Self {
            address,
            _stop: stop,
            _file: file,
        })
    }

    /// Returns its address, if it has one.
    pub(crate) const fn address(&self) -> Option<SocketAddr> {
        self.address
    }
}

fn named(at: impl Display, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("probe listener {at}: {error}"))
}

/// A socket that was bound and is not served yet.
enum Bound {
    Tcp(TcpListener),
    Unix(socket::Listener),
}

/// Longest life of a probe connection, so that a peer which never reads frees its place.
const CONNECTION_MAX: Duration = Duration::from_secs(30);

/// The same for one that follows the page; it connects again by itself.
const FOLLOWING_MAX: Duration = Duration::from_secs(3600);

/// Looks again and again which worker of the main runtime does not come back.
async fn watch_workers(own_paths: OwnPaths, main: Handle) {
    let metrics = main.metrics();
    let workers = own_paths.0.control.workers();
    loop {
        workers.look(&metrics, clock::now());
        tokio::time::sleep(workers::LOOK).await;
    }
}

async fn listen(bound: Bound, door: Door, own_paths: OwnPaths, stopped: watch::Receiver<()>) {
    let ended = match bound {
        Bound::Tcp(listener) => match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => {
                accept(
                    async || Ok(listener.accept().await?.0),
                    door,
                    own_paths,
                    stopped,
                )
                .await;
                Ok(())
            }
            Err(error) => Err(error),
        },
        Bound::Unix(listener) => socket::listen(listener, door, own_paths, stopped).await,
    };
    if let Err(error) = ended {
        tracing::error!(target: crate::log::PROBE, %error, "the probe listener cannot run");
    }
}

async fn accept<S>(
    next: impl AsyncFn() -> io::Result<S>,
    door: Door,
    own_paths: OwnPaths,
    mut stopped: watch::Receiver<()>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = std::sync::Arc::clone(&places);
        let accepted = tokio::select! {
            // The sender is gone: the guard has stopped.
            _ = stopped.changed() => return,
            accepted = async {
                let place = place.acquire_owned().await;
                (next().await, place)
            } => accepted,
        };
        match accepted {
            (Ok(stream), Ok(place)) => {
                let own_paths = own_paths.clone();
                tokio::spawn(async move {
                    serve(stream, door, own_paths).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: give others time to close some.
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    door: Door,
    own_paths: OwnPaths,
) {
    let follows = std::sync::Arc::new(Notify::new());
    let began = std::sync::Arc::clone(&follows);
    let answer = service_fn(move |request: Request<Incoming>| {
        let answer = own_paths.answer_at(door, request);
        let follows = std::sync::Arc::clone(&began);
        async move {
            let response = match answer {
                Answer::Own(response) => response.map(OwnBody::Text),
                Answer::Page(asked) => asked.await,
            };
            if matches!(response.body(), OwnBody::Stream(_)) {
                follows.notify_one();
            }
            Ok::<_, std::convert::Infallible>(response)
        }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    // Whoever is here for longer connects again.
    let longest = async {
        tokio::select! {
            () = tokio::time::sleep(CONNECTION_MAX) => {}
            () = follows.notified() => tokio::time::sleep(FOLLOWING_MAX).await,
        }
    };
    tokio::select! {
        ended = connection => if let Err(error) = ended {
            tracing::debug!(target: crate::log::PROBE, %error, "a probe connection ended early");
        },
        () = longest => {}
    }
}
