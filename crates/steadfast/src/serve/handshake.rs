//! A socket whose peer shakes hands before anything else is said: TLS, a PROXY header.
//!
//! In a listener's `accept`, a handshake keeps everybody else waiting for one slow client,
//! and is lost when the listener is closed. Here it is part of the stream: the connection's
//! own task does it with its first read, within the bounds of a first request, and a drain
//! waits for it like for one.

use std::{
    fmt,
    future::Future,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A stream that comes out of a handshake, which is done with its first read or write.
///
/// For the `accept` of a listener of your own, which then returns at once. With tokio-rustls,
/// whose `TlsAcceptor::accept` returns such a future, `Io` is
/// `Handshake<TlsStream<TcpStream>>`. This listener waits for one byte:
///
/// ```
/// use std::{io, net::SocketAddr};
/// use axum::serve::Listener;
/// use steadfast::Handshake;
/// use tokio::{io::AsyncReadExt, net::{TcpListener, TcpStream}};
///
/// struct OneByte(TcpListener);
///
/// impl Listener for OneByte {
///     type Io = Handshake<TcpStream>;
///     type Addr = SocketAddr;
///
///     async fn accept(&mut self) -> (Self::Io, Self::Addr) {
///         let (mut socket, peer) = Listener::accept(&mut self.0).await;
///         let shaken = async move {
///             socket.read_u8().await?;
///             Ok(socket)
///         };
///         (Handshake::new(shaken), peer)
///     }
///
///     fn local_addr(&self) -> io::Result<Self::Addr> {
///         self.0.local_addr()
///     }
/// }
/// ```
///
/// # Errors
/// That of the handshake comes out of the read or write that did it; whatever is tried
/// afterwards fails as not connected.
#[must_use]
pub struct Handshake<S>(State<S>);

enum State<S> {
    Begun(Pin<Box<dyn Future<Output = io::Result<S>> + Send>>),
    Done(S),
    Failed,
}

impl<S> Handshake<S> {
    /// Makes the stream. Nothing is done until it is read or written.
    pub fn new(handshake: impl Future<Output = io::Result<S>> + Send + 'static) -> Self {
        Self(State::Begun(Box::pin(handshake)))
    }

    /// Returns the stream, if the handshake is over.
    #[cfg(feature = "tls")]
    pub(super) const fn done(&self) -> Option<&S> {
        match &self.0 {
            State::Done(stream) => Some(stream),
            State::Begun(_) | State::Failed => None,
        }
    }

    fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Pin<&mut S>>>
    where
        S: Unpin,
    {
        if let State::Begun(handshake) = &mut self.0 {
            match ready!(handshake.as_mut().poll(cx)) {
                Ok(stream) => self.0 = State::Done(stream),
                Err(error) => {
                    self.0 = State::Failed;
                    return Poll::Ready(Err(error));
                }
            }
        }
        Poll::Ready(match &mut self.0 {
            State::Done(stream) => Ok(Pin::new(stream)),
            State::Begun(_) | State::Failed => Err(io::ErrorKind::NotConnected.into()),
        })
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Handshake<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_done(cx))?.poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Handshake<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_done(cx))?.poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_done(cx))?.poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        matches!(&self.0, State::Done(stream) if stream.is_write_vectored())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_done(cx))?.poll_flush(cx)
    }

    /// Ends a handshake that is not over: there is nobody yet to say goodbye to.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            State::Done(stream) => Pin::new(stream).poll_shutdown(cx),
            State::Begun(_) | State::Failed => {
                self.0 = State::Failed;
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for Handshake<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_tuple("Handshake");
        match &self.0 {
            State::Begun(_) => shown.field(&"begun"),
            State::Done(stream) => shown.field(stream),
            State::Failed => shown.field(&"failed"),
        };
        shown.finish()
    }
}
