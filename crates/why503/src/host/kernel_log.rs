//! The kernel's log, where it may be read: who was killed, which table was full.

use std::{
    fs::OpenOptions,
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    time::{Duration, SystemTime},
};

use steadfast_diagnosis::{Fact, Host, Id, KernelLog, Text, Tied};

use crate::collect::Collected;

/// What is longer ago explains no 503 of now.
pub(super) const WINDOW: Duration = Duration::from_secs(600);

/// The kernel's ring holds fewer.
const RECORDS_MAX: usize = 200_000;

/// Lines of one kind that are told.
const TOLD_MAX: usize = 8;

/// Says what the kernel wrote within the window, ten minutes unless somebody says. `ours` is the program's name, `port`
/// the one that is asked, `up` the time since boot, and `now` the wall clock.
pub(super) fn tell(
    ours: Option<&str>,
    port: u16,
    up: Duration,
    now: SystemTime,
    window: Duration,
    into: &mut Collected,
) {
    let log = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open("/dev/kmsg");
    let mut log = match log {
        Ok(log) => log,
        Err(error) => {
            into.could_not(
                Id::HostOomKill,
                &format!("/dev/kmsg: {error}"),
                "run as root to read the kernel's log",
            );
            return;
        }
    };
    let mut record = [0; 8192];
    let mut told = 0;
    for _ in 0..RECORDS_MAX {
        let read = match log.read(&mut record) {
            Ok(0) => return,
            Ok(read) => read,
            // Records that were overwritten meanwhile are skipped.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => continue,
            Err(_) => return,
        };
        let text = String::from_utf8_lossy(&record[..read]);
        let Some((about, age, line)) = parse(&text, up) else {
            continue;
        };
        if age > window || told >= TOLD_MAX {
            continue;
        }
        // Handshakes that flood somebody else's port are no trouble of this service.
        if about == KernelLog::SynFlood && flooded(line).is_some_and(|it| it != port) {
            continue;
        }
        told += 1;
        let at = now.checked_sub(age).unwrap_or(now);
        let seen = Host::Kernel {
            about,
            line: Text::new(line),
        };
        into.push(Fact::new("/dev/kmsg", Tied::Host, seen).at(at));
        if about == KernelLog::OomKill {
            let name = victim(line).unwrap_or("some process");
            let seen = Host::OomKill {
                name: Text::new(name),
                count: 1,
                ours: ours == Some(name),
            };
            into.push(Fact::new("/dev/kmsg", Tied::Host, seen).at(at));
        }
    }
}

/// What a record is about, how old it is, and its line.
fn parse(record: &str, up: Duration) -> Option<(KernelLog, Duration, &str)> {
    let (head, line) = record.split_once(';')?;
    let line = line.lines().next()?;
    let about = [
        (KernelLog::OomKill, "Killed process"),
        (KernelLog::ConntrackFull, "table full, dropping packet"),
        (KernelLog::FileTableFull, "file-max limit"),
        (KernelLog::SynFlood, "Possible SYN flooding"),
    ]
    .into_iter()
    .find(|(_, words)| line.contains(words))?
    .0;
    let micros = head.split(',').nth(2)?.parse().ok()?;
    Some((
        about,
        up.saturating_sub(Duration::from_micros(micros)),
        line,
    ))
}

/// The port in `Possible SYN flooding on port 127.0.0.1:80. Sending cookies.`; older kernels
/// write it without an address.
fn flooded(line: &str) -> Option<u16> {
    let address = line.split_once(" on port ")?.1.split(". ").next()?;
    address
        .rsplit(':')
        .next()?
        .trim_end_matches('.')
        .parse()
        .ok()
}

/// The name in `Killed process 4711 (shop)`.
fn victim(line: &str) -> Option<&str> {
    line.split_once("Killed process")?
        .1
        .split_once('(')?
        .1
        .split_once(')')
        .map(|it| it.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flooded_port_is_read_with_and_without_an_address() {
        let line = |at: &str| {
            format!("TCP: request_sock_TCP: Possible SYN flooding on port {at}. Sending cookies.")
        };
        for (at, port) in [("127.0.0.1:8080", 8080), ("[::1]:443", 443), ("80", 80)] {
            assert_eq!(flooded(&line(at)), Some(port), "{at}");
        }
        assert_eq!(flooded("Possible SYN flooding"), None);
    }

    #[test]
    fn a_kill_is_read_with_its_age_and_its_victim() {
        let record = "3,1200,50000000,-;Memory cgroup out of memory: Killed process 4711 (shop) total-vm:1kB\n SUBSYSTEM=x";
        let (about, age, line) = parse(record, Duration::from_secs(60)).expect("a kill");
        assert_eq!((about, age), (KernelLog::OomKill, Duration::from_secs(10)));
        assert_eq!(victim(line), Some("shop"));
        assert_eq!(parse("6,1,5,-;eth0: link up", Duration::ZERO), None);
        assert_eq!(parse("rubbish", Duration::ZERO), None);
    }
}
