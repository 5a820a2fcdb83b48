//! The socket as hyper sees it: it says what it does, returns EOF only when nothing is there,
//! and closes without destroying what the peer has not read yet.
//!
//! Three races end here. *A request in the kernel's buffer*: an idle connection is not
//! closed from outside but returns EOF when it is read, and it does so only after the socket
//! was asked directly whether bytes are there, since what the runtime knows of a socket is as
//! old as its driver's last turn. *An answer lost to a reset*: closing a socket with unread bytes
//! makes the kernel send a reset, which throws away what the peer has not read, so after the
//! last write only the writing half is closed and what still comes is read and thrown away,
//! within bounds. *A sniff that is cut*: the first bytes were read before hyper, and are
//! replayed here.

use std::{
    any::Any,
    future::Future,
    io,
    mem::MaybeUninit,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Sleep,
};

use super::{conn::Conn, frames::Frames, registry::Registered, state::Mode};
use crate::clock;

/// Longest that a closed connection is read from: an upload into an answer that came early.
const LINGER_MAX: Duration = Duration::from_secs(5);

/// How long such a peer may be silent. A client that has read its answer closes at once.
const LINGER_SILENCE: Duration = Duration::from_secs(1);

/// Most bytes that are thrown away; one who sends more does not listen.
const LINGER_BYTES_MAX: usize = 256 << 20;

/// Most bytes that are thrown away of a peer that was told that it is to blame: enough for
/// it to have the word, too little to go on flooding.
const LINGER_BYTES_BLAMED: usize = 64 << 10;

/// Bytes thrown away in one read, and reads in one turn, so that others get theirs.
const LINGER_READ: usize = 8 * 1024;
const LINGER_READS: usize = 16;

/// A socket, with what is known of it.
#[derive(Debug)]
pub(super) struct Io<I: 'static> {
    socket: I,
    conn: Arc<Conn>,
    /// What passes over HTTP/2, from the peer and to it.
    frames: Option<Box<[Frames; 2]>>,
    /// Read before hyper, and not yet given to it.
    replay: Replay,
    linger: Linger,
    /// Whether the last write found no room.
    blocked: bool,
    /// Its place among the open connections, given back when the socket is closed: also
    /// when an upgrade took it out of the connection's task.
    _place: Registered,
}

#[derive(Debug, Default)]
pub(super) struct Replay {
    pub(super) bytes: [u8; Self::LEN],
    pub(super) from: usize,
    pub(super) to: usize,
}

impl Replay {
    /// The HTTP/2 preface.
    pub(super) const LEN: usize = 24;
}

#[derive(Debug)]
enum Linger {
    /// The connection is in use.
    Not,
    /// The writing half is closed; what comes is thrown away.
    Reading(Box<Lingering>),
    Over,
}

#[derive(Debug)]
struct Lingering {
    silence: Pin<Box<Sleep>>,
    until: tokio::time::Instant,
    left: usize,
}

impl<I> Io<I> {
    pub(super) fn new(socket: I, conn: Arc<Conn>, place: Registered) -> Self {
        Self {
            socket,
            conn,
            frames: None,
            replay: Replay::default(),
            linger: Linger::Not,
            blocked: false,
            _place: place,
        }
    }

    /// Follows the frames, from the next byte on.
    pub(super) fn follow_frames(&mut self) {
        self.frames = Some(Box::default());
    }

    pub(super) fn replay(&mut self) -> &mut Replay {
        &mut self.replay
    }
}

impl<I: AsyncRead + Unpin + 'static> Io<I> {
    /// Reads from the socket, past the replay.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.conn.is_resting() {
            return Poll::Pending;
        }
        let before = buf.filled().len();
        let polled = Pin::new(&mut self.socket).poll_read(cx, buf);
        if polled.is_pending() && !self.conn.is_eventful() {
            return Poll::Pending;
        }
        let mut state = self.conn.state();
        if state.mode == Mode::Cut {
            return Poll::Ready(Err(cut()));
        }
        match polled {
            Poll::Ready(Ok(())) if buf.filled().len() == before => {
                // An empty buffer reads nothing, and that is not the end.
                if buf.remaining() > 0 {
                    state.peer_closed = true;
                }
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Ok(())) => {
                let read = &buf.filled()[before..];
                let frames = self.frames.as_deref_mut().map(|[from, _]| {
                    from.pass(read);
                    from.seen
                });
                state.read(read, frames, clock::now);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => {
                state.peer_reset |= is_reset(&error);
                Poll::Ready(Err(error))
            }
            // Bytes that the driver has not told of yet: it will, and wakes for them.
            Poll::Pending if state.ends_reads() && !has_bytes(&self.socket) => Poll::Ready(Ok(())),
            Poll::Pending => {
                // Whoever holds an upgraded connection cannot be aborted, so it is woken.
                if state.upgraded.is_some() {
                    state.reader = Some(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

impl<I: AsyncRead + Unpin + 'static> AsyncRead for Io<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let Replay { bytes, from, to } = &mut this.replay;
        if from < to {
            let part = buf.remaining().min(*to - *from);
            buf.put_slice(&bytes[*from..*from + part]);
            *from += part;
            return Poll::Ready(Ok(()));
        }
        this.poll_fill(cx, buf)
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + 'static> Io<I> {
    /// Notes whether a write went on and what it took, and fails it if the connection was cut.
    fn wrote<T>(
        &mut self,
        cx: &Context<'_>,
        polled: Poll<io::Result<T>>,
        taken: impl FnOnce(&T, &mut dyn FnMut(&[u8])) -> usize,
    ) -> Poll<io::Result<T>> {
        let mut state = self.conn.state();
        if state.mode == Mode::Cut {
            return Poll::Ready(Err(cut()));
        }
        match &polled {
            Poll::Pending => {
                self.blocked = true;
                state.write_blocked(clock::now());
                if state.upgraded.is_some() {
                    state.writer = Some(cx.waker().clone());
                }
            }
            Poll::Ready(Ok(done)) => {
                self.blocked = false;
                state.write_went_on(clock::now);
                match self.frames.as_deref_mut() {
                    Some([_, to]) => {
                        let bytes = taken(done, &mut |bytes| to.pass(bytes));
                        state.wrote(bytes, Some(to.seen), clock::now);
                    }
                    None => state.wrote(taken(done, &mut |_| ()), None, clock::now),
                }
            }
            Poll::Ready(Err(error)) => state.peer_reset |= is_reset(error),
        }
        polled
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Linger::Reading(lingering) = &mut self.linger else {
            return Poll::Ready(());
        };
        let mut bytes = [0; LINGER_READ];
        for _ in 0..LINGER_READS {
            let mut buf = ReadBuf::new(&mut bytes);
            match Pin::new(&mut self.socket).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    lingering.left = lingering.left.saturating_sub(buf.filled().len());
                    let now = tokio::time::Instant::from_std(clock::now());
                    let silent_until = (now + LINGER_SILENCE).min(lingering.until);
                    lingering.silence.as_mut().reset(silent_until);
                    if lingering.left == 0 || now >= lingering.until {
                        return Poll::Ready(());
                    }
                }
                // The peer has closed too, or there is nobody any more.
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return lingering.silence.as_mut().poll(cx),
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<I: AsyncRead + AsyncWrite + Unpin + 'static> AsyncWrite for Io<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.wrote(cx, polled, |bytes, pass| {
            pass(&buf[..*bytes]);
            *bytes
        })
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.wrote(cx, polled, |bytes, pass| {
            let mut left = *bytes;
            for buf in bufs {
                let part = left.min(buf.len());
                pass(&buf[..part]);
                left -= part;
            }
            *bytes
        })
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.socket).poll_flush(cx);
        if matches!(polled, Poll::Ready(Ok(()))) && !self.blocked {
            return polled;
        }
        self.wrote(cx, polled, |(), _| 0)
    }

    /// Closes the writing half, and lingers.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Linger::Not = self.linger {
            ready!(Pin::new(&mut self.socket).poll_shutdown(cx))?;
            let (done, blamed) = {
                let state = self.conn.state();
                let done = state.peer_closed || state.peer_reset || state.mode == Mode::Cut;
                (done, state.is_blamed())
            };
            let now = tokio::time::Instant::from_std(clock::now());
            self.linger = if done {
                Linger::Over
            } else {
                Linger::Reading(Box::new(Lingering {
                    silence: Box::pin(tokio::time::sleep_until(now + LINGER_SILENCE)),
                    until: now + LINGER_MAX,
                    left: if blamed {
                        LINGER_BYTES_BLAMED
                    } else {
                        LINGER_BYTES_MAX
                    },
                }))
            };
        }
        ready!(self.poll_linger(cx));
        self.linger = Linger::Over;
        Poll::Ready(Ok(()))
    }
}

/// What a peer does not take is thrown away with its connection: the kernel would keep it for
/// minutes, and try to deliver it.
impl<I: 'static> Drop for Io<I> {
    fn drop(&mut self) {
        if !self.conn.state().is_given_up() {
            return;
        }
        let socket: &dyn Any = &self.socket;
        if let Some(tcp) = socket.downcast_ref::<tokio::net::TcpStream>() {
            let _ = socket2::SockRef::from(tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

/// Whether the kernel holds bytes that nobody has read. Of a stream that is not known (TLS of
/// another kind than ours), it cannot be told, and the turn of the driver that was waited for must do.
fn has_bytes<I: 'static>(socket: &I) -> bool {
    let socket: &dyn Any = socket;
    let mut byte = [MaybeUninit::uninit()];
    if let Some(tcp) = socket.downcast_ref::<tokio::net::TcpStream>() {
        return socket2::SockRef::from(tcp)
            .peek(&mut byte)
            .is_ok_and(|bytes| bytes > 0);
    }
    // What TLS has read it gives out first, so what is left is in the kernel.
    #[cfg(feature = "tls")]
    if let Some(tls) = socket.downcast_ref::<OverTls<tokio::net::TcpStream>>() {
        return tls.done().is_some_and(|tls| has_bytes(tls.get_ref().0));
    }
    #[cfg(all(feature = "tls", unix))]
    if let Some(tls) = socket.downcast_ref::<OverTls<tokio::net::UnixStream>>() {
        return tls.done().is_some_and(|tls| has_bytes(tls.get_ref().0));
    }
    #[cfg(unix)]
    if let Some(unix) = socket.downcast_ref::<tokio::net::UnixStream>() {
        return socket2::SockRef::from(unix)
            .peek(&mut byte)
            .is_ok_and(|bytes| bytes > 0);
    }
    false
}

#[cfg(feature = "tls")]
type OverTls<I> = super::handshake::Handshake<tokio_rustls::server::TlsStream<I>>;

fn is_reset(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionReset
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::ConnectionAborted
    )
}

fn cut() -> io::Error {
    io::Error::new(
        io::ErrorKind::ConnectionAborted,
        "the process ends and its grace is over",
    )
}
