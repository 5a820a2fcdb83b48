//! What a handler holds to learn that it should leave.
//!
//! A stream without an end (server-sent events, a long poll, a WebSocket) is not told by a
//! header: its answer has begun long ago. Its handler asks a [`DrainToken`]. Tokens do not
//! all fire at one moment but spread over the first half of the grace, because clients that
//! are told together come back together.

use std::{
    fmt,
    future::{Future, ready},
    pin::Pin,
    task::{Context, Poll},
    time::Instant,
};

use axum_core::extract::FromRequestParts;
use futures_util::Stream;
use http::{StatusCode, request::Parts};
use pin_project::pin_project;
use steadfast_core::Local;
#[cfg(feature = "ws")]
use steadfast_core::Refusal;

#[cfg(feature = "ws")]
use super::state::StreamPlace;
use super::{DrainState, Stage, WaitGroupMember, here};

/// Tells a handler when to leave, and lets it be waited for.
///
/// An extractor behind a guard or a [`crate::DrainLayer`], whoever serves it, and an extension
/// of the request under [`crate::Guard::serve`] and the layer; elsewhere, a clone of
/// [`crate::Control::token`] in the application's state.
///
/// ```
/// use axum::{Router, response::IntoResponse, routing::get};
/// use steadfast::DrainToken;
///
/// async fn poll(token: DrainToken) -> impl IntoResponse {
///     tokio::select! {
///         news = next_news() => news,
///         // Ask again, of an instance that stays.
///         () = token.leaving() => "nothing yet",
///     }
/// }
/// # async fn next_news() -> &'static str { "news" }
/// # let _: Router = Router::new().route("/poll", get(poll));
/// ```
#[derive(Clone)]
pub struct DrainToken {
    drain: Local<DrainState>,
    /// Where in the first half of the grace this one fires, of 256.
    place: u8,
    /// Whether it fires only at the very end.
    finishes: bool,
}

impl DrainToken {
    pub(crate) fn new(drain: Local<DrainState>) -> Self {
        Self {
            drain,
            place: fastrand::u8(..),
            finishes: false,
        }
    }

    /// Of a route whose answers are waited for.
    pub(crate) const fn finishes(mut self, finishes: bool) -> Self {
        self.finishes = finishes;
        self
    }

    /// Waits until this stream should end: some moment in the first half of the grace, or
    /// nearly its end on a route that says `WhenDraining::Finish`.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn leaving(&self) {
        if self.finishes {
            return self.cancelled().await;
        }
        let mut stages = self.drain.stage.subscribe();
        let Ok(stage) = stages.wait_for(Stage::is_closing).await.map(|it| *it) else {
            return;
        };
        if let Some(moment) = self.moment(stage) {
            tokio::select! {
                () = tokio::time::sleep_until(moment.into()) => {}
                () = self.cancelled() => {}
            }
        }
    }

    /// Waits until the grace is nearly over: whatever still runs is cut a moment later.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn cancelled(&self) {
        let mut stages = self.drain.stage.subscribe();
        let _ = stages.wait_for(|stage| *stage >= Stage::Cancelling).await;
    }

    /// Whether the process is on its way out. A handler that can choose begins nothing long.
    #[must_use]
    pub fn is_leaving(&self) -> bool {
        self.drain.is_leaving()
    }

    /// Asks the drain to wait for work that outlives its request: a spawned task, an
    /// upgraded connection under a server that does not track it. Drop it when done.
    #[must_use = "dropped, it is not waited for"]
    pub fn permit(&self) -> DrainPermit {
        DrainPermit(self.drain.permits.enter())
    }

    #[cfg(feature = "ws")]
    pub(crate) fn socket(&self) -> DrainPermit {
        DrainPermit(self.drain.sockets.enter())
    }

    /// Takes a place among the open streams.
    #[cfg(feature = "ws")]
    pub(crate) fn stream(&self) -> Result<StreamPlace, Refusal> {
        (self.drain.stream_door.0)()
    }

    /// Writes down a WebSocket that was cut before the end of the grace.
    #[cfg(feature = "ws")]
    pub(crate) fn cut_socket(&self, age: std::time::Duration) {
        self.drain.tally().cut(super::Reason::Upgrade, "", age);
    }

    /// Returns a stream that ends, in order, between two items, when this token says so. What
    /// is ready then is delivered first; of one that always has more, 32 items.
    pub fn until_leaving<S: Stream>(&self, stream: S) -> UntilLeaving<S> {
        UntilLeaving {
            stream,
            leaving: Some(Box::pin(self.clone().until_leaving_begins())),
            ready_left: READY_MAX,
        }
    }

    pub(crate) async fn until_leaving_begins(self) {
        self.leaving().await;
    }

    fn moment(&self, stage: Stage) -> Option<Instant> {
        let Stage::Closing { since, until } = stage else {
            return None;
        };
        let half = until.saturating_duration_since(since) / 2;
        Some(since + half * u32::from(self.place) / 256)
    }
}

impl fmt::Debug for DrainToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DrainToken")
            .field("stage", &self.drain.stage())
            .finish()
    }
}

impl<S: Sync> FromRequestParts<S> for DrainToken {
    type Rejection = (StatusCode, &'static str);

    fn from_request_parts(
        parts: &mut Parts,
        _state: &S,
    ) -> impl Future<Output = Result<Self, Self::Rejection>> + Send {
        let found = parts.extensions.get::<Self>().cloned().or_else(here::token);
        ready(found.ok_or((StatusCode::INTERNAL_SERVER_ERROR, NO_TOKEN)))
    }
}

/// A stranger reads it too, so it says nothing about the service.
const NO_TOKEN: &str = "no drain token: protect with a guard or add DrainLayer\n";

/// Work that the drain waits for, until this is dropped.
#[derive(Debug)]
pub struct DrainPermit(#[allow(dead_code, reason = "held for its drop")] WaitGroupMember);

/// A stream that ends when its token says so. See [`DrainToken::until_leaving`].
#[pin_project]
pub struct UntilLeaving<S> {
    #[pin]
    stream: S,
    /// `None` once the process leaves.
    leaving: Option<Pin<Box<dyn Future<Output = ()> + Send>>>,
    ready_left: u8,
}

/// Items that are delivered after that: what a handler may have queued. A stream that never
/// makes its reader wait would not end without a bound.
pub(crate) const READY_MAX: u8 = 32;

impl<S> fmt::Debug for UntilLeaving<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UntilLeaving").finish_non_exhaustive()
    }
}

impl<S: Stream> Stream for UntilLeaving<S> {
    type Item = S::Item;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        let this = self.project();
        if let Some(leaving) = this.leaving {
            if leaving.as_mut().poll(cx).is_pending() {
                return this.stream.poll_next(cx);
            }
            *this.leaving = None;
        }
        let Some(left) = this.ready_left.checked_sub(1) else {
            return Poll::Ready(None);
        };
        *this.ready_left = left;
        match this.stream.poll_next(cx) {
            Poll::Ready(Some(item)) => Poll::Ready(Some(item)),
            Poll::Ready(None) | Poll::Pending => {
                *this.ready_left = 0;
                Poll::Ready(None)
            }
        }
    }
}

const _: fn() = || {
    fn shareable<T: Send + Sync>() {}
    shareable::<DrainToken>();
    shareable::<DrainPermit>();
};
