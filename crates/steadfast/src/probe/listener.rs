//! The probe listener: an own port on an own thread with an own runtime.
//!
//! When a handler blocks every worker thread, nothing on the main runtime answers, also not
//! the probe that should say so. This thread still runs: it reads the same snapshot, sees
//! that the main runtime's heartbeat has stopped, and says for how long.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Semaphore, watch};

use crate::probe::paths::Front;

/// Probe connections at once. A node has one kubelet, a few balancers and a person.
const CONNECTIONS_MAX: usize = 64;

/// Longest wait for a probe's head, so that silent connections free their place.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);

/// A probe thread that runs. Dropped, it stops.
#[derive(Debug)]
pub(crate) struct ProbeListener {
    address: SocketAddr,
    _stop: watch::Sender<()>,
}

impl ProbeListener {
    /// Binds `address` and answers probes there.
    pub(crate) fn start(address: SocketAddr, front: Front) -> io::Result<Self> {
        let named = |error: io::Error| {
            io::Error::new(error.kind(), format!("probe listener {address}: {error}"))
        };
        let listener = TcpListener::bind(address).map_err(named)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (stop, stopped) = watch::channel(());
        thread::Builder::new()
            .name("steadfast-probe".to_owned())
            .spawn(move || {
                runtime.block_on(accept(listener, front, stopped));
            })?;
        Ok(Self {
            address,
            _stop: stop,
        })
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Longest life of a probe connection, so that a peer which never reads frees its place.
const CONNECTION_MAX: Duration = Duration::from_secs(30);

async fn accept(listener: TcpListener, front: Front, mut stopped: watch::Receiver<()>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(target: "steadfast", %error, "the probe listener cannot run");
            return;
        }
    };
    let places = std::sync::Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = std::sync::Arc::clone(&places);
        let accepted = tokio::select! {
            // The sender is gone: the guard has stopped.
            _ = stopped.changed() => return,
            accepted = async {
                let place = place.acquire_owned().await;
                (listener.accept().await, place)
            } => accepted,
        };
        match accepted {
            (Ok((stream, _)), Ok(place)) => {
                let front = front.clone();
                tokio::spawn(async move {
                    serve(stream, front).await;
                    drop(place);
                });
            }
            // Out of file descriptors, most likely: give others time to close some.
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn serve(stream: tokio::net::TcpStream, front: Front) {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response: Response<Full<Bytes>> = front.answer_on_probe_listener(request);
        async move { Ok::<_, std::convert::Infallible>(response) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .serve_connection(TokioIo::new(stream), answer);
    // Whoever is here for longer connects again.
    if let Ok(Err(error)) = tokio::time::timeout(CONNECTION_MAX, connection).await {
        tracing::debug!(target: "steadfast", %error, "a probe connection ended early");
    }
}
