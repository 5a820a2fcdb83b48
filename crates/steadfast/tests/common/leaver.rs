//! A server that leaves when it is told to, and a client that writes bytes by hand.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::{future::Future, io, net::SocketAddr, time::Duration};

use axum::{
    Router,
    body::{Body, Bytes},
    response::sse,
    routing::{any, get, post},
};
use futures_util::stream;
use steadfast::{Connections, Control, Drain, DrainReport, Guard, GuardBuilder, Phase};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

use super::{PATIENCE, TOKEN, soon, until};

pub(crate) const SECOND: Duration = Duration::from_secs(1);

/// A server that leaves when it is told to.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) control: Control,
    pub(crate) end: JoinHandle<io::Result<DrainReport>>,
}

impl Server {
    pub(crate) async fn start(drain: Drain) -> Self {
        Self::with(drain, Connections::default()).await
    }

    pub(crate) async fn with(drain: Drain, connections: Connections) -> Self {
        let builder = Guard::builder().drain(drain).connections(connections);
        Self::of(builder).await
    }

    pub(crate) async fn of(builder: GuardBuilder) -> Self {
        Self::serving(builder.token(TOKEN), app()).await
    }

    /// Serves this application.
    pub(crate) async fn serving(builder: GuardBuilder, app: Router) -> Self {
        let serve = |guard: Guard, listener| async move {
            let app = guard.protect(app);
            guard.serve(listener, app).await
        };
        Self::by(builder, serve).await
    }

    /// Serves with what `serve` makes of the guard and a listener.
    pub(crate) async fn by<F>(
        builder: GuardBuilder,
        serve: impl FnOnce(Guard, TcpListener) -> F,
    ) -> Self
    where
        F: Future<Output = io::Result<DrainReport>> + Send + 'static,
    {
        let guard = builder.without_signals().build().expect("valid");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let control = guard.control();
        let end = tokio::spawn(serve(guard, listener));
        until("the start", || control.phase() == Some(Phase::Ready)).await;
        Self {
            address,
            control,
            end,
        }
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address)
            .await
            .expect("a connection")
    }

    pub(crate) fn leave(&self) {
        self.control.begin_drain("a test");
    }

    pub(crate) async fn report(self) -> DrainReport {
        let report = soon("the end of serving", self.end).await;
        report.expect("no panic").expect("served")
    }
}

pub(crate) fn app() -> Router {
    let endless = || async {
        let events = stream::unfold(0_u64, |n| async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            Some((
                Ok::<_, std::convert::Infallible>(sse::Event::default().data(n.to_string())),
                n + 1,
            ))
        });
        sse::Sse::new(events)
    };
    let huge = || async {
        let parts = stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![b'x'; 65_536])));
        Body::from_stream(parts)
    };
    Router::new()
        .route("/", any(|| async { "hello" }))
        .route("/echo", post(|body: String| async move { body }))
        .route("/early", post(|| async { "enough" }))
        .route("/events", get(endless))
        .route("/huge", get(huge))
        // One piece, far beyond what the kernel's buffers hold.
        .route("/whole", get(|| async { vec![b'x'; 32 << 20] }))
        .route(
            "/trickle",
            get(|| async {
                let parts = stream::unfold(0_u64, |n| async move {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    Some((Ok::<_, io::Error>(Bytes::from(format!("{n}\n"))), n + 1))
                });
                ([("content-type", "text/plain")], Body::from_stream(parts))
            }),
        )
        .route(
            "/slow",
            get(|| async {
                tokio::time::sleep(SECOND / 2).await;
                "done"
            }),
        )
        .route(
            "/switch",
            get(|| async { http::StatusCode::SWITCHING_PROTOCOLS }),
        )
        .route("/hang", get(std::future::pending::<String>))
}

/// No lame duck, and a grace that no test reaches unless it means to.
pub(crate) fn at_once() -> Drain {
    Drain::default()
        .lame_duck_max(Duration::ZERO)
        .grace(PATIENCE)
        .idle_linger(Duration::from_millis(200))
}

/// A grace that a test means to reach.
pub(crate) fn short() -> Drain {
    at_once().grace(SECOND)
}

pub(crate) const GET: &str = "GET / HTTP/1.1\r\nhost: test\r\n\r\n";

pub(crate) async fn send(stream: &mut TcpStream, bytes: impl AsRef<[u8]>) {
    stream.write_all(bytes.as_ref()).await.expect("sent");
}

/// Reads until what was read ends with this.
pub(crate) async fn read_to(stream: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    soon(end, async {
        while !text.ends_with(end.as_bytes()) {
            text.push(stream.read_u8().await.expect("more"));
        }
    })
    .await;
    String::from_utf8(text).expect("text")
}

/// Reads to the end, which must come in order and not as a reset.
pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut text = Vec::new();
    soon("the end", stream.read_to_end(&mut text))
        .await
        .expect("an end in order");
    String::from_utf8(text).expect("text")
}
