//! `bench overload`: the limiters under the same overload, side by side in one run.
//!
//! For each peer and backend the conductor (this process) starts a fresh server process and
//! a generator process, and compares what the generator counted with the capacity that it
//! measured before, in a closed loop against the bare server, and measures again at the
//! end. Loads are multiples of that capacity; goodput is a share of the smaller of load and
//! capacity; a latency counts from the moment at which the request was meant to be sent; a
//! client gives up after [`plan::DEADLINE_SECS`]. All that is done several times, the peers
//! in turn, each time with a capacity of its own, and what is shown is the median and the
//! worst ([`spread`]). Where the generator sent late, or others had the processors that it or
//! the server wanted ([`machine`]), the row is marked, because it says nothing of the peer;
//! what nobody would wait for any more is not sent at all. Loopback only; every process is a
//! child with a deadline, and ends with its parent.

mod backend;
mod client;
mod conductor;
mod figures;
mod machine;
mod options;
mod peers;
mod plan;
mod report;
mod server;
mod spread;
mod two_routes;

use std::{io, path::Path, process::ExitCode};

use serde_json::json;

use self::{
    backend::{Backend, Place},
    conductor::Stage,
    options::Options,
    plan::Pace,
    report::Measured,
};

/// Where the pictures go, below the directory in which the command runs.
const PICTURES: &str = "target/overload";

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

pub(crate) use self::backend::cores;

/// What the conductor starts: `overload-server PEER BACKEND PLACE`.
pub(crate) fn server(peer: &str, backend: &str, place: &str) -> ExitCode {
    let backend = Backend::named(backend).ok_or_else(|| io::Error::other("no such backend"));
    let place = serde_json::from_str(place).map_err(io::Error::from);
    ended(backend.and_then(|backend| server::run(peer, backend, &place?)))
}

/// What the conductor starts: `overload-client ADDRESS ACT`.
pub(crate) fn client(address: &str, act: &str) -> ExitCode {
    let address = address.parse().map_err(io::Error::other);
    let act = serde_json::from_str(act).map_err(io::Error::from);
    ended(address.and_then(|address| client::run(act?, address)))
}

fn ended(result: io::Result<()>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench overload: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure_all(options: &Options) -> io::Result<()> {
    let spins = conductor::calibrate();
    for &backend in &options.backends {
        let postgres = (backend == Backend::Postgres).then(|| support::Postgres::builder().start());
        let place = Place {
            postgres_url: postgres.as_ref().map(support::Postgres::admin_url),
            spins,
            watch: options.watch,
        };
        let stage = Stage { backend, place };
        if let Some(measured) = two_routes::measure(backend, &stage, options) {
            measured?;
            continue;
        }
        let measured = measure(&stage, options)?;
        if options.json {
            for runs in measured.runs() {
                println!("{}", runs.json());
            }
        } else {
            measured.print();
        }
        let drawn = measured.draw(Path::new(PICTURES))?;
        eprintln!("{drawn} pictures of {} in {PICTURES}", backend.name());
    }
    Ok(())
}

fn measure(stage: &Stage, options: &Options) -> io::Result<Measured> {
    let pace = options.pace(stage.backend);
    let secs = match pace {
        Pace::Quick => 0.6,
        Pace::Short => 1.5,
        Pace::Full => 3.0,
    };
    let mut measured = Measured {
        backend: stage.backend.name(),
        rows: Vec::new(),
        capacities: vec![stage.capacity(secs)?],
        bins: Vec::new(),
    };
    for number in 1..=options.runs {
        let capacity = measured.capacities[number - 1];
        for peer in &options.peers {
            let (name, runs) = (stage.backend.name(), options.runs);
            eprintln!("{peer} before {name}, run {number} of {runs}");
            let mut drawn = Vec::new();
            let scenes = plan::scenes(pace, capacity.per_sec, stage.backend.brownout());
            for scene in plan::only(scenes, &options.phases) {
                let run = stage.run(peer, scene)?;
                let new = stage.rows((peer, number), &run, &capacity);
                if options.json {
                    new.iter().for_each(|row| println!("{}", row.json()));
                }
                measured.rows.extend(new);
                drawn.extend(run.bins);
            }
            measured.bins.push((peer.clone(), drawn));
        }
        let after = stage.capacity(secs)?;
        measured.capacities.push(after);
        if options.json {
            println!("{}", capacity_line(&measured, number));
        }
    }
    Ok(measured)
}

/// The line that says whether the others of a run can be believed.
fn capacity_line(measured: &Measured, run: usize) -> serde_json::Value {
    let (before, after) = (measured.capacities[run - 1], measured.capacities[run]);
    json!({
        "bench": "overload", "peer": "bare", "backend": measured.backend, "phase": "capacity",
        "run": run,
        "goodput": null, "p50_ms": null, "p99_ms": before.unloaded_p99_ms,
        "refusal_p99_ms": null, "timeouts_per_s": null, "false_refusals": null, "recovery_s": null,
        "before_per_s": before.per_sec, "after_per_s": after.per_sec,
        "browned_before_per_s": before.browned_per_sec,
        "browned_after_per_s": after.browned_per_sec,
        "moved": report::moved(&before, &after),
    })
}
