//! A connection that notes when its first byte came, and what the first bytes were.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Poll, ready},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use crate::clock;

/// How much of the beginning is kept, to name what is no HTTP.
const KEPT: usize = 64;

/// What was seen on the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Seen {
    /// When the first byte came.
    pub(super) first: Option<Instant>,
    /// The first bytes.
    pub(super) bytes: Vec<u8>,
}

/// Reads what has been seen so far.
#[derive(Debug, Clone, Default)]
pub(super) struct Watch(Arc<Mutex<Seen>>);

impl Watch {
    /// What has been seen so far.
    pub(super) fn seen(&self) -> Seen {
        self.0
            .lock()
            .expect("nothing panics while it notes")
            .clone()
    }

    fn note(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut seen = self.0.lock().expect("nothing panics while it notes");
        seen.first.get_or_insert_with(clock::now);
        let room = KEPT - seen.bytes.len();
        seen.bytes.extend(&bytes[..bytes.len().min(room)]);
    }
}

/// The connection.
#[derive(Debug)]
pub(super) struct Watched<T> {
    inner: T,
    watch: Watch,
}

impl<T> Watched<T> {
    /// Watches a connection.
    pub(super) fn new(inner: T, watch: Watch) -> Self {
        Self { inner, watch }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Watched<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buffer))?;
        self.watch.note(&buffer.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Watched<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}
