//! `bench page`: whether the operator's page is there when it is needed, and whether a flood of
//! refusals costs memory.
//!
//! | situation | what is measured | aim |
//! |---|---|---|
//! | `overload` | how long the page takes at the probe listener, under ten times what may run | 50 ms at p99 |
//! | `blocked` | the same while handlers block every worker for five seconds | 100 ms at p99 |
//! | `flood` | memory before and after a million refusals over 100,000 paths and 1,000 ids | none is kept |
//!
//! Each is a process of its own, which ends with its parent. A page is asked for as a person
//! does: over a connection of its own, by turns as HTML and as JSON. Times need a machine that
//! does nothing else; counts do not. What one refusal costs to write down is in
//! `bench overhead`, rows `refusal-made` and `refusal-recorded`.

mod load;
mod server;

use std::{io, net::SocketAddr, process::ExitCode, sync::mpsc, time::Duration};

use serde_json::{Value, json};

use crate::{child::Process, clock};

pub(crate) use server::run as serve;

/// Longest wait for a server to be there, and for a flood to be over.
const PATIENCE: Duration = Duration::from_secs(600);

/// Between two looks at the page.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// How long, and how much.
struct Plan {
    overload: Duration,
    refusals: u64,
}

const WHOLE: Plan = Plan {
    overload: Duration::from_secs(20),
    refusals: 1_000_000,
};

const QUICK: Plan = Plan {
    overload: Duration::from_secs(2),
    refusals: 20_000,
};

/// Runs the benchmark.
pub(crate) fn main(is_quick: bool, as_json: bool) -> ExitCode {
    let plan = if is_quick { QUICK } else { WHOLE };
    let all: [fn(&Plan) -> io::Result<Value>; 3] = [overload, blocked, flood];
    for measure in all {
        match measure(&plan) {
            Ok(figures) => print(&figures, as_json),
            Err(error) => {
                eprintln!("bench page: {error}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

fn print(figures: &Value, as_json: bool) {
    if as_json {
        println!("{figures}");
        return;
    }
    println!("{}", figures["situation"].as_str().unwrap_or_default());
    for (name, value) in figures.as_object().into_iter().flatten() {
        if name != "bench" && name != "situation" {
            println!("  {name:<20} {value}");
        }
    }
}

/// A server that runs, and where.
struct Served {
    process: Process,
    main: SocketAddr,
    probe: SocketAddr,
}

impl Served {
    fn start() -> io::Result<Self> {
        let process = Process::spawn(&["page-server", "serve"])?;
        let line = process.line(PATIENCE)?;
        let mut addresses = line.split(' ').map(str::parse).filter_map(Result::ok);
        let (Some(main), Some(probe)) = (addresses.next(), addresses.next()) else {
            return Err(io::Error::other(format!("a server said {line:?}")));
        };
        Ok(Self {
            process,
            main,
            probe,
        })
    }
}

fn overload(plan: &Plan) -> io::Result<Value> {
    let served = Served::start()?;
    let load = load::Load::start(served.main, server::LIMIT * 10, plan.overload);
    let times = looks(served.probe, plan.overload)?;
    let (answered, refused) = load.end();
    served.process.end(PATIENCE)?;
    let mut figures = told("overload", 50, times);
    figures["answered"] = answered.into();
    figures["refused"] = refused.into();
    Ok(figures)
}

fn blocked(_: &Plan) -> io::Result<Value> {
    let served = Served::start()?;
    let load = load::Load::block(served.main);
    let times = looks(served.probe, server::BLOCKED_FOR)?;
    let _ = load.end();
    served.process.end(PATIENCE)?;
    Ok(told("blocked", 100, times))
}

fn flood(plan: &Plan) -> io::Result<Value> {
    let process = Process::spawn(&["page-server", "flood", &plan.refusals.to_string()])?;
    let line = process.line(PATIENCE)?;
    process.end(PATIENCE)?;
    serde_json::from_str(&line).map_err(io::Error::other)
}

/// Asks for the page again and again, and returns how long each answer took.
fn looks(probe: SocketAddr, length: Duration) -> io::Result<Vec<Duration>> {
    let began = clock::now();
    let mut times = Vec::new();
    let (_wakes, pause) = mpsc::channel::<()>();
    for accept in ["text/html", "application/json"].into_iter().cycle() {
        let asked = clock::now();
        if asked.saturating_duration_since(began) >= length {
            return Ok(times);
        }
        let answer = load::ask(probe, "/why503/", accept)?;
        if !answer.starts_with("HTTP/1.1 200") {
            let head: String = answer.chars().take(200).collect();
            return Err(io::Error::other(format!("the page answered {head:?}")));
        }
        times.push(clock::now().saturating_duration_since(asked));
        let _ = pause.recv_timeout(LOOK_EVERY);
    }
    unreachable!("it goes on for ever")
}

fn told(situation: &str, aim_ms: u64, mut times: Vec<Duration>) -> Value {
    times.sort_unstable();
    let ms = |percent: usize| {
        let at = (times.len() * percent).div_ceil(100).max(1) - 1;
        times
            .get(at)
            .map(|time| (time.as_secs_f64() * 1e5).round() / 100.0)
    };
    json!({
        "bench": "page", "situation": situation, "pages": times.len(),
        "p50_ms": ms(50), "p99_ms": ms(99), "max_ms": ms(100), "aim_p99_ms": aim_ms,
    })
}
