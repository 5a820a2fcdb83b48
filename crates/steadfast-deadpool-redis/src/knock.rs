//! Whether anybody opens the door, and what is shouted out of it, told without the driver.
//!
//! The driver cannot say whether a server that is silent took the connection, and loses
//! the sentence with which a full server turns a client away. A plain connect sees both.
//! It is done only when an answer is late or the door was shut.

use std::{fmt, io, path::PathBuf, sync::Mutex};

use deadpool_redis::redis::{Client, ConnectionAddr};
use steadfast_core::{Failure, FailureClass};
use tokio::{
    io::AsyncReadExt,
    net::{TcpStream, lookup_host},
};

use crate::classify;

/// Most bytes of an unasked reply that are read; the longest that Redis sends is protected
/// mode's, of about 1 KiB, and its first line says enough.
const REPLY_LEN_MAX: usize = 256;

/// Where the server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// A name or address, and a port.
    Tcp(String, u16),
    /// The file of a Unix socket.
    Unix(PathBuf),
}

impl Endpoint {
    /// Takes it from a URL; everything else in the URL is ignored.
    pub(crate) fn of_url(url: &str) -> Result<Self, Failure> {
        let misconfigured = |text: String| Failure::new(FailureClass::Misconfigured, text);
        let client = Client::open(url).map_err(|error| misconfigured(error.to_string()))?;
        match client.get_connection_info().addr() {
            ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                Ok(Self::Tcp(host.trim_matches(['[', ']']).to_owned(), *port))
            }
            ConnectionAddr::Unix(path) => Ok(Self::Unix(path.clone())),
            _ => Err(misconfigured(
                "the address is of an unknown kind".to_owned(),
            )),
        }
    }
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

/// Knocks, and notes in `seen` how far it has come, so that one who stops waiting knows.
pub(crate) async fn knock(endpoint: &Endpoint, seen: &Mutex<Knock>) {
    note(seen, Knock::Resolving);
    if let Err(error) = connect_and_listen(endpoint, seen).await {
        note(seen, Knock::Failed(classify::io(&error)));
    }
}

async fn connect_and_listen(endpoint: &Endpoint, seen: &Mutex<Knock>) -> io::Result<()> {
    match endpoint {
        Endpoint::Tcp(host, port) => {
            let addresses: Vec<_> = lookup_host((host.as_str(), *port)).await?.collect();
            note(seen, Knock::Connecting);
            let stream = TcpStream::connect(&addresses[..]).await?;
            listen(stream, seen).await;
        }
        #[cfg(unix)]
        Endpoint::Unix(path) => {
            note(seen, Knock::Connecting);
            listen(tokio::net::UnixStream::connect(path).await?, seen).await;
        }
        #[cfg(not(unix))]
        Endpoint::Unix(_) => return Err(io::ErrorKind::Unsupported.into()),
    }
    Ok(())
}

/// Listens for what is said unasked, until the other side closes.
async fn listen(stream: impl tokio::io::AsyncRead + Unpin, seen: &Mutex<Knock>) {
    note(seen, Knock::Taken);
    let mut said = Vec::new();
    // A reset after the reply loses nothing of what was read before.
    let _ = stream
        .take(REPLY_LEN_MAX as u64)
        .read_to_end(&mut said)
        .await;
    let said = String::from_utf8_lossy(&said);
    if let Some(line) = said.lines().next().and_then(|line| line.strip_prefix('-')) {
        let (code, text) = line.split_once(' ').unwrap_or((line, ""));
        note(seen, Knock::Failed(classify::reply(code, text)));
    }
}

fn note(seen: &Mutex<Knock>, knock: Knock) {
    *seen.lock().expect("nothing panics while it is held") = knock;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_taken_from_a_url_without_its_secrets() {
        let tcp = |host: &str, port| Ok(Endpoint::Tcp(host.to_owned(), port));
        let check = |url, expected| assert_eq!(Endpoint::of_url(url), expected, "{url}");
        check("redis://app:hunter2@cache:7000/3", tcp("cache", 7000));
        check("redis://[::1]/", tcp("::1", 6379));
        check(
            "unix:///run/redis.sock?pass=hunter2",
            Ok(Endpoint::Unix("/run/redis.sock".into())),
        );
        let wrong = Endpoint::of_url("http://app:hunter2@cache/").unwrap_err();
        assert_eq!(wrong.class(), FailureClass::Misconfigured);
        assert!(!wrong.message().contains("hunter2"));
    }
}
