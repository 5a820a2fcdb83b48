//! `bench soak`: one process serves a million requests over fifty thousand connections, and is
//! drained and started anew ten times, among peers that mean harm; then it meets each kind of
//! such peers by the thousand. Memory and descriptors are those of the same process all the
//! time, so what is left behind adds up.
//!
//! It fails if the second half of the generations leaves more behind than the first did, if a
//! descriptor stays open, or if a drain cuts anything. Loopback only, bounded in count and
//! time; the server is a child that ends with its parent.

mod figures;
mod harm;
mod load;
mod options;
mod server;

use std::{io, net::SocketAddr, process::ExitCode, time::Duration};

use tokio::time::{Instant, sleep};

use crate::child::Process;
use figures::{Generation, Met, Usage};
use options::Options;

/// How long the server may take for anything it is told to do: a drain waits for its grace.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// How many looks in a row, a tenth of a second apart, find the same in a process at rest.
const UNCHANGED: u32 = 3;

/// How long what clients left behind may take to go.
const REST_MAX: Duration = Duration::from_secs(60);

pub(crate) fn main(arguments: &[&str]) -> ExitCode {
    let options = match Options::parse(arguments) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(64);
        }
    };
    ended(measure(options))
}

/// What the benchmark starts: `soak-server`.
pub(crate) fn server() -> ExitCode {
    ended(server::run().map(|()| true))
}

fn ended(result: io::Result<bool>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("bench soak: {error}");
            ExitCode::FAILURE
        }
    }
}

/// The server, and where its present generation listens.
struct Served {
    process: Process,
    address: SocketAddr,
}

impl Served {
    fn start() -> io::Result<Self> {
        let process = Process::spawn(&["soak-server"])?;
        let address = address(&process)?;
        Ok(Self { process, address })
    }

    /// Begins a drain; what is still on its way goes on.
    fn begin_drain(&mut self) -> io::Result<()> {
        self.process.tell("drain")
    }

    /// Waits for the end of the drain and for the next generation. Returns how many requests
    /// were cut.
    fn next(&mut self) -> io::Result<u64> {
        let report = self.process.line(ANSWER_MAX)?;
        let cut = report.strip_prefix("cut ").and_then(|cut| cut.parse().ok());
        let cut = cut.ok_or_else(|| io::Error::other(format!("no report: {report}")))?;
        self.address = address(&self.process)?;
        Ok(cut)
    }

    fn usage(&self) -> io::Result<Usage> {
        Usage::of(self.process.id())
    }
}

fn address(process: &Process) -> io::Result<SocketAddr> {
    let line = process.line(ANSWER_MAX)?;
    line.parse().map_err(io::Error::other)
}

/// Runs both parts. Returns whether everything that was taken came back.
fn measure(options: Options) -> io::Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let mut served = Served::start()?;
    let mut generations: Vec<Generation> = Vec::new();
    for number in 1..=options.generations() {
        let share = options.share();
        let done = runtime.block_on(load::run(share, served.address, || served.begin_drain()))?;
        let cut = served.next()?;
        let first = generations.first().map(|it| it.usage.descriptors);
        let usage = runtime.block_on(at_rest(&served, first.unwrap_or(usize::MAX)))?;
        let generation = Generation {
            number,
            requests: done.answered,
            connections: done.connections,
            hostile: done.hostile,
            crossed: done.crossed,
            unexpected: done.unexpected,
            cut,
            usage,
        };
        generation.print(options.json);
        generations.push(generation);
    }
    let flat = figures::is_flat(&generations);
    let rest = generations
        .first()
        .map_or(usize::MAX, |it| it.usage.descriptors);
    if !options.json {
        println!("{}", Met::heading());
    }
    let mut kinds = Vec::new();
    for kind in harm::Kind::ALL {
        let met = runtime.block_on(harm::meet(kind, options, &served, rest))?;
        met.print(options.json);
        kinds.push(met);
    }
    served.process.end(ANSWER_MAX)?;
    if !flat {
        eprintln!(
            "memory or descriptors of the generations are not flat, or a drain cut something"
        );
    }
    Ok(flat && kinds.iter().all(Met::came_back))
}

/// What the process holds at rest: its descriptors are back to so many, which is waited for at
/// most a minute, and nothing changes any more, at most five seconds later.
async fn at_rest(served: &Served, descriptors: usize) -> io::Result<Usage> {
    let until = Instant::now() + REST_MAX;
    while served.usage()?.descriptors > descriptors && Instant::now() < until {
        sleep(Duration::from_millis(100)).await;
    }
    let (mut last, mut unchanged) = (served.usage()?, 0);
    for _ in 0..50 {
        sleep(Duration::from_millis(100)).await;
        let now = served.usage()?;
        unchanged = if now == last { unchanged + 1 } else { 0 };
        last = now;
        if unchanged == UNCHANGED {
            break;
        }
    }
    Ok(last)
}
