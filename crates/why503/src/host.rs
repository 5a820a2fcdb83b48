//! Who listens, and how the process and the host fare.
//!
//! [`locate`] comes first: it finds the sockets at the target's port, in every network namespace
//! that can be seen, and the processes that hold them. [`collect`] then looks at those processes,
//! their control group and the kernel twice, [`SAMPLE_GAP`] apart, because a counter that has
//! gathered since boot says nothing about now.

use std::{
    net::{IpAddr, SocketAddr},
    time::{Duration, SystemTime},
};

use steadfast_diagnosis::{Id, Process, Text, Tied};

mod bounds;
mod group;
mod kernel_log;
mod pressure;
mod process;
mod process_log;
mod queue;
mod sockets;
pub(crate) mod unit;

pub(crate) use process_log::Logs;
pub(crate) use sockets::{Sockets, is_local};

use crate::{
    clock,
    collect::{Collected, Found, HOST_ONLY, Job, Listener, SAMPLE_GAP},
    target::Target,
};

/// Looks at a queue that tell whether it stays full.
const QUEUE_LOOKS: u32 = 3;

/// A file of `/proc` that is longer is not one of those that are read here.
const FILE_MAX: u64 = 4 * 1024 * 1024;

/// Finds who listens where the target is. Reads `/proc` for some milliseconds.
pub(crate) fn locate(
    target: &Target,
    port: Option<u16>,
    pid: Option<u32>,
    addresses: &[SocketAddr],
) -> Found {
    let sockets = Sockets::read();
    let listeners = sockets.listeners();
    let mut found = Found {
        local: is_here(target, addresses),
        port: port.unwrap_or(target.port),
        ..Found::default()
    };
    let ips: Vec<IpAddr> = addresses.iter().map(|it| it.ip().to_canonical()).collect();
    if let Some(pid) = pid {
        found.owners = vec![pid];
        let own = listeners.iter().find(|it| it.pids.contains(&pid));
        if let (Some(own), 0) = (own, found.port) {
            found.port = own.addr.port();
        }
        // Who shares the socket belongs to it: a server that forks.
        for listener in listeners.iter().filter(|it| it.pids.contains(&pid)) {
            found.owners.extend(&listener.pids);
        }
    } else if let Some(socket) = &target.socket {
        found.owners = unix_owners(socket, &sockets);
    } else {
        let at_port = |it: &&Listener| it.addr.port() == found.port;
        let answers = |it: &&Listener| {
            let any = it.addr.ip().is_unspecified();
            match it.namespace {
                None => found.local && (any || ips.contains(&it.addr.ip())),
                Some(pid) => ips
                    .iter()
                    .any(|ip| (any || *ip == it.addr.ip()) && sockets::has_address(pid, *ip)),
            }
        };
        let exact: Vec<&Listener> = listeners.iter().filter(at_port).filter(answers).collect();
        // Somebody at the port, at another address: the wrong bind is a finding of its own.
        let is_near = |it: &&Listener| match it.namespace {
            None => found.local,
            Some(pid) => ips.iter().any(|ip| sockets::has_address(pid, *ip)),
        };
        let near: Vec<&Listener> = listeners.iter().filter(at_port).filter(is_near).collect();
        let chosen = if exact.is_empty() || port.is_some() {
            near
        } else {
            exact
        };
        found.local |= chosen.iter().any(|it| it.namespace.is_some());
        found.owners = chosen.iter().flat_map(|it| it.pids.clone()).collect();
    }
    found.owners.sort_unstable();
    found.owners.dedup();
    let space = listeners.iter().find(|it| {
        it.addr.port() == found.port && it.pids.iter().any(|pid| found.owners.contains(pid))
    });
    found.namespace = space.and_then(|it| it.namespace);
    found.logs = Logs::of_all(&found.owners);
    found.outbound = sockets.outbound(&found.owners);
    found.listeners = listeners;
    found
}

/// Looks at the process and the host.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let mut all = Collected::new();
    let found = job.found;
    if !found.local && found.owners.is_empty() {
        elsewhere(job, &mut all);
        return all;
    }
    tell_listeners(job, &mut all);
    let (measured, unit, disks) =
        tokio::join!(measure(job, Scope::Host), manage(job), look_at_disks(job));
    for part in [measured, unit, disks] {
        all.extend(part);
    }
    all
}

fn tell_listeners(job: &Job<'_>, all: &mut Collected) {
    let found = job.found;
    if found.port == 0 {
        return;
    }
    let tied = Tied::Port(found.port);
    let here = |it: &&Listener| it.addr.port() == found.port && it.namespace == found.namespace;
    let mut none = true;
    for listener in found.listeners.iter().filter(here) {
        none = false;
        let loopback = listener.addr.ip().is_loopback();
        let address = Text::new(&listener.addr.to_string());
        all.saw(
            "/proc/net/tcp",
            tied.clone(),
            Process::Listener { address, loopback },
        );
    }
    if none && found.local {
        all.saw(
            "/proc/net/tcp, /proc/net/tcp6",
            tied.clone(),
            Process::NoListener {},
        );
    }
    for asked in &found.addresses {
        let address = Text::new(&asked.ip().to_string());
        let loopback = asked.ip().is_loopback();
        if found.local && job.options.port.is_none() {
            all.saw(
                "the URL",
                tied.clone(),
                Process::AskedAt { address, loopback },
            );
        }
    }
    if found.owners.is_empty() && !none {
        for id in [
            Id::AppHung,
            Id::HostFdExhausted,
            Id::HostCpuThrottled,
            Id::AppWorkersBusy,
        ] {
            let reason = format!(
                "the process that holds port {} belongs to somebody else",
                found.port
            );
            all.could_not(id, &reason, "run as root, or give --pid");
        }
    }
}

/// What the owners wrote, once every probe has ended: the line about one of them may come last.
pub(crate) fn last_lines(found: &Found) -> Collected {
    let mut all = Collected::new();
    if let Some(pid) = found.owners.first() {
        found.logs.tell(*pid, &mut all);
    }
    all
}

/// Looks at another process of this host, without the host: what listens at this port, behind a
/// proxy.
pub(crate) async fn behind(job: &Job<'_>, port: u16) -> Collected {
    let listeners = job.found.listeners.iter();
    let at = listeners.filter(|it| it.namespace.is_none() && it.addr.port() == port);
    let mut owners: Vec<u32> = at.flat_map(|it| it.pids.clone()).collect();
    owners.sort_unstable();
    owners.dedup();
    let found = Found {
        owners,
        port,
        local: true,
        ..Found::default()
    };
    let logs = Logs::of_all(&found.owners);
    let there = Job {
        found: &found,
        ..*job
    };
    let mut all = measure(&there, Scope::Process).await;
    if let Some(pid) = found.owners.first() {
        logs.tell(*pid, &mut all);
    }
    all
}

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// The process and its group.
    Process,
    /// The host too.
    Host,
}

/// What moves: two looks, and the queue three times.
async fn measure(job: &Job<'_>, scope: Scope) -> Collected {
    let owners = job.found.owners.clone();
    let (port, namespace) = (job.found.port, job.found.namespace);
    // Half of what is left, so that the second look is not cut.
    let gap = (job.within(job.options.budget) / 2).min(SAMPLE_GAP);
    let since = job.options.since.map(crate::logs::seconds_since);
    let window = since.map_or(kernel_log::WINDOW, |it| it.max(kernel_log::WINDOW));
    let first = blocking(move || {
        let group = process::Sample::take(&owners)
            .main()
            .and_then(group::Group::of);
        let counters = group.as_ref().map(group::Group::sample).unwrap_or_default();
        Look {
            at: clock::now(),
            processes: process::Sample::take(&owners),
            kernel: pressure::Sample::take(namespace),
            group,
            counters,
            window,
        }
    });
    let mut all = Collected::new();
    let Some(first) = job.bounded(LOOK_MAX, first).await.flatten() else {
        all.could_not(
            Id::AppHung,
            "/proc does not answer",
            "look at the host's own console",
        );
        return all;
    };
    for look in 0..QUEUE_LOOKS {
        let socket = job.target.socket.clone().filter(|_| port == 0);
        let looked = blocking(move || match socket {
            Some(socket) => queue::tell_unix(&socket),
            None => queue::tell(port, namespace),
        });
        match job.bounded(LOOK_MAX, looked).await.flatten() {
            Some(facts) => all.extend(facts),
            None => break,
        }
        if look + 1 < QUEUE_LOOKS {
            tokio::time::sleep(gap / (QUEUE_LOOKS - 1)).await;
        }
    }
    let (owners, outbound) = (job.found.owners.clone(), job.found.outbound.clone());
    let rest = blocking(move || first.second(&owners, &outbound, port, namespace, scope));
    if let Some(rest) = job.bounded(LOOK_MAX, rest).await.flatten() {
        all.extend(rest);
    }
    all
}

/// `/proc` answers in milliseconds; a host with a million sockets takes a second.
const LOOK_MAX: Duration = Duration::from_secs(3);

struct Look {
    at: tokio::time::Instant,
    processes: process::Sample,
    kernel: pressure::Sample,
    group: Option<group::Group>,
    counters: group::Sample,
    /// How far back the kernel's log counts.
    window: Duration,
}

impl Look {
    /// Looks again, and says what both looks amount to.
    fn second(
        self,
        owners: &[u32],
        outbound: &[crate::collect::Connection],
        port: u16,
        namespace: Option<u32>,
        scope: Scope,
    ) -> Collected {
        let mut all = Collected::new();
        let now = process::Sample::take(owners);
        let kernel = pressure::Sample::take(namespace);
        let over = clock::now().saturating_duration_since(self.at);
        let sockets = Sockets::read();
        let quota = self.group.as_ref().and_then(group::Group::quota);
        now.tell(&mut all);
        now.tell_since(&self.processes, over, quota, &mut all);
        now.tell_workers(&sockets, port, &mut all);
        if let (Some(group), Some(pid)) = (&self.group, now.main()) {
            group.tell(pid, &self.counters, &group.sample(), &mut all);
        }
        if let Some(main) = now.main() {
            process::tell_outbound(outbound, main, &mut all);
        }
        if port != 0 {
            let count = sockets.half_open(port);
            all.saw(
                "/proc/net/tcp",
                Tied::Port(port),
                Process::SynReceived { count },
            );
        }
        if scope == Scope::Process {
            return all;
        }
        kernel.tell_since(&self.kernel, over, namespace, &mut all);
        pressure::tell_load(&mut all);
        bounds::tell_tables(&sockets, &mut all);
        let program = now.main().and_then(sockets::program);
        kernel_log::tell(
            program.as_deref(),
            port,
            uptime(),
            SystemTime::from(clock::wall()),
            self.window,
            &mut all,
        );
        all
    }
}

/// What the service manager says.
async fn manage(job: &Job<'_>) -> Collected {
    let mut all = Collected::new();
    if !unit::is_here() {
        if job.options.unit.is_some() {
            all.could_not(
                Id::AppCrashLoop,
                "systemd does not run this host",
                "leave out --unit",
            );
        }
        return all;
    }
    let owner = job.found.owners.first().copied();
    let Some(name) = job
        .options
        .unit
        .clone()
        .or_else(|| owner.and_then(unit::of))
    else {
        return all;
    };
    let Some(before) = unit::show(job, &name).await else {
        all.could_not(
            Id::AppCrashLoop,
            &format!("systemctl says nothing about {name}"),
            "check the name of the unit",
        );
        return all;
    };
    tokio::time::sleep(job.within(SAMPLE_GAP)).await;
    let now = unit::show(job, &name)
        .await
        .unwrap_or_else(|| before.clone());
    unit::tell(&before, &now, &mut all);
    unit::tell_journal(job, &name, &mut all).await;
    all
}

/// A disk on a dead server can hang for ever, so nobody waits for long.
async fn look_at_disks(job: &Job<'_>) -> Collected {
    let pid = job.found.owners.first().copied();
    let looked = blocking(move || {
        let mut all = Collected::new();
        bounds::tell_disks(pid, &mut all);
        all
    });
    job.bounded(Duration::from_secs(1), looked)
        .await
        .flatten()
        .unwrap_or_else(|| {
            let mut all = Collected::new();
            all.could_not(
                Id::HostDiskFull,
                "a file system does not answer",
                "look at `mount` and `df`",
            );
            all
        })
}

fn elsewhere(job: &Job<'_>, all: &mut Collected) {
    let reason = format!("{} is not on this host", job.target.authority());
    for id in HOST_ONLY {
        all.could_not(
            id,
            &reason,
            "run why503 there, or `why503 --bundle FILE` there and `--offline FILE` here",
        );
    }
}

fn is_here(target: &Target, addresses: &[SocketAddr]) -> bool {
    target.socket.is_some() || addresses.iter().any(|it| is_local(it.ip()))
}

fn unix_owners(socket: &std::path::Path, sockets: &Sockets) -> Vec<u32> {
    let Ok(entries) = procfs::net::unix() else {
        return Vec::new();
    };
    let inodes = entries
        .into_iter()
        .filter(|it| it.path.as_deref() == Some(socket));
    let mut owners: Vec<u32> = inodes.flat_map(|it| sockets.holders_of(it.inode)).collect();
    owners.sort_unstable();
    owners.dedup();
    owners
}

/// Runs on a thread that may hang without keeping anybody.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    tokio::task::spawn_blocking(work).await.ok()
}

/// Time since boot.
fn uptime() -> Duration {
    let seconds = read("/proc/uptime").and_then(|it| it.split(' ').next()?.parse().ok());
    let up = seconds.and_then(|it| Duration::try_from_secs_f64(it).ok());
    up.unwrap_or_default()
}

/// A file of the kernel's, if it can be read.
fn read(path: &str) -> Option<String> {
    use std::io::Read;
    let mut text = String::new();
    std::fs::File::open(path)
        .ok()?
        .take(FILE_MAX)
        .read_to_string(&mut text)
        .ok()?;
    Some(text)
}
