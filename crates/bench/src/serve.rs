//! `bench serve`: what serving costs beside `axum::serve`, side by side in one run.
//!
//! Each [`Subject`] is a server process of its own; all of them live while a row is measured,
//! and take turns window by window, so that a machine that becomes slower does so for all.
//! The server has one core and the load the other, where there are as many. Requests a second
//! need a machine that does nothing else; processor time a request suffers less from company,
//! and instructions a request (counted by valgrind, without the kernel's) not at all.
//! Loopback only; every server is a child with a deadline, and ends with its parent.

mod cores;
mod figures;
mod instructions;
mod load;
mod memory;
mod options;
mod report;
mod server;

use std::{io, net::SocketAddr, process::ExitCode, time::Duration};

use crate::child::Process;
use cores::Cores;
use figures::{Row, Window};
pub(crate) use load::one_over_http2;
use load::{Body, Load, Protocol};
use options::Options;

/// Who serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `axum::serve` and a Router: what the others are compared with.
    Axum,
    /// `Guard::serve` and a Router that nothing guards: the accept loop alone.
    Bare,
    /// `Guard::serve` and a guarded Router.
    Guarded,
    /// `axum::serve` and a guarded Router.
    Layer,
}

impl Subject {
    const ALL: [Self; 4] = [Self::Axum, Self::Bare, Self::Guarded, Self::Layer];

    const fn name(self) -> &'static str {
        match self {
            Self::Axum => "axum",
            Self::Bare => "serve-bare",
            Self::Guarded => "serve-guarded",
            Self::Layer => "axum-guarded",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }
}

/// On what a server runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    Real,
    /// One on which everything takes fifty times as long, so that a runtime is always late.
    Valgrind,
}

impl Machine {
    const fn name(self) -> &'static str {
        match self {
            Self::Real => "real",
            Self::Valgrind => "valgrind",
        }
    }

    fn named(name: &str) -> Self {
        match name == Self::Valgrind.name() {
            true => Self::Valgrind,
            false => Self::Real,
        }
    }
}

/// How long a server may take to be there, also under valgrind on a busy machine.
const START_MAX: Duration = Duration::from_secs(60);

/// Runs the benchmark.
pub(crate) fn main(arguments: &[&str]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(64);
        }
    };
    ended(measure_all(&options))
}

/// What the benchmark starts: `serve-server SUBJECT WORKERS CORES MACHINE`.
pub(crate) fn server(subject: &str, workers: &str, cores: &str, machine: &str) -> ExitCode {
    let subject = Subject::named(subject).ok_or_else(|| io::Error::other("no such subject"));
    let workers = workers.parse().map_err(io::Error::other);
    let machine = Machine::named(machine);
    ended(subject.and_then(|it| server::run(it, workers?, &Cores::parse(cores)?, machine)))
}

fn ended(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench serve: {error}");
            ExitCode::FAILURE
        }
    }
}

/// A server that runs, and where.
struct Served {
    process: Process,
    address: SocketAddr,
}

impl Served {
    fn start(subject: Subject, workers: usize, cores: &Cores) -> io::Result<Self> {
        let (workers, cores) = (workers.to_string(), cores.to_string());
        let process = Process::spawn(&[
            "serve-server",
            subject.name(),
            &workers,
            &cores,
            Machine::Real.name(),
        ])?;
        Self::of(process)
    }

    fn of(process: Process) -> io::Result<Self> {
        let address = process.line(START_MAX)?.parse().map_err(io::Error::other)?;
        Ok(Self { process, address })
    }
}

fn measure_all(options: &Options) -> io::Result<()> {
    let mut rows = Vec::new();
    if !options.instructions_only {
        for workers in options.workers() {
            rows.extend(measure(options, *workers)?);
        }
        memory::measure(options, &mut rows)?;
    }
    if options.counts_instructions() {
        instructions::measure(&mut rows)?;
    }
    match options.json {
        true => rows.iter().for_each(|row| println!("{}", row.json())),
        false => report::print(&rows, options),
    }
    Ok(())
}

/// Measures every protocol and body with so many worker threads.
fn measure(options: &Options, workers: usize) -> io::Result<Vec<Row>> {
    let (theirs, ours) = cores::split(workers);
    let mut servers = Vec::new();
    for subject in Subject::ALL {
        servers.push(Served::start(subject, workers, &theirs)?);
    }
    let mut rows = Vec::new();
    for protocol in Protocol::ALL {
        for body in Body::ALL {
            eprintln!("{} {} with {workers}", protocol.name(), body.name());
            let load = Load {
                protocol,
                body,
                until: options.window(),
            };
            let first = rows.len();
            rows.extend(Subject::ALL.map(|it| Row::new(it, protocol, body, workers)));
            // The first one warms up.
            for run in 0..=options.runs {
                for (at, served) in servers.iter().enumerate() {
                    let window = window(served, load, &ours)?;
                    if run > 0 {
                        rows[first + at].windows.push(window);
                    }
                }
            }
        }
    }
    figures::compare(&mut rows);
    Ok(rows)
}

fn window(served: &Served, load: Load, cores: &Cores) -> io::Result<Window> {
    let before = served.process.fine_cpu_secs();
    let (answered, secs) = load::run(load, served.address, cores)?;
    let cpu = served.process.fine_cpu_secs() - before;
    Ok(Window {
        per_sec: answered as f64 / secs,
        cpu_us: cpu * 1e6 / answered.max(1) as f64,
    })
}
