//! The accept queue of each listening socket, and its bound, which only netlink tells.

use std::{fs::File, io, net::SocketAddr, os::fd::AsFd, path::Path};

use netlink_packet_core::{
    NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
};
use netlink_packet_sock_diag::{
    SockDiagMessage,
    constants::{AF_INET, AF_INET6, IPPROTO_TCP},
    inet::{ExtensionFlags, InetRequest, SocketId, StateFlags},
    unix,
};
use netlink_sys::{Socket, SocketAddr as NetlinkAddr, protocols::NETLINK_SOCK_DIAG};
use steadfast_diagnosis::{Id, Process, Tied};

use crate::collect::Collected;

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

/// The accept queues of the port; each socket of `SO_REUSEPORT` on its own, since a full one
/// hides in a sum.
pub(super) fn tell(port: u16, namespace: Option<u32>) -> Collected {
    let mut all = Collected::new();
    if port == 0 {
        return all;
    }
    match queues(namespace) {
        Ok(queues) => {
            for queue in queues.iter().filter(|it| it.addr.port() == port) {
                let (now, max) = (u64::from(queue.now), u64::from(queue.max));
                let source = format!("sock_diag, {} (inode {})", queue.addr, queue.inode);
                all.saw(&source, Tied::Port(port), Process::AcceptQueue { now, max });
            }
        }
        Err(error) => all.could_not(
            Id::HostAcceptQueueFull,
            &format!("sock_diag: {error}"),
            "run as root",
        ),
    }
    all
}

/// The accept queue of a Unix socket.
pub(super) fn tell_unix(socket: &Path) -> Collected {
    let mut all = Collected::new();
    match of_unix(socket) {
        Ok(Some((now, max))) => {
            let source = format!("sock_diag, {}", socket.display());
            let (now, max) = (u64::from(now), u64::from(max));
            all.saw(&source, Tied::Service, Process::AcceptQueue { now, max });
        }
        Ok(None) => all.could_not(
            Id::HostAcceptQueueFull,
            &format!(
                "no listening socket is bound to {} in this network namespace",
                socket.display()
            ),
            "run why503 where the service runs",
        ),
        Err(error) => all.could_not(
            Id::HostAcceptQueueFull,
            &format!("sock_diag: {error}"),
            "run as root",
        ),
    }
    all
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
    replies(&mut socket, |it| {
        if let SockDiagMessage::InetResponse(it) = it
            && queues.len() < LISTENING_MAX
        {
            let id = &it.header.socket_id;
            queues.push(Queue {
                addr: SocketAddr::new(id.source_address, id.source_port),
                now: it.header.recv_queue,
                max: it.header.send_queue,
                inode: u64::from(it.header.inode),
            });
        }
    })?;
    Ok(queues)
}

/// The queue of the listening Unix socket that is bound to this path: who waits, and the bound.
///
/// # Errors
///
/// The kernel's.
pub(crate) fn of_unix(path: &Path) -> io::Result<Option<(u32, u32)>> {
    let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
    socket.bind_auto()?;
    socket.connect(&NetlinkAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_REQUEST | NLM_F_DUMP;
    let request = unix::UnixRequest {
        state_flags: unix::StateFlags::LISTEN,
        inode: 0,
        show_flags: unix::ShowFlags::NAME | unix::ShowFlags::RQLEN,
        cookie: [0xff; 8],
    };
    let mut message = NetlinkMessage::new(header, SockDiagMessage::UnixRequest(request).into());
    message.finalize();
    let mut bytes = vec![0; message.buffer_len()];
    message.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    let wanted = unix::nlas::UnixDiagName::Pathname(path.as_os_str().to_owned());
    let mut found = None;
    replies(&mut socket, |it| {
        if let SockDiagMessage::UnixResponse(it) = it {
            let is_it = it
                .nlas
                .iter()
                .any(|nla| matches!(nla, unix::nlas::Nla::Name(name) if *name == wanted));
            let length = it.nlas.iter().find_map(|nla| match nla {
                unix::nlas::Nla::ReceiveQueueLength(now, max) => Some((*now, *max)),
                _ => None,
            });
            found = length.filter(|_| is_it).or(found);
        }
    })?;
    Ok(found)
}

/// Hands over each message of an answer.
fn replies(socket: &mut Socket, mut each: impl FnMut(SockDiagMessage)) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(MESSAGE_MAX);
    for _ in 0..LISTENING_MAX {
        buffer.clear();
        let read = socket.recv(&mut buffer, 0)?;
        let mut rest = &buffer[..read];
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::other(error.to_string()))?;
            let length = message.header.length as usize;
            match message.payload {
                NetlinkPayload::InnerMessage(it) => each(it),
                NetlinkPayload::Done(_) => return Ok(()),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                _ => {}
            }
            if length == 0 || length > rest.len() {
                return Ok(());
            }
            // Messages are laid out at multiples of four.
            rest = &rest[length.next_multiple_of(4).min(rest.len())..];
        }
    }
    Ok(())
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

    #[test]
    fn the_queue_of_a_unix_socket_shows_who_waits_and_its_bound() {
        use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, bind, listen, socket};
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("app.sock");
        let listener = socket(AddressFamily::UNIX, SocketType::STREAM, None).expect("a socket");
        let addr = SocketAddrUnix::new(&path).expect("a short path");
        bind(&listener, &addr).expect("a new file");
        listen(&listener, 3).expect("it listens");
        let _waiting = std::os::unix::net::UnixStream::connect(&path).expect("there is room");
        assert_eq!(of_unix(&path).expect("netlink answers"), Some((1, 3)));
        let other = dir.path().join("other.sock");
        assert_eq!(of_unix(&other).expect("netlink answers"), None);
    }
}
