//! Where connections come from.
//!
//! A [`Listener`] hides the errors of its socket and sleeps a second on each. A TCP or
//! Unix listener is asked itself, so that running out of file descriptors is seen, counted
//! and backed off from; any other listener is asked as axum does it.

use std::{
    any::Any,
    future::{Future, poll_fn},
    io,
    pin::pin,
    task::Poll,
    time::Duration,
};

use tokio::net::{TcpListener, TcpStream};

use super::{limits::Connections, listener::Listener};
use crate::{clock, log::Seldom, meter};

/// First pause after an error that will not go away by itself, and the longest: 5 ms,
/// doubling to 80 ms. Go's `net/http` doubles to a second; but a descriptor comes back whenever
/// a connection ends, and whoever is in the kernel's queue waits out the whole pause. A second
/// is longer than many clients wait, and then the queue holds only clients that have gone,
/// which use up the descriptors for which the next ones wait.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(80);

/// Most connections that the last look at the kernel's queue takes. Its length is bounded by
/// `net.core.somaxconn`, 4096 where nobody has changed it.
const QUEUE_MAX: usize = 65_536;

/// Accepts the next connection, however long that takes. Calls `short` where it fails because
/// the process has no room for one, and tells errors as seldom as `told` has it.
pub(super) async fn next<L>(
    listener: &mut L,
    told: &mut Seldom,
    short: impl Fn(),
) -> (L::Io, L::Addr)
where
    L: Listener,
    L::Addr: 'static,
{
    let mut pause = PAUSE_MIN;
    loop {
        let error = match own(listener).await {
            None => return listener.accept().await,
            Some(Ok(accepted)) => return accepted,
            Some(Err(error)) => error,
        };
        if concerns_one_connection(&error) {
            continue;
        }
        meter::count("steadfast_accept_errors_total", &[], 1);
        if let Some(unsaid) = told.may_say(clock::now()) {
            tracing::error!(target: crate::log::SERVE, %error, unsaid, "connections cannot be accepted");
        }
        if is_short(&error) {
            short();
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// Sets what a connection's socket is to do.
pub(super) fn prepare<I: 'static>(socket: &I, limits: &Connections) {
    let socket: &dyn Any = socket;
    if let Some(tcp) = socket.downcast_ref::<TcpStream>() {
        // One that was reset in the queue does not know it, and is served to its end anyway.
        let _ = tcp.set_nodelay(limits.nodelay);
    }
}

/// A listener that is about to be closed. Its socket may live on in another process (socket
/// activation, a hand-over), so what keeps new connections out of it must not stay there.
#[derive(Debug)]
pub(super) struct Closing<L: 'static>(pub(super) L);

impl<L: 'static> Drop for Closing<L> {
    fn drop(&mut self) {
        heal(&self.0);
    }
}

/// Takes everything that waits in the kernel's queue, so that closing the listener resets
/// nothing. A listener of another kind is asked after a turn of the runtime's driver. Where
/// the process has no room for one more, it calls `short` and waits for some.
pub(super) async fn rest<L>(
    listener: &mut L,
    mut take: impl FnMut((L::Io, L::Addr)),
    short: impl Fn(),
) where
    L: Listener,
    L::Addr: 'static,
{
    if refuse_new(listener) {
        tokio::time::sleep(HANDSHAKE).await;
    }
    let mut taken = 0;
    while taken < QUEUE_MAX {
        if let Some(accepted) = queued(listener) {
            match accepted {
                Ok(accepted) => take(accepted),
                Err(error) if concerns_one_connection(&error) => {}
                Err(error) if is_short(&error) => {
                    short();
                    tokio::time::sleep(PAUSE_MIN).await;
                    continue;
                }
                Err(_) => return,
            }
            taken += 1;
            continue;
        }
        // A turn of the driver, so that what it knows of the listener is of now.
        tokio::time::sleep(Duration::from_millis(1)).await;
        match poll_once(listener.accept()).await {
            Some(accepted) => take(accepted),
            None => return,
        }
        taken += 1;
    }
}

/// Counts the connections that are left in the kernel's queue, and closes them.
pub(super) fn left_over<L>(listener: &mut L) -> u64
where
    L: Listener,
    L::Addr: 'static,
{
    let mut count = 0;
    while count < QUEUE_MAX as u64 {
        match queued(listener) {
            Some(Ok(_)) => count += 1,
            Some(Err(error)) if concerns_one_connection(&error) => {}
            Some(Err(_)) | None => break,
        }
    }
    count
}

/// A file that is kept open so that there is a descriptor when all others are taken: with it,
/// a queue can at least be counted.
#[derive(Debug)]
pub(super) struct Spare(Option<std::fs::File>);

impl Spare {
    pub(super) fn new() -> Self {
        Self(std::fs::File::open("/dev/null").ok())
    }

    pub(super) fn give_up(&mut self) {
        self.0 = None;
    }
}

/// Takes away what a predecessor may have left on a socket that it shared with this process,
/// if it was killed between [`rest`] and [`Closing`].
pub(super) fn heal<L: 'static>(listener: &L) {
    #[cfg(target_os = "linux")]
    {
        let listener: &dyn Any = listener;
        if let Some(tcp) = listener.downcast_ref::<TcpListener>() {
            // It fails where there is no filter.
            let _ = socket2::SockRef::from(tcp).detach_filter();
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// Lets so many connections wait in the kernel's queue. Clients that connect all at once, or a
/// process that did not accept for a moment (a pause, a handler that blocks), would find a queue of
/// 128 full and ask again after a second, though there is room. A TCP socket that listens already
/// only gets the new bound. Others are left alone: they were made with the longest queue, and a
/// Unix socket would be taken for that of whoever calls this (`SO_PEERCRED`).
pub(super) fn set_backlog<L: 'static>(listener: &L, count: u32) {
    let listener: &dyn Any = listener;
    let Some(tcp) = listener.downcast_ref::<TcpListener>() else {
        return;
    };
    let count = i32::try_from(count).unwrap_or(i32::MAX);
    if let Err(error) = socket2::SockRef::from(tcp).listen(count) {
        tracing::debug!(target: crate::log::SERVE, %error, "the queue for connections stays as long as it is");
    }
}

/// How long a handshake that had begun may take to end in the queue: a round trip inside a
/// data centre, and a turn of the driver.
const HANDSHAKE: Duration = Duration::from_millis(2);

/// Lets the kernel answer no further attempt to connect, so that none can enter the queue
/// between the last look at it and its end. Such a client asks again after a second, by when
/// the port is closed and it is refused, as everybody who comes later; without this, it
/// would have been let in and then reset. Returns whether handshakes may still be on their
/// way: over loopback, they end in the client's own call.
///
/// [`Closing`] takes it away again just before the close, which leaves a gap of some
/// microseconds; where the kernel or a sandbox does not allow the filter, the gap is as long
/// as the last look at the queue.
#[cfg(target_os = "linux")]
fn refuse_new<L: 'static>(listener: &L) -> bool {
    use socket2::SockFilter;
    let listener: &dyn Any = listener;
    let Some(tcp) = listener.downcast_ref::<TcpListener>() else {
        return false;
    };
    let refuse_syn = [
        // Load the byte of TCP flags, keep SYN and ACK of it, and drop what has SYN alone.
        SockFilter::new(0x30, 0, 0, 13),
        SockFilter::new(0x54, 0, 0, 0x12),
        SockFilter::new(0x15, 0, 1, 0x02),
        SockFilter::new(0x06, 0, 0, 0),
        SockFilter::new(0x06, 0, 0, u32::MAX),
    ];
    if let Err(error) = socket2::SockRef::from(tcp).attach_filter(&refuse_syn) {
        tracing::debug!(target: crate::log::SERVE, %error, "a connection may be reset as the listener closes");
        return false;
    }
    tcp.local_addr().is_ok_and(|at| !at.ip().is_loopback())
}

#[cfg(not(target_os = "linux"))]
fn refuse_new<L: 'static>(_listener: &L) -> bool {
    false
}

/// Polls once.
async fn poll_once<T>(future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    poll_fn(|cx| match future.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Accepts on a listener whose errors can be seen; `None` for another.
async fn own<L>(listener: &mut L) -> Option<io::Result<(L::Io, L::Addr)>>
where
    L: Listener,
    L::Addr: 'static,
{
    let listener: &mut dyn Any = listener;
    if let Some(tcp) = listener.downcast_mut::<TcpListener>() {
        return Some(TcpListener::accept(tcp).await.map(same));
    }
    #[cfg(unix)]
    if let Some(unix) = listener.downcast_mut::<tokio::net::UnixListener>() {
        return Some(tokio::net::UnixListener::accept(unix).await.map(same));
    }
    None
}

/// Takes one connection out of the kernel's queue without asking the runtime, whose
/// knowledge is as old as its last turn; `None` for a listener of another kind. An empty
/// queue is an error like any other.
fn queued<L>(listener: &mut L) -> Option<io::Result<(L::Io, L::Addr)>>
where
    L: Listener,
    L::Addr: 'static,
{
    let listener: &dyn Any = listener;
    if let Some(tcp) = listener.downcast_ref::<TcpListener>() {
        let accepted = socket2::SockRef::from(tcp).accept();
        return Some(accepted.and_then(|(socket, peer)| {
            socket.set_nonblocking(true)?;
            let stream = TcpStream::from_std(socket.into())?;
            // Not asked of the stream: one that was reset in the queue does not know it.
            let peer = peer.as_socket().ok_or(io::ErrorKind::ConnectionAborted)?;
            Ok(same((stream, peer)))
        }));
    }
    #[cfg(unix)]
    if let Some(unix) = listener.downcast_ref::<tokio::net::UnixListener>() {
        let accepted = socket2::SockRef::from(unix).accept();
        return Some(accepted.and_then(|(socket, _)| {
            socket.set_nonblocking(true)?;
            let stream = tokio::net::UnixStream::from_std(socket.into())?;
            let peer = stream.peer_addr()?;
            Ok(same((stream, peer)))
        }));
    }
    None
}

/// Hands a value over as what it is: the caller has found out that the types are the same.
fn same<T: 'static, U: 'static>(value: T) -> U {
    let mut value = Some(value);
    let found: &mut dyn Any = &mut value;
    found
        .downcast_mut::<Option<U>>()
        .and_then(Option::take)
        .expect("a listener of this type has this stream and this address")
}

/// Whether the process has no room for one more: no descriptors, or no memory for a socket.
/// The standard library has no names for these.
fn is_short(error: &io::Error) -> bool {
    const ENOMEM: i32 = 12;
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    const WSAEMFILE: i32 = 10_024;
    let short = if cfg!(windows) {
        &[WSAEMFILE][..]
    } else {
        &[ENOMEM, ENFILE, EMFILE, ENOBUFS][..]
    };
    error
        .raw_os_error()
        .is_some_and(|code| short.contains(&code))
}

/// Whether the error is about a connection that went away before it was accepted.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
    )
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[tokio::test]
    async fn small_packets_leave_at_once_unless_told_otherwise() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        for (limits, expected) in [
            (Connections::default(), true),
            (Connections::default().nodelay(false), false),
        ] {
            let socket = TcpStream::connect(address).await.expect("connected");
            prepare(&socket, &limits);
            assert_eq!(socket.nodelay().expect("a socket"), expected);
        }
    }

    /// Goal: once new handshakes are not answered any more, what is in the queue still comes
    /// out of it, and a client that asks now is not let in.
    #[tokio::test]
    async fn nobody_enters_the_queue_while_it_is_emptied() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let _queued = std::net::TcpStream::connect(address).expect("in the queue");
        assert!(!refuse_new(&listener), "loopback handshakes are over");
        let late = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200));
        let error = late.expect_err("not let in");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut, "{error}");
        let mut taken = 0;
        rest(&mut listener, |_| taken += 1, || ()).await;
        assert_eq!(taken, 1);
    }

    /// Goal: a socket on which a process was killed while it emptied the queue serves its
    /// successor.
    #[tokio::test]
    async fn what_a_killed_predecessor_left_on_a_shared_socket_is_taken_away() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        refuse_new(&listener);
        heal(&listener);
        let connected = std::net::TcpStream::connect_timeout(&address, Duration::from_secs(30));
        connected.expect("let in");
    }

    /// Goal: what nobody can take any more is counted, and not one connection too many.
    #[tokio::test]
    async fn connections_left_in_the_queue_are_counted() {
        let mut listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let queued: Vec<_> = (0..3)
            .map(|_| std::net::TcpStream::connect(address).expect("in the queue"))
            .collect();
        assert_eq!(left_over(&mut listener), 3);
        assert_eq!(left_over(&mut listener), 0);
        drop(queued);
    }
}
