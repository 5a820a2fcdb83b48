//! What systemd says of the service, where there is systemd.

use std::{path::Path, process::Stdio, time::Duration};

use steadfast_diagnosis::{LogKind, Process, Text, Tied};
use tokio::{io::AsyncReadExt, process::Command};

use super::read;
use crate::collect::{Collected, Job};

/// `systemctl` answers in milliseconds, or its bus hangs.
const ANSWER_MAX: Duration = Duration::from_millis(1500);

/// More than fifty lines of a journal.
const OUTPUT_MAX: u64 = 64 * 1024;

/// What `systemctl show` said.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Unit {
    /// Its name.
    pub(crate) name: String,
    active: String,
    sub: String,
    result: String,
    restarts: Option<u64>,
    /// Its main process, if it has one.
    pub(crate) main: Option<u32>,
}

/// Whether systemd runs this host.
pub(crate) fn is_here() -> bool {
    Path::new("/run/systemd/system").exists()
}

/// The unit that a process belongs to.
pub(crate) fn of(pid: u32) -> Option<String> {
    name_in(&read(&format!("/proc/{pid}/cgroup"))?)
}

fn name_in(cgroup: &str) -> Option<String> {
    let parts = cgroup.lines().flat_map(|it| it.rsplit('/'));
    let mut units = parts.filter(|it| it.ends_with(".service") && !it.starts_with("user@"));
    units.next().map(str::to_owned)
}

/// The main process of a unit, if it runs.
pub(crate) async fn main_process(name: &str, wait: Duration) -> Option<u32> {
    let arguments = ["show", "--no-pager", "-p", "MainPID", "--value", "--", name];
    let text = output("systemctl", &arguments, wait.min(ANSWER_MAX)).await?;
    text.trim().parse().ok().filter(|it| *it != 0)
}

/// Asks systemd about a unit.
pub(super) async fn show(job: &Job<'_>, name: &str) -> Option<Unit> {
    let properties = "ActiveState,SubState,Result,NRestarts,MainPID,LoadState";
    let arguments = ["show", "--no-pager", "-p", properties, "--", name];
    let text = output("systemctl", &arguments, job.within(ANSWER_MAX)).await?;
    let unit = parse(name, &text);
    unit.filter(|_| !text.contains("LoadState=not-found"))
}

fn parse(name: &str, text: &str) -> Option<Unit> {
    let of = |key: &str| {
        let mut lines = text.lines().filter_map(|it| it.split_once('='));
        lines.find(|it| it.0 == key).map(|it| it.1.to_owned())
    };
    Some(Unit {
        name: name.to_owned(),
        active: of("ActiveState")?,
        sub: of("SubState")?,
        result: of("Result").unwrap_or_default(),
        restarts: of("NRestarts").and_then(|it| it.parse().ok()),
        main: of("MainPID")
            .and_then(|it| it.parse().ok())
            .filter(|it| *it != 0),
    })
}

/// Says how a unit stands, and how often it was restarted between two looks.
pub(super) fn tell(before: &Unit, now: &Unit, into: &mut Collected) {
    let source = format!("systemctl show {}", now.name);
    let tied = now.main.map_or(Tied::Service, Tied::Process);
    let seen = Process::Unit {
        active: Text::new(&now.active),
        sub: Text::new(&now.sub),
        result: Text::new(&now.result),
    };
    into.saw(&source, tied.clone(), seen);
    if let (Some(a), Some(b)) = (before.restarts, now.restarts) {
        let seen = Process::Restarts {
            total: b,
            during: b.saturating_sub(a),
        };
        into.saw(&source, tied, seen);
    }
}

/// Says what the unit wrote last.
pub(super) async fn tell_journal(job: &Job<'_>, name: &str, into: &mut Collected) {
    let arguments = ["-u", name, "-n", "50", "-o", "cat", "--no-pager"];
    let Some(text) = output("journalctl", &arguments, job.within(ANSWER_MAX)).await else {
        return;
    };
    let source = format!("journalctl -u {name}");
    let mut lines: Vec<&str> = text.lines().filter(|it| !it.trim().is_empty()).collect();
    let last = lines.pop();
    for (about, needles) in KINDS {
        let hits: Vec<_> = last
            .iter()
            .chain(lines.iter().rev())
            .filter(|line| needles.iter().any(|it| line.contains(it)))
            .collect();
        if let Some(line) = hits.first() {
            let seen = Process::LogLine {
                about: *about,
                line: Text::new(line),
                count: hits.len() as u64,
            };
            into.saw(&source, Tied::Service, seen);
        }
    }
    if let Some(line) = last {
        let seen = Process::LogLine {
            about: LogKind::Other,
            line: Text::new(line),
            count: 1,
        };
        into.saw(&source, Tied::Service, seen);
    }
}

/// What a line is about, by the words of the kernel, of runtimes and of frameworks.
pub(super) const KINDS: &[(LogKind, &[&str])] = &[
    (
        LogKind::NoDescriptors,
        &["Too many open files", "EMFILE", "os error 24"],
    ),
    (
        LogKind::NoAddress,
        &[
            "Cannot assign requested address",
            "EADDRNOTAVAIL",
            "os error 99",
        ],
    ),
    (
        LogKind::AddressInUse,
        &["Address already in use", "EADDRINUSE", "os error 98"],
    ),
    (
        LogKind::NoThreads,
        &[
            "can't start new thread",
            "Resource temporarily unavailable",
            "unable to create native thread",
        ],
    ),
    (
        LogKind::NoMemory,
        &[
            "Out of memory",
            "OutOfMemoryError",
            "MemoryError",
            "Cannot allocate memory",
        ],
    ),
    (
        LogKind::NoSpace,
        &["No space left on device", "ENOSPC", "os error 28"],
    ),
    (LogKind::WorkerTimeout, &["WORKER TIMEOUT"]),
    (LogKind::Panic, &["panicked at", "panic:"]),
    (
        LogKind::DatabaseFull,
        &[
            "remaining connection slots",
            "too many clients already",
            "53300",
            "Too many connections",
        ],
    ),
    (
        LogKind::NameUnknown,
        &[
            "Name or service not known",
            "Temporary failure in name resolution",
            "NXDOMAIN",
            "ENOTFOUND",
        ],
    ),
];

/// What a program prints, if it ends in time and says that it went well.
async fn output(program: &str, arguments: &[&str], wait: Duration) -> Option<String> {
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .env("LC_ALL", "C")
        .kill_on_drop(true)
        .spawn()
        .ok()?;
    let mut bytes = Vec::new();
    let mut out = child.stdout.take()?.take(OUTPUT_MAX);
    let read = async {
        out.read_to_end(&mut bytes).await.ok()?;
        child.wait().await.ok()
    };
    let status = tokio::time::timeout(wait, read).await.ok()??;
    status
        .success()
        .then(|| String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_knows_its_unit() {
        let unit = |text| name_in(text);
        assert_eq!(
            unit("0::/system.slice/shop.service\n").as_deref(),
            Some("shop.service")
        );
        assert_eq!(
            unit("0::/user.slice/user@1000.service/app.slice/shop.service\n").as_deref(),
            Some("shop.service")
        );
        assert_eq!(unit("0::/user.slice/user@1000.service/init.scope\n"), None);
        assert_eq!(unit("0::/\n"), None);
    }

    #[test]
    fn what_systemctl_shows_is_read() {
        let text = "MainPID=0\nNRestarts=7\nResult=exit-code\nActiveState=activating\nSubState=auto-restart\n";
        let unit = parse("shop", text).expect("it is a unit");
        assert_eq!(
            (unit.sub.as_str(), unit.restarts, unit.main),
            ("auto-restart", Some(7), None)
        );
        assert_eq!(parse("shop", "Failed to connect"), None);
    }
}
