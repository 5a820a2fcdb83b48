//! A guarded application, as axum takes it.

use std::{
    any::Any,
    convert::Infallible,
    future::Future,
    pin::Pin,
    task::{Context, Poll, ready},
};

#[cfg(feature = "axum")]
use axum::{
    Router,
    serve::{IncomingStream, Listener},
};
use axum_core::{
    body::Body,
    extract::Request,
    response::{IntoResponse, Response},
};
use bytes::Bytes;
use pin_project::pin_project;
use tower_layer::Layer;
use tower_service::Service;

use super::service::{GuardLayer, GuardService};
use crate::{gate::frame::FramedFuture, request::body::IntoAxum};

/// An application behind its guard.
///
/// `axum::serve` takes it as it is; so do `tower::ServiceExt::oneshot` and, through
/// [`axum::ServiceExt`], `into_make_service_with_connect_info`. For those who need a
/// Router there is [`Guarded::into_router`].
#[cfg(feature = "axum")]
#[derive(Clone, Debug)]
pub struct Guarded<S = AxumGuard<Router>>(S);

/// An application behind its guard.
///
/// [`crate::Guard::serve`], `hyper_util::service::TowerToHyperService` and
/// `tower::ServiceExt::oneshot` take it as it is.
#[cfg(not(feature = "axum"))]
#[derive(Clone, Debug)]
pub struct Guarded<S>(S);

impl<S> Guarded<S> {
    pub(super) const fn new(service: S) -> Self {
        Self(service)
    }

    /// Wraps an application that no guard stands in front of: what is left is the accept
    /// loop, whose cost can be measured so.
    #[doc(hidden)]
    pub const fn unguarded(service: S) -> Self {
        Self(service)
    }

    /// Puts a layer outside the guard, where it also sees refusals: CORS, tracing, request
    /// ids. As with a Router, the last one added sees a request first.
    pub fn layer<L: Layer<S>>(self, layer: L) -> Guarded<L::Service> {
        Guarded(layer.layer(self.0))
    }

    /// Returns a Router that hands everything to this service. It costs a few allocations
    /// for each request; axum can serve the service itself.
    #[cfg(feature = "axum")]
    pub fn into_router(self) -> Router
    where
        Self: Service<Request, Response = Response, Error = Infallible>
            + Clone
            + Send
            + Sync
            + 'static,
        <Self as Service<Request>>::Future: Send + 'static,
    {
        Router::new().fallback_service(self)
    }
}

impl<S, A> Service<http::Request<A>> for Guarded<S>
where
    S: Service<Request>,
    S::Response: IntoResponse,
    S::Error: Into<Infallible>,
    A: http_body::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<axum_core::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = GuardedFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: http::Request<A>) -> Self::Future {
        GuardedFuture(self.0.call(with_axum_body(request)))
    }
}

/// Makes a service for each connection, which is what `axum::serve` asks for.
#[cfg(feature = "axum")]
impl<S: Clone, L: Listener> Service<IncomingStream<'_, L>> for Guarded<S> {
    type Response = Self;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _stream: IncomingStream<'_, L>) -> Self::Future {
        std::future::ready(Ok(self.clone()))
    }
}

/// See [`Guarded`].
#[pin_project]
#[derive(Debug)]
pub struct GuardedFuture<F>(#[pin] F);

impl<F, R, E> Future for GuardedFuture<F>
where
    F: Future<Output = Result<R, E>>,
    R: IntoResponse,
    E: Into<Infallible>,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let answered = ready!(self.project().0.poll(cx));
        Poll::Ready(
            answered
                .map(IntoResponse::into_response)
                .map_err(Into::into),
        )
    }
}

/// Gives a request the body that axum knows. Most have it already, and a request is large
/// enough for a move to count.
#[inline]
fn with_axum_body<A>(request: http::Request<A>) -> Request
where
    A: http_body::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<axum_core::BoxError>,
{
    let mut request = Some(request);
    let same: &mut dyn Any = &mut request;
    if let Some(request) = same
        .downcast_mut::<Option<Request>>()
        .and_then(Option::take)
    {
        return request;
    }
    let request = request.expect("it was not taken above");
    request.map(Body::new)
}

/// The guard around an axum service, with axum's own body type: nothing is boxed where
/// nothing is held.
#[derive(Clone, Debug)]
pub struct AxumGuard<S>(GuardService<S>);

impl<S> AxumGuard<S> {
    pub(super) const fn new(service: GuardService<S>) -> Self {
        Self(service)
    }
}

impl<S> AxumGuard<S> {
    /// Returns the service inside.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        self.0.get_ref()
    }

    /// Returns the service inside, to change it.
    pub const fn get_mut(&mut self) -> &mut S {
        self.0.get_mut()
    }

    /// Returns the service inside and drops what is around it.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.0.into_inner()
    }
}

/// Any request body is taken, as a Router does, so that layers outside may change it (a body
/// limit, for one). Axum's own is passed on as it is.
impl<S, A> Service<http::Request<A>> for AxumGuard<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
    A: http_body::Body<Data = Bytes> + Send + 'static,
    A::Error: Into<axum_core::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = AxumFuture<S>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<A>) -> Self::Future {
        AxumFuture(self.0.call(with_axum_body(request)))
    }
}

/// See [`AxumGuard`].
#[pin_project]
#[derive(Debug)]
pub struct AxumFuture<S: Service<Request> + Clone>(#[pin] FramedFuture<S, Body, GuardLayer>);

impl<S> Future for AxumFuture<S>
where
    S: Service<Request, Response = Response, Error = Infallible> + Clone,
{
    type Output = Result<Response, Infallible>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.project()
            .0
            .poll(cx)
            .map_ok(|response| response.map(IntoAxum::into_axum))
    }
}
