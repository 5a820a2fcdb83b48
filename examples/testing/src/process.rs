//! The process of an example, and what it says.

use std::{
    ops::Deref,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex},
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader},
    process::{Child, Command},
    time::timeout,
};

use crate::{Caller, WAIT_MAX, eventually};

/// What an example would take from the environment of whoever runs the tests.
const FOREIGN: [&str; 9] = [
    "ADDR",
    "DATABASE_URL",
    "METRICS_ADDR",
    "PAYMENTS_URL",
    "PROBE_ADDR",
    "REDIS_URL",
    "RUST_LOG",
    "STEADFAST_CONFIG",
    "WHY503_TOKEN",
];

type Lines = Arc<Mutex<Vec<String>>>;

/// A running example; dropped, it is ended. It is also a client of itself.
#[derive(Debug)]
pub struct Example {
    child: Child,
    /// Where it keeps its files, since one that is killed does not tidy up.
    _directory: TempDir,
    caller: Caller,
    out: Lines,
    err: Lines,
}

impl Example {
    /// Starts a program on a free port and waits for its line `listening on http://…`.
    ///
    /// # Panics
    /// It does not come; the panic shows what the process said.
    pub async fn start(program: &str, environment: &[(&str, &str)]) -> Self {
        let directory = TempDir::with_prefix("example-").expect("a temporary directory");
        let mut child = command(program, environment)
            .env("TMPDIR", directory.path())
            .spawn()
            .expect("the program starts");
        let (out, err) = (Lines::default(), Lines::default());
        keep(child.stdout.take().expect("piped"), Arc::clone(&out));
        keep(child.stderr.take().expect("piped"), Arc::clone(&err));
        let url = eventually("it listens", || {
            let first = out.lock().expect("no panic").first().cloned();
            let said = err.lock().expect("no panic").clone();
            let ended = child
                .try_wait()
                .expect("a child")
                .filter(|_| first.is_none());
            async move {
                assert!(ended.is_none(), "it ended with {ended:?}: {said:#?}");
                Some(first?.strip_prefix("listening on ")?.to_owned())
            }
        });
        let caller = Caller::new(&url.await);
        Self {
            child,
            _directory: directory,
            caller,
            out,
            err,
        }
    }

    /// Waits until `/ready/` says yes.
    pub async fn ready(self) -> Self {
        eventually("it is ready", || async {
            let answer = self.caller.get("/ready/").await;
            (answer.status == 200).then_some(())
        })
        .await;
        self
    }

    /// Where it listens, as `http://127.0.0.1:12345`.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.caller.url
    }

    /// Returns a client that a task can take with it.
    #[must_use]
    pub fn caller(&self) -> Caller {
        self.caller.clone()
    }

    /// What it said on standard output so far.
    #[must_use]
    pub fn said(&self) -> String {
        self.out.lock().expect("no panic").join("\n")
    }

    /// What it wrote on standard error so far.
    #[must_use]
    pub fn logged(&self) -> String {
        self.err.lock().expect("no panic").join("\n")
    }

    /// Tells it to leave.
    #[cfg(unix)]
    pub fn terminate(&self) {
        let id = self.child.id().expect("it has not been waited for");
        let id = rustix::process::Pid::from_raw(i32::try_from(id).expect("an id")).expect("an id");
        rustix::process::kill_process(id, rustix::process::Signal::TERM).expect("it runs");
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// It does not end.
    pub async fn ended(&mut self) -> ExitStatus {
        let ended = timeout(WAIT_MAX, self.child.wait()).await;
        ended
            .unwrap_or_else(|_| panic!("it does not end: {}", self.logged()))
            .expect("a child")
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        // It must be gone before its directory is.
        let _ = self.child.start_kill();
        while let Ok(None) = self.child.try_wait() {
            std::thread::yield_now();
        }
    }
}

impl Deref for Example {
    type Target = Caller;

    fn deref(&self) -> &Caller {
        &self.caller
    }
}

/// Starts a program that must fail, and returns its exit code and what it said about it.
///
/// # Panics
/// It does not end.
pub async fn fails(program: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let ended = timeout(WAIT_MAX, command(program, environment).output()).await;
    let output = ended.expect("it ends").expect("the program starts");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.code(), said)
}

fn command(program: &str, environment: &[(&str, &str)]) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if FOREIGN.contains(&&*text) || text.starts_with("STEADFAST__") {
            command.env_remove(&name);
        }
    }
    command
        .env("ADDR", "127.0.0.1:0")
        .envs(environment.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    command
}

/// Reads everything, so that the process never waits for a reader.
fn keep(from: impl AsyncRead + Unpin + Send + 'static, into: Lines) {
    tokio::spawn(async move {
        let mut lines = BufReader::new(from).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            into.lock().expect("no panic").push(line);
        }
    });
}
