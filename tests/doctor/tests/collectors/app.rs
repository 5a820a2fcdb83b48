//! A service that answers everything in one way. It is a process of its own, so that what this one
//! holds open is not taken for what the service depends on.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Stdio},
};

/// The service.
#[derive(Debug)]
pub(crate) struct App {
    process: Child,
    address: SocketAddr,
}

impl App {
    /// One that answers 200.
    pub(crate) fn well() -> Self {
        Self::answering("200 OK")
    }

    /// One that answers 503, as an application does whose dependency fails.
    pub(crate) fn failing() -> Self {
        Self::answering("503 Service Unavailable")
    }

    /// One that answers 503 and has this in its environment.
    pub(crate) fn failing_with(name: &str, value: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app-tested"));
        command.env(name, value);
        Self::start(command.arg("503 Service Unavailable"))
    }

    /// One that answers 200, and closes a connection that is idle for half a second.
    pub(crate) fn impatient() -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_app-tested"));
        Self::start(command.args(["200 OK", "500"]))
    }

    fn answering(status: &str) -> Self {
        Self::start(Command::new(env!("CARGO_BIN_EXE_app-tested")).arg(status))
    }

    fn start(command: &mut Command) -> Self {
        let mut process = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let out = process.stdout.take().unwrap();
        BufReader::new(out).read_line(&mut line).unwrap();
        let address = line.trim().parse().unwrap();
        Self { process, address }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for App {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
