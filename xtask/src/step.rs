//! Runs steps in order, with a heading and the time of each, up to the first failure.

use std::{
    ffi::OsString,
    fmt,
    path::PathBuf,
    process,
    time::{Duration, Instant},
};

use crate::programs;

/// A named part of a run.
pub(crate) struct Step<'a> {
    name: String,
    work: Box<dyn FnOnce() -> Result<(), Failure> + 'a>,
}

/// Why a run ended early, and the exit code that says so.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) code: u8,
    pub(crate) message: String,
}

/// A command line with what it adds to the environment.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    environment: Vec<(&'static str, OsString)>,
    program: String,
    arguments: Vec<String>,
}

/// Runs the steps; the last lines name each one with its time.
pub(crate) fn run(steps: Vec<Step<'_>>) -> Result<(), Failure> {
    let started = now();
    let count = steps.len();
    let mut summary = Vec::new();
    let mut end = Ok(());
    for (index, step) in steps.into_iter().enumerate() {
        if end.is_err() {
            summary.push(format!("  not run         {}", step.name));
            continue;
        }
        println!("\n== {}/{count} {}", index + 1, step.name);
        let begun = now();
        end = (step.work)();
        let took = seconds(begun);
        let word = if end.is_ok() { "ok" } else { "FAILED" };
        println!("== {word} in {took}");
        summary.push(format!("  {word:<6} {took:>8} {}", step.name));
    }
    let word = if end.is_ok() { "passed" } else { "failed" };
    println!("\n== summary: {word} in {}", seconds(started));
    println!("{}", summary.join("\n"));
    end
}

impl<'a> Step<'a> {
    /// Makes a step of a function.
    pub(crate) fn new(
        name: impl Into<String>,
        work: impl FnOnce() -> Result<(), Failure> + 'a,
    ) -> Self {
        Self {
            name: name.into(),
            work: Box::new(work),
        }
    }

    /// Makes a step of command lines that run one after the other.
    pub(crate) fn calls(name: impl Into<String>, calls: Vec<Call>) -> Self {
        Self::new(name, move || calls.iter().try_for_each(Call::run))
    }
}

impl Failure {
    /// The command line makes no sense; the number is that of `sysexits.h`.
    pub(crate) const WRONG_USAGE: u8 = 64;

    /// Something that was checked is wrong.
    pub(crate) fn check(message: impl Into<String>) -> Self {
        Self {
            code: 1,
            message: message.into(),
        }
    }

    /// The machine lacks something.
    pub(crate) fn machine(message: impl Into<String>) -> Self {
        Self {
            code: 2,
            message: message.into(),
        }
    }
}

impl Call {
    /// Calls `program` with the arguments that stand in `line`, split at spaces.
    pub(crate) fn new(program: impl Into<String>, line: &str) -> Self {
        Self {
            environment: Vec::new(),
            program: program.into(),
            arguments: line.split_whitespace().map(Into::into).collect(),
        }
    }

    /// Sets a variable.
    pub(crate) fn env(mut self, key: &'static str, value: impl Into<OsString>) -> Self {
        self.environment.push((key, value.into()));
        self
    }

    /// Adds a flag to those that the variable already holds.
    pub(crate) fn flag(self, key: &'static str, flag: &str) -> Self {
        let held = std::env::var(key).unwrap_or_default();
        let all = format!("{held} {flag}");
        self.env(key, all.trim())
    }

    /// Shows the command line, runs it without a standard input, and shows it again if it fails.
    pub(crate) fn run(&self) -> Result<(), Failure> {
        println!("$ {self}");
        let status = self
            .command()
            .status()
            .map_err(|error| self.lacks(&error))?;
        if status.success() {
            return Ok(());
        }
        Err(Failure::check(format!("{status}\nfailed: {self}")))
    }

    /// Runs it likewise and keeps what it says; the inner error is that, if it fails.
    pub(crate) fn run_quietly(&self) -> Result<Result<(), String>, Failure> {
        println!("$ {self}");
        let output = self
            .command()
            .output()
            .map_err(|error| self.lacks(&error))?;
        if output.status.success() {
            return Ok(Ok(()));
        }
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        Ok(Err(format!("{said}{}\nfailed: {self}", output.status)))
    }

    fn command(&self) -> process::Command {
        let mut command = process::Command::new(&self.program);
        command
            .args(&self.arguments)
            // Debian keeps daemons where the PATH of a plain user does not look.
            .env("PATH", programs::search_path())
            .envs(self.environment.iter().map(|(key, value)| (key, value)))
            .stdin(process::Stdio::null());
        command
    }

    fn lacks(&self, error: &std::io::Error) -> Failure {
        Failure::machine(format!(
            "`{}` does not start: {error}\nfailed: {self}",
            self.program
        ))
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, value) in &self.environment {
            write!(f, "{key}={} ", quoted(&value.to_string_lossy()))?;
        }
        let program = PathBuf::from(&self.program);
        let name = program.file_name().unwrap_or(program.as_os_str());
        write!(f, "{}", name.to_string_lossy())?;
        self.arguments
            .iter()
            .try_for_each(|argument| write!(f, " {}", quoted(argument)))
    }
}

/// The way a shell takes it, so that what is shown can be pasted.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:@+".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

fn seconds(since: Instant) -> String {
    let took: Duration = now().saturating_duration_since(since);
    format!("{:.1} s", took.as_secs_f64())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place of this program that reads the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{cell::Cell, rc::Rc};

    #[test]
    fn nothing_runs_after_a_failure() {
        let ran = Rc::new(Cell::new(false));
        let witness = Rc::clone(&ran);
        let steps = vec![
            Step::calls("fails", vec![Call::new("false", "")]),
            Step::new("after", move || {
                witness.set(true);
                Ok(())
            }),
        ];
        let failure = run(steps).expect_err("the first step fails");
        assert!(failure.message.ends_with("failed: false"), "{failure:?}");
        assert_eq!(failure.code, 1);
        assert!(!ran.get());
    }

    #[test]
    fn what_a_quiet_command_says_is_kept_if_it_fails() {
        let listing = Call::new("ls", "/a/place/that/nobody/made").run_quietly();
        let said = listing.expect("it starts").expect_err("it fails");
        assert!(said.contains("nobody/made"), "{said}");
        assert!(
            Call::new("true", "")
                .run_quietly()
                .is_ok_and(|end| end.is_ok())
        );
        let failure = Call::new("/a/program/that/nobody/wrote", "").run_quietly();
        assert_eq!(failure.expect_err("it does not start").code, 2);
    }

    #[test]
    fn a_shown_command_can_be_pasted() {
        let call = Call::new("/bin/cargo", "test -p a").env("RUSTFLAGS", "--cfg loom");
        assert_eq!(call.to_string(), "RUSTFLAGS='--cfg loom' cargo test -p a");
        assert_eq!(quoted("it's"), r"'it'\''s'");
    }
}
