//! The journal's file: bounded, appended to, and read without trusting a byte of it.

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::Once,
    time::Duration,
};

use crate::{
    clock,
    instance::past::{self, Line, Run},
};

/// Longest file. Thousands of incidents; read in a few milliseconds.
pub(crate) const LEN_MAX: u64 = 1024 * 1024;

/// What is left when it would grow longer: the newest lines.
const LEN_KEPT: u64 = LEN_MAX / 2;

/// What is older is not shown.
const AGE_MAX: Duration = Duration::from_secs(7 * 86_400);

/// See the module.
#[derive(Debug)]
pub(crate) struct File {
    path: PathBuf,
    len_max: u64,
    /// Said once that it cannot be written.
    failed: Once,
}

impl File {
    /// Looks whether there can be such a file.
    ///
    /// # Errors
    /// Its directory is not there, or it is none, or it is a directory itself.
    pub(crate) fn new(path: PathBuf) -> io::Result<Self> {
        let fault = |what: &str| {
            let text = format!(
                "history file {}: {what}; allowed is a file in a directory that is there",
                path.display()
            );
            Err(io::Error::new(io::ErrorKind::InvalidInput, text))
        };
        let directory = match path.parent() {
            None => return fault("found no name of a file"),
            Some(directory) if directory.as_os_str().is_empty() => Path::new("."),
            Some(directory) => directory,
        };
        if !directory.is_dir() {
            return fault("its directory is not there");
        }
        if fs::metadata(&path).is_ok_and(|it| !it.is_file()) {
            return fault("it is there and no plain file");
        }
        Ok(Self {
            path,
            len_max: LEN_MAX,
            failed: Once::new(),
        })
    }

    /// Appends lines. What cannot be written is lost, and said once.
    pub(crate) fn append(&self, lines: &[Line]) {
        let text: String = lines.iter().map(Line::to_text).collect();
        if let Err(error) = self.try_append(text.as_bytes()) {
            self.failed.call_once(|| {
                tracing::warn!(
                    target: crate::log::AUDIT, %error, path = %self.path.display(),
                    "the history cannot be written; the next process will know nothing of this one"
                );
            });
        }
    }

    /// Returns the runs of other processes, newest first. No file is no history.
    pub(crate) fn read(&self, own: &str) -> Vec<Run> {
        let text = self.tail(self.len_max).unwrap_or_default();
        let lines = text.split(|byte| *byte == b'\n').filter_map(Line::parse);
        let oldest = clock::wall(clock::now()).saturating_sub(AGE_MAX);
        past::runs(lines, own, &clock::rfc3339_of(oldest.as_secs()))
    }

    fn try_append(&self, text: &[u8]) -> io::Result<()> {
        let length = fs::metadata(&self.path).map_or(0, |it| it.len());
        if length + text.len() as u64 > self.len_max {
            self.shorten()?;
        }
        let mut file = private(OpenOptions::new().append(true).create(true)).open(&self.path)?;
        // One write, so that lines of two processes do not run into each other; one that was
        // torn before is ended first, so that it takes no other with it.
        let torn = self.tail(1)?.last().is_some_and(|byte| *byte != b'\n');
        let begin: &[u8] = if torn { b"\n" } else { b"" };
        file.write_all(&[begin, text].concat())?;
        file.sync_data()
    }

    /// Leaves the older lines out.
    fn shorten(&self) -> io::Result<()> {
        let kept = self.tail(LEN_KEPT.min(self.len_max / 2))?;
        // The first line is most likely cut.
        let begin = kept
            .iter()
            .position(|byte| *byte == b'\n')
            .map_or(kept.len(), |at| at + 1);
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let mut file =
            private(OpenOptions::new().write(true).create(true).truncate(true)).open(&name)?;
        file.write_all(&kept[begin..])?;
        file.sync_data()?;
        fs::rename(&name, &self.path)
    }

    /// Reads the last bytes.
    fn tail(&self, length: u64) -> io::Result<Vec<u8>> {
        let mut file = fs::File::open(&self.path)?;
        let whole = file.metadata()?.len();
        file.seek(SeekFrom::Start(whole.saturating_sub(length)))?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes)?;
        Ok(bytes)
    }
}

/// Evidence is for operators, so the file is for its owner.
#[cfg(unix)]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    options.mode(0o600)
}

#[cfg(not(unix))]
fn private(options: &mut OpenOptions) -> &mut OpenOptions {
    options
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::past::Event;

    fn alive(run: &str, number: u64) -> Line {
        Line {
            run: run.to_owned(),
            event: Event::Alive {
                at: clock::rfc3339_of(clock::wall(clock::now()).as_secs() + number),
            },
        }
    }

    fn in_a_directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("history");
        (directory, path)
    }

    #[test]
    fn a_torn_end_is_dropped_and_takes_no_other_line_with_it() {
        let (_directory, path) = in_a_directory();
        let file = File::new(path.clone()).expect("it can be");
        assert!(file.read("own").is_empty(), "no file is no history");
        file.append(&[alive("a", 1), alive("b", 2)]);
        let whole = fs::read(&path).expect("written");
        fs::write(&path, &whole[..whole.len() - 5]).expect("torn");
        let ids = |file: &File| -> Vec<String> {
            file.read("own").into_iter().map(|run| run.id).collect()
        };
        assert_eq!(ids(&file), ["a"]);
        file.append(&[alive("c", 3)]);
        assert_eq!(ids(&file), ["c", "a"]);
        let mut hostile = fs::read(&path).expect("read");
        hostile.extend(b"\0\xff\xfe{}\n0123456789abcdef {\"what\":\"alive\"}\n");
        fs::write(&path, hostile).expect("written");
        assert_eq!(ids(&file), ["c", "a"]);
    }

    #[test]
    fn the_file_has_a_bound_and_keeps_the_newest() {
        let (directory, path) = in_a_directory();
        let mut file = File::new(path.clone()).expect("it can be");
        file.len_max = 4096;
        for number in 0..200 {
            file.append(&[alive(&format!("run-{number}"), number)]);
            let length = fs::metadata(&path).expect("there").len();
            assert!(length <= file.len_max, "{length}");
        }
        let runs = file.read("own");
        assert_eq!(runs[0].id, "run-199");
        assert_eq!(runs.len(), past::RUNS_KEPT);
        let names = fs::read_dir(directory.path()).expect("a directory").count();
        assert_eq!(names, 1, "nothing else is left");
    }

    #[test]
    fn a_path_that_cannot_be_a_file_is_told_with_what_can() {
        let (directory, _) = in_a_directory();
        for (path, part) in [
            (directory.path().join("missing/history"), "is not there"),
            (directory.path().to_owned(), "no plain file"),
        ] {
            let fault = File::new(path).expect_err("not a file").to_string();
            assert!(fault.contains(part) && fault.contains("allowed"), "{fault}");
        }
    }
}
