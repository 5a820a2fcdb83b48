//! The task of one connection: it polls hyper, keeps the bounds, and follows the drain.
//!
//! Order matters. Whenever the task runs, the connection is polled first and only then are
//! bounds and the drain looked at, so a request that is there is served and not closed on.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use axum_core::{extract::Request, response::Response};
use hyper::server::conn::{http1, http2};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    sync::watch,
    time::{Instant, Sleep},
};
use tower_service::Service;

use super::{
    conn::{Conn, Due},
    io::Io,
    limits::Connections,
    service::OnConnection,
    sniff::sniff,
    state::Protocol,
    stream_stall::STREAM_BUFFER,
    streams::OnTasks,
};
use crate::{clock, drain::Stage};

/// When a timer is armed that is not needed. Nothing falls due that late.
const NEVER: Duration = Duration::from_secs(48 * 3600);

/// Serves one connection to its end.
pub(super) async fn run<I, S, A>(mut io: Io<I>, service: OnConnection<S, A>, limits: Connections)
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request, Response = Response, Error = Infallible> + Clone + Send + 'static,
    S::Future: Send,
    A: Clone + Send + Sync + 'static,
{
    let conn = Arc::clone(&service.conn);
    let mut bounds = Bounds::new(Arc::clone(&conn));
    let sniffed = bounds.hold(pin!(sniff(&mut io)), |_| ()).await;
    let failed = match sniffed {
        Some(Ok(Some(Protocol::Http2))) => {
            io.follow_frames();
            conn.speaks(Protocol::Http2);
            let head_max = u32::try_from(limits.head_max).unwrap_or(u32::MAX);
            let mut http = http2::Builder::new(OnTasks(conn.clone()));
            http.timer(TokioTimer::new())
                // WebSockets over HTTP/2 (RFC 8441), as `axum::serve` has them.
                .enable_connect_protocol()
                .max_concurrent_streams(limits.streams_max)
                .max_header_list_size(head_max)
                .max_send_buf_size(STREAM_BUFFER)
                .max_pending_accept_reset_streams(limits.resets_max)
                .keep_alive_interval(limits.ping_every)
                .keep_alive_timeout(limits.ping_timeout);
            let http = pin!(http.serve_connection(TokioIo::new(io), service));
            failed(
                bounds
                    .hold(http, http2::Connection::graceful_shutdown)
                    .await,
            )
        }
        Some(Ok(Some(_))) => {
            conn.speaks(Protocol::Http1);
            // The bounds are kept by this task, so hyper needs no timer; it would make one
            // for each request.
            let http = http1::Builder::new()
                .header_read_timeout(None)
                .max_buf_size(limits.head_max)
                .serve_connection(TokioIo::new(io), service)
                .with_upgrades();
            failed(bounds.hold(pin!(http), |_| ()).await)
        }
        Some(Ok(None)) | None => false,
        Some(Err(_)) => true,
    };
    // An upgraded connection ends with its socket, which somebody else holds now.
    if conn.state().upgraded.is_none() {
        conn.ended(failed);
    }
}

/// Whether it ended in the middle of something. `None` is a connection that we dropped.
fn failed(ended: Option<Result<(), hyper::Error>>) -> bool {
    let Some(Err(error)) = ended else {
        return false;
    };
    tracing::debug!(target: crate::log::SERVE, %error, "a connection ended early");
    true
}

/// What a connection's task waits for beside the connection.
struct Bounds {
    conn: Arc<Conn>,
    stages: watch::Receiver<Stage>,
    /// The same, to be looked at while the other listens.
    seen: watch::Receiver<Stage>,
    timer: Pin<Box<Sleep>>,
}

enum Event<T> {
    Ended(T),
    Due,
    Stage,
}

impl Bounds {
    fn new(conn: Arc<Conn>) -> Self {
        let mut stages = conn.drain.stage.subscribe();
        let stage = *stages.borrow_and_update();
        let seen = stages.clone();
        conn.follow(stage, clock::now());
        let timer = Box::pin(tokio::time::sleep(NEVER));
        Self {
            conn,
            stages,
            seen,
            timer,
        }
    }

    /// Polls a connection to its end, or until a bound says that it is dropped.
    async fn hold<F: Future>(
        &mut self,
        mut future: Pin<&mut F>,
        goaway: impl Fn(Pin<&mut F>),
    ) -> Option<F::Output> {
        loop {
            match self.next(future.as_mut()).await {
                Event::Ended(output) => return Some(output),
                Event::Stage => {
                    let stage = *self.stages.borrow_and_update();
                    self.seen = self.stages.clone();
                    self.conn.follow(stage, clock::now());
                }
                Event::Due => {
                    self.timer.as_mut().reset(Instant::now() + NEVER);
                    match self.conn.due(clock::now()) {
                        Due::Nothing | Due::Poll => {}
                        Due::Goaway => goaway(future.as_mut()),
                        Due::Drop => return None,
                    }
                }
            }
        }
    }

    async fn next<F: Future>(&mut self, mut future: Pin<&mut F>) -> Event<F::Output> {
        let (conn, timer, seen) = (&self.conn, &mut self.timer, &self.seen);
        let mut changed = pin!(self.stages.changed());
        // Whom the timer and the drain wake. Once they know that, asking them on each poll
        // again would take the lock that all listeners of the drain share.
        let mut known: Option<Waker> = None;
        poll_fn(|cx| {
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Poll::Ready(Event::Ended(output));
            }
            // The poll may have made something due earlier; what has become due later is
            // found out when the timer fires.
            let armed = timer.deadline().into_std();
            let mut listens = known.as_ref().is_some_and(|it| it.will_wake(cx.waker()));
            if let Some(due) = conn.polled(armed, cx.waker()) {
                timer.as_mut().reset(due.into());
                listens = false;
            }
            let told = seen.has_changed().unwrap_or(true);
            if listens && !told && !timer.is_elapsed() {
                return Poll::Pending;
            }
            known = Some(cx.waker().clone());
            // A peer that sends without a pause uses up the turn before they are asked.
            if clock::poll_past_budget(timer.as_mut(), cx).is_ready() {
                return Poll::Ready(Event::Due);
            }
            // The sender lives in the state of the drain, which the connection holds.
            clock::poll_past_budget(changed.as_mut(), cx).map(|_| Event::Stage)
        })
        .await
    }
}
