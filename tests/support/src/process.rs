//! One child process: started, signalled by its pid, and ended when dropped.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a server may take to come up or to go; only a machine in trouble needs it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a server that did not come up is started on another port.
pub(crate) const STARTS_MAX: u32 = 3;

/// Most of a log that is shown.
const LOG_SHOWN_MAX: usize = 4_000;

/// What tests do to a server whose process is in its field `process` while it runs.
macro_rules! signalled {
    ($server:ty) => {
        impl $server {
            /// Returns its pid.
            ///
            /// # Panics
            /// If it is stopped.
            #[must_use]
            pub fn pid(&self) -> u32 {
                self.process.as_ref().expect("it is running").pid()
            }

            /// Stops it where it is (SIGSTOP): the kernel still takes connections for it.
            ///
            /// # Panics
            /// If it is stopped.
            pub fn pause(&mut self) {
                let process = self.process.as_ref().expect("it is running");
                process.signal(rustix::process::Signal::STOP);
            }

            /// Lets it go on after [`pause`](Self::pause).
            ///
            /// # Panics
            /// If it is stopped.
            pub fn resume(&mut self) {
                let process = self.process.as_ref().expect("it is running");
                process.signal(rustix::process::Signal::CONT);
            }
        }
    };
}

pub(crate) use signalled;

#[derive(Debug)]
pub(crate) struct Process {
    name: &'static str,
    child: Child,
    log: PathBuf,
    /// How it is told to go when it is dropped.
    farewell: Signal,
    // After the child, so that it is there until the child has gone.
    _watcher: Watcher,
}

impl Process {
    /// Starts `command` with its output in `log`.
    pub(crate) fn spawn(
        name: &'static str,
        command: &mut Command,
        log: &Path,
        farewell: Signal,
    ) -> Self {
        let out = File::options().create(true).append(true).open(log);
        let out = out.expect("the temporary directory can be written");
        let errors = out.try_clone().expect("a file has a second handle");
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(errors)
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {name} ({command:?}): {error}"));
        let watcher = Watcher::of(child.id(), farewell);
        Self {
            name,
            child,
            log: log.to_owned(),
            farewell,
            _watcher: watcher,
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until `is_up`; false if the process ended instead.
    pub(crate) fn comes_up(&mut self, mut is_up: impl FnMut() -> bool) -> bool {
        let started_at = Instant::now();
        while !is_up() {
            if self.child.try_wait().is_ok_and(|status| status.is_some()) {
                return false;
            }
            if started_at.elapsed() > PATIENCE {
                panic!(
                    "{} is not up after {PATIENCE:?}; {}",
                    self.name,
                    self.log_end()
                );
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// Whether it has not ended.
    pub(crate) fn is_alive(&mut self) -> bool {
        self.child.try_wait().is_ok_and(|status| status.is_none())
    }

    /// Sends a signal to the process itself.
    pub(crate) fn signal(&self, signal: Signal) {
        signal_pid(self.pid(), signal);
    }

    /// Asks it to go, and waits until it has gone.
    pub(crate) fn stop(&mut self, signal: Signal) {
        self.signal(Signal::CONT);
        self.signal(signal);
        let asked_at = Instant::now();
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if asked_at.elapsed() > PATIENCE {
                let _ = self.child.kill();
                let _ = self.child.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log_end(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let skipped = log.len().saturating_sub(LOG_SHOWN_MAX);
        let start = (skipped..=log.len()).find(|&at| log.is_char_boundary(at));
        format!("its log ends:\n{}", &log[start.unwrap_or(log.len())..])
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.stop(self.farewell);
        }
    }
}

/// Ends a server whose test was killed and so dropped nothing: a shell that waits for the
/// end of its input, which comes when this process is gone, however it went.
#[derive(Debug)]
struct Watcher(Child);

impl Watcher {
    fn of(pid: u32, farewell: Signal) -> Self {
        // A Ctrl-C at the terminal reaches it too, and must not end it first.
        let script = "trap '' INT TERM HUP; read -r _; kill -CONT \"$1\"; kill -\"$2\" \"$1\"";
        let child = Command::new("sh")
            .args(["-c", script, "watcher", &pid.to_string()])
            .arg(farewell.as_raw().to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        Self(child.expect("there is a shell"))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        // Before its input ends: the server's pid may be somebody else's by now.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Sends a signal; a process that is gone already is as good.
pub(crate) fn signal_pid(pid: u32, signal: Signal) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let _ = kill_process(pid.expect("a pid is positive"), signal);
}

/// Returns the children of a process.
pub(crate) fn children(parent: u32) -> Vec<u32> {
    let entries = fs::read_dir("/proc").expect("this is Linux");
    let pids = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may itself contain anything, so the last one ends it.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(1)?.parse().ok()
}
