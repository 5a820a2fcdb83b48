//! memcached.

use std::{net::TcpStream, process::Command};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{installed::program, net::free_port, process::Process};

/// A memcached of its own.
#[derive(Debug)]
pub struct Memcached {
    // Before the directory, so that it is ended first.
    process: Process,
    _dir: TempDir,
    port: u16,
}

impl Memcached {
    /// Starts it.
    ///
    /// # Panics
    /// If memcached is not installed or does not come up.
    #[must_use]
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let port = free_port();
        let mut command = Command::new(program("memcached", "memcached", &[]));
        // As the user that it is, root too.
        command.args(["-l", "127.0.0.1", "-u", "root", "-m", "16", "-p"]);
        command.arg(port.to_string());
        let log = dir.path().join("log");
        let process = Process::spawn("memcached", &mut command, &log, Signal::TERM);
        let mut memcached = Self {
            process,
            _dir: dir,
            port,
        };
        let is_up = memcached
            .process
            .comes_up(|| TcpStream::connect(("127.0.0.1", port)).is_ok());
        assert!(is_up, "memcached ended; {}", memcached.process.log_end());
        memcached
    }

    /// Returns the port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Stops it where it is (SIGSTOP): the kernel still takes connections for it.
    pub fn pause(&self) {
        self.process.signal(Signal::STOP);
    }
}
