//! Any tower service over HTTP, as the guard takes it.

use std::{
    convert::Infallible,
    fmt,
    future::Future,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use axum_core::{
    BoxError,
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use http::StatusCode;
use pin_project::pin_project;
use tokio::time::Sleep;
use tower_service::Service;

use crate::clock;

/// A service whose answers and errors axum knows. See [`crate::Guard::protect_service`].
///
/// An error of the service is a 500 and stands in the log: HTTP has no other way to say that
/// a request was taken and nothing came of it.
#[derive(Clone, Debug)]
pub struct AnyService<S> {
    inner: S,
    limit: Option<Duration>,
    /// Whether the service has said that it takes nothing any more.
    broken: bool,
}

impl<S> AnyService<S> {
    pub(super) const fn new(inner: S, limit: Option<Duration>) -> Self {
        Self {
            inner,
            limit,
            broken: false,
        }
    }
}

impl<S, B> Service<Request> for AnyService<S>
where
    S: Service<Request, Response = http::Response<B>>,
    S::Error: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = AnyFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        if !self.broken {
            match self.inner.poll_ready(cx) {
                Poll::Ready(Err(error)) => {
                    say(error);
                    self.broken = true;
                }
                polled => return polled.map(|_| Ok(())),
            }
        }
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Self::Future {
        AnyFuture(match self.broken {
            true => State::Broken,
            false => State::Running {
                inner: self.inner.call(request),
                // Armed by the first poll, which knows a runtime; `call` may not.
                limit: self.limit,
                timer: None,
            },
        })
    }
}

/// See [`AnyService`].
#[pin_project]
#[derive(Debug)]
pub struct AnyFuture<F>(#[pin] State<F>);

#[pin_project(project = StateProjection)]
#[derive(Debug)]
enum State<F> {
    Broken,
    Running {
        #[pin]
        inner: F,
        limit: Option<Duration>,
        #[pin]
        timer: Option<Sleep>,
    },
}

impl<F, B, E> Future for AnyFuture<F>
where
    F: Future<Output = Result<http::Response<B>, E>>,
    E: Into<BoxError>,
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let StateProjection::Running {
            inner,
            limit,
            mut timer,
        } = self.project().0.project()
        else {
            return Poll::Ready(Ok(failed()));
        };
        match inner.poll(cx) {
            Poll::Ready(Ok(answer)) => return Poll::Ready(Ok(answer.map(Body::new))),
            Poll::Ready(Err(error)) => {
                say(error);
                return Poll::Ready(Ok(failed()));
            }
            Poll::Pending => {}
        }
        if let Some(limit) = limit.take() {
            timer.set(Some(tokio::time::sleep(limit)));
        }
        let timer = timer.as_pin_mut();
        match timer.map(|timer| clock::poll_past_budget(timer, cx)) {
            Some(Poll::Ready(())) => Poll::Ready(Ok(StatusCode::GATEWAY_TIMEOUT.into_response())),
            _ => Poll::Pending,
        }
    }
}

fn failed() -> Response {
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

#[cold]
fn say(error: impl Into<BoxError>) {
    let error: &dyn fmt::Display = &error.into();
    tracing::error!(target: crate::log::APPLICATION, %error, "the service failed");
}
