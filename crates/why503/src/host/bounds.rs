//! Bounds of the host that a service can run into: files, connections, ports, disks.

use std::{collections::BTreeSet, fs, os::unix::fs::MetadataExt, path::PathBuf};

use rustix::fs::{StatVfsMountFlags, statvfs};
use steadfast_diagnosis::{Bytes, Host, Ratio, Text, Tied};

use super::{read, sockets::Sockets};
use crate::collect::Collected;

/// Files of a process whose disks are looked at.
const FILES_MAX: usize = 256;

/// Says how far the kernel's tables are used.
pub(super) fn tell_tables(sockets: &Sockets, into: &mut Collected) {
    if let Some((used, max)) = read("/proc/sys/fs/file-nr").as_deref().and_then(file_table) {
        into.saw(
            "/proc/sys/fs/file-nr",
            Tied::Host,
            Host::FileTable { used, max },
        );
    }
    let tracked = "/proc/sys/net/netfilter/nf_conntrack_count";
    let count = |path: &str| read(path)?.trim().parse().ok();
    if let (Some(used), Some(max)) = (
        count(tracked),
        count("/proc/sys/net/netfilter/nf_conntrack_max"),
    ) {
        into.saw(tracked, Tied::Host, Host::Conntrack { used, max });
    }
    let range = read("/proc/sys/net/ipv4/ip_local_port_range");
    if let Some((first, last)) = range.as_deref().and_then(port_range) {
        let all = u64::from(last.saturating_sub(first)) + 1;
        if let Some((to, used)) = sockets.ports_towards(first..=last).into_iter().next() {
            let to = Text::new(&to.to_string());
            into.saw(
                "/proc/net/tcp, /proc/sys/net/ipv4/ip_local_port_range",
                Tied::Host,
                Host::LocalPorts { to, used, all },
            );
        }
    }
    into.saw(
        "/proc/net/tcp",
        Tied::Host,
        Host::TimeWait {
            count: sockets.time_wait(),
        },
    );
}

/// Says how full the disks are that a process uses: where it runs, and what it has open.
///
/// A file system on a dead server can hang, so this runs on a thread that nobody waits for.
pub(super) fn tell_disks(pid: Option<u32>, into: &mut Collected) {
    let mut seen = BTreeSet::new();
    for path in places(pid) {
        let Ok(device) = fs::metadata(&path).map(|it| it.dev()) else {
            continue;
        };
        if !seen.insert(device) {
            continue;
        }
        let Ok(disk) = statvfs(&path) else {
            continue;
        };
        // What nobody can write to is always full.
        if disk.f_blocks == 0 || disk.f_flag.contains(StatVfsMountFlags::RDONLY) {
            continue;
        }
        let inodes = if disk.f_files == 0 {
            Ratio::new(1.0)
        } else {
            Ratio::of(disk.f_favail, disk.f_files)
        };
        let at = path.display().to_string();
        let seen = Host::Disk {
            at: Text::new(&at),
            free: Ratio::of(disk.f_bavail, disk.f_blocks),
            free_bytes: Bytes(disk.f_bavail.saturating_mul(disk.f_frsize)),
            free_inodes: inodes,
        };
        into.saw(
            &format!("statvfs {at}"),
            pid.map_or(Tied::Host, Tied::Process),
            seen,
        );
    }
}

fn places(pid: Option<u32>) -> Vec<PathBuf> {
    let Some(pid) = pid else {
        return ["/", "/tmp", "/var", "/var/log"]
            .map(PathBuf::from)
            .to_vec();
    };
    let root = fs::read_link(format!("/proc/{pid}/root")).unwrap_or_else(|_| "/".into());
    let mut places = vec![
        format!("/proc/{pid}/cwd").into(),
        format!("/proc/{pid}/root/tmp").into(),
    ];
    if let Ok(files) = fs::read_dir(format!("/proc/{pid}/fd")) {
        let links = files
            .flatten()
            .take(FILES_MAX)
            .filter_map(|it| fs::read_link(it.path()).ok());
        // Devices, pipes and deleted files have no disk that could be looked at by name.
        let on_disk = links
            .filter(|it| it.is_absolute() && !it.starts_with("/dev") && !it.starts_with("/proc"));
        places.extend(on_disk.map(|it| {
            let below = it.strip_prefix("/").map(PathBuf::from).unwrap_or_default();
            if root == std::path::Path::new("/") {
                it
            } else {
                PathBuf::from(format!("/proc/{pid}/root")).join(below)
            }
        }));
    }
    // Its own links are shown by what they lead to.
    places
        .into_iter()
        .map(|it| fs::canonicalize(&it).unwrap_or(it))
        .collect()
}

fn file_table(text: &str) -> Option<(u64, u64)> {
    let mut fields = text.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.nth(1)?.parse().ok()?))
}

fn port_range(text: &str) -> Option<(u16, u16)> {
    let mut fields = text.split_whitespace();
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_read_as_the_kernel_writes_them() {
        assert_eq!(
            file_table("2016\t0\t9223372036854775807\n"),
            Some((2016, i64::MAX as u64))
        );
        assert_eq!(port_range("32768\t60999\n"), Some((32768, 60999)));
        assert_eq!(port_range("\n"), None);
    }

    #[test]
    fn the_disk_of_a_process_is_looked_at_once() {
        let mut found = Collected::new();
        tell_disks(Some(std::process::id()), &mut found);
        let disks = found.facts().iter().map(|it| it.source.as_str().to_owned());
        let disks: Vec<_> = disks.collect();
        let distinct: BTreeSet<_> = disks.iter().collect();
        assert!(
            !disks.is_empty() && disks.len() == distinct.len(),
            "{disks:?}"
        );
    }
}
