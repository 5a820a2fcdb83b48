//! What the logs said while the doctor looked: the lines of the last seconds, so that an old
//! trouble accuses nobody.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use steadfast_diagnosis::{Id, Log, Text, Tied};

use super::{
    cause::Cause,
    format::{self, Format},
    input,
    tally::{Scope, Tally},
};
use crate::collect::{Collected, Job, SAMPLE_GAP};

/// Looks at the logs that the options name, after the probes have left their lines there.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let mut files = job.options.access_log.clone();
    files.extend(job.options.nginx_error_log.clone());
    let mut found = Collected::default();
    if files.is_empty() {
        return found;
    }
    tokio::time::sleep(job.within(SAMPLE_GAP)).await;
    let failed = job
        .found
        .first
        .as_ref()
        .is_none_or(|it| it.status().is_none_or(|it| it >= 500));
    let since = job.options.since;
    let read = tokio::task::spawn_blocking(move || read(&files, since));
    let most = if since.is_some() {
        READ_MAX
    } else {
        SAMPLE_GAP
    };
    let Some(Ok((tally, unread))) = job.bounded(most, read).await else {
        return found;
    };
    for (file, error) in unread {
        let reason = format!("{}: {error}", file.display());
        let remedy = "run as a user who may read it, or name another file";
        found.could_not(Id::ProxyPassthrough, &reason, remedy);
    }
    say(&tally, failed, &mut found);
    found
}

/// Says which causes were written down; what a line leaves open is no evidence.
fn say(tally: &Tally, failed: bool, found: &mut Collected) {
    let alone = tally.requests == 0;
    let sheet = if alone {
        &tally.complained
    } else {
        &tally.answered
    };
    let mut causes: Vec<_> = sheet.causes.iter().collect();
    causes.sort();
    for (cause, count) in causes {
        let Some(cause) = cause.filter(|it| !it.is_open()) else {
            continue;
        };
        // An attempt that failed did no harm where another one served the request.
        let harmful = failed || !alone || is_refusal(cause);
        if let Some(id) = Id::parse(cause.id()).filter(|_| harmful) {
            let seen = Log::Attributed {
                id,
                count: *count,
                of: sheet.failed,
                example: Text::new(cause.says()),
            };
            found.saw("the log's last lines", Tied::Service, seen);
        }
    }
}

const fn is_refusal(cause: Cause) -> bool {
    matches!(
        cause,
        Cause::NgxLimitReq | Cause::NgxLimitConn | Cause::NgxWorkerConns
    )
}

fn read(files: &[PathBuf], since: Option<i64>) -> (Tally, Vec<(PathBuf, io::Error)>) {
    let (local, universal) = super::now();
    let longest = since.map_or(RECENT, |since| (local - since).max(RECENT));
    let end = if since.is_some() { SINCE_MAX } else { TAIL_MAX };
    let mut sum = Tally::default();
    let mut unread = Vec::new();
    for file in files {
        match tail(file, end) {
            Ok(bytes) => sum.merge(Tally::of(
                &recent(&bytes, &[local, universal], longest),
                Scope::default(),
            )),
            Err(error) => unread.push((file.clone(), error)),
        }
    }
    sum.finish();
    (sum, unread)
}

/// The end of a file, from the beginning of a line.
fn tail(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(most)))?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    if length > most {
        let first = memchr::memchr(b'\n', &bytes).map_or(bytes.len(), |at| at + 1);
        bytes.drain(..first);
    }
    Ok(bytes)
}

/// The lines that were written in the last seconds before one of these moments, which are now on
/// the clocks that logs use.
fn recent(bytes: &[u8], nows: &[i64], longest: i64) -> Vec<u8> {
    let mut kept = Vec::new();
    let mut near = false;
    for line in input::lines(bytes) {
        if let Some(at) = format::parse(line, Format::Auto).and_then(|it| it.time) {
            near = nows
                .iter()
                .any(|now| (-RECENT..=longest).contains(&(now - at)));
        }
        if near {
            kept.extend_from_slice(line);
            kept.push(b'\n');
        }
    }
    kept
}

/// Longer than a run, so that its own probes are in it.
const RECENT: i64 = 20;
/// A busy proxy writes this much in some seconds.
const TAIL_MAX: u64 = 1 << 20;
/// As much as is read in a second or two, where a longer time was asked for.
const SINCE_MAX: u64 = 256 << 20;
/// For so long it may be read.
const READ_MAX: std::time::Duration = std::time::Duration::from_secs(6);

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = "2026/11/29 08:35:58 [error] 1#1: *27 limiting requests, excess: 1.000 by zone \"one\", client: 127.0.0.1, server: , request: \"GET / HTTP/1.1\", host: \"a\"\n";

    fn said(now: i64, failed: bool) -> Vec<String> {
        said_since(now, failed, RECENT)
    }

    fn said_since(now: i64, failed: bool, longest: i64) -> Vec<String> {
        let lines = format!(
            "{LINE}{}",
            LINE.replace("*27", "*28").replace(
                "limiting requests, excess: 1.000 by zone \"one\"",
                "connect() failed (111: Connection refused) while connecting to upstream"
            )
        );
        let mut tally = Tally::of(&recent(lines.as_bytes(), &[now], longest), Scope::default());
        tally.finish();
        let mut found = Collected::default();
        say(&tally, failed, &mut found);
        found.facts().iter().map(|it| it.seen.to_string()).collect()
    }

    #[test]
    fn only_what_was_just_written_is_evidence() {
        let now = 1_795_941_358;
        assert_eq!(said(now + 3, true).len(), 2);
        assert!(said(now + 60, true).is_empty());
        // Unless somebody asks for what is longer ago.
        assert_eq!(said_since(now + 60, true, 120).len(), 2);
    }

    #[test]
    fn an_attempt_that_failed_accuses_nobody_while_requests_are_served() {
        let said = said(1_795_941_358, false);
        assert_eq!(said.len(), 1, "{said:?}");
        assert!(said[0].contains("the rate limit"), "{said:?}");
    }
}
