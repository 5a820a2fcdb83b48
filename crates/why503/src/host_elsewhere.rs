//! Where there is no `/proc`: the wire, proxies, dependencies and logs are looked at all the same,
//! and of the process and the host it is said that they were not.

use std::{
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use crate::{
    collect::{Collected, Connection, Found, HOST_ONLY, Job, Listener},
    target::Target,
};

/// What could be seen of sockets: nothing.
#[derive(Debug, Default)]
pub(crate) struct Sockets {
    /// Whether the descriptors of some process could not be read.
    pub(crate) blind: bool,
}

impl Sockets {
    /// Looks nowhere.
    pub(crate) fn read() -> Self {
        Self { blind: true }
    }

    /// None that could be seen.
    pub(crate) fn listeners(&self) -> Vec<Listener> {
        Vec::new()
    }

    /// None that could be seen.
    pub(crate) fn outbound(&self, _owners: &[u32]) -> Vec<Connection> {
        Vec::new()
    }
}

/// The logs of processes: none that could be found.
#[derive(Debug, Default)]
pub(crate) struct Logs;

/// None.
pub(crate) fn last_lines(_found: &Found) -> Collected {
    Collected::new()
}

/// Whether this address is one of this host's own: only those can be bound.
pub(crate) fn is_local(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

/// Knows the process only if it was named.
pub(crate) fn locate(
    target: &Target,
    port: Option<u16>,
    pid: Option<u32>,
    addresses: &[SocketAddr],
) -> Found {
    let sockets = Sockets::read();
    let owners: Vec<u32> = pid.into_iter().collect();
    Found {
        listeners: sockets.listeners(),
        outbound: sockets.outbound(&owners),
        owners,
        local: addresses.iter().any(|it| is_local(it.ip())),
        port: port.unwrap_or(target.port),
        ..Found::default()
    }
}

/// Says that it was not looked.
pub(crate) async fn collect(_job: &Job<'_>) -> Collected {
    let mut all = Collected::new();
    for id in HOST_ONLY {
        all.could_not(
            id,
            "processes and the kernel are looked at on Linux only",
            "",
        );
    }
    all
}

/// Says nothing.
pub(crate) async fn behind(_job: &Job<'_>, _port: u16) -> Collected {
    Collected::new()
}

/// Units are systemd's.
pub(crate) mod unit {
    use super::Duration;

    /// None.
    pub(crate) fn of(_pid: u32) -> Option<String> {
        None
    }

    /// None.
    pub(crate) async fn main_process(_name: &str, _wait: Duration) -> Option<u32> {
        None
    }
}
