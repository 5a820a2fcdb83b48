//! Instructions a request, counted by valgrind: two servers that answer different numbers of
//! requests are subtracted, so that starting and stopping do not count. What the kernel does
//! is not seen.

use std::{
    fs, io,
    process::{Command, Stdio},
    time::Duration,
};

use super::{
    Machine, Served, Subject,
    cores::Cores,
    figures::{self, Row},
    load::{self, Body, Load, Protocol, Until},
};
use crate::child::Process;

/// How many requests are answered, by the one and by the other.
const FEW: u64 = 1_024;
const MANY: u64 = 4_096;

/// For a server to end after its input has.
const END_MAX: Duration = Duration::from_secs(30);

/// Whether valgrind is installed.
pub(super) fn can_be_counted() -> bool {
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--version").stdout(Stdio::null());
    valgrind.status().is_ok_and(|status| status.success())
}

/// Writes into the rows of one worker what a request costs; makes the rows if there are none.
pub(super) fn measure(rows: &mut Vec<Row>) -> io::Result<()> {
    for protocol in Protocol::ALL {
        for body in Body::ALL {
            eprintln!("{} {} instructions", protocol.name(), body.name());
            for subject in Subject::ALL {
                let few = count(subject, protocol, body, FEW)?;
                let many = count(subject, protocol, body, MANY)?;
                let new = Row::new(subject, protocol, body, 1);
                let at = rows.iter().position(|row| row.is_same(&new));
                let at = at.unwrap_or_else(|| {
                    rows.push(new);
                    rows.len() - 1
                });
                rows[at].instructions = Some(many.saturating_sub(few) / (MANY - FEW));
            }
        }
    }
    figures::compare(rows);
    Ok(())
}

fn count(subject: Subject, protocol: Protocol, body: Body, requests: u64) -> io::Result<u64> {
    let written = tempfile::NamedTempFile::new()?;
    let mut program = Command::new("valgrind");
    program
        .args(["--quiet", "--tool=callgrind"])
        .arg(format!("--callgrind-out-file={}", written.path().display()))
        .arg(std::env::current_exe()?)
        .args(["serve-server", subject.name(), "1"])
        .args([&*Cores::default().to_string(), Machine::Valgrind.name()]);
    let served = Served::of(Process::of(program)?)?;
    let load = Load {
        protocol,
        body,
        until: Until::Answered(requests),
    };
    load::run(load, served.address, &Cores::default())?;
    served.process.end(END_MAX)?;
    let text = fs::read_to_string(written.path())?;
    let totals = text.lines().find_map(|line| line.strip_prefix("totals:"));
    let totals = totals.and_then(|count| count.trim().parse().ok());
    totals.ok_or_else(|| io::Error::other("valgrind counted nothing"))
}
