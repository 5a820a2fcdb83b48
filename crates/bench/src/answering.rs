//! Errors that become a refusal, in the cheapest way there is.
//!
//! Users write `HandleErrorLayer` for it; without it the limiters themselves are compared.

use std::{
    convert::Infallible,
    task::{Context, Poll},
};

use futures_util::{FutureExt, future::Map};
use http::{Response, StatusCode};
use tower_service::Service;

/// A service whose every error is a bare 503.
#[derive(Clone, Debug)]
pub(crate) struct Answering<S>(pub(crate) S);

type Answer<B, E> = fn(Result<Response<B>, E>) -> Result<Response<B>, Infallible>;

impl<S, R, B> Service<R> for Answering<S>
where
    S: Service<R, Response = Response<B>>,
    B: Default,
{
    type Response = Response<B>;
    type Error = Infallible;
    type Future = Map<S::Future, Answer<B, S::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        // A limiter that is not ready for good says so again when it is called.
        self.0.poll_ready(cx).map(|_| Ok(()))
    }

    fn call(&mut self, request: R) -> Self::Future {
        let answer: Answer<B, S::Error> = |result| Ok(result.unwrap_or_else(|_| refusal()));
        self.0.call(request).map(answer)
    }
}

/// A bare 503.
pub(crate) fn refusal<B: Default>() -> Response<B> {
    let mut response = Response::new(B::default());
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    response
}
