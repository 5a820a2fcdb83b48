//! How much of what was written a peer has not taken yet, as the kernel knows it.
//!
//! A write succeeds when the bytes are in the socket's buffer, and after a full buffer the
//! next one succeeds only when a third of it is free again: of megabytes, a slow reader takes
//! minutes for that. So successful writes say little about a peer. Linux tells the bytes of a
//! TCP connection that are sent or queued and not acknowledged, over its netlink interface
//! for socket diagnosis (sock_diag(7)), which needs no privilege and no unsafe code.
//!
//! Where there is no answer (another platform, a Unix socket, a stream that hides its socket,
//! a sandbox), successful writes must do.

use std::net::SocketAddr;

/// A TCP connection, as the kernel finds it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ends {
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nobody to ask"))]
    ours: SocketAddr,
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "nobody to ask"))]
    theirs: SocketAddr,
}

impl Ends {
    /// Of a stream of tokio, if it is one.
    pub(super) fn of<I: 'static>(socket: &I) -> Option<Self> {
        let socket: &dyn std::any::Any = socket;
        let tcp = socket.downcast_ref::<tokio::net::TcpStream>()?;
        let (ours, theirs) = (tcp.local_addr().ok()?, tcp.peer_addr().ok()?);
        Some(Self { ours, theirs })
    }

    /// Asks how many bytes the peer has not acknowledged.
    pub(super) fn unacknowledged(&self) -> Option<u64> {
        #[cfg(target_os = "linux")]
        return linux::ask(self.ours, self.theirs);
        #[cfg(not(target_os = "linux"))]
        return None;
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{
        io::Read,
        net::{IpAddr, SocketAddr},
    };

    use socket2::{Domain, Protocol, Socket, Type};

    /// `AF_NETLINK`, `NETLINK_SOCK_DIAG` and `SOCK_DIAG_BY_FAMILY`.
    const NETLINK: i32 = 16;
    const SOCK_DIAG: i32 = 4;
    const BY_FAMILY: u16 = 20;

    /// `NLM_F_REQUEST`.
    const REQUEST: u16 = 1;

    const AF_INET: u8 = 2;
    const AF_INET6: u8 = 10;
    const IPPROTO_TCP: u8 = 6;

    /// Length of `nlmsghdr`, and of what is asked behind it (`inet_diag_req_v2`).
    const HEADER: usize = 16;
    const QUESTION: usize = 56;

    /// Where `idiag_wqueue` stands in the answer (`inet_diag_msg`), and how long that is.
    const QUEUE: usize = HEADER + 60;
    const ANSWER: usize = HEADER + 72;

    pub(super) fn ask(ours: SocketAddr, theirs: SocketAddr) -> Option<u64> {
        let socket = Socket::new(
            Domain::from(NETLINK),
            Type::DGRAM,
            Some(Protocol::from(SOCK_DIAG)),
        );
        let mut socket: Socket = socket.ok()?;
        // The kernel answers while it is asked; nothing is waited for.
        socket.set_nonblocking(true).ok()?;
        socket.send(&question(ours, theirs)).ok()?;
        let mut bytes = [0; 1024];
        let length = socket.read(&mut bytes).ok()?;
        answer(bytes.get(..length)?)
    }

    /// An error has no such length, and another kind.
    fn answer(message: &[u8]) -> Option<u64> {
        let kind = message.get(4..6)?.try_into().ok().map(u16::from_ne_bytes)?;
        if kind != BY_FAMILY || message.len() < ANSWER {
            return None;
        }
        let queue = message.get(QUEUE..QUEUE + 4)?.try_into().ok()?;
        Some(u64::from(u32::from_ne_bytes(queue)))
    }

    fn question(ours: SocketAddr, theirs: SocketAddr) -> Vec<u8> {
        let mut message = Vec::with_capacity(HEADER + QUESTION);
        let length = u32::try_from(HEADER + QUESTION).unwrap_or(u32::MAX);
        message.extend(length.to_ne_bytes());
        message.extend(BY_FAMILY.to_ne_bytes());
        message.extend(REQUEST.to_ne_bytes());
        message.extend([0; 8]);
        let family = if ours.is_ipv4() { AF_INET } else { AF_INET6 };
        message.extend([family, IPPROTO_TCP, 0, 0]);
        message.extend(u32::MAX.to_ne_bytes());
        message.extend(ours.port().to_be_bytes());
        message.extend(theirs.port().to_be_bytes());
        for address in [ours.ip(), theirs.ip()] {
            let from = message.len();
            match address {
                IpAddr::V4(address) => message.extend(address.octets()),
                IpAddr::V6(address) => message.extend(address.octets()),
            }
            message.resize(from + 16, 0);
        }
        let interface = match ours {
            SocketAddr::V6(ours) => ours.scope_id(),
            SocketAddr::V4(_) => 0,
        };
        message.extend(interface.to_ne_bytes());
        // Whatever socket has these addresses: it has no number that we know.
        message.extend([0xff; 8]);
        message
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use tokio::{
        io::AsyncReadExt,
        net::{TcpListener, TcpStream},
    };

    /// Goal: what the kernel says is what was written and not taken, also over IPv6.
    #[tokio::test]
    async fn the_kernel_knows_what_a_peer_has_not_taken() {
        for at in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(at).await else {
                continue;
            };
            let address = listener.local_addr().expect("bound");
            let mut peer = TcpStream::connect(address).await.expect("connected");
            let (socket, _) = listener.accept().await.expect("accepted");
            let ends = Ends::of(&socket).expect("a stream of tokio");
            assert_eq!(ends.unacknowledged(), Some(0), "{at}");
            let mut written = 0;
            while let Ok(bytes) = socket.try_write(&[0; 65_536]) {
                written += bytes;
            }
            let queued = ends.unacknowledged().expect("an answer");
            assert!(
                (1..written as u64).contains(&queued),
                "{queued} of {written}"
            );
            drop(socket);
            let mut all = Vec::new();
            peer.read_to_end(&mut all).await.expect("all of it");
            assert_eq!(all.len(), written);
        }
    }
}
