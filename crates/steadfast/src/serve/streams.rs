//! HTTP/2 streams as tasks, from their request to the end of what they became.
//!
//! ```text
//! hyper calls the service ─▶ execute(stream) ─▶ a task: request ─▶ answer ─▶ end
//!                                                            └─▶ 200 to CONNECT: a tunnel
//!              execute(the tunnel's writer), asked from inside that task ─┘
//! ```
//!
//! A stream whose CONNECT was answered with success carries on as a tunnel (RFC 9113, 8.5)
//! or a WebSocket (RFC 8441). For hyper its request is over then, and the rest is a further
//! future that it wants run. That future is run here on the task of the stream it came from,
//! and the request's place is kept until it ends: so the connection is not idle while a
//! WebSocket lives, and whoever cuts the connection finds and names it.
//!
//! Which stream a future belongs to is told by where hyper asks for it. Streams are executed
//! on the connection's own task, one at a time, each right after its call of the service;
//! the rest of a stream is executed inside the task of that stream, which has a
//! [`STREAM`]. There may be many of those at once, on other threads, and none can be taken
//! for another or for a new request.

use std::{
    cell::RefCell,
    future::Future,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use hyper::rt::Executor;
use pin_project::pin_project;

use super::{conn::Conn, service::Place};

tokio::task_local! {
    /// What the stream whose task this is goes on as.
    static STREAM: RefCell<GoesOn>;
}

#[derive(Default)]
struct GoesOn {
    /// The request's, kept because it was upgraded.
    place: Option<Place>,
    /// What hyper has left to do for it.
    rest: Option<Rest>,
}

/// Keeps the place of a request that was upgraded until its stream ends.
pub(super) fn goes_on(mut place: Place) {
    place.upgrades();
    // Outside a stream's task there is nothing to keep it for, and it ends here.
    let _ = STREAM.try_with(|stream| stream.borrow_mut().place = Some(place));
}

/// What runs on the task of a stream. It has a name because an `async` block keeps room for
/// what it awaits twice, and every request moves it.
#[pin_project(project = StreamProjection)]
enum Stream<F> {
    Request(#[pin] F),
    /// What it goes on as.
    Rest {
        place: Option<Place>,
        rest: Rest,
    },
}

type Rest = Pin<Box<dyn Future<Output = ()> + Send>>;

impl<F: Future> Future for Stream<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if let StreamProjection::Request(request) = self.as_mut().project() {
            ready!(request.poll(cx));
            let GoesOn { place, rest } = STREAM.with(RefCell::take);
            let Some(rest) = rest else {
                return Poll::Ready(());
            };
            self.set(Self::Rest { place, rest });
        }
        if let StreamProjection::Rest { place, rest } = self.project() {
            ready!(rest.as_mut().poll(cx));
            place.take().into_iter().for_each(Place::ends_in_order);
        }
        Poll::Ready(())
    }
}

/// Runs streams as tasks, which end with their connection.
#[derive(Clone, Debug)]
pub(super) struct OnTasks(pub(super) Arc<Conn>);

impl<F> Executor<F> for OnTasks
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, future: F) {
        let mut future = Some(future);
        let _ = STREAM.try_with(|stream| {
            let rest = future.take()?;
            stream.borrow_mut().rest = Some(Box::pin(async move {
                rest.await;
            }));
            Some(())
        });
        let Some(stream) = future else { return };
        let task = tokio::spawn(STREAM.scope(RefCell::default(), Stream::Request(stream)));
        self.0.state().slots.newest_runs_as(task.abort_handle());
    }
}
