//! Talk that ends: every step has one deadline and every read takes from one allowance.
//!
//! A server that is asked may be paused, broken or hostile. So whoever asks holds a [`Wire`], which
//! waits no longer than its moment and reads no more than its allowance, and gets a [`Fault`] that
//! says which of the two it was: a connection that was refused, one that was never taken, and one
//! that was taken by a kernel whose process says nothing are three different causes.

pub(crate) mod http;

use std::{fmt, io, net::SocketAddr, path::Path};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::{Instant, timeout_at},
};

/// Most addresses of one name that are tried; a name with more has the same fault at the next.
const ADDRESSES_MAX: usize = 4;

/// Bytes that one conversation may bring; the longest wanted (`SHOW POOLS`, `INFO`) has a tenth.
pub(crate) const ALLOWANCE: usize = 256 * 1024;

/// Why a conversation ended without its answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The name has no address: what the resolver said.
    Resolve(String),
    /// The connection was refused: nobody listens there.
    Refused,
    /// The connection was not taken in time.
    NotTaken,
    /// There is no way there, or it may not be used.
    Unreachable(String),
    /// The connection was taken and then nothing came in time.
    Silent,
    /// It was closed or reset before the answer was there.
    Closed,
    /// More came than is read.
    TooLong,
    /// What came is not this protocol: what it looked like.
    Foreign(String),
    /// TLS did not come about.
    Tls(String),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Resolve(why) => write!(f, "the name has no address: {why}"),
            Self::Refused => f.write_str("connection refused"),
            Self::NotTaken => f.write_str("the connection was not taken in time"),
            Self::Unreachable(why) => write!(f, "no way there: {why}"),
            Self::Silent => f.write_str("connected, then no byte in time"),
            Self::Closed => f.write_str("closed without an answer"),
            Self::TooLong => f.write_str("more came than is read"),
            Self::Foreign(what) => write!(f, "another protocol: {what}"),
            Self::Tls(why) => write!(f, "TLS: {why}"),
        }
    }
}

/// Both ends of a byte stream, whatever carries it.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// One conversation.
pub(crate) struct Wire {
    stream: Box<dyn Stream>,
    until: Instant,
    left: usize,
    /// What was read and not yet taken.
    held: Vec<u8>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Wire");
        shown.field("left", &self.left).finish_non_exhaustive()
    }
}

impl Wire {
    /// Connects to a name or an address.
    pub(crate) async fn open(host: &str, port: u16, until: Instant) -> Result<Self, Fault> {
        Ok(Self::over(connect(host, port, until).await?, until))
    }

    /// Connects to a Unix socket.
    pub(crate) async fn open_unix(path: &Path, until: Instant) -> Result<Self, Fault> {
        let connected = timeout_at(until, UnixStream::connect(path)).await;
        let stream = connected
            .map_err(|_| Fault::NotTaken)?
            .map_err(|error| of_connect(&error))?;
        Ok(Self::over(stream, until))
    }

    /// Talks over a stream that stands already.
    pub(crate) fn over(stream: impl Stream + 'static, until: Instant) -> Self {
        Self {
            stream: Box::new(stream),
            until,
            left: ALLOWANCE,
            held: Vec::new(),
        }
    }

    /// Sends all of it.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let sent = timeout_at(self.until, self.stream.write_all(bytes)).await;
        sent.map_err(|_| Fault::Silent)?.map_err(|_| Fault::Closed)
    }

    /// Takes exactly so many bytes.
    pub(crate) async fn take(&mut self, count: usize) -> Result<Vec<u8>, Fault> {
        if count > self.left + self.held.len() {
            return Err(Fault::TooLong);
        }
        while self.held.len() < count {
            self.fill().await?;
        }
        let rest = self.held.split_off(count);
        Ok(std::mem::replace(&mut self.held, rest))
    }

    /// Takes a line without its end.
    pub(crate) async fn line(&mut self) -> Result<String, Fault> {
        let mut seen = 0;
        let end = loop {
            let found = self.held[seen..].iter().position(|byte| *byte == b'\n');
            if let Some(at) = found {
                break seen + at;
            }
            seen = self.held.len();
            self.fill().await?;
        };
        let line = self.take(end + 1).await?;
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        Ok(String::from_utf8_lossy(line).into_owned())
    }

    /// Takes all until the other side closes; what is past the allowance is cut off.
    pub(crate) async fn rest(&mut self) -> Result<Vec<u8>, Fault> {
        loop {
            match self.fill().await {
                Ok(()) => {}
                Err(Fault::Closed | Fault::TooLong) => return Ok(std::mem::take(&mut self.held)),
                Err(fault) => return Err(fault),
            }
        }
    }

    async fn fill(&mut self) -> Result<(), Fault> {
        if self.left == 0 {
            return Err(Fault::TooLong);
        }
        let mut chunk = [0; 4096];
        let room = self.left.min(chunk.len());
        let read = timeout_at(self.until, self.stream.read(&mut chunk[..room])).await;
        match read {
            Err(_) => Err(Fault::Silent),
            Ok(Err(_) | Ok(0)) => Err(Fault::Closed),
            Ok(Ok(count)) => {
                self.left -= count;
                self.held.extend_from_slice(&chunk[..count]);
                Ok(())
            }
        }
    }
}

/// Connects to the first address of a name that takes the connection.
pub(crate) async fn connect(host: &str, port: u16, until: Instant) -> Result<TcpStream, Fault> {
    let found = timeout_at(until, tokio::net::lookup_host((host, port))).await;
    let found: Vec<SocketAddr> = match found {
        Err(_) => return Err(Fault::Resolve("no answer in time".to_owned())),
        Ok(Err(error)) => return Err(Fault::Resolve(error.to_string())),
        Ok(Ok(all)) => all.take(ADDRESSES_MAX).collect(),
    };
    let mut fault = Fault::Resolve("no address".to_owned());
    for (at, address) in found.iter().enumerate() {
        // Each gets its share of what is left, so that one that hangs does not hide the next.
        let now = crate::clock::now();
        let left = until.saturating_duration_since(now);
        let others = u32::try_from(found.len() - at).unwrap_or(1);
        match timeout_at(now + left / others, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => fault = of_connect(&error),
            Err(_) => fault = Fault::NotTaken,
        }
    }
    Err(fault)
}

fn of_connect(error: &io::Error) -> Fault {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Fault::Refused,
        io::ErrorKind::TimedOut => Fault::NotTaken,
        // A Unix socket whose queue is full.
        io::ErrorKind::WouldBlock => Fault::NotTaken,
        _ => Fault::Unreachable(error.to_string()),
    }
}
