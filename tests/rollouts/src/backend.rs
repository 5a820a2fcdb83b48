//! One backend of a rollout: a subject that is started, ended and started anew on the
//! same port.

use std::{
    collections::VecDeque,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout, Command},
    time::{sleep, timeout},
};

use crate::{
    client::h1,
    subject::{LISTENING, Settings},
};

/// How long a subject may take to come up; only a machine in trouble needs it.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// Most lines kept of what a subject prints.
const LINES_MAX: usize = 16;

/// How to start a subject: a program, and what stands before the subject's own arguments.
#[derive(Clone, Debug)]
pub struct Program {
    /// The file.
    pub path: PathBuf,
    /// Its first arguments.
    pub arguments: Vec<String>,
}

/// A running subject.
#[derive(Debug)]
pub struct Backend {
    program: Program,
    settings: Settings,
    /// Which process this is, counted from 1.
    generation: u32,
    dir: PathBuf,
    process: Process,
}

#[derive(Debug)]
struct Process {
    child: Child,
    /// Kept apart, because waiting for a child closes the one it has, and that ends it.
    _stdin: ChildStdin,
    lines: Lines<BufReader<ChildStdout>>,
}

/// How one process of a backend ended.
#[derive(Clone, Debug)]
pub struct Ended {
    /// Its label, as its answers carried it.
    pub label: String,
    /// Its exit status; `None` if it had to be killed.
    pub status: Option<i32>,
    /// When the signal was sent.
    pub told_at: Instant,
    /// From the signal to the exit.
    pub took: Duration,
    /// The last line it printed, if that was JSON.
    pub report: Value,
    /// The ids it wrote down.
    pub journal: Vec<String>,
}

impl Backend {
    /// Starts a subject and waits until it listens. `settings.label` is the name of the
    /// backend; each process adds its number.
    ///
    /// # Panics
    /// It does not come up.
    pub async fn start(program: &Program, settings: &Settings, dir: &Path) -> Self {
        let process = spawn(program, settings, 1, dir).await;
        Self {
            program: program.clone(),
            settings: settings.clone(),
            generation: 1,
            dir: dir.to_owned(),
            process,
        }
    }

    /// Starts it anew, after [`stop`](Self::stop).
    ///
    /// # Panics
    /// It does not come up.
    pub async fn start_again(&mut self) {
        self.generation += 1;
        self.process = spawn(&self.program, &self.settings, self.generation, &self.dir).await;
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.settings.address
    }

    /// The name of this process, as its answers carry it.
    #[must_use]
    pub fn label(&self) -> String {
        label(&self.settings, self.generation)
    }

    /// Waits until `/ready/` says yes.
    ///
    /// # Panics
    /// It never does.
    pub async fn ready(&self) {
        let began = Instant::now();
        while !h1::get(self.address(), "/ready/")
            .await
            .is_ok_and(|it| it.status == 200)
        {
            assert!(began.elapsed() < PATIENCE, "{} is not ready", self.label());
            sleep(Duration::from_millis(5)).await;
        }
    }

    /// Whether this process has written an id down.
    #[must_use]
    pub fn has_noted(&self, id: &str) -> bool {
        let journal = journal(&self.settings, self.generation, &self.dir);
        let journal = fs::read_to_string(journal).unwrap_or_default();
        journal.lines().any(|line| line == id)
    }

    /// Sends a signal to the process.
    pub fn signal(&self, signal: Signal) {
        let pid = self
            .process
            .child
            .id()
            .and_then(|id| i32::try_from(id).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw) {
            // One that has gone meanwhile is as good.
            let _ = kill_process(pid, signal);
        }
    }

    /// Waits until it has gone after the signal was sent, and kills it if it has not within
    /// `limit`.
    ///
    /// # Panics
    /// Its journal cannot be read.
    pub async fn gone(&mut self, told_at: Instant, limit: Duration) -> Ended {
        let left = limit.saturating_sub(told_at.elapsed());
        let status = match timeout(left, self.process.child.wait()).await {
            // Ended by a signal, it has no code; a shell counts it from 128.
            Ok(ended) => ended.ok().map(|status| {
                use std::os::unix::process::ExitStatusExt;
                status
                    .code()
                    .unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
            }),
            Err(_) => {
                let _ = self.process.child.kill().await;
                None
            }
        };
        let took = told_at.elapsed();
        let last = self.last_line().await;
        let journal = fs::read_to_string(journal(&self.settings, self.generation, &self.dir));
        let journal = journal.expect("it was opened before the port");
        Ended {
            label: self.label(),
            status,
            told_at,
            took,
            report: serde_json::from_str(&last).unwrap_or(Value::Null),
            journal: journal.lines().map(str::to_owned).collect(),
        }
    }

    /// Tells it to go and waits; see [`gone`](Self::gone).
    pub async fn stop(&mut self, limit: Duration) -> Ended {
        let told_at = Instant::now();
        self.signal(Signal::TERM);
        self.gone(told_at, limit).await
    }

    async fn last_line(&mut self) -> String {
        let mut kept = VecDeque::new();
        // The process is gone, so the pipe has an end.
        while let Ok(Some(line)) = self.process.lines.next_line().await {
            if kept.len() == LINES_MAX {
                kept.pop_front();
            }
            kept.push_back(line);
        }
        kept.pop_back().unwrap_or_default()
    }
}

fn label(settings: &Settings, generation: u32) -> String {
    format!("{}-{generation}", settings.label)
}

fn journal(settings: &Settings, generation: u32, dir: &Path) -> PathBuf {
    dir.join(format!("journal-{}", label(settings, generation)))
}

async fn spawn(program: &Program, settings: &Settings, generation: u32, dir: &Path) -> Process {
    let settings = Settings {
        label: label(settings, generation),
        journal: journal(settings, generation, dir),
        ..settings.clone()
    };
    let log = dir.join(format!("log-{}", settings.label));
    let errors = fs::File::create(&log).expect("the directory can be written");
    let mut child = Command::new(&program.path)
        .args(&program.arguments)
        .args(settings.arguments())
        // It ends when this end of the pipe is gone.
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(errors)
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{}: {error}", program.path.display()));
    let mut lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let first = timeout(PATIENCE, lines.next_line()).await;
    let first = first
        .ok()
        .and_then(Result::ok)
        .flatten()
        .unwrap_or_default();
    assert!(
        first.starts_with(LISTENING),
        "{} said {first:?}; its log: {}",
        settings.label,
        fs::read_to_string(&log).unwrap_or_default()
    );
    Process {
        _stdin: child.stdin.take().expect("piped"),
        child,
        lines,
    }
}
