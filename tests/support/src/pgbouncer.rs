//! PgBouncer.

use std::{
    fs,
    net::TcpStream,
    path::{Path, PathBuf},
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    installed::program,
    net::free_port,
    postgres::{ADMIN_PASSWORD, Postgres, USERS, psql},
    process::{Process, STARTS_MAX, signalled},
    user::ServerUser,
};

/// A PgBouncer of its own in front of a PostgreSQL.
#[derive(Debug)]
pub struct PgBouncer {
    // Before the directory, so that it is ended first.
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    server_port: u16,
    settings: Vec<String>,
    users: Vec<(String, String)>,
}

/// Settings of a PgBouncer that is to be started.
#[derive(Debug)]
#[must_use]
pub struct PgBouncerBuilder {
    settings: Vec<String>,
    users: Vec<(String, String)>,
}

impl PgBouncerBuilder {
    /// Adds a line to the section `pgbouncer`; transaction pooling is the default here.
    pub fn setting(mut self, name: &str, value: &str) -> Self {
        self.settings.push(format!("{name} = {value}"));
        self
    }

    /// Lets a user of the server in, beside its superuser.
    pub fn user(mut self, name: &str, password: &str) -> Self {
        self.users.push((name.to_owned(), password.to_owned()));
        self
    }

    /// Starts it in front of this server.
    ///
    /// # Panics
    /// If PgBouncer is not installed or does not come up.
    #[must_use]
    pub fn start(self, server: &Postgres) -> PgBouncer {
        self.start_before(server.port())
    }

    /// Starts it in front of whatever listens on this port of the loopback.
    ///
    /// # Panics
    /// If PgBouncer is not installed or does not come up.
    #[must_use]
    pub fn start_before(self, port: u16) -> PgBouncer {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        ServerUser::find(USERS).own(dir.path());
        let mut bouncer = PgBouncer {
            process: None,
            dir,
            port: free_port(),
            server_port: port,
            settings: self.settings,
            users: self.users,
        };
        bouncer.start_again();
        bouncer
    }
}

signalled!(PgBouncer);

impl PgBouncer {
    /// Starts to describe one.
    pub fn builder() -> PgBouncerBuilder {
        PgBouncerBuilder {
            settings: Vec::new(),
            users: vec![("postgres".to_owned(), ADMIN_PASSWORD.to_owned())],
        }
    }

    /// Returns the port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns a URL. None of the three may contain what a URL would have to encode.
    ///
    /// With transaction pooling a driver must not keep prepared statements: give it
    /// `statement-cache-capacity=0`, as `?` parameter of this URL or by its own setter.
    #[must_use]
    pub fn url(&self, database: &str, user: &str, password: &str) -> String {
        format!(
            "postgres://{user}:{password}@127.0.0.1:{}/{database}",
            self.port
        )
    }

    /// Returns the URL of the server's superuser, through this proxy.
    #[must_use]
    pub fn admin_url(&self) -> String {
        self.url("postgres", "postgres", ADMIN_PASSWORD)
    }

    /// Runs SQL as the server's superuser, through this proxy; returns the rows, fields
    /// separated by `|`.
    ///
    /// # Panics
    /// If it is not accepted.
    #[must_use]
    pub fn sql(&self, sql: &str) -> String {
        psql(&self.admin_url(), sql)
    }

    /// Runs a command of its console, `SHOW POOLS` or `PAUSE`; returns the rows, fields
    /// separated by `|`.
    ///
    /// # Panics
    /// If it is not accepted.
    #[must_use]
    pub fn console(&self, command: &str) -> String {
        psql(&self.url("pgbouncer", "postgres", ADMIN_PASSWORD), command)
    }

    /// Returns what it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).unwrap_or_default()
    }

    /// Stops it; its clients are disconnected.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Signal::TERM);
        }
    }

    /// Starts it on the same port with one more setting, which stays.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again_with(&mut self, name: &str, value: &str) {
        self.settings.push(format!("{name} = {value}"));
        self.start_again();
    }

    /// Starts it on the same port.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self) {
        let user = ServerUser::find(USERS);
        for attempt in 1.. {
            let config = self.write_config(&user);
            let binary = program("pgbouncer", "pgbouncer", &[]);
            let mut command = user.command(&binary);
            command.arg(config).current_dir(self.dir.path());
            let log = self.log_path();
            // SIGTERM is its immediate shutdown.
            let mut process = Process::spawn("pgbouncer", &mut command, &log, Signal::TERM);
            let port = self.port;
            if process.comes_up(|| TcpStream::connect(("127.0.0.1", port)).is_ok()) {
                self.process = Some(process);
                return;
            }
            assert!(
                attempt < STARTS_MAX,
                "pgbouncer ended; {}",
                process.log_end()
            );
            self.port = free_port();
        }
    }

    fn log_path(&self) -> PathBuf {
        self.dir.path().join("log")
    }

    fn write_config(&self, owner: &ServerUser) -> PathBuf {
        let write = |name: &str, text: String| {
            let path = self.dir.path().join(name);
            fs::write(&path, text).expect("the temporary directory can be written");
            owner.own(&path);
            path
        };
        let users = self.users.iter();
        let users: String = users
            .map(|(name, password)| format!("\"{name}\" \"{password}\"\n"))
            .collect();
        let users = write("users", users);
        write("pgbouncer.ini", self.config(&users))
    }

    fn config(&self, users: &Path) -> String {
        format!(
            "[databases]\n* = host=127.0.0.1 port={}\n[pgbouncer]\n\
             listen_addr = 127.0.0.1\nlisten_port = {}\nunix_socket_dir = \n\
             auth_type = scram-sha-256\nauth_file = {}\nadmin_users = postgres\n\
             pool_mode = transaction\nignore_startup_parameters = extra_float_digits\n{}\n",
            self.server_port,
            self.port,
            users.display(),
            self.settings.join("\n"),
        )
    }
}
