//! HAProxy.

use std::{
    collections::HashMap,
    fs,
    io::{Read, Write},
    net::SocketAddr,
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{installed::program, process::Process};

/// An HAProxy of its own.
#[derive(Debug)]
pub struct HaProxy {
    process: Process,
    /// Those that a reload has told to finish; each ends when its last connection does.
    finishing: Vec<Process>,
    dir: TempDir,
}

impl HaProxy {
    /// Starts it with a configuration; `{dir}` in it stands for the temporary directory.
    ///
    /// The text needs `stats socket {dir}/admin.sock level admin` in its `global` section;
    /// [`config`](Self::config) has it.
    ///
    /// # Panics
    /// If HAProxy is not installed or does not come up.
    #[must_use]
    pub fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let text = config.replace("{dir}", &dir.path().display().to_string());
        fs::write(dir.path().join("haproxy.cfg"), text)
            .expect("the temporary directory can be written");
        let mut haproxy = Self {
            process: spawn(&dir, &[]),
            finishing: Vec::new(),
            dir,
        };
        let socket = haproxy.socket();
        let is_up = haproxy
            .process
            .comes_up(|| UnixStream::connect(&socket).is_ok());
        assert!(is_up, "haproxy ended; {}", haproxy.process.log_end());
        haproxy
    }

    /// Reloads it: a new process takes over the listeners, and the old one finishes what it
    /// has. The socket of the configuration has to say `expose-fd listeners`.
    ///
    /// # Panics
    /// If the new one does not come up.
    pub fn reload(&mut self) {
        let (socket, old) = (self.socket(), self.pid().to_string());
        let takes_over = ["-x", &socket.display().to_string(), "-sf", &old];
        let new = spawn(&self.dir, &takes_over);
        let pid = format!("Pid: {}", new.pid());
        let old = std::mem::replace(&mut self.process, new);
        self.finishing.push(old);
        // The path of the socket changes hands last.
        let is_new = || is_said(&socket, "show info", &pid);
        let is_up = self.process.comes_up(is_new);
        assert!(is_up, "haproxy ended; {}", self.process.log_end());
    }

    /// Returns a configuration with one HTTP frontend on `port` and a backend `app` with
    /// the servers `s0`, `s1`, …; `backend` is added to the backend section.
    #[must_use]
    pub fn config(port: u16, servers: &[SocketAddr], backend: &str) -> String {
        let servers: String = servers
            .iter()
            .enumerate()
            .map(|(index, address)| format!("    server s{index} {address} check inter 200ms\n"))
            .collect();
        format!(
            "global\n    stats socket {{dir}}/admin.sock level admin\n    log stdout format raw local0\n\
             defaults\n    mode http\n    log global\n    option httplog\n    timeout connect 5s\n    \
             timeout client 30s\n    timeout server 30s\n\
             frontend web\n    bind 127.0.0.1:{port}\n    default_backend app\n\
             backend app\n{backend}\n{servers}"
        )
    }

    /// Sends a command to the admin socket and returns the answer.
    ///
    /// # Panics
    /// If the socket breaks.
    #[must_use]
    pub fn command(&self, command: &str) -> String {
        let mut stream = UnixStream::connect(self.socket()).expect("haproxy is up");
        stream
            .write_all(format!("{command}\n").as_bytes())
            .expect("it takes a command");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// Returns the rows of `show stat`, each by the names of its fields.
    #[must_use]
    pub fn show_stat(&self) -> Vec<HashMap<String, String>> {
        let answer = self.command("show stat");
        let mut lines = answer.lines();
        let names = lines.next().unwrap_or_default().trim_start_matches("# ");
        let row = |line: &str| {
            let pairs = names.split(',').zip(line.split(','));
            pairs
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect()
        };
        lines.filter(|line| !line.is_empty()).map(row).collect()
    }

    /// Returns the path of the admin socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Returns where it logs.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    /// Returns its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// Starts it in the foreground, as one process.
fn spawn(dir: &TempDir, more: &[&str]) -> Process {
    let mut command = Command::new(program("haproxy", "haproxy", &[]));
    command
        .arg("-db")
        .arg("-f")
        .arg(dir.path().join("haproxy.cfg"));
    command.args(more);
    let log = dir.path().join("log");
    Process::spawn("haproxy", &mut command, &log, Signal::TERM)
}

/// Whether the answer to a command holds this line.
fn is_said(socket: &Path, command: &str, line: &str) -> bool {
    let ask = || -> std::io::Result<String> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(format!("{command}\n").as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    ask().is_ok_and(|answer| answer.lines().any(|it| it.trim() == line))
}
