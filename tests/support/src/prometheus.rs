//! Prometheus.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    process::Command,
    thread::sleep,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    installed::program,
    net::free_port,
    process::{Process, STARTS_MAX},
};

/// A Prometheus of its own.
#[derive(Debug)]
pub struct Prometheus {
    process: Process,
    port: u16,
    _dir: TempDir,
}

impl Prometheus {
    /// Starts it with a configuration and the files that it names, which lie beside it.
    ///
    /// # Panics
    /// If Prometheus is not installed or does not come up.
    #[must_use]
    pub fn start(config: &str, files: &[(&str, &str)]) -> Self {
        for _ in 1..STARTS_MAX {
            if let Ok(prometheus) = Self::try_start(config, files) {
                return prometheus;
            }
        }
        let last = Self::try_start(config, files);
        last.unwrap_or_else(|log| panic!("prometheus ended; {log}"))
    }

    /// Fails with the log if it ends, which it does if somebody else has taken the port.
    fn try_start(config: &str, files: &[(&str, &str)]) -> Result<Self, String> {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        for (name, text) in files.iter().chain(&[("prometheus.yaml", config)]) {
            fs::write(dir.path().join(name), text).expect("the temporary directory can be written");
        }
        let port = free_port();
        let mut command = Command::new(program("prometheus", "prometheus", &[]));
        let in_dir = |name: &str| dir.path().join(name).display().to_string();
        command
            .arg(format!("--config.file={}", in_dir("prometheus.yaml")))
            .arg(format!("--storage.tsdb.path={}", in_dir("data")))
            .arg(format!("--web.listen-address=127.0.0.1:{port}"))
            .arg("--log.level=warn")
            .env("GOMAXPROCS", "1")
            .current_dir(dir.path());
        let log = dir.path().join("log");
        let mut process = Process::spawn("prometheus", &mut command, &log, Signal::TERM);
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if !process.comes_up(|| TcpStream::connect(at).is_ok()) {
            return Err(process.log_end());
        }
        // If the port is somebody else's, the process is about to end.
        sleep(Duration::from_millis(100));
        if !process.is_alive() {
            return Err(process.log_end());
        }
        Ok(Self {
            process,
            port,
            _dir: dir,
        })
    }

    /// Where it answers questions, as `http://127.0.0.1:12345`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Returns its pid.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.process.log_end()
    }
}
