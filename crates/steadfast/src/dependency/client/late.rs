//! Readiness of a client behind a breaker that is open.
//!
//! A client that is full (a concurrency limit, a pool of connections to what hangs) is not
//! ready, so callers queue for it; and while the breaker is open they would queue for a call
//! that is refused at once. So while every call would be refused, the service says that it
//! is ready without asking the client. The decision still falls in `call`, which looks
//! again. If the outage has ended meanwhile, the call's future asks the client whether it is
//! ready, and for a permit after that, so that a full client costs no probe its lease.
//!
//! The future works on a clone of the client, since the caller keeps the service.

use std::{
    fmt,
    task::{Context, Poll, ready},
    time::Duration,
};

use steadfast_core::Refusal;
use tower_service::Service;

use crate::{
    clock,
    dependency::{CallError, Dependency, Permit, permit::in_handler},
};

/// A client, and whether it has been polled ready.
#[derive(Debug)]
pub(super) struct PolledClient<S> {
    pub(super) client: S,
    /// Whether it has said that it is ready, and has not been called since.
    is_ready: bool,
}

impl<S: Clone> Clone for PolledClient<S> {
    fn clone(&self) -> Self {
        // A clone inherits no readiness.
        Self::new(self.client.clone())
    }
}

/// What comes of asking for a permit.
pub(super) enum Asking {
    /// The client was ready, or the call is refused either way.
    Ready(Result<Permit, Refusal>),
    /// The client was not asked, and calls pass by now.
    Late,
}

impl<S> PolledClient<S> {
    pub(super) const fn new(client: S) -> Self {
        Self {
            client,
            is_ready: false,
        }
    }

    #[inline]
    pub(super) fn poll_ready<R>(
        &mut self,
        dependency: &Dependency,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), CallError<S::Error>>>
    where
        S: Service<R>,
    {
        if !self.is_ready && dependency.state().refuses(clock::now) {
            return Poll::Ready(Ok(()));
        }
        ready!(self.client.poll_ready(cx)).map_err(CallError::Inner)?;
        self.is_ready = true;
        Poll::Ready(Ok(()))
    }

    /// Asks for a permit, for a client that is ready.
    #[inline]
    pub(super) fn ask(&self, dependency: &Dependency) -> Asking {
        if self.is_ready {
            return Asking::Ready(Permit::ask(dependency.clone()));
        }
        // A look and no permit: if one were given by now, there is no client to use it.
        match dependency.state().refusal(clock::now()) {
            Some(refusal) => Asking::Ready(Err(in_handler(refusal))),
            None => Asking::Late,
        }
    }

    /// Calls the client, which was ready. The caller has a permit by now: if the client's
    /// `call` panics, its drop gives it back.
    #[inline]
    pub(super) fn call<R>(&mut self, request: R) -> S::Future
    where
        S: Service<R>,
    {
        self.is_ready = false;
        self.client.call(request)
    }

    /// Boxed because it happens around the end of an outage only, and would make every other
    /// call's future larger.
    #[cold]
    pub(super) fn late<R>(&self, dependency: &Dependency, request: R) -> Box<Late<S, R>>
    where
        S: Clone,
    {
        Box::new(Late {
            client: self.client.clone(),
            request: Some(request),
            dependency: dependency.clone(),
        })
    }
}

/// A call under way with its permit, or why there is none.
type Begun<F, E> = Result<(F, Permit), CallError<E>>;

/// A call whose client still has to be asked.
pub(super) struct Late<S, R> {
    client: S,
    request: Option<R>,
    dependency: Dependency,
}

impl<S: Service<R>, R> Late<S, R> {
    pub(super) fn call_timeout(&self) -> Option<Duration> {
        self.dependency.state().call_timeout()
    }

    #[cold]
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Begun<S::Future, S::Error>> {
        ready!(self.client.poll_ready(cx)).map_err(CallError::Inner)?;
        let permit = Permit::ask(self.dependency.clone()).map_err(CallError::Refused)?;
        let request = self.request.take();
        let request = request.expect("a future is not polled after it is ready");
        Poll::Ready(Ok((self.client.call(request), permit)))
    }
}

impl<S, R> fmt::Debug for Late<S, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Late").finish_non_exhaustive()
    }
}
