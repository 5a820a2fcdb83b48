//! Serving: `axum::serve` with the guard started and the drain tied to it.

use std::{
    convert::Infallible,
    future::{Ready, ready},
    io,
    task::{Context, Poll},
};

use axum::{
    extract::{ConnectInfo, Request},
    response::IntoResponse,
    serve::{IncomingStream, Listener},
};
use steadfast_core::Phase;
use tower_service::Service;

use crate::guard::{Guard, Guarded};

impl Guard {
    /// Starts the guard and serves `app` until a signal, or [`crate::Control::begin_drain`],
    /// has led to the end of the drain.
    ///
    /// Handlers find the peer's address in `ConnectInfo<L::Addr>`. When the drain's grace is
    /// over this returns, and says in the log how many requests still run: they end with the
    /// runtime, so what comes after it (closing a pool, say) needs a deadline of its own.
    ///
    /// # Errors
    /// The guard cannot be started (see [`Guard::start`]).
    pub async fn serve<L, S>(&self, listener: L, app: Guarded<S>) -> io::Result<()>
    where
        L: Listener,
        L::Addr: std::fmt::Debug + Clone + Send + Sync + 'static,
        S: Service<Request> + Clone + Send + 'static,
        S::Response: IntoResponse,
        S::Error: Into<Infallible>,
        S::Future: Send,
    {
        let _running = self.start()?;
        let control = self.control();
        let served = axum::serve(listener, WithPeer(app))
            .with_graceful_shutdown(control.clone().reached(Phase::Draining));
        tokio::select! {
            served = served.into_future() => served?,
            () = control.clone().reached(Phase::Stopped) => {
                let cut = control.shedder().in_flight();
                metrics::counter!("steadfast_drain_cut_total", "reason" => "grace").increment(u64::from(cut));
                tracing::warn!(target: "steadfast", cut, "the grace is over; what still runs ends with the runtime");
            }
        }
        control.advance(Phase::Stopped);
        Ok(())
    }
}

/// Makes a service for each connection that tells handlers who the peer is.
#[derive(Clone, Debug)]
struct WithPeer<S>(S);

impl<S, L> Service<IncomingStream<'_, L>> for WithPeer<Guarded<S>>
where
    L: Listener,
    L::Addr: Clone + Send + Sync + 'static,
    S: Clone,
{
    type Response = Connected<Guarded<S>, L::Addr>;
    type Error = Infallible;
    type Future = Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, stream: IncomingStream<'_, L>) -> Self::Future {
        ready(Ok(Connected {
            inner: self.0.clone(),
            peer: stream.remote_addr().clone(),
        }))
    }
}

/// The application on one connection.
#[derive(Clone, Debug)]
struct Connected<S, A> {
    inner: S,
    peer: A,
}

impl<S, A> Service<Request> for Connected<S, A>
where
    S: Service<Request>,
    A: Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        request
            .extensions_mut()
            .insert(ConnectInfo(self.peer.clone()));
        self.inner.call(request)
    }
}
