//! The Tower laws, one suite for every public layer.
//!
//! Method: each layer is put around the same inner service, [`Strict`], which panics if it is
//! called without having been polled ready itself, and does what the request's path says.

#![cfg(feature = "axum")]

#[path = "../common/mod.rs"]
mod common;

mod calls;
mod gates;
mod permits;
mod routers;
mod sharing;

use std::{
    convert::Infallible,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use axum::{
    Router,
    body::Body,
    extract::Request,
    response::Response,
    routing::{any, get},
};
use bytes::Bytes;
use futures_util::FutureExt;
use http_body::Frame;
use steadfast::{
    CheckOutcome, Dependency, DrainLayer, Explain, ExplainLayer, Guard, GuardLayer, Lifecycle,
    Shed, ShedLayer, Shedder, check, test_util::poll_once,
};
use tower::{BoxError, Layer, Service, ServiceExt, util::BoxCloneSyncService};

/// An inner service that holds its callers to the contract of `tower::Service`.
#[derive(Debug)]
struct Strict {
    polled: bool,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    busy: AtomicBool,
    /// Calls that were let in.
    entered: AtomicUsize,
    bodies: Mutex<Vec<tokio::sync::mpsc::UnboundedSender<Piece>>>,
}

/// What a test puts into a body that is open.
type Piece = Result<Frame<Bytes>, std::io::Error>;

impl Strict {
    fn new() -> Self {
        Self {
            polled: false,
            shared: Arc::default(),
        }
    }
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        // A clone is not ready, whatever the original is.
        Self {
            polled: false,
            shared: Arc::clone(&self.shared),
        }
    }
}

#[derive(Debug, PartialEq)]
struct InnerError(&'static str);

impl std::fmt::Display for InnerError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for InnerError {}

impl Service<Request> for Strict {
    type Response = Response;
    type Error = InnerError;
    type Future = Pin<Box<dyn Future<Output = Result<Response, InnerError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), InnerError>> {
        if self.shared.busy.load(Ordering::SeqCst) {
            return Poll::Pending;
        }
        self.polled = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        assert!(
            std::mem::take(&mut self.polled),
            "called an instance that was not polled ready"
        );
        let shared = Arc::clone(&self.shared);
        shared.entered.fetch_add(1, Ordering::SeqCst);
        let path = request.uri().path().to_owned();
        assert!(path != "/panic-in-call", "told to panic in call");
        Box::pin(async move {
            match &*path {
                "/hang" => std::future::pending().await,
                "/panic-in-poll" => panic!("told to panic in poll"),
                "/error" => Err(InnerError("told to fail")),
                "/open-body" => {
                    let (pieces, body) = tokio::sync::mpsc::unbounded_channel();
                    shared.bodies.lock().expect("no panic").push(pieces);
                    Ok(Response::new(Body::new(Open(body))))
                }
                "/101" => {
                    let mut response = Response::new(Body::empty());
                    *response.status_mut() = http::StatusCode::SWITCHING_PROTOCOLS;
                    Ok(response)
                }
                "/503" => {
                    let mut response = Response::new(Body::from("busy"));
                    *response.status_mut() = http::StatusCode::SERVICE_UNAVAILABLE;
                    Ok(response)
                }
                _ => Ok(Response::new(Body::from("done"))),
            }
        })
    }
}

/// A body that ends when the test says so.
struct Open(tokio::sync::mpsc::UnboundedReceiver<Piece>);

impl http_body::Body for Open {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Piece>> {
        self.0.poll_recv(cx)
    }
}

type Boxed = BoxCloneSyncService<Request, Response, BoxError>;

/// One layer, ready to be put around an inner service as often as a test likes.
struct Subject {
    name: &'static str,
    /// Calls `layer` once more.
    wrap: Box<dyn Fn(Strict) -> Boxed>,
    /// Who counts the permits, if the layer has any. Its limit is 1.
    shedder: Option<Shedder>,
    /// Whether an inner service that is not ready shows through. Under axum it does not: a
    /// Router is always ready, and polls its handlers when they are called.
    transparent: bool,
}

fn wrapped<L, B>(layer: L) -> Box<dyn Fn(Strict) -> Boxed>
where
    L: Layer<Strict> + 'static,
    L::Service: Service<Request, Response = http::Response<B>, Error = InnerError>
        + Clone
        + Send
        + Sync
        + 'static,
    <L::Service as Service<Request>>::Future: Send + 'static,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Box::new(move |inner| {
        // The bound above is a law: the error type stays the inner service's.
        let service = layer.layer(inner);
        BoxCloneSyncService::new(
            service
                .map_response(|response: http::Response<B>| response.map(Body::new))
                .map_err(BoxError::from),
        )
    })
}

fn subjects() -> Vec<Subject> {
    let shed = ShedLayer::new(Shed::fixed(1), Explain::default()).expect("valid");
    let life = Arc::new(Lifecycle::new(tokio::time::Instant::now().into_std()));
    let build = || {
        Guard::builder()
            .shed(Shed::fixed(1))
            .build()
            .expect("valid")
    };
    let (guard, protecting) = (build(), build());
    let payments = Dependency::builder("payments").build().expect("valid");
    let layer: GuardLayer = guard.layer();
    vec![
        Subject {
            name: "ShedLayer",
            shedder: Some(shed.shedder()),
            wrap: wrapped(shed),
            transparent: true,
        },
        Subject {
            name: "DrainLayer",
            shedder: None,
            wrap: wrapped(DrainLayer::new(life, Explain::default())),
            transparent: true,
        },
        Subject {
            name: "DependencyGate",
            shedder: None,
            wrap: wrapped(payments.gate()),
            transparent: true,
        },
        Subject {
            name: "ExplainLayer",
            shedder: None,
            wrap: wrapped(ExplainLayer::default()),
            transparent: true,
        },
        Subject {
            name: "GuardLayer",
            shedder: Some(guard.control().shedder().clone()),
            wrap: wrapped(layer),
            transparent: true,
        },
        Subject {
            name: "Guarded",
            shedder: Some(protecting.control().shedder().clone()),
            wrap: Box::new(move |inner| {
                // A Router's services cannot fail; its panics and bodies are as everywhere.
                let inner = inner.map_err(|error| -> Infallible { panic!("{error}") });
                let app = protecting.protect(Router::new().fallback_service(inner));
                BoxCloneSyncService::new(ServiceExt::<Request>::map_err(app, BoxError::from))
            }),
            transparent: false,
        },
    ]
}

fn to(path: &str) -> Request {
    common::get(path)
}

/// Polls a service ready, as a caller must.
async fn ready(service: &mut Boxed) {
    service.ready().await.expect("ready");
}

/// The laws of permits, for the layers that hold some.
fn holders() -> impl Iterator<Item = (Subject, Shedder)> {
    subjects()
        .into_iter()
        .filter_map(|mut subject| subject.shedder.take().map(|shedder| (subject, shedder)))
}
