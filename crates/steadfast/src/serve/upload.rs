//! A request's body on its way to the handler, and the bound on a peer that does not send it.
//!
//! The time runs only while somebody waits for more of it, so a handler that does something
//! else is never taken for a slow peer; nor is a peer whose bytes lie in a buffer of ours.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Instant,
};

use axum_core::BoxError;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::{conn::Conn, patience::Patience, slow::Bound};
use crate::clock;

/// A request's body, until its end. It may outlive the answer, and the request with it.
pub(super) struct Upload {
    body: Incoming,
    conn: Arc<Conn>,
    slot: usize,
    /// With its peer; none if it may be silent.
    patience: Option<Patience>,
    waits_since: Option<Instant>,
    /// Whether it is of a protocol whose requests may be silent, if the service speaks it.
    may_be_silent: bool,
    /// Whether its end was told by its length.
    sized: bool,
    /// How often its time was over when more came. Once or twice, this process may have been
    /// the one that was late.
    overdue: u8,
    failed: bool,
}

/// How often that is believed.
const OVERDUE_MAX: u8 = 2;

impl Upload {
    pub(super) fn new(
        body: Incoming,
        conn: Arc<Conn>,
        slot: usize,
        is_stream: bool,
        may_be_silent: bool,
    ) -> Self {
        let limits = &conn.limits;
        let patience =
            (!is_stream).then(|| Patience::to_be_sent(limits.read_stall, limits.bytes_per_sec_min));
        let sized = body.size_hint().exact().is_some();
        Self {
            body,
            conn,
            slot,
            patience,
            waits_since: None,
            may_be_silent,
            sized,
            overdue: 0,
            failed: false,
        }
    }

    /// Nothing is there. Returns whether the peer was too slow.
    fn waits(&mut self, cx: &Context<'_>) -> bool {
        let Some(patience) = &self.patience else {
            return false;
        };
        let since = *self.waits_since.get_or_insert_with(clock::now);
        let until = since + patience.left();
        let late = {
            let mut state = self.conn.state();
            state.body_waits(self.slot, until, cx.waker())
        };
        if !late {
            return false;
        }
        self.came();
        if self.may_be_silent && self.conn.slow.may_be_silent() {
            self.patience = None;
            return false;
        }
        true
    }

    fn came(&mut self) {
        let Some(since) = self.waits_since.take() else {
            return;
        };
        if let Some(patience) = &mut self.patience {
            patience.waited(clock::now().saturating_duration_since(since));
            self.overdue = self
                .overdue
                .saturating_add(u8::from(patience.left().is_zero()));
        }
        self.conn.state().slots.body_came(self.slot);
    }

    fn too_slow(&mut self) -> io::Error {
        self.failed = true;
        let route = self.conn.state().slots.route_of(self.slot);
        self.conn.slow.ended(Bound::ReadStall, &route);
        io::Error::new(
            io::ErrorKind::TimedOut,
            "the request's body came too slowly or not at all",
        )
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        // Of a body with a known length, hyper tells the end too late once the answer is out:
        // with the next request.
        if this.failed || this.body.is_end_stream() {
            return Poll::Ready(None);
        }
        let Poll::Ready(polled) = Pin::new(&mut this.body).poll_frame(cx) else {
            if this.waits(cx) {
                return Poll::Ready(Some(Err(this.too_slow().into())));
            }
            return Poll::Pending;
        };
        this.came();
        if this.overdue > OVERDUE_MAX {
            return Poll::Ready(Some(Err(this.too_slow().into())));
        }
        let frame = match polled {
            Some(Ok(frame)) => Some(frame),
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => None,
        };
        let data = frame.as_ref().and_then(Frame::data_ref);
        if let (Some(patience), Some(data)) = (&mut this.patience, data) {
            patience.moved(data.len() as u64);
        }
        if frame.is_none() || this.body.is_end_stream() {
            let last = data.filter(|_| this.sized).map(|data| &data[..]);
            this.conn.state().body_ends(this.slot, last);
        }
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        self.conn.state().upload_dropped(self.slot, clock::now());
    }
}
