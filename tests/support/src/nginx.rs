//! nginx.

use std::{fs, net::SocketAddr, path::PathBuf, process::Command};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{installed::program, process::Process};

/// An nginx of its own.
#[derive(Debug)]
pub struct Nginx {
    process: Process,
    dir: TempDir,
}

impl Nginx {
    /// Starts it with a configuration; `{dir}` in it stands for the temporary directory.
    ///
    /// The text must not set `pid` or `daemon`. [`config`](Self::config) makes one.
    ///
    /// # Panics
    /// If nginx is not installed or does not come up.
    #[must_use]
    pub fn start(config: &str) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let file = dir.path().join("nginx.conf");
        let text = config.replace("{dir}", &dir.path().display().to_string());
        fs::write(&file, text).expect("the temporary directory can be written");
        let pid_file = dir.path().join("nginx.pid");
        let mut command = Command::new(program("nginx", "nginx", &[]));
        command.arg("-p").arg(dir.path()).arg("-c").arg(&file);
        command.arg("-e").arg(dir.path().join("error.log"));
        command
            .arg("-g")
            .arg(format!("daemon off; pid {};", pid_file.display()));
        let log = dir.path().join("log");
        let process = Process::spawn("nginx", &mut command, &log, Signal::TERM);
        let mut nginx = Self { process, dir };
        // It writes its pid once it listens.
        let is_up = nginx
            .process
            .comes_up(|| fs::metadata(&pid_file).is_ok_and(|file| file.len() > 0));
        assert!(
            is_up,
            "nginx ended; {}\n{}",
            nginx.process.log_end(),
            nginx.error_log()
        );
        nginx
    }

    /// Returns a configuration with one server on `port` that passes everything to an
    /// upstream `app`; `location` is added to its location block.
    #[must_use]
    pub fn config(port: u16, servers: &[SocketAddr], location: &str) -> String {
        let servers: String = servers
            .iter()
            .map(|address| format!("server {address};\n"))
            .collect();
        // Workers of root become nobody, who may not read root's temporary directory.
        let user = if rustix::process::geteuid().is_root() {
            "user root;\n"
        } else {
            ""
        };
        let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
            .iter()
            .map(|kind| format!("{kind}_temp_path {{dir}}/{kind};\n"))
            .collect();
        format!(
            "{user}worker_processes 1;\nevents {{ worker_connections 512; }}\nhttp {{\n{temporary}\
             access_log {{dir}}/access.log;\nupstream app {{\n{servers}}}\n\
             server {{\nlisten 127.0.0.1:{port};\nlocation / {{\nproxy_pass http://app;\n{location}\n}}\n}}\n}}\n"
        )
    }

    /// Returns the access log.
    #[must_use]
    pub fn access_log(&self) -> String {
        fs::read_to_string(self.dir.path().join("access.log")).unwrap_or_default()
    }

    /// Returns the error log.
    #[must_use]
    pub fn error_log(&self) -> String {
        fs::read_to_string(self.error_log_path()).unwrap_or_default()
    }

    /// Returns where the error log is.
    #[must_use]
    pub fn error_log_path(&self) -> PathBuf {
        self.dir.path().join("error.log")
    }

    /// Returns the pid of the master.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }
}
