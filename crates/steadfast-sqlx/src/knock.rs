//! Whether anybody opens the door, told without the driver.
//!
//! A driver that waits for an answer cannot say whether the server took the connection.
//! A plain connect can, and the kernel answers it even for a server that is stopped, so
//! *hangs* and *not there* come apart. It is done only when an answer is late.

use std::{fmt, path::PathBuf, sync::Mutex};

use steadfast_core::{Failure, FailureClass};
use tokio::net::{TcpStream, lookup_host};

use crate::classify;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A name or address, and a port.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql")),
        expect(dead_code, reason = "made by the drivers that have a server")
    )]
    Tcp(String, u16),
    /// The file of a Unix socket.
    #[cfg_attr(
        not(any(feature = "postgres", feature = "mysql")),
        expect(dead_code, reason = "made by the drivers that have a server")
    )]
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

/// How far a knock has come.
#[derive(Clone, Debug, Default)]
pub(crate) enum Knock {
    /// There was no time for one.
    #[default]
    NotTried,
    /// The name is being looked up.
    Resolving,
    /// Nobody has answered the connect yet.
    Connecting,
    /// The connection was taken.
    Taken,
    /// It was not.
    Failed(Failure),
}

impl Knock {
    /// Says what silence means after this knock.
    pub(crate) fn explain(&self, endpoint: &Endpoint, silent_ms: u128) -> Failure {
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

/// Knocks, and notes in `seen` how far it has come, so that one who stops waiting knows.
pub(crate) async fn knock(endpoint: &Endpoint, seen: &Mutex<Knock>) {
    note(seen, Knock::Resolving);
    let done = match endpoint {
        Endpoint::Tcp(host, port) => match lookup_host((host.as_str(), *port)).await {
            Ok(addresses) => {
                note(seen, Knock::Connecting);
                let addresses: Vec<_> = addresses.collect();
                TcpStream::connect(&addresses[..]).await.map(drop)
            }
            Err(error) => Err(error),
        },
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            note(seen, Knock::Connecting);
            tokio::net::UnixStream::connect(path).await.map(drop)
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => Err(std::io::ErrorKind::Unsupported.into()),
    };
    note(
        seen,
        match done {
            Ok(()) => Knock::Taken,
            Err(error) => Knock::Failed(classify::io(&error)),
        },
    );
}

fn note(seen: &Mutex<Knock>, knock: Knock) {
    *seen.lock().expect("nothing panics while it is held") = knock;
}
