//! Who listens where, and where its connections lead: the socket tables of every network
//! namespace that can be seen, joined with the descriptors of every process that can be seen.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::Path,
};

use procfs::net::{TcpNetEntry, TcpState};

use crate::collect::{Connection, Listener};

/// Processes that are looked into; a host with more is looked at in part.
const PROCESSES_MAX: usize = 20_000;

/// Descriptors of one process that are looked at: enough for any service, short of a leak.
const DESCRIPTORS_MAX: usize = 100_000;

/// Namespaces that are looked into, beside our own.
const NAMESPACES_MAX: usize = 64;

/// What could be seen of sockets.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// Our own namespace first, then each other, with a process whose tables these are.
    spaces: Vec<Space>,
    /// Who holds the socket with this inode.
    holders: HashMap<u64, Vec<u32>>,
    /// Whether the descriptors of some process could not be read.
    pub(crate) blind: bool,
}

#[derive(Debug)]
struct Space {
    /// A process in it; `None` for our own.
    pid: Option<u32>,
    entries: Vec<TcpNetEntry>,
}

impl Sockets {
    /// Looks at every process and every namespace.
    pub(crate) fn read() -> Self {
        let mut sockets = Self::default();
        let own = fs::read_link("/proc/self/ns/net").ok();
        sockets.spaces.push(Space {
            pid: None,
            entries: tables(None),
        });
        let mut seen = BTreeSet::new();
        for pid in processes() {
            sockets.note_descriptors(pid);
            let Ok(space) = fs::read_link(format!("/proc/{pid}/ns/net")) else {
                continue;
            };
            let new = Some(&space) != own.as_ref() && seen.insert(space);
            if new && sockets.spaces.len() <= NAMESPACES_MAX {
                sockets.spaces.push(Space {
                    pid: Some(pid),
                    entries: tables(Some(pid)),
                });
            }
        }
        sockets
    }

    fn note_descriptors(&mut self, pid: u32) {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            // A process that has ended meanwhile hides nothing.
            self.blind |= Path::new(&format!("/proc/{pid}")).exists();
            return;
        };
        for descriptor in descriptors.flatten().take(DESCRIPTORS_MAX) {
            if let Some(inode) = socket_of(&descriptor.path()) {
                let holders = self.holders.entry(inode).or_default();
                if holders.last() != Some(&pid) {
                    holders.push(pid);
                }
            }
        }
    }

    /// Every listening socket, those of our own namespace first.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        let all = self.spaces.iter().flat_map(|space| {
            let listening = space.entries.iter().filter(is_listening);
            listening.map(move |entry| (space.pid, entry))
        });
        all.map(|(namespace, entry)| {
            let pids = self.holders.get(&entry.inode).cloned().unwrap_or_default();
            Listener {
                addr: plain(entry.local_address),
                program: pids.first().and_then(|it| program(*it)),
                pids,
                namespace,
            }
        })
        .collect()
    }

    /// The connections that these processes opened, those to their own listeners left out.
    pub(crate) fn outbound(&self, owners: &[u32]) -> Vec<Connection> {
        let mut found = Vec::new();
        for space in &self.spaces {
            let accepted: BTreeSet<u16> = space
                .entries
                .iter()
                .filter(is_listening)
                .filter(|it| self.held_by(it.inode, owners).is_some())
                .map(|it| it.local_address.port())
                .collect();
            for entry in &space.entries {
                let established = entry.state == TcpState::Established;
                let opened = established || entry.state == TcpState::SynSent;
                if !opened || accepted.contains(&entry.local_address.port()) {
                    continue;
                }
                if self.held_by(entry.inode, owners).is_some() {
                    found.push(Connection {
                        remote: plain(entry.remote_address),
                        established,
                    });
                }
            }
        }
        found
    }

    /// The processes that hold a socket.
    pub(super) fn holders_of(&self, inode: u64) -> Vec<u32> {
        self.holders.get(&inode).cloned().unwrap_or_default()
    }

    fn held_by(&self, inode: u64, owners: &[u32]) -> Option<u32> {
        let holders = self.holders.get(&inode)?;
        holders.iter().copied().find(|it| owners.contains(it))
    }

    /// Workers among the owners that hold an accepted connection at this port now; those that
    /// this process opened are left out, since a probe is no load that was there before.
    pub(crate) fn busy(&self, owners: &[u32], port: u16) -> BTreeSet<u32> {
        let entries = self.spaces.iter().flat_map(|it| &it.entries);
        let own = [std::process::id()];
        let ours: BTreeSet<SocketAddr> = entries
            .clone()
            .filter(|it| self.held_by(it.inode, &own).is_some())
            .map(|it| plain(it.local_address))
            .collect();
        let accepted = entries.filter(|it| {
            let open = matches!(it.state, TcpState::Established | TcpState::CloseWait);
            let here = it.local_address.port() == port;
            open && here && !ours.contains(&plain(it.remote_address))
        });
        let holders = accepted.filter_map(|it| self.held_by(it.inode, owners));
        holders.collect()
    }

    /// Handshakes at this port that are not complete.
    pub(crate) fn half_open(&self, port: u16) -> u64 {
        let entries = self.spaces.iter().flat_map(|it| &it.entries);
        let half = entries.filter(|it| {
            matches!(it.state, TcpState::SynRecv | TcpState::NewSynRecv)
                && it.local_address.port() == port
        });
        half.count() as u64
    }

    /// Sockets in TIME_WAIT.
    pub(crate) fn time_wait(&self) -> u64 {
        let entries = self.spaces.iter().flat_map(|it| &it.entries);
        entries.filter(|it| it.state == TcpState::TimeWait).count() as u64
    }

    /// How many local ports of this range lead to each destination, the most first.
    pub(crate) fn ports_towards(
        &self,
        range: std::ops::RangeInclusive<u16>,
    ) -> Vec<(SocketAddr, u64)> {
        let mut count: BTreeMap<SocketAddr, u64> = BTreeMap::new();
        let Some(space) = self.spaces.first() else {
            return Vec::new();
        };
        let served: BTreeSet<u16> = space
            .entries
            .iter()
            .filter(is_listening)
            .map(|it| it.local_address.port())
            .collect();
        for entry in &space.entries {
            let port = entry.local_address.port();
            if range.contains(&port) && !served.contains(&port) && !is_listening(&entry) {
                *count.entry(plain(entry.remote_address)).or_default() += 1;
            }
        }
        let mut count: Vec<_> = count.into_iter().collect();
        count.sort_by_key(|(to, ports)| (std::cmp::Reverse(*ports), *to));
        count
    }
}

/// Whether this address is one of this host's own: only those can be bound.
pub(crate) fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Whether the namespace of this process has this address.
pub(crate) fn has_address(pid: u32, address: IpAddr) -> bool {
    let IpAddr::V4(wanted) = address else {
        return false;
    };
    let Ok(routes) = fs::read_to_string(format!("/proc/{pid}/net/fib_trie")) else {
        return false;
    };
    let wanted = format!("|-- {wanted}");
    let mut lines = routes.lines();
    while let Some(line) = lines.next() {
        if line.trim_start() == wanted
            && lines
                .clone()
                .next()
                .is_some_and(|it| it.contains("host LOCAL"))
        {
            return true;
        }
    }
    false
}

/// The name of a process's program.
pub(crate) fn program(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Every process that can be seen.
pub(crate) fn processes() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let pid = |entry: fs::DirEntry| entry.file_name().to_str()?.parse().ok();
    entries
        .flatten()
        .filter_map(pid)
        .take(PROCESSES_MAX)
        .collect()
}

/// The inode of the socket that a descriptor is.
fn socket_of(descriptor: &Path) -> Option<u64> {
    let target = fs::read_link(descriptor).ok()?;
    let inode = target.to_str()?.strip_prefix("socket:[")?;
    inode.strip_suffix(']')?.parse().ok()
}

/// Both tables of a namespace; a kernel without IPv6 has one.
fn tables(pid: Option<u32>) -> Vec<TcpNetEntry> {
    let read = |(four, six): (procfs::ProcResult<Vec<_>>, procfs::ProcResult<Vec<_>>)| {
        let mut entries = four.unwrap_or_default();
        entries.extend(six.unwrap_or_default());
        entries
    };
    match pid {
        None => read((procfs::net::tcp(), procfs::net::tcp6())),
        Some(pid) => {
            let process = i32::try_from(pid)
                .ok()
                .and_then(|it| procfs::process::Process::new(it).ok());
            process.map_or_else(Vec::new, |it| read((it.tcp(), it.tcp6())))
        }
    }
}

fn is_listening(entry: &&TcpNetEntry) -> bool {
    entry.state == TcpState::Listen
}

/// IPv4 that came by way of an IPv6 socket, as IPv4.
fn plain(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_keeps_nobody_busy() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = listener.local_addr().expect("it has an address");
        let _probe = std::net::TcpStream::connect(addr).expect("it listens");
        let _accepted = listener.accept().expect("somebody came");
        let own = std::process::id();
        let sockets = Sockets::read();
        assert!(sockets.busy(&[own], addr.port()).is_empty());
        let listeners = sockets.listeners();
        let ours = listeners.iter().find(|it| it.addr == addr);
        assert!(ours.is_some_and(|it| it.pids.contains(&own)), "{ours:?}");
        // What this process opened at its own listener leads to nobody else.
        assert!(
            sockets
                .outbound(&[own])
                .iter()
                .all(|it| it.remote.port() != 0)
        );
    }
}
