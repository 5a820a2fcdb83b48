//! Redis.

use std::{
    io::{Read, Write},
    net::TcpStream,
    process::Command,
    time::Duration,
};

use rustix::process::Signal;
use tempfile::TempDir;

use crate::{
    installed::program,
    net::free_port,
    process::{PATIENCE, Process, STARTS_MAX, signalled},
};

/// A Redis server of its own.
#[derive(Debug)]
pub struct Redis {
    process: Option<Process>,
    dir: TempDir,
    port: u16,
    args: Vec<String>,
}

/// Arguments of a server that is to be started.
#[derive(Debug)]
#[must_use]
pub struct RedisBuilder {
    args: Vec<String>,
}

impl RedisBuilder {
    /// Adds an argument: `.arg("--maxclients").arg("3")`.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.args.push(arg.into());
        self
    }

    /// Makes it a replica of another.
    pub fn replica_of(self, primary: &Redis) -> Self {
        let port = primary.port.to_string();
        self.arg("--replicaof").arg("127.0.0.1").arg(port)
    }

    /// Starts it.
    ///
    /// # Panics
    /// If Redis is not installed or does not come up.
    #[must_use]
    pub fn start(self) -> Redis {
        let mut redis = Redis {
            process: None,
            dir: tempfile::tempdir().expect("there is room for a temporary directory"),
            port: free_port(),
            args: self.args,
        };
        redis.start_again();
        redis
    }
}

signalled!(Redis);

impl Redis {
    /// Starts to describe a server.
    pub const fn builder() -> RedisBuilder {
        RedisBuilder { args: Vec::new() }
    }

    /// Returns the port it listens on.
    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Returns its URL, without credentials.
    #[must_use]
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/", self.port)
    }

    /// Returns its URL. Neither may contain what a URL would have to encode.
    #[must_use]
    pub fn url_with(&self, user: &str, password: &str) -> String {
        format!("redis://{user}:{password}@127.0.0.1:{}/", self.port)
    }

    /// Sends inline commands, one a line, on one connection; returns the replies.
    ///
    /// # Panics
    /// If the connection breaks.
    #[must_use]
    pub fn commands(&self, lines: &str) -> String {
        exchange(self.port, &format!("{}\r\nQUIT\r\n", lines.trim())).expect("redis answers")
    }

    /// Makes it a replica of another: it is read-only from then on, and what it had is gone.
    /// Sessions that stand stay where they are.
    ///
    /// # Panics
    /// If it does not take the order.
    pub fn demote_to(&self, primary: &Self) {
        let order = format!("REPLICAOF 127.0.0.1 {}", primary.port);
        let reply = self.commands(&order);
        assert!(reply.starts_with("+OK"), "{reply}");
    }

    /// Makes it a primary.
    ///
    /// # Panics
    /// If it does not take the order.
    pub fn promote(&self) {
        let reply = self.commands("REPLICAOF NO ONE");
        assert!(reply.starts_with("+OK"), "{reply}");
    }

    /// Waits until it has all that its primary has.
    ///
    /// # Panics
    /// If that does not come.
    pub fn wait_until_synchronised(&self) {
        let started_at = std::time::Instant::now();
        while !self
            .commands("INFO replication")
            .contains("master_link_status:up")
        {
            assert!(started_at.elapsed() < PATIENCE, "the replica has no link");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stops it, as SIGTERM does: with a save if it is configured to save.
    pub fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            process.stop(Signal::TERM);
        }
    }

    /// Starts one that loads its data for longer than any test looks.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn that_loads() -> Self {
        let mut redis = Self::builder().arg("--rdbcompression").arg("no").start();
        // It answers once for each KiB that it loads: about once a key.
        let value = "x".repeat(1024);
        let sets = (0..2_000).map(|n| format!("SET k{n} {value}\r\n"));
        let all = format!("{}SAVE", sets.collect::<String>());
        let saved = redis.commands(&all).ends_with("+OK\r\n+OK\r\n");
        assert!(saved, "the data is on disk");
        redis.stop();
        // 50 ms for each of the keys.
        redis.start_again_with(&[
            "--key-load-delay",
            "50000",
            "--loading-process-events-interval-bytes",
            "1024",
        ]);
        redis
    }

    /// Starts it with the same arguments, data and port.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again(&mut self) {
        self.start_again_with(&[]);
    }

    /// Starts it with more arguments, which stay for the next start.
    ///
    /// It is up when it answers at all, be it that it is loading or wants a password.
    ///
    /// # Panics
    /// If it does not come up.
    pub fn start_again_with(&mut self, args: &[&str]) {
        self.args.extend(args.iter().map(|&arg| arg.to_owned()));
        let log = self.dir.path().join("log");
        for attempt in 1.. {
            let mut command = Command::new(program("redis-server", "redis-server", &[]));
            command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1"]);
            command.args(["--save", "", "--daemonize", "no"]);
            // A replica is sent what it lacks at once.
            command.args(["--repl-diskless-sync-delay", "0", "--dir"]);
            command.arg(self.dir.path()).args(&self.args);
            command.current_dir(self.dir.path());
            let mut process = Process::spawn("redis-server", &mut command, &log, Signal::KILL);
            let port = self.port;
            if process
                .comes_up(|| exchange(port, "PING\r\nQUIT\r\n").is_ok_and(|all| !all.is_empty()))
            {
                self.process = Some(process);
                return;
            }
            assert!(
                attempt < STARTS_MAX,
                "redis-server ended; {}",
                process.log_end()
            );
            self.port = free_port();
        }
    }
}

/// Sends text and reads until the other side closes.
fn exchange(port: u16, text: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    match stream.read_to_end(&mut answer) {
        // A refused client is answered and reset, with its commands unread.
        Ok(_) => {}
        Err(_) if !answer.is_empty() => {}
        Err(error) => return Err(error),
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}
