//! A subject of its own for a race, and the moves that all races share.

use std::{
    io,
    net::SocketAddr,
    time::{Duration, Instant},
};

use futures_util::{StreamExt, stream};
use rustix::process::{Resource, Signal, getrlimit};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    backend::{Backend, Ended, PATIENCE, Program},
    client::{Answer, Fault, Method, h1},
    subject::{Kind, Settings, WORKERS},
};

/// Files of a process that are not connections of a race.
const OTHER_FILES: usize = 200;

/// Connections opened at a time: below the queue of a listener.
const OPENED_AT_ONCE: usize = 64;

/// How long one connect over loopback may take before nobody answers it.
const CONNECT_MAX: Duration = Duration::from_millis(100);

/// Longer than any race, for those that are about the lame duck; a second signal ends it.
pub(super) const LAME_DUCK: Duration = Duration::from_secs(60);

/// Who is driven, and for how long its exit is waited for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stage<'a> {
    pub(super) subject: Kind,
    pub(super) program: &'a Program,
    pub(super) grace: Duration,
    pub(super) exit_max: Duration,
}

/// A subject that runs.
#[derive(Debug)]
pub(super) struct Arena {
    backend: Backend,
    exit_max: Duration,
    told_at: Option<Instant>,
    _dir: TempDir,
}

impl Arena {
    pub(super) async fn start(stage: Stage<'_>, lame_duck: Duration) -> Self {
        let dir = tempfile::tempdir().expect("there is room for a temporary directory");
        let settings = Settings {
            kind: stage.subject,
            address: ([127, 0, 0, 1], support::free_port()).into(),
            label: "race".to_owned(),
            journal: "journal".into(),
            lame_duck,
            grace: stage.grace,
            not_found: false,
            first_check: Duration::ZERO,
        };
        let backend = Backend::start(stage.program, &settings, dir.path()).await;
        backend.ready().await;
        Self {
            backend,
            exit_max: stage.exit_max,
            told_at: None,
            _dir: dir,
        }
    }

    pub(super) const fn address(&self) -> SocketAddr {
        self.backend.address()
    }

    /// Opens a connection.
    pub(super) async fn connect(&self) -> h1::Connection {
        let opened = h1::Connection::open(self.address()).await;
        opened.expect("it listens")
    }

    /// Opens connections that have carried one request each.
    pub(super) async fn kept(&self, count: usize) -> Vec<h1::Connection> {
        let opened = stream::iter(0..count).map(|_| async {
            let mut connection = self.connect().await;
            let answer = connection.send(&get("before")).await;
            assert!(is_good(&answer), "{answer:?}");
            connection
        });
        opened.buffer_unordered(OPENED_AT_ONCE).collect().await
    }

    /// Opens a connection that has written this, for races that end in silence.
    pub(super) async fn wrote(&self, bytes: &[u8]) -> TcpStream {
        let stream = TcpStream::connect(self.address()).await;
        let mut stream = stream.expect("it listens");
        stream.write_all(bytes).await.expect("it is open");
        stream
    }

    /// Waits until the process has taken every connection that was opened before: they are
    /// taken in order, and one that is opened now is served.
    pub(super) async fn has_taken_all(&self) {
        assert!(is_good(&self.connect().await.send(&get("after")).await));
    }

    /// Tells it to end.
    pub(super) fn tell(&mut self) {
        self.told_at = Some(Instant::now());
        self.backend.signal(Signal::TERM);
    }

    /// Tells it to end, in the same moment in which it finds what was done meanwhile.
    pub(super) async fn tell_while_stopped(&mut self, meanwhile: impl Future<Output = ()>) {
        self.backend.signal(Signal::STOP);
        meanwhile.await;
        self.tell();
        self.backend.signal(Signal::CONT);
    }

    /// Tells it again, which ends a lame duck.
    pub(super) fn tell_again(&self) {
        self.backend.signal(Signal::TERM);
    }

    /// Keeps the threads of the subject from doing anything for a while. The answers come
    /// when it is over.
    pub(super) async fn block_all_threads(&self) -> JoinSet<bool> {
        let mut blocked = JoinSet::new();
        for thread in 0..WORKERS {
            let mut connection = self.connect().await;
            let id = format!("blocked-{thread}");
            let request = h1::request(Method::Get, "/block", &id);
            blocked.spawn(async move { is_good(&connection.send(&request).await) });
            self.has_noted(&id).await;
        }
        blocked
    }

    /// Waits until nobody can connect, at most a second: not everybody closes. Who connects
    /// while the listener does is not answered, and would wait for the kernel to ask again.
    pub(super) async fn closes(&self) {
        let connects = async || {
            let asked = timeout(CONNECT_MAX, TcpStream::connect(self.address()));
            asked.await.is_ok_and(|it| it.is_ok())
        };
        let closes = async {
            while connects().await {
                sleep(Duration::from_millis(1)).await;
            }
        };
        let _ = timeout(Duration::from_secs(1), closes).await;
    }

    /// Waits until a request was written down.
    pub(super) async fn has_noted(&self, id: &str) {
        let began = Instant::now();
        while !self.backend.has_noted(id) {
            assert!(began.elapsed() < PATIENCE, "{id} never came in");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits for its exit.
    pub(super) async fn ends(&mut self) -> Ended {
        let told_at = self.told_at.expect("it was told");
        self.backend.gone(told_at, self.exit_max).await
    }
}

/// A GET that takes a millisecond.
pub(super) fn get(id: &str) -> Vec<u8> {
    h1::request(Method::Get, "/fast", id)
}

/// A POST that takes a millisecond.
pub(super) fn post(id: &str) -> Vec<u8> {
    h1::request(Method::Post, "/fast", id)
}

pub(super) fn is_good(answer: &Result<Answer, Fault>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.status == 200)
}

/// As many connections as this process and the subject may both have.
pub(super) fn files_max() -> usize {
    let files = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
    let files = usize::try_from(files).unwrap_or(usize::MAX);
    files.saturating_sub(OTHER_FILES)
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Close {
    /// In order.
    End,
    /// With a reset.
    Reset,
    /// Not at all in the time there was.
    Open,
}

impl Close {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Self::End => "closed in order",
            Self::Reset => "reset",
            Self::Open => "left open",
        }
    }
}

/// Reads to the end, at most for `limit`; keeps the first and the last bytes.
pub(super) async fn read_to_end(stream: &mut TcpStream, limit: Duration) -> (Vec<u8>, Close) {
    const KEPT_MAX: usize = 1 << 20;
    let mut all = Vec::new();
    let reading = async {
        loop {
            match stream.read_buf(&mut all).await {
                Ok(0) => return Close::End,
                Ok(_) if all.len() > KEPT_MAX => {
                    all.drain(..KEPT_MAX / 2);
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Close::Reset;
                }
                Err(_) => return Close::Reset,
            }
        }
    };
    let close = timeout(limit, reading).await.unwrap_or(Close::Open);
    (all, close)
}
