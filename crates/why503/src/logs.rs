//! What was written down: access and error logs of proxies and servers, attributed line by line.
//!
//! `why503 logs FILE…` reads whole files:
//!
//! ```text
//! input    chunks of whole lines, plain or gzip, bounded whatever is in them
//! format   a line understood: which maker, which request, and what its own code says of why
//! tally    counts, each chunk on its own thread, merged in the order of the file
//! join     what an error log says of a request that the access log leaves open
//! report   what it amounts to -> text, or JSON (`why503-logs/1`)
//! ```
//!
//! A proxy's own code decides, never a guess from sizes or times alone; where the code fits
//! several findings they are all named. Nothing grows with the length of a file or of a line:
//! tables have a fixed size and say by how much they may be wrong, buckets of time widen.

mod burst;
mod bytes;
mod cause;
mod entry;
mod format;
mod input;
mod join;
mod pipeline;
mod recent;
mod report;
mod route;
mod shown;
mod tally;
mod text;
mod time;
mod timeline;
mod top;

#[cfg(test)]
mod fuzz;
#[cfg(test)]
mod recorded;

use std::{
    io::{self, Write},
    process::ExitCode,
};

pub(crate) use format::Format;
pub(crate) use recent::collect;

use crate::{cli::LogsArgs, exit};
use input::Unpacking;
use report::Report;
use tally::Scope;

/// The command `why503 logs`: 0 if nothing failed, 10 if the commonest cause is certain, 11 if it
/// is one of several, 12 if the lines do not say, 20 if no file could be read.
pub(crate) fn run(args: &LogsArgs) -> ExitCode {
    let scope = Scope {
        format: args.format,
        since: args.since,
        until: args.until,
    };
    let unpacking = Unpacking::new(args.unpacked_max);
    let read = pipeline::read(&args.files, scope, unpacking);
    let unreadable = read
        .files
        .iter()
        .all(|it| it.bytes == 0 && it.note.is_some());
    let report = Report::of(&read.tally, read.files, read.cut);
    // Nothing can be done for a reader that has gone.
    let _ = print(&report, args.json);
    if unreadable {
        return ExitCode::from(exit::UNREACHABLE);
    }
    ExitCode::from(match report.causes.first() {
        None => exit::WELL,
        Some(row) if row.id.is_none() => exit::UNKNOWN,
        Some(row) if row.or.is_empty() => exit::PROVEN,
        Some(_) => exit::SUSPECTS,
    })
}

fn print(report: &Report, json: bool) -> io::Result<()> {
    if json {
        let mut out = io::stdout().lock();
        serde_json::to_writer_pretty(&mut out, report)?;
        return out.write_all(b"\n");
    }
    let columns = terminal_size::terminal_size().map_or(100, |(width, _)| usize::from(width.0));
    let mut out = anstream::stdout().lock();
    text::print(report, columns, &mut out)
}

/// Reads a time as a person writes it: `2026-11-29`, `2026-11-29T08:35` or `2026-11-29 08:35:47`,
/// or as long ago: `90s`, `15m`, `2h`, `3d`.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn moment(text: &str) -> Result<i64, String> {
    let wrong = || {
        format!(
            "`{text}` is no time; `2026-11-29T08:35:00` is one, and so is `15m` for a quarter of an hour ago"
        )
    };
    if let Some(ago) = ago(text) {
        return Ok(now().0 - ago);
    }
    let full = match text.len() {
        10 => format!("{text}T00:00:00"),
        16 => format!("{text}:00"),
        19 => text.to_owned(),
        _ => return Err(wrong()),
    };
    time::iso(full.as_bytes()).ok_or_else(wrong)
}

fn ago(text: &str) -> Option<i64> {
    let unit = match text.as_bytes().last()? {
        b's' => 1,
        b'm' => 60,
        b'h' => 3_600,
        b'd' => 86_400,
        _ => return None,
    };
    let count = bytes::number(&text.as_bytes()[..text.len() - 1])?;
    Some(i64::from(count) * unit)
}

/// Now on the clock on the wall here, and in UTC, as logs write it.
fn now() -> (i64, i64) {
    let now = jiff::Zoned::now();
    let universal = now.timestamp().as_second();
    (universal + i64::from(now.offset().seconds()), universal)
}

/// For how long a moment of the command line has been over.
pub(crate) fn seconds_since(moment: i64) -> std::time::Duration {
    std::time::Duration::from_secs(u64::try_from(now().0 - moment).unwrap_or(0))
}

/// Reads a size: `512M`, `4G`, or bytes.
///
/// # Errors
///
/// Says what is allowed.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let unit = match text.as_bytes().last() {
        Some(b'K' | b'k') => 10,
        Some(b'M' | b'm') => 20,
        Some(b'G' | b'g') => 30,
        Some(b'T' | b't') => 40,
        _ => 0,
    };
    let digits = &text[..text.len() - usize::from(unit > 0)];
    let count = digits
        .parse::<u64>()
        .ok()
        .and_then(|it| it.checked_mul(1 << unit));
    count.ok_or_else(|| format!("`{text}` is no size; bytes are, and `512M` or `4G`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_are_read_as_people_write_them() {
        assert_eq!(moment("2026-11-29T08:35:47"), Ok(1_795_941_347));
        assert_eq!(moment("2026-11-29 08:35"), Ok(1_795_941_300));
        assert_eq!(moment("2026-11-29"), Ok(1_795_910_400));
        assert!(moment("15m").is_ok_and(|it| it < moment("1m").expect("a time")));
        assert!(moment("yesterday").is_err());
        assert_eq!(size("4G"), Ok(4 << 30));
        assert_eq!(size("12"), Ok(12));
        assert!(size("").is_err() && size("G").is_err() && size("99999999999G").is_err());
    }
}
