//! What the proxies that are started from a text have in common.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{installed::program, process::Process};

/// A proxy of its own in a temporary directory.
#[derive(Debug)]
pub(crate) struct Front {
    // Before the directory, so that it is ended first.
    process: Process,
    dir: TempDir,
}

impl Front {
    /// Writes `config` into `file`, with `{dir}` in it for the temporary directory, starts what
    /// `command` makes of the program and the file, and waits until it listens at `port`.
    pub(crate) fn start(
        name: &'static str,
        package: &str,
        (file, config): (&str, &str),
        port: u16,
        command: impl FnOnce(&mut Command, &Path),
    ) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let path = dir.path().join(file);
        let text = config.replace("{dir}", &dir.path().display().to_string());
        fs::write(&path, text).expect("the temporary directory can be written");
        let mut program = Command::new(program(name, package, &[]));
        command(&mut program, &path);
        program.current_dir(dir.path()).env("HOME", dir.path());
        let log = dir.path().join("log");
        let process = Process::spawn(name, &mut program, &log, Signal::TERM);
        let mut front = Self { process, dir };
        let is_up = front
            .process
            .comes_up(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(is_up, "{name} ended; {}", front.process.log_end());
        front
    }

    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

/// Makes the value of a proxy: what all of them can be asked.
macro_rules! front {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $name(crate::front::Front);

        impl $name {
            /// Returns its pid.
            #[must_use]
            pub fn pid(&self) -> u32 {
                self.0.pid()
            }

            /// Returns a file of its temporary directory.
            #[must_use]
            pub fn path(&self, name: &str) -> std::path::PathBuf {
                self.0.path(name)
            }

            /// Returns what a file of its temporary directory holds; nothing if there is none.
            #[must_use]
            pub fn read(&self, name: &str) -> String {
                self.0.read(name)
            }
        }
    };
}

pub(crate) use front;
