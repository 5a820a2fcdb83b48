//! Whether a server accepts connections, and what it sends unasked, told without the driver.
//!
//! A driver that waits for an answer cannot say whether the server took the connection, and
//! some lose the sentence with which a full server turns a client away. A plain connect sees
//! both, and the kernel answers it even for a server that is stopped, so *hangs* and *not
//! there* come apart. It is done only when an answer is late or a connect was refused.

use std::{
    fmt, io,
    path::PathBuf,
    sync::Mutex,
    time::{Duration, Instant},
};

use steadfast_core::{Deadline, Failure, FailureClass};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    net::{TcpStream, lookup_host},
};

/// Most bytes of an unasked reply that are read; the longest that Redis sends is protected
/// mode's, of about 1 KiB, and its first line says enough.
pub const LISTEN_MAX: usize = 256;

/// The share of the time after which a missing answer makes us connect beside the driver.
const AT_PERCENT: u32 = 60;

/// Least time for a connect before its silence means anything: a round trip to the other
/// side of the world. A kernel answers as fast as the network, and ours may be busy.
pub const CONNECT_FAIR: Duration = Duration::from_millis(250);

/// Returns when one who waits for an answer until then should try a plain connect: when most of the time is
/// over, and early enough for that to have [`CONNECT_FAIR`].
#[must_use]
pub fn reach_at(until: Deadline, now: Instant) -> Instant {
    let whole = until.remaining(now);
    let late = whole * AT_PERCENT / 100;
    now + late.min(whole.saturating_sub(CONNECT_FAIR))
}

/// Where a server listens. Complete: a name or address with a port, or a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A name or address, and a port.
    Tcp(String, u16),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(host, port) => write!(f, "{host}:{port}"),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// How far a plain connect has come. Complete: these are the steps of a connect.
#[derive(Clone, Debug, Default)]
pub enum Reach {
    /// There was no time for one, or nobody knows where.
    #[default]
    NotTried,
    /// The name is being looked up.
    Resolving,
    /// Nobody has answered the connect yet.
    Connecting,
    /// The connection was taken, and nothing was said.
    Taken,
    /// It was not, or it was taken and turned away.
    Failed(Failure),
}

impl Reach {
    /// Returns what is known after so long: where nobody has answered, nothing is, unless that
    /// was [`CONNECT_FAIR`].
    #[must_use]
    pub fn after(self, elapsed: Duration) -> Self {
        match self {
            Self::Resolving | Self::Connecting if elapsed < CONNECT_FAIR => Self::NotTried,
            seen => seen,
        }
    }

    /// Says what silence means after this connect.
    #[must_use]
    pub fn explain(&self, endpoint: &Endpoint, silent_ms: u128) -> Failure {
        match self {
            Self::NotTried => Failure::new(
                FailureClass::Timeout,
                format!("no answer from {endpoint} within {silent_ms} ms"),
            ),
            Self::Resolving => Failure::new(
                FailureClass::Dns,
                format!("the name of {endpoint} has not resolved within {silent_ms} ms"),
            ),
            Self::Connecting => Failure::new(
                FailureClass::Unreachable,
                format!("nothing at {endpoint} answers a connect within {silent_ms} ms"),
            ),
            Self::Taken => Failure::new(
                FailureClass::Stuck,
                format!("{endpoint} takes connections and has not answered for {silent_ms} ms"),
            ),
            Self::Failed(failure) => failure.clone(),
        }
    }
}

/// Connects, and notes in `seen` how far it has come, so that one who stops waiting knows.
/// `classify` says what an I/O error means. With `hear` it listens for what is said unasked,
/// for a line or until the other side closes, and notes the failure that this, or the first
/// [`LISTEN_MAX`] bytes, tell; without, it leaves as soon as the connection is taken.
///
/// # Panics
/// If a holder of `seen` has panicked.
pub async fn reach(
    endpoint: &Endpoint,
    seen: &Mutex<Reach>,
    classify: fn(&io::Error) -> Failure,
    hear: Option<fn(&str) -> Option<Failure>>,
) {
    note(seen, Reach::Resolving);
    if let Err(error) = connect(endpoint, seen, hear).await {
        note(seen, Reach::Failed(classify(&error)));
    }
}

async fn connect(
    endpoint: &Endpoint,
    seen: &Mutex<Reach>,
    hear: Option<fn(&str) -> Option<Failure>>,
) -> io::Result<()> {
    match endpoint {
        Endpoint::Tcp(host, port) => {
            let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
            note(seen, Reach::Connecting);
            listen(TcpStream::connect(&addresses[..]).await?, seen, hear).await;
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            note(seen, Reach::Connecting);
            let stream = tokio::net::UnixStream::connect(path).await?;
            listen(stream, seen, hear).await;
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(())
}

async fn listen(
    stream: impl AsyncRead + Unpin,
    seen: &Mutex<Reach>,
    hear: Option<fn(&str) -> Option<Failure>>,
) {
    note(seen, Reach::Taken);
    let Some(hear) = hear else { return };
    let mut said = Vec::new();
    let mut stream = stream.take(LISTEN_MAX as u64);
    // A line is all that is said; whether the other side closes in time does not matter, and a
    // reset after the line loses nothing of what was read before.
    while !said.contains(&b'\n') && matches!(stream.read_buf(&mut said).await, Ok(1..)) {}
    if let Some(failure) = hear(&String::from_utf8_lossy(&said)) {
        note(seen, Reach::Failed(failure));
    }
}

fn note(seen: &Mutex<Reach>, reach: Reach) {
    *seen.lock().expect("nothing panics while it is held") = reach;
}

#[cfg(test)]
mod tests {
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    use super::*;

    fn io_failed(error: &io::Error) -> Failure {
        Failure::new(FailureClass::Unreachable, error.to_string())
    }

    fn said_no(said: &str) -> Option<Failure> {
        let no = said.strip_prefix('-')?;
        Some(Failure::new(FailureClass::RefusedByServer, no))
    }

    async fn reached(endpoint: &Endpoint, hear: Option<fn(&str) -> Option<Failure>>) -> Reach {
        let seen = Mutex::new(Reach::NotTried);
        reach(endpoint, &seen, io_failed, hear).await;
        seen.into_inner().expect("nobody has panicked")
    }

    #[test]
    fn a_connect_has_its_time_or_accuses_nobody() {
        let now = crate::clock::now();
        let ms = Duration::from_millis;
        let at = |whole| reach_at(Deadline::at(now + ms(whole)), now) - now;
        assert_eq!([1000, 300, 8].map(at), [600, 50, 0].map(ms));
        for hasty in [Reach::Resolving, Reach::Connecting] {
            let said = hasty.clone().after(CONNECT_FAIR - ms(1));
            assert!(matches!(said, Reach::NotTried), "{said:?}");
            let said = hasty.after(CONNECT_FAIR);
            assert!(!matches!(said, Reach::NotTried), "{said:?}");
        }
        assert!(matches!(Reach::Taken.after(ms(1)), Reach::Taken));
    }

    #[tokio::test]
    async fn a_server_that_accepts_is_told_from_one_that_refuses_and_one_that_turns_away() {
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = door.local_addr().expect("it is bound").port();
        let endpoint = Endpoint::Tcp("127.0.0.1".to_owned(), port);
        let taken = reached(&endpoint, None).await;
        assert!(matches!(taken, Reach::Taken), "{taken:?}");
        assert_eq!(taken.explain(&endpoint, 7).class(), FailureClass::Stuck);
        let slammed = async {
            let _first = door.accept().await.expect("it came");
            let (mut stream, _) = door.accept().await.expect("it came");
            stream.write_all(b"-full").await.expect("it listens");
        };
        let (heard, ()) = tokio::join!(reached(&endpoint, Some(said_no)), slammed);
        let failure = heard.explain(&endpoint, 7);
        assert_eq!(failure.class(), FailureClass::RefusedByServer, "{failure}");
        // What is said is heard although the other side takes its time to close.
        let dawdling = async {
            let (mut stream, _) = door.accept().await.expect("it came");
            stream.write_all(b"-full\r\n").await.expect("it listens");
            stream
        };
        let (heard, _kept) = tokio::join!(reached(&endpoint, Some(said_no)), dawdling);
        assert!(matches!(heard, Reach::Failed(_)), "{heard:?}");
        drop(door);
        let shut = reached(&endpoint, None).await.explain(&endpoint, 7);
        assert_eq!(shut.class(), FailureClass::Unreachable, "{shut}");
    }
}
