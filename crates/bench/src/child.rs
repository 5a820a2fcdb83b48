//! A child process of a benchmark: what it says, line by line, each with a deadline; the
//! CPU it used; ended by its handle when it is no longer needed.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, RecvTimeoutError, channel},
    time::Duration,
};

/// A process of this same program.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<String>,
}

impl Process {
    pub(crate) fn spawn(arguments: &[&str]) -> io::Result<Self> {
        let mut program = Command::new(std::env::current_exe()?);
        program.args(arguments);
        Self::of(program)
    }

    /// Starts any command.
    pub(crate) fn of(mut program: Command) -> io::Result<Self> {
        let mut child = program
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let out = child.stdout.take();
        let out = out.ok_or_else(|| io::Error::other("a child without output"))?;
        let (sender, lines) = channel();
        // Ends with the child's output.
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, lines })
    }

    /// Waits for the next line; the error says that the child ended or was silent too long.
    pub(crate) fn line(&self, patience: Duration) -> io::Result<String> {
        self.lines.recv_timeout(patience).map_err(|error| {
            io::Error::other(match error {
                RecvTimeoutError::Timeout => format!("a child said nothing for {patience:?}"),
                RecvTimeoutError::Disconnected => "a child ended early".to_owned(),
            })
        })
    }

    pub(crate) fn tell(&mut self, line: &str) -> io::Result<()> {
        let input = self.child.stdin.as_mut();
        let input = input.ok_or_else(|| io::Error::other("a child without input"))?;
        writeln!(input, "{line}")
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Ends its input, and waits until it has ended by itself.
    pub(crate) fn end(mut self, patience: Duration) -> io::Result<()> {
        self.child.stdin = None;
        match self.lines.recv_timeout(patience) {
            Err(RecvTimeoutError::Disconnected) => {}
            _ => return Err(io::Error::other("a child did not end with its input")),
        }
        let status = self.child.wait()?;
        if status.success() {
            return Ok(());
        }
        Err(io::Error::other(format!("a child ended with {status}")))
    }

    /// Seconds of CPU used so far by its threads that still live, to the nanosecond where the
    /// kernel keeps that (`schedstat`).
    pub(crate) fn fine_cpu_secs(&self) -> f64 {
        let spent = self.scheduled(0);
        spent
            .filter(|secs| *secs > 0.0)
            .unwrap_or_else(|| self.cpu_secs())
    }

    /// Seconds for which its threads that still live could have run and had no processor, all
    /// together; zero if the kernel does not say (`schedstat`).
    pub(crate) fn waited_secs(&self) -> f64 {
        self.scheduled(1).unwrap_or(0.0)
    }

    /// Seconds in a field of `schedstat`, summed over the threads.
    fn scheduled(&self, field: usize) -> Option<f64> {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).ok()?;
        let nanos = tasks.flatten().map(|task| {
            let stat = fs::read_to_string(task.path().join("schedstat")).ok()?;
            stat.split_whitespace().nth(field)?.parse::<f64>().ok()
        });
        nanos.sum::<Option<f64>>().map(|nanos| nanos / 1e9)
    }

    /// Seconds of CPU used so far, in user and kernel; zero if the kernel does not say.
    pub(crate) fn cpu_secs(&self) -> f64 {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        // The name in parentheses may itself contain anything, so the last one ends it.
        let fields = stat.unwrap_or_default();
        let fields = fields.rsplit_once(')').map_or("", |(_, rest)| rest);
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: f64 = ticks.filter_map(|field| field.parse::<f64>().ok()).sum();
        ticks / rustix::param::clock_ticks_per_second() as f64
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // A handle to the child itself, so nobody else can be hit.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
