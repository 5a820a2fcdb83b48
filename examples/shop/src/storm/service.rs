//! The service in the storm: this same program, as a process of its own.

use std::{
    env,
    process::{ExitStatus, Stdio},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, BufReader, Lines},
    process::{Child, Command},
    task::JoinHandle,
    time::Instant,
};
use uuid::Uuid;

use crate::Fatal;

const START_MAX: Duration = Duration::from_secs(60);
const EXIT_MAX: Duration = Duration::from_secs(60);

/// Longer than any client needs to notice; a second signal ends it when they have.
const LAME_DUCK: &str = "60s";

/// What the process said on standard error, if it said anything.
type LastLine = Arc<Mutex<String>>;

pub(super) struct Service {
    child: Child,
    /// Where it keeps its files, since one that is killed does not tidy up.
    _directory: TempDir,
    url: String,
    metrics: String,
    token: String,
    last_line: LastLine,
}

impl Service {
    /// Starts it with nothing of the caller's environment that would lead it to a database
    /// that is not its own.
    pub(super) async fn start(limit: u32) -> Result<Self, Fatal> {
        let directory = TempDir::with_prefix("storm-").map_err(Fatal::new)?;
        let token = Uuid::new_v4().simple().to_string();
        let mut command = Command::new(env::current_exe().map_err(Fatal::new)?);
        for (name, _) in env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            let own = ["DATABASE_URL", "REDIS_URL", "PAYMENTS_URL", "PROBE_ADDR"];
            if own.contains(&name.as_str()) || name.starts_with("STEADFAST") {
                command.env_remove(name);
            }
        }
        let mut child = command
            .env("TMPDIR", directory.path())
            .env("ADDR", "127.0.0.1:0")
            .env("METRICS_ADDR", "127.0.0.1:0")
            .env("RUST_LOG", "error")
            .env("WHY503_TOKEN", &token)
            .env("STEADFAST__SHED__LIMIT", limit.to_string())
            .env("STEADFAST__DRAIN__LAME_DUCK_MIN", LAME_DUCK)
            .env("STEADFAST__DRAIN__LAME_DUCK_MAX", LAME_DUCK)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(Fatal::new)?;
        let last_line = LastLine::default();
        if let Some(said) = child.stderr.take() {
            tokio::spawn(keep_last(
                BufReader::new(said).lines(),
                Arc::clone(&last_line),
            ));
        }
        let said = child.stdout.take();
        let mut service = Self {
            child,
            _directory: directory,
            url: String::new(),
            metrics: String::new(),
            token,
            last_line,
        };
        let Some(said) = said else {
            return Err(service.fault("it has no standard output"));
        };
        let mut said = BufReader::new(said).lines();
        match tokio::time::timeout(START_MAX, said.next_line()).await {
            Ok(Ok(Some(line))) if line.starts_with("listening on ") => {
                service.url = line["listening on ".len()..].to_owned();
            }
            _ => return Err(service.fault("it did not start to listen")),
        }
        if let Ok(Some(line)) = said.next_line().await {
            let at = line.strip_prefix("metrics on ");
            service.metrics = at.unwrap_or_default().to_owned();
        }
        tokio::spawn(keep_last(said, LastLine::default()));
        Ok(service)
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Where it tells its metrics.
    pub(super) fn metrics(&self) -> &str {
        &self.metrics
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Sends SIGTERM after a while; the task returns when.
    pub(super) fn terminate_after(&self, wait: Duration) -> JoinHandle<Result<Instant, Fatal>> {
        let id = self.child.id();
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            terminate(id)?;
            Ok(Instant::now())
        })
    }

    /// Sends SIGTERM.
    pub(super) fn terminate(&self) -> Result<(), Fatal> {
        terminate(self.child.id())
    }

    pub(super) async fn wait(&mut self) -> Result<ExitStatus, Fatal> {
        match tokio::time::timeout(EXIT_MAX, self.child.wait()).await {
            Ok(exit) => exit.map_err(Fatal::new),
            Err(_) => Err(self.fault("it did not end")),
        }
    }

    pub(super) fn fault(&self, what: &str) -> Fatal {
        let said = self
            .last_line
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        Fatal::new(format!("the service in the storm: {what}: {said}"))
    }
}

/// Reads on, so that the process never waits for somebody to read.
async fn keep_last<R: AsyncRead + Unpin>(mut lines: Lines<BufReader<R>>, last: LastLine) {
    while let Ok(Some(line)) = lines.next_line().await {
        *last.lock().unwrap_or_else(PoisonError::into_inner) = line;
    }
}

#[cfg(unix)]
fn terminate(id: Option<u32>) -> Result<(), Fatal> {
    let id = id.and_then(|id| rustix::process::Pid::from_raw(i32::try_from(id).ok()?));
    let id = id.ok_or_else(|| Fatal::new("the service in the storm has ended by itself"))?;
    rustix::process::kill_process(id, rustix::process::Signal::TERM).map_err(Fatal::new)
}

#[cfg(not(unix))]
fn terminate(_id: Option<u32>) -> Result<(), Fatal> {
    Err(Fatal::new(
        "unsupported: there is no SIGTERM here, so no drain can be shown",
    ))
}
