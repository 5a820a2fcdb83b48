//! MariaDB.

use std::{fs, path::PathBuf, process::Command};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    installed::program,
    net::free_port,
    process::{Process, STARTS_MAX, signalled},
    user::ServerUser,
};

/// Who runs it if this is root.
const USERS: &[&str] = &["mysql", "nobody"];

/// Its database, and the user who may do everything in it and nothing else.
const DATABASE: &str = "app";
const USER: &str = "app";
const PASSWORD: &str = "app-of-the-test";

/// Enough for a test, and little to write when it starts.
const SMALL: [&str; 4] = [
    "--innodb-buffer-pool-size=16M",
    "--innodb-log-file-size=8M",
    "--innodb-flush-log-at-trx-commit=0",
    "--performance-schema=OFF",
];

/// A MariaDB server of its own.
#[derive(Debug)]
pub struct MariaDb {
    // Before the directory, so that it is ended first.
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    settings: Vec<String>,
}

/// Settings of a server that is to be started.
#[derive(Debug)]
#[must_use]
pub struct MariaDbBuilder {
    settings: Vec<String>,
}

impl MariaDbBuilder {
    /// Adds a setting: `.setting("max-connections", "10")` (which is the least it takes).
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push(format!("--{name}={value}"));
        self
    }

    /// Makes a data directory with a database and a user `app`, and starts its server.
    ///
    /// # Panics
    /// If MariaDB is not installed or does not come up.
    #[must_use]
    pub fn start(self) -> MariaDb {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let user = ServerUser::find(USERS);
        user.own(dir.path());
        let install = program("mariadb-install-db", "mariadb-server", &[]);
        let made = user
            .command(&install)
            .args(["--no-defaults", "--skip-test-db", "--skip-name-resolve"])
            .arg("--auth-root-authentication-method=normal")
            .args(SMALL)
            .arg(format!("--datadir={}", dir.path().join("data").display()))
            // A server that starts removes what others have in a directory they share.
            .env("TMPDIR", dir.path())
            .current_dir(dir.path())
            .output()
            .expect("mariadb-install-db can be started");
        let text = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "mariadb-install-db: {text}");
        let mut mariadb = MariaDb {
            process: None,
            dir,
            port: free_port(),
            settings: self.settings,
        };
        mariadb.start_again();
        let made = mariadb.sql(&format!(
            "CREATE DATABASE {DATABASE};
             CREATE USER {USER}@'127.0.0.1' IDENTIFIED BY '{PASSWORD}';
             GRANT ALL ON {DATABASE}.* TO {USER}@'127.0.0.1'"
        ));
        assert_eq!(made, "", "nothing is to be said");
        mariadb
    }
}

signalled!(MariaDb);

impl MariaDb {
    /// Starts to describe a server.
    pub const fn builder() -> MariaDbBuilder {
        MariaDbBuilder {
            settings: Vec::new(),
        }
    }

    /// Returns the port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns the URL of the user `app` in the database `app`; neither has a place kept
    /// for it at `max_connections`.
    #[must_use]
    pub fn url(&self) -> String {
        Self::url_at(self.port)
    }

    /// Returns that URL at another port, of a relay in front of it, say.
    #[must_use]
    pub fn url_at(port: u16) -> String {
        format!("mysql://{USER}:{PASSWORD}@127.0.0.1:{port}/{DATABASE}")
    }

    /// Runs SQL as its superuser; returns its rows, fields separated by tabs.
    ///
    /// # Panics
    /// If it is not accepted.
    #[must_use]
    pub fn sql(&self, sql: &str) -> String {
        let output = Command::new(program("mariadb", "mariadb-client", &[]))
            .args(["--no-defaults", "--batch", "--skip-column-names"])
            .arg(format!("--socket={}", self.socket().display()))
            .args(["--user=root", "--execute", sql])
            .output()
            .expect("mariadb can be started");
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{sql}: {text}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Stops it; its clients are disconnected.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Signal::TERM);
        }
    }

    /// Starts it on the same data and the same port.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self) {
        let log = self.dir.path().join("log");
        for attempt in 1.. {
            let mut command =
                ServerUser::find(USERS).command(&program("mariadbd", "mariadb-server", &[]));
            let at = |name: &str| self.dir.path().join(name).display().to_string();
            command
                .arg("--no-defaults")
                .arg(format!("--datadir={}", at("data")))
                .arg(format!("--pid-file={}", at("pid")))
                .arg(format!("--socket={}", at("socket")))
                .arg(format!("--port={}", self.port))
                .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
                .args(SMALL)
                .args(&self.settings)
                .env("TMPDIR", self.dir.path())
                .current_dir(self.dir.path());
            // A kill: nobody needs the data.
            let mut process = Process::spawn("mariadbd", &mut command, &log, Signal::KILL);
            // It makes its socket when it takes sessions, and answers its first there.
            if process.comes_up(|| self.answers()) {
                self.process = Some(process);
                return;
            }
            assert!(
                attempt < STARTS_MAX,
                "mariadbd ended; {}",
                process.log_end()
            );
            self.port = free_port();
        }
    }

    /// Stops it and starts it on the same data and the same port, with one setting more.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn restart_with(&mut self, name: &str, value: &str) {
        self.stop();
        self.settings.push(format!("--{name}={value}"));
        self.start_again();
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    fn answers(&self) -> bool {
        let asked = Command::new(program("mariadb-admin", "mariadb-client", &[]))
            .args(["--no-defaults", "--user=root", "--connect-timeout=1"])
            .arg(format!("--socket={}", self.socket().display()))
            .arg("ping")
            .output();
        asked.is_ok_and(|output| output.status.success())
    }
}
