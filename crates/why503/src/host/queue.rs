//! The accept queue of each listening socket, and its bound, which only netlink tells.

use std::{fs::File, io, net::SocketAddr, os::fd::AsFd};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};

/// Listening sockets of one host that are kept.
const LISTENING_MAX: usize = 4096;

/// The kernel writes at most this at once.
const MESSAGE_MAX: usize = 64 * 1024;

/// One listening socket. Several with one address share the port (`SO_REUSEPORT`).
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Queue {
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// Connections that wait to be accepted.
    pub(crate) now: u32,
    /// The bound; one more is let in.
    pub(crate) max: u32,
    /// The socket's inode.
    pub(crate) inode: u64,
}

/// The queues of our own namespace, or of that in which the process is.
///
/// # Errors
///
/// The kernel's, above all when another namespace may not be entered.
pub(crate) fn queues(namespace: Option<u32>) -> io::Result<Vec<Queue>> {
    let Some(pid) = namespace else {
        return dump();
    };
    let space = File::open(format!("/proc/{pid}/ns/net"))?;
    // A thread of its own enters the namespace and ends there, so nobody else is moved.
    let entered = std::thread::spawn(move || {
        let network = rustix::thread::LinkNameSpaceType::Network;
        rustix::thread::move_into_link_name_space(space.as_fd(), Some(network))?;
        dump()
    });
    entered
        .join()
        .map_err(|_| io::Error::other("the thread that entered the namespace ended"))?
}

fn dump() -> io::Result<Vec<Queue>> {
    let mut queues = dump_family(AF_INET, SocketId::new_v4())?;
    // A kernel without IPv6 has none to tell.
    queues.extend(dump_family(AF_INET6, SocketId::new_v6()).unwrap_or_default());
    Ok(queues)
}

fn dump_family(family: u8, socket_id: SocketId) -> io::Result<Vec<Queue>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::LISTEN,
        socket_id,
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::InetRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut queues = Vec::new();
    let mut buffer = Vec::with_capacity(MESSAGE_MAX);
    loop {
        buffer.clear();
        let read = socket.recv(&mut buffer, 0)?;
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::other(error.to_string()))?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(it)) => {
                    let id = &it.header.socket_id;
                    queues.push(Queue {
                        addr: SocketAddr::new(id.source_address, id.source_port),
                        now: it.header.recv_queue,
                        max: it.header.send_queue,
                        inode: u64::from(it.header.inode),
                    });
                }
                NetlinkPayload::Done(_) => return Ok(queues),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            if length == 0 || length > rest.len() || queues.len() > LISTENING_MAX {
                return Ok(queues);
            }
            // Messages are laid out at multiples of four.
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_shows_who_waits_and_its_bound() {
        let socket = rustix::net::socket(
            rustix::net::AddressFamily::INET,
            rustix::net::SocketType::STREAM,
            None,
        )
        .expect("a socket");
        rustix::net::bind(&socket, &SocketAddr::from(([127, 0, 0, 1], 0))).expect("a port");
        rustix::net::listen(&socket, 2).expect("it listens");
        let listener = std::net::TcpListener::from(socket);
        let addr = listener.local_addr().expect("it has an address");
        let _waiting = std::net::TcpStream::connect(addr).expect("there is room");
        let queues = queues(None).expect("netlink answers");
        let queue = queues
            .iter()
            .find(|it| it.addr == addr)
            .expect("it is listed");
        assert_eq!((queue.now, queue.max), (1, 2));
    }
}
