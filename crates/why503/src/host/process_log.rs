//! What the process itself wrote lately: its standard output and error, and its log files, if
//! they are files.
//!
//! An old line accuses nobody, so a line counts if it was written while we looked, or if it bears
//! a time of the last ten minutes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::PathBuf,
    time::Duration,
};

use jiff::{Zoned, civil, tz::TimeZone};
use steadfast_diagnosis::{LogKind, Process, Text, Tied};

use super::unit::KINDS;
use crate::collect::Collected;

/// Files of one process that are read.
const FILES_MAX: usize = 8;

/// How much of the end of a file is read.
const TAIL_MAX: u64 = 256 * 1024;

/// What is longer ago explains no 503 of now.
const WINDOW: Duration = Duration::from_secs(600);

/// The files, and how long each was at the first look.
#[derive(Debug, Default)]
pub(crate) struct Logs(Vec<(PathBuf, u64)>);

impl Logs {
    /// Finds the files that these processes write their logs to.
    pub(super) fn of_all(owners: &[u32]) -> Self {
        let mut logs = Self::default();
        // Workers write where their parent does.
        for pid in owners.iter().take(FILES_MAX) {
            logs.add(*pid);
        }
        logs
    }

    fn add(&mut self, pid: u32) {
        let Ok(descriptors) = fs::read_dir(format!("/proc/{pid}/fd")) else {
            return;
        };
        let files = &mut self.0;
        for descriptor in descriptors.flatten().take(256) {
            let Ok(path) = fs::read_link(descriptor.path()) else {
                continue;
            };
            let number = descriptor.file_name();
            let is_stream = number == "1" || number == "2";
            let is_log = path.extension().is_some_and(|it| it == "log");
            let known = files.iter().any(|it| it.0 == path);
            let Ok(meta) = fs::metadata(&path) else {
                continue;
            };
            if (is_stream || is_log) && meta.is_file() && !known && files.len() < FILES_MAX {
                files.push((path, meta.len()));
            }
        }
    }

    /// Says what was written.
    pub(super) fn tell(&self, pid: u32, into: &mut Collected) {
        let now = Zoned::now();
        for (path, before) in &self.0 {
            let Some((old, new)) = tail(path, *before) else {
                continue;
            };
            let source = path.display().to_string();
            for (about, (count, line)) in count(&old, &new, &now) {
                let seen = Process::LogLine {
                    about,
                    line: Text::new(&line),
                    count,
                };
                into.saw(&source, Tied::Process(pid), seen);
            }
        }
    }
}

/// The end of the file as it was, and what was added since.
fn tail(path: &PathBuf, before: u64) -> Option<(String, String)> {
    let mut file = File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    // A file that became shorter was begun anew.
    let before = if length < before { 0 } else { before };
    let begin = length.saturating_sub(TAIL_MAX);
    file.seek(SeekFrom::Start(begin)).ok()?;
    let mut bytes = Vec::new();
    file.take(TAIL_MAX).read_to_end(&mut bytes).ok()?;
    let split = usize::try_from(before.saturating_sub(begin))
        .unwrap_or(0)
        .min(bytes.len());
    let (old, new) = bytes.split_at(split);
    Some((
        String::from_utf8_lossy(old).into_owned(),
        String::from_utf8_lossy(new).into_owned(),
    ))
}

fn count(old: &str, new: &str, now: &Zoned) -> BTreeMap<LogKind, (u64, String)> {
    let mut counts = BTreeMap::new();
    let recent = old.lines().filter(|line| is_recent(line, now));
    for line in recent.chain(new.lines()) {
        let kind = KINDS
            .iter()
            .find(|(_, words)| words.iter().any(|it| line.contains(it)));
        if let Some((about, _)) = kind {
            let entry = counts.entry(*about).or_insert((0, String::new()));
            entry.0 += 1;
            line.clone_into(&mut entry.1);
        }
    }
    counts
}

/// Whether the line bears a time of the last ten minutes, in this host's zone or in UTC.
fn is_recent(line: &str, now: &Zoned) -> bool {
    let Some(moment) = moment(line) else {
        return false;
    };
    let near = |wall: civil::DateTime| {
        let ago = wall.duration_since(moment);
        ago.as_secs() > -60 && ago.unsigned_abs() <= WINDOW
    };
    near(now.datetime()) || near(now.timestamp().to_zoned(TimeZone::UTC).datetime())
}

/// The first `2026-11-29 10:00:00` or `2026-11-29T10:00:00` of a line.
fn moment(line: &str) -> Option<civil::DateTime> {
    const LENGTH: usize = "2026-11-29T10:00:00".len();
    let begins = line.match_indices("20").map(|it| it.0).take(8);
    let mut moments = begins.filter_map(|at| {
        let text = line.get(at..at + LENGTH)?.replace(' ', "T");
        text.parse().ok()
    });
    moments.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_line_accuses_nobody() {
        let now: Zoned = "2026-11-29T10:05:00+01:00[+01:00]"
            .parse()
            .expect("a moment");
        let line = |time: &str| format!("[{time} +0000] [12] [CRITICAL] WORKER TIMEOUT (pid:13)\n");
        for (old, new, expected) in [
            (line("2026-11-29 10:00:00"), String::new(), 1),
            (line("2026-11-29 09:00:00"), String::new(), 1),
            (line("2026-11-29 07:00:00"), String::new(), 0),
            ("WORKER TIMEOUT without a time\n".into(), String::new(), 0),
            (String::new(), "WORKER TIMEOUT without a time\n".into(), 1),
        ] {
            let counts = count(&old, &new, &now);
            let found = counts.get(&LogKind::WorkerTimeout).map_or(0, |it| it.0);
            assert_eq!(found, expected, "{old}{new}");
        }
    }

    #[test]
    fn what_was_added_is_told_from_what_was_there() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("app.log");
        fs::write(&path, "old\n").expect("written");
        assert_eq!(tail(&path, 2), Some(("ol".into(), "d\n".into())));
        assert_eq!(tail(&path, 400), Some((String::new(), "old\n".into())));
    }
}
