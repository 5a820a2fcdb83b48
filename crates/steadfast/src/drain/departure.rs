//! The end of an answer that has none of its own: told by the drain, ended between two of
//! the things it is made of, and cut where everybody sees it if none ends in time.
//!
//! ```text
//! told ─▶ what is ready goes out, within a bound ─▶ the end of an event ─▶ ended in order
//!                                                └▶ the last moment     ─▶ an error: cut
//! ```
//!
//! Whether a body makes its reader wait says nothing: it may wait in the middle of an event,
//! and one that is always ready never does. So it is asked at every part of it.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};

use super::{DrainToken, framing::Framing};

/// What still goes out of a body that always has more, once it was told: enough for what a
/// handler had queued, little enough for a slow reader.
const READY_MAX: usize = 64 * 1024;

type Leaving = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends one answer. See the module.
pub(crate) struct Departure {
    token: DrainToken,
    leaving: Leaving,
    order: Order,
    framing: Framing,
    /// Whether somebody said that this answer leaves, and did not only write events.
    by_route: bool,
    ready_left: usize,
    end: End,
}

/// What the drain asks of the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Order {
    Stay,
    Leave,
    Now,
}

#[derive(Debug)]
enum End {
    No,
    Trailers(HeaderMap),
    InOrder,
    Cut,
}

impl Departure {
    /// Of an answer with these headers. `by_route` is one whose route leaves whatever it is
    /// made of.
    pub(crate) fn new(token: DrainToken, headers: &HeaderMap, by_route: bool) -> Self {
        Self {
            leaving: Box::pin(token.clone().until_leaving_begins()),
            token,
            order: Order::Stay,
            framing: Framing::of(headers),
            by_route,
            ready_left: READY_MAX,
            end: End::No,
        }
    }

    /// Whether it was ended, in whatever way, and nothing more comes.
    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.end, End::InOrder | End::Cut)
    }

    /// Whether it was cut.
    pub(crate) const fn is_cut(&self) -> bool {
        matches!(self.end, End::Cut)
    }

    /// Polls the body, as its reader does.
    pub(crate) fn poll_frame<B>(
        &mut self,
        body: Pin<&mut B>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>>
    where
        B: Body<Data = Bytes, Error = axum_core::Error>,
    {
        match std::mem::replace(&mut self.end, End::No) {
            End::No => {}
            End::Trailers(trailers) => {
                self.end = End::InOrder;
                return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
            }
            over @ (End::InOrder | End::Cut) => {
                self.end = over;
                return Poll::Ready(None);
            }
        }
        self.listen(cx);
        // Without a place to end at, waiting longer would not make it better.
        if self.order != Order::Stay && self.by_route && matches!(self.framing, Framing::Unknown) {
            return self.cut();
        }
        match body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => self.passes(frame),
            Poll::Pending if self.order == Order::Stay => Poll::Pending,
            Poll::Pending if self.framing.is_between() => self.in_order(None),
            Poll::Pending if self.order == Order::Now => self.cut(),
            // What comes next, or the last moment, ends it.
            polled => polled,
        }
    }

    /// Hears what the drain says, and stays its listener.
    fn listen(&mut self, cx: &mut Context<'_>) {
        while self.order != Order::Now && self.leaving.as_mut().poll(cx).is_ready() {
            self.order = match self.order {
                Order::Stay => Order::Leave,
                Order::Leave | Order::Now => Order::Now,
            };
            let token = self.token.clone();
            self.leaving = Box::pin(async move { token.cancelled().await });
        }
    }

    fn passes(
        &mut self,
        frame: Frame<Bytes>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let Some(data) = frame.data_ref() else {
            return Poll::Ready(Some(Ok(frame)));
        };
        let between = self.framing.is_between();
        let end = self.framing.follow(data);
        if self.order == Order::Stay {
            return Poll::Ready(Some(Ok(frame)));
        }
        self.ready_left = self.ready_left.saturating_sub(data.len());
        let goes_on = self.ready_left > 0 && self.order == Order::Leave;
        // Parts show that they are whole too late to wait for the end of what is ready.
        if goes_on && !matches!(self.framing, Framing::Parts(_)) {
            return Poll::Ready(Some(Ok(frame)));
        }
        match end {
            Some(end) => self.in_order(Some(self.framing.closed(data, end))),
            None if between => self.in_order(None),
            None if self.order == Order::Now => self.cut(),
            None => Poll::Ready(Some(Ok(frame))),
        }
    }

    fn in_order(
        &mut self,
        last: Option<Bytes>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        let trailers = self.framing.trailers();
        let last = last.filter(|last| !last.is_empty());
        let (end, frame) = match (last, trailers) {
            (Some(last), Some(trailers)) => (End::Trailers(trailers), Some(Frame::data(last))),
            (Some(last), None) => (End::InOrder, Some(Frame::data(last))),
            (None, Some(trailers)) => (End::InOrder, Some(Frame::trailers(trailers))),
            (None, None) => (End::InOrder, None),
        };
        self.end = end;
        Poll::Ready(frame.map(Ok))
    }

    /// Fails, which closes an HTTP/1 connection without the last chunk and resets an HTTP/2
    /// stream: nobody takes what came for the whole.
    fn cut(&mut self) -> Poll<Option<Result<Frame<Bytes>, axum_core::Error>>> {
        self.end = End::Cut;
        let error = io::Error::new(io::ErrorKind::ConnectionAborted, "the server leaves");
        Poll::Ready(Some(Err(axum_core::Error::new(error))))
    }
}

impl fmt::Debug for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Departure")
            .field("order", &self.order)
            .field("framing", &self.framing)
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
