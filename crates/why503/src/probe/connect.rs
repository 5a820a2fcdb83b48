//! From a name to a connection.

use std::{io, net::SocketAddr, path::Path, time::Duration};

use steadfast_diagnosis::Outcome;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

use super::{Probe, Question};
use crate::{clock, target::Target};

/// A name that leads to more is a name with a fault of its own.
const ADDRESSES_MAX: usize = 8;

/// An address that does not answer keeps the others waiting no longer than this.
const NEXT_ADDRESS: Duration = Duration::from_millis(2500);

/// What bytes go over.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// Connects, and notes how long that took; otherwise notes what went wrong and gives `None`.
pub(super) async fn connect(question: &Question<'_>, probe: &mut Probe) -> Option<Box<dyn Stream>> {
    if let (Some(socket), None) = (&question.target.socket, question.address) {
        return unix(socket, probe).await;
    }
    let addresses = match question.address {
        Some(address) => vec![address],
        None => named(question.target, probe).await?,
    };
    let begin = clock::now();
    let mut failure: Option<io::Error> = None;
    for (at, address) in addresses.iter().enumerate() {
        probe.remote = Some(*address);
        // Should the whole probe be cut here, this is what is known.
        probe.outcome = Outcome::ConnectTimedOut;
        let attempt = TcpStream::connect(address);
        let attempt = if at + 1 < addresses.len() {
            tokio::time::timeout(NEXT_ADDRESS, attempt).await
        } else {
            Ok(attempt.await)
        };
        match attempt {
            Ok(Ok(stream)) => {
                probe.timing.connect = Some(clock::now().saturating_duration_since(begin));
                // Small requests leave at once.
                let _ = stream.set_nodelay(true);
                return Some(Box::new(stream));
            }
            Ok(Err(error)) => failure = Some(error),
            Err(_) => failure = Some(io::ErrorKind::TimedOut.into()),
        }
    }
    failed(&failure?, probe);
    None
}

/// The addresses of the target's name, in the order of the system's resolver.
pub(crate) async fn resolve(target: &Target) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::net::lookup_host((target.host.as_str(), target.port)).await?;
    Ok(found.take(ADDRESSES_MAX).collect())
}

async fn named(target: &Target, probe: &mut Probe) -> Option<Vec<SocketAddr>> {
    let begin = clock::now();
    probe.outcome = Outcome::NameUnknown;
    probe.detail = Some("no answer from the resolver in time".into());
    let found = resolve(target).await;
    probe.timing.dns = Some(clock::now().saturating_duration_since(begin));
    match found {
        Ok(addresses) if !addresses.is_empty() => {
            probe.detail = None;
            Some(addresses)
        }
        Ok(_) => {
            probe.detail = Some("the name has no address".into());
            None
        }
        Err(error) => {
            probe.detail = Some(error.to_string());
            None
        }
    }
}

async fn unix(socket: &Path, probe: &mut Probe) -> Option<Box<dyn Stream>> {
    let begin = clock::now();
    probe.outcome = Outcome::ConnectTimedOut;
    match UnixStream::connect(socket).await {
        Ok(stream) => {
            probe.timing.connect = Some(clock::now().saturating_duration_since(begin));
            Some(Box::new(stream))
        }
        Err(error) => {
            failed(&error, probe);
            None
        }
    }
}

fn failed(error: &io::Error, probe: &mut Probe) {
    probe.outcome = match error.kind() {
        io::ErrorKind::ConnectionRefused | io::ErrorKind::NotFound => Outcome::Refused,
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Outcome::ConnectTimedOut,
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted => Outcome::Closed,
        _ => Outcome::Unroutable,
    };
    probe.detail = Some(error.to_string());
}
