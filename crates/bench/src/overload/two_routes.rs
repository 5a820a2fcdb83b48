//! Two routes of which each waits for workers of its own, one of them at ten times what they can
//! do: what each serves, of what it could have alone.
//!
//! What a route can do alone is measured before each run, in a closed loop. Each load begins with some seconds of nine tenths of both on a fresh process, as a
//! flood does in life.

use std::io;

use serde_json::json;

use super::{
    client::tally::Counted,
    conductor::{Run, Stage},
    figures::round,
    options::Options,
    plan::{LEADING, Phase, Scene},
};

/// Clients that ask each route alone: more than it has workers, and so few that none gives up.
const CLIENTS: [u32; 2] = [12, 40];

/// What each route asks for before a flood, of what it can do.
const BEFORE: f64 = 0.9;

/// In a flood.
const FLOOD: f64 = 10.0;

/// The loads by name: how many times what it can do each route asks for.
const LOADS: [(&str, [f64; 2]); 4] = [
    ("both at 0.9x", [BEFORE, BEFORE]),
    ("slow at 10x", [BEFORE, FLOOD]),
    ("quick at 10x", [FLOOD, BEFORE]),
    ("both at 10x", [FLOOD, FLOOD]),
];

/// What became of one load.
struct Row {
    peer: String,
    load: usize,
    /// Of what each route could have alone.
    goodput: [f64; 2],
    counted: Counted,
    doubtful: bool,
}

/// Runs all peers in turn, so often, and prints what came of it.
pub(super) fn measure(stage: &Stage, options: &Options) -> io::Result<()> {
    let mut rows = Vec::new();
    for number in 1..=options.runs {
        let can = alone(stage, options.quick)?;
        for peer in &options.peers {
            eprintln!("{peer} before pools, run {number} of {}", options.runs);
            for load in 0..LOADS.len() {
                let scene = scene(load, can, options.quick);
                let run = stage.run(peer, scene)?;
                let row = Row::of(peer, load, can, run)?;
                if options.json {
                    println!("{}", row.json(number));
                }
                rows.push(row);
            }
        }
    }
    if !options.json {
        print(&options.peers, &rows);
    }
    Ok(())
}

/// How many a second each route serves alone.
fn alone(stage: &Stage, quick: bool) -> io::Result<[f64; 2]> {
    let secs = if quick { 0.6 } else { 3.0 };
    let phase = |clients, shares: &[f64]| Phase::closed(LEADING, clients, secs, 0.4).shared(shares);
    let [quick, slow] = CLIENTS;
    let phases = vec![phase(quick, &[1.0, 0.0]), phase(slow, &[0.0, 1.0])];
    let run = stage.run("bare", Scene::of(phases))?;
    let rate = |route: usize| {
        let (_, counted, _) = &run.phases[route];
        let served = counted.served_of.get(route).copied().unwrap_or(0);
        match served {
            0 => Err(io::Error::other("the bare server answered nothing in time")),
            served => Ok(served as f64 / counted.secs),
        }
    };
    Ok([rate(0)?, rate(1)?])
}

fn scene(load: usize, can: [f64; 2], quick: bool) -> Scene {
    let (before, secs, settle) = if quick {
        (0.4, 0.6, 0.2)
    } else {
        (6.0, 6.0, 1.0)
    };
    let phase = |name: &str, times: [f64; 2], secs, settle| {
        let rates = [can[0] * times[0], can[1] * times[1]];
        let rate = rates[0] + rates[1];
        let shares = rates.map(|it| it / rate);
        Phase::open(name, rate, secs, settle).shared(&shares)
    };
    let (name, times) = LOADS[load];
    Scene::of(vec![
        phase(LEADING, [BEFORE, BEFORE], before, 0.0),
        phase(name, times, secs, settle),
    ])
}

impl Row {
    fn of(peer: &str, load: usize, can: [f64; 2], run: Run) -> io::Result<Self> {
        let last = run.phases.into_iter().next_back();
        let (_, counted, cores) = last.ok_or_else(|| io::Error::other("nothing was counted"))?;
        let (_, times) = LOADS[load];
        let goodput = |route: usize| {
            let served = counted.served_of.get(route).copied().unwrap_or(0);
            served as f64 / counted.secs / (can[route] * times[route].min(1.0))
        };
        Ok(Self {
            peer: peer.to_owned(),
            load,
            goodput: [goodput(0), goodput(1)],
            doubtful: cores.starved() || counted.unsent > 0,
            counted,
        })
    }

    fn json(&self, run: usize) -> serde_json::Value {
        json!({
            "bench": "overload", "peer": self.peer, "backend": "pools",
            "phase": LOADS[self.load].0, "run": run,
            "quick_goodput": round(self.goodput[0], 3),
            "slow_goodput": round(self.goodput[1], 3),
            "timeouts_per_s": round(self.counted.timed_out as f64 / self.counted.secs, 1),
            "refused": self.counted.refused,
            "p99_ms": self.counted.p99_ms.map(|it| round(it, 1)),
            "refusal_p99_ms": self.counted.refusal_p99_ms.map(|it| round(it, 1)),
            "doubtful": self.doubtful,
        })
    }
}

fn print(peers: &[String], rows: &[Row]) {
    println!("## pools\n");
    println!(
        "What the quick and the slow route serve, of what each could have alone: median / worst. ? marks a row of which a run says more of the machine than of the peer.\n"
    );
    let names = LOADS.map(|(name, _)| format!(" {name}: quick | slow |"));
    println!("| peer |{}", names.concat());
    println!("|---|{}", "---:|".repeat(2 * LOADS.len()));
    for peer in peers {
        let cells = (0..LOADS.len()).map(|load| {
            let of = |row: &&Row| row.peer == *peer && row.load == load;
            let runs: Vec<_> = rows.iter().filter(of).collect();
            let doubt = if runs.iter().any(|row| row.doubtful) {
                "?"
            } else {
                ""
            };
            let cell = |route: usize| {
                let mut all: Vec<_> = runs.iter().map(|row| row.goodput[route]).collect();
                all.sort_by(f64::total_cmp);
                let [median, worst] = [all[all.len() / 2], all[0]];
                format!(" {median:.2} / {worst:.2}{doubt} |")
            };
            [cell(0), cell(1)].concat()
        });
        println!("| {peer} |{}", cells.collect::<String>());
    }
    println!();
}
