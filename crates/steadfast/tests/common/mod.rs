//! What the integration tests share: requests, answers, real sockets.
#![allow(dead_code, reason = "each test binary uses a part of it")]

pub(crate) mod frames;
pub(crate) mod leaver;

use std::{convert::Infallible, future::Future, net::SocketAddr, sync::Arc, time::Duration};

use axum::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
    routing::{self, MethodRouter},
};
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use steadfast::Guarded;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tower::{Service, ServiceExt};

/// The operator's token in every test.
pub(crate) const TOKEN: &str = "0123456789abcdef-test";

/// Longest that a test waits for something that should come at once. It is not part of any
/// claim: a test that reaches it has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what should come, and fails with its name if it does not.
pub(crate) async fn soon<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("waited in vain for {what}"))
}

/// Waits until something is true, looking again whenever other tasks have run.
pub(crate) async fn until(what: &str, mut is: impl FnMut() -> bool) {
    soon(what, async {
        while !is() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}

/// A response that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read<B>(response: http::Response<B>) -> Self
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: std::fmt::Debug,
    {
        let (parts, body) = response.into_parts();
        let bytes = body.collect().await.expect("a whole body").to_bytes();
        Self {
            status: parts.status,
            headers: parts.headers,
            body: String::from_utf8(bytes.to_vec()).expect("text"),
        }
    }

    /// Returns a header's value, empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("text"))
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error} in {}", self.body))
    }

    /// Returns the cause that `why-503` names.
    pub(crate) fn cause(&self) -> &str {
        self.header("why-503")
            .split([';', ','])
            .next()
            .and_then(|member| member.strip_prefix("cause="))
            .unwrap_or("")
    }

    /// Returns the refusal's id.
    pub(crate) fn id(&self) -> String {
        let why = self.header("why-503");
        let (_, rest) = why
            .split_once("id=\"")
            .unwrap_or_else(|| panic!("no id in {why:?}"));
        rest.split('"').next().expect("a quote").to_owned()
    }
}

/// A handler that is done as often as it is let.
pub(crate) fn slow(go: &Arc<Semaphore>) -> MethodRouter {
    let go = Arc::clone(go);
    routing::get(move || async move {
        go.acquire().await.expect("open").forget();
        "done"
    })
}

pub(crate) fn get(path: &str) -> Request {
    Request::get(path).body(Body::empty()).expect("a request")
}

pub(crate) fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request {
    let mut builder = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        builder = builder.header(*name, *value);
    }
    builder.body(Body::empty()).expect("a request")
}

pub(crate) fn with_token(path: &str, headers: &[(&str, &str)]) -> Request {
    let mut request = request("GET", path, headers);
    let value = format!("Bearer {TOKEN}").parse().expect("a value");
    request.headers_mut().insert("authorization", value);
    request
}

/// Asks an application without a socket.
pub(crate) async fn ask<S>(app: &Guarded<S>, request: Request) -> Answer
where
    S: Service<Request> + Clone,
    S::Response: IntoResponse,
    S::Error: Into<Infallible>,
{
    let Ok(response): Result<Response, Infallible> = app.clone().oneshot(request).await;
    Answer::read(response).await
}

/// A server in the background. Dropped, it stops to accept.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Binds a port and serves with what `serve` makes of the listener.
pub(crate) async fn serve<F>(serve: impl FnOnce(TcpListener) -> F) -> Server
where
    F: Future + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = serve(listener);
    let task = tokio::spawn(async move {
        serving.await;
    });
    Server { address, task }
}

/// One HTTP/1 connection.
#[derive(Debug)]
pub(crate) struct Connection(http1::SendRequest<Full<Bytes>>);

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).await.expect("a connection")).await
    }

    pub(crate) async fn over<I>(stream: I) -> Self
    where
        I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let (sender, connection) = http1::handshake(TokioIo::new(stream))
            .await
            .expect("HTTP/1");
        tokio::spawn(connection.with_upgrades());
        Self(sender)
    }

    /// Sends a request and returns the response with its body unread.
    pub(crate) async fn send(&mut self, request: Request) -> http::Response<hyper::body::Incoming> {
        let (mut parts, _) = request.into_parts();
        parts
            .headers
            .entry("host")
            .or_insert_with(|| http::HeaderValue::from_static("localhost"));
        let request = Request::from_parts(parts, Full::default());
        self.0.ready().await.expect("an open connection");
        soon("a response", self.0.send_request(request))
            .await
            .expect("a response")
    }

    pub(crate) async fn ask(&mut self, request: Request) -> Answer {
        Answer::read(self.send(request).await).await
    }

    /// Whether the server has closed it, after waiting for that.
    pub(crate) async fn closes(&mut self) {
        soon("the connection's end", async {
            while self.0.ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// Opens an HTTP/2 connection with prior knowledge.
pub(crate) async fn http2(address: SocketAddr) -> http2::SendRequest<Full<Bytes>> {
    http2_over(TcpStream::connect(address).await.expect("a connection")).await
}

pub(crate) async fn http2_over<I>(stream: I) -> http2::SendRequest<Full<Bytes>>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .expect("HTTP/2");
    tokio::spawn(connection);
    sender
}

/// Asks on a connection of its own.
pub(crate) async fn fetch(address: SocketAddr, request: Request) -> Answer {
    Connection::open(address).await.ask(request).await
}

/// Sends bytes and returns everything the server says until it closes.
pub(crate) async fn raw(address: SocketAddr, bytes: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(bytes.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    soon("the end of the answer", stream.read_to_string(&mut answer))
        .await
        .expect("text");
    answer
}
