//! PostgreSQL.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    installed::{postgres_versions, program},
    net::free_port,
    process::{Process, STARTS_MAX, children, signal_pid},
    user::ServerUser,
};

/// The password of the superuser `postgres`.
pub(crate) const ADMIN_PASSWORD: &str = "admin-of-the-test";

/// Who runs it if this is root, since PostgreSQL refuses to run as root.
pub(crate) const USERS: &[&str] = &["postgres", "nobody"];

/// What `pg_isready` says of a server that takes sessions, and of one that rejects them.
const ACCEPTS: i32 = 0;
const REJECTS: i32 = 1;

/// A PostgreSQL server of its own.
#[derive(Debug)]
pub struct Postgres {
    // Before the directory, so that it is ended first.
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    settings: Vec<String>,
    is_paused: bool,
}

/// Settings of a server that is to be started.
#[derive(Debug)]
#[must_use]
pub struct PostgresBuilder {
    settings: Vec<String>,
}

impl PostgresBuilder {
    /// Sets how many sessions it takes, superusers included; none are kept back for them.
    pub fn max_connections(self, count: u32) -> Self {
        self.setting("max_connections", &count.to_string())
    }

    /// Adds a line of `postgresql.conf`.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push(format!("{name}={value}"));
        self
    }

    /// Makes a cluster and starts its server.
    ///
    /// # Panics
    /// If PostgreSQL is not installed or does not come up.
    #[must_use]
    pub fn start(self) -> Postgres {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let user = ServerUser::find(USERS);
        user.own(dir.path());
        let data = dir.path().join("data");
        let secret = dir.path().join("password");
        fs::write(&secret, ADMIN_PASSWORD).expect("the temporary directory can be written");
        user.own(&secret);
        let made = user
            .command(&binary("initdb"))
            .args(["--username=postgres", "--auth=scram-sha-256", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--no-instructions"])
            .arg(format!("--pwfile={}", secret.display()))
            .arg("-D")
            .arg(&data)
            .current_dir(dir.path())
            .output()
            .expect("initdb can be started");
        let text = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {text}");
        let mut postgres = Postgres {
            process: None,
            dir,
            port: free_port(),
            settings: self.settings,
            is_paused: false,
        };
        postgres.start_again();
        postgres
    }
}

impl Postgres {
    /// Starts to describe a server.
    pub const fn builder() -> PostgresBuilder {
        PostgresBuilder {
            settings: Vec::new(),
        }
    }

    /// Returns the port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the pid of the postmaster.
    ///
    /// # Panics
    /// If it is stopped.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it is running").pid()
    }

    /// Returns a URL. None of the three may contain what a URL would have to encode.
    #[must_use]
    pub fn url(&self, database: &str, user: &str, password: &str) -> String {
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Returns the URL of the superuser.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url("postgres", "postgres", ADMIN_PASSWORD)
    }

    /// Returns that URL at another port, of a relay in front of it, say.
    #[must_use]
    pub fn admin_url_at(&self, port: u16) -> String {
        format!("postgres://postgres:{ADMIN_PASSWORD}@127.0.0.1:{port}/postgres")
    }

    /// Runs SQL as the superuser; returns its rows, fields separated by `|`.
    ///
    /// # Panics
    /// If it is not accepted.
    #[must_use]
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.admin_url(), sql)
    }

    /// Stops it; its clients are disconnected.
    pub fn stop(&mut self) {
        self.resume();
        if let Some(mut process) = self.process.take() {
            // SIGINT is PostgreSQL's fast shutdown.
            process.stop(Signal::INT);
        }
    }

    /// Starts it on the same data and the same port.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self) {
        self.start_until(|readiness| readiness == Some(ACCEPTS));
    }

    /// Starts it as a standby that never finds its primary and takes no queries: it
    /// answers every session with SQLSTATE 57P03.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_as_cold_standby(&mut self) {
        let signal = self.dir.path().join("data/standby.signal");
        fs::write(&signal, "").expect("the temporary directory can be written");
        ServerUser::find(USERS).own(&signal);
        self.settings.push("hot_standby=off".to_owned());
        self.start_until(|readiness| readiness == Some(REJECTS));
    }

    fn start_until(&mut self, is_up: impl Fn(Option<i32>) -> bool) {
        let log = self.dir.path().join("log");
        for attempt in 1.. {
            let mut command = ServerUser::find(USERS).command(&binary("postgres"));
            command.arg("-D").arg(self.dir.path().join("data"));
            command.arg("-k").arg(self.dir.path());
            command.args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
            for setting in ["fsync=off", "superuser_reserved_connections=0"] {
                command.args(["-c", setting]);
            }
            for setting in &self.settings {
                command.args(["-c", setting]);
            }
            command.current_dir(self.dir.path());
            // SIGQUIT is its immediate shutdown: nobody needs the data.
            let mut process = Process::spawn("postgres", &mut command, &log, Signal::QUIT);
            let port = self.port.to_string();
            if process.comes_up(|| is_up(readiness(&port))) {
                self.process = Some(process);
                return;
            }
            assert!(
                attempt < STARTS_MAX,
                "postgres ended; {}",
                process.log_end()
            );
            self.port = free_port();
        }
    }

    /// Stops the postmaster and all its children where they are (SIGSTOP): the kernel
    /// still takes connections for them.
    pub fn pause(&mut self) {
        let postmaster = self.pid();
        // The postmaster first, so that it makes no more children.
        signal_pid(postmaster, Signal::STOP);
        for child in children(postmaster) {
            signal_pid(child, Signal::STOP);
        }
        self.is_paused = true;
    }

    /// Lets it go on after [`pause`](Self::pause).
    pub fn resume(&mut self) {
        if !std::mem::take(&mut self.is_paused) {
            return;
        }
        let postmaster = self.pid();
        for child in children(postmaster) {
            signal_pid(child, Signal::CONT);
        }
        signal_pid(postmaster, Signal::CONT);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // Children that stand still do not hear the postmaster's farewell.
        self.resume();
    }
}

/// Asks how ready the server is: the exit code of `pg_isready`.
fn readiness(port: &str) -> Option<i32> {
    let status = Command::new(binary("pg_isready"))
        .args(["-q", "-h", "127.0.0.1", "-p", port])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    status.ok()?.code()
}

/// Runs SQL; returns its rows, fields separated by `|`.
pub(crate) fn psql(url: &str, sql: &str) -> String {
    let output = Command::new(binary("psql"))
        .args([
            "--no-psqlrc",
            "--tuples-only",
            "--no-align",
            "-v",
            "ON_ERROR_STOP=1",
        ])
        .args(["-d", url, "-c", sql])
        .output()
        .expect("psql can be started");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{sql}: {text}");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Debian keeps the server's programs out of PATH, by version; the newest is taken.
fn binary(name: &str) -> PathBuf {
    // The versions first: the psql of PATH may be an older wrapper.
    postgres_versions()
        .iter()
        .map(|place| place.join(name))
        .find(|file| file.is_file())
        .unwrap_or_else(|| program(name, "postgresql", &[]))
}
