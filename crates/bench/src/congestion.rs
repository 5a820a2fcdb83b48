//! congestion-limiter as a service: it has no tower layer of its own.

use std::{
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use congestion_limiter::{
    aggregation::Percentile,
    limiter::{DefaultLimiter, Limiter, Outcome},
    limits::{Fixed, LimitAlgorithm, Vegas, Windowed},
};
use futures_util::{FutureExt, future::BoxFuture};
use http::Response;
use tower_service::Service;

use crate::answering::refusal;

/// Where its algorithms are told to start; it has no default. The others start at 10 or 20.
const START: usize = 20;

/// The one setting that comes near the oracle: a window that somebody set by hand.
const WINDOW_MAX: Duration = Duration::from_millis(50);

/// A service behind one of its limiters. Clones share it.
pub(crate) struct Congestion<S, L> {
    inner: S,
    limiter: Arc<DefaultLimiter<L>>,
}

pub(crate) fn vegas<S>(inner: S) -> Congestion<S, Vegas> {
    Congestion::new(inner, Vegas::new_with_initial_limit(START))
}

pub(crate) fn windowed<S>(inner: S) -> Congestion<S, Windowed<Vegas, Percentile>> {
    let vegas = Vegas::new_with_initial_limit(START);
    let windowed = Windowed::new(vegas, Percentile::new(0.5));
    Congestion::new(inner, windowed.with_max_window(WINDOW_MAX))
}

pub(crate) fn fixed<S>(inner: S, limit: usize) -> Congestion<S, Fixed> {
    Congestion::new(inner, Fixed::new(limit))
}

impl<S, L: LimitAlgorithm> Congestion<S, L> {
    fn new(inner: S, algorithm: L) -> Self {
        let limiter = Arc::new(DefaultLimiter::new(algorithm));
        Self { inner, limiter }
    }
}

impl<S: Clone, L> Clone for Congestion<S, L> {
    fn clone(&self) -> Self {
        Self {
            inner: self.inner.clone(),
            limiter: Arc::clone(&self.limiter),
        }
    }
}

impl<S, L, R, B> Service<R> for Congestion<S, L>
where
    S: Service<R, Response = Response<B>> + Clone + Send + 'static,
    S::Future: Send,
    L: LimitAlgorithm + std::fmt::Debug + Send + Sync + 'static,
    R: Send + 'static,
    B: Default + Send,
{
    type Response = Response<B>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Response<B>, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let fresh = self.inner.clone();
        // The one that was polled ready is the one that is called.
        let mut inner = std::mem::replace(&mut self.inner, fresh);
        let limiter = Arc::clone(&self.limiter);
        async move {
            let Some(token) = limiter.try_acquire().await else {
                return Ok(refusal());
            };
            let response = inner.call(request).await?;
            let outcome = match response.status().is_server_error() {
                true => Outcome::Overload,
                false => Outcome::Success,
            };
            limiter.release(token, Some(outcome)).await;
            Ok(response)
        }
        .boxed()
    }
}
