//! What a scenario sets up: the service that is asked about, what the doctor is told beside it,
//! and everything that has to live as long.

use std::{
    any::Any,
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpStream},
    path::PathBuf,
    thread,
    time::Duration,
};

use crate::app::App;

/// Whether the fault is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Sick,
    Well,
}

/// The set.
#[derive(Default)]
pub(crate) struct Stage {
    pub(crate) url: String,
    pub(crate) arguments: Vec<String>,
    /// Where the runbook's commands find PostgreSQL and Redis.
    pub(crate) postgres: Option<u16>,
    pub(crate) redis: Option<u16>,
    /// Where what stands in front logs.
    pub(crate) logs: Vec<PathBuf>,
    kept: Vec<Box<dyn Any>>,
}

impl Stage {
    /// A set around the service at a port.
    pub(crate) fn at(port: u16) -> Self {
        let mut stage = Self::default();
        stage.url = format!("http://127.0.0.1:{port}/");
        stage
    }

    /// The same at another path.
    pub(crate) fn path(mut self, path: &str) -> Self {
        self.url = format!("{}{}", self.url.trim_end_matches('/'), path);
        self
    }

    /// Keeps something alive.
    pub(crate) fn keep(mut self, value: impl Any) -> Self {
        self.kept.push(Box::new(value));
        self
    }

    /// Names a log of what stands in front.
    pub(crate) fn log(mut self, path: PathBuf) -> Self {
        self.logs.push(path);
        self
    }

    /// Tells the doctor something.
    #[expect(
        clippy::needless_pass_by_value,
        reason = "numbers and paths read better as they are"
    )]
    pub(crate) fn tell(mut self, option: &str, value: impl ToString) -> Self {
        self.arguments.push(option.to_owned());
        self.arguments.push(value.to_string());
        self
    }

    /// Around a service whose answers depend on something else: busy if that is sick.
    pub(crate) fn depending(side: Side) -> Self {
        let app = App::start(if side == Side::Sick { "busy" } else { "ok" });
        Self::at(app.port).keep(app)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // Clients before the servers that they hold, which were set up first.
        while let Some(last) = self.kept.pop() {
            drop(last);
        }
    }
}

/// The address of a port here.
pub(crate) fn here(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

/// Asks and does not wait for the answer.
pub(crate) fn ask(port: u16, path: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&here(port), Duration::from_secs(2)).ok()?;
    let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    stream.write_all(head.as_bytes()).ok()?;
    Some(stream)
}

/// Asks, and returns the status of the answer, if one comes.
pub(crate) fn status(port: u16, path: &str) -> Option<u16> {
    let mut stream = ask(port, path)?;
    let _ = stream.set_read_timeout(Some(Duration::from_secs(10)));
    let mut head = [0; 12];
    stream.read_exact(&mut head).ok()?;
    std::str::from_utf8(&head[9..12]).ok()?.parse().ok()
}

/// Waits until something holds, for at most as long as a machine in trouble needs.
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..600 {
        if holds() {
            return;
        }
        thread::sleep(Duration::from_millis(50));
    }
    panic!("{what}: not after 30 seconds");
}
