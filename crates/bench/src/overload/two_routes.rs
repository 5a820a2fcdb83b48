//! Two routes that need different things, one of them at ten times what it can do: what each
//! serves, of what it could have alone.
//!
//! What a route can do alone is measured before each run, in a closed loop. Each load begins with
//! some seconds in which both have room on a fresh process, as a flood does in life.

use std::io;

use serde_json::json;

use super::{
    backend::Backend,
    client::tally::Counted,
    conductor::{Run, Stage, until_answered},
    figures::round,
    options::Options,
    plan::{LEADING, Phase, Scene},
};

/// In a flood.
const FLOOD: f64 = 10.0;

/// Two routes, the one that is quick or waits first.
struct Pair {
    backend: Backend,
    names: [&'static str; 2],
    /// Clients that ask each route alone: more than it has workers, and so few that none gives up.
    clients: [u32; 2],
    /// What each asks for before a flood, of what it can do.
    before: f64,
}

impl Pair {
    fn of(backend: Backend) -> Option<Self> {
        let (names, clients, before) = match backend {
            Backend::Pools => (["quick", "slow"], [12, 40], 0.9),
            // Both need the processors, and nine tenths of both would be more than there is.
            Backend::Logins => (["page", "login"], [24, 6], 0.5),
            Backend::Workers | Backend::Cpu | Backend::Postgres | Backend::Mix => return None,
        };
        Some(Self {
            backend,
            names,
            clients,
            before,
        })
    }

    /// The loads by name: how many times what it can do each route asks for.
    fn loads(&self) -> [(String, [f64; 2]); 4] {
        let ([first, second], before) = (self.names, self.before);
        [
            (format!("both-{before}x"), [before, before]),
            (format!("{second}-10x"), [before, FLOOD]),
            (format!("{first}-10x"), [FLOOD, before]),
            ("both-10x".to_owned(), [FLOOD, FLOOD]),
        ]
    }

    /// Those of them that are wanted; all, if none is named.
    fn wanted(&self, names: &[String]) -> Vec<(String, [f64; 2])> {
        let is_wanted = |name: &String| names.is_empty() || names.contains(name);
        let loads = self.loads().into_iter();
        loads.filter(|(name, _)| is_wanted(name)).collect()
    }
}

/// The loads of a backend by their names; none, if it is one of which the whole is judged.
pub(super) fn phases(backend: Backend) -> Vec<String> {
    let loads = Pair::of(backend).map(|pair| pair.wanted(&[]));
    let names = loads.into_iter().flatten().map(|(name, _)| name);
    names.collect()
}

/// What became of one load.
struct Row {
    peer: String,
    /// Which of those that were asked for.
    load: usize,
    /// Of what each route could have alone.
    goodput: [f64; 2],
    counted: Counted,
    doubtful: bool,
}

/// Runs all peers in turn, so often, and prints what came of it; `None` for a backend of which
/// the whole is judged, and not two routes.
pub(super) fn measure(
    backend: Backend,
    stage: &Stage,
    options: &Options,
) -> Option<io::Result<()>> {
    let pair = Pair::of(backend)?;
    Some(pair.measure(stage, options))
}

impl Pair {
    fn measure(&self, stage: &Stage, options: &Options) -> io::Result<()> {
        let mut rows = Vec::new();
        let backend = self.backend.name();
        let loads = self.wanted(&options.phases);
        for number in 1..=options.runs {
            let can = self.alone(stage, options.quick)?;
            for peer in &options.peers {
                eprintln!("{peer} before {backend}, run {number} of {}", options.runs);
                for (load, (name, times)) in loads.iter().enumerate() {
                    let scene = self.scene((name, *times), can, options.quick);
                    let run = stage.run(peer, scene)?;
                    let row = Row::of(peer, (load, *times), can, run)?;
                    if options.json {
                        println!("{}", row.json(self, name, number));
                    }
                    rows.push(row);
                }
            }
        }
        if !options.json {
            self.print(&loads, &options.peers, &rows);
        }
        Ok(())
    }

    /// How many a second each route serves alone.
    fn alone(&self, stage: &Stage, quick: bool) -> io::Result<[f64; 2]> {
        until_answered(|| self.alone_seen(stage, quick))
    }

    fn alone_seen(&self, stage: &Stage, quick: bool) -> io::Result<Option<[f64; 2]>> {
        let secs = if quick { 0.6 } else { 3.0 };
        let phase =
            |clients, shares: &[f64]| Phase::closed(LEADING, clients, secs, 0.4).shared(shares);
        let [first, second] = self.clients;
        let phases = vec![phase(first, &[1.0, 0.0]), phase(second, &[0.0, 1.0])];
        let run = stage.run("bare", Scene::of(phases))?;
        let rate = |route: usize| {
            let (_, counted, _) = &run.phases[route];
            let served = counted.served_of.get(route).copied().unwrap_or(0);
            (served > 0).then(|| served as f64 / counted.secs)
        };
        Ok(rate(0).zip(rate(1)).map(|(first, second)| [first, second]))
    }

    fn scene(&self, (name, times): (&str, [f64; 2]), can: [f64; 2], quick: bool) -> Scene {
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
        Scene::of(vec![
            phase(LEADING, [self.before; 2], before, 0.0),
            phase(name, times, secs, settle),
        ])
    }

    fn print(&self, loads: &[(String, [f64; 2])], peers: &[String], rows: &[Row]) {
        let [first, second] = self.names;
        println!("## {}\n", self.backend.name());
        println!(
            "What the {first} and the {second} route serve, of what each could have alone: median / worst. ? marks a row of which a run says more of the machine than of the peer.\n"
        );
        let names = loads
            .iter()
            .map(|(name, _)| format!(" {name}: {first} | {second} |"));
        println!("| peer |{}", names.collect::<String>());
        println!("|---|{}", "---:|".repeat(2 * loads.len()));
        for peer in peers {
            let cells = (0..loads.len()).map(|load| {
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
}

impl Row {
    fn of(
        peer: &str,
        (load, times): (usize, [f64; 2]),
        can: [f64; 2],
        run: Run,
    ) -> io::Result<Self> {
        let last = run.phases.into_iter().next_back();
        let (_, counted, cores) = last.ok_or_else(|| io::Error::other("nothing was counted"))?;
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

    fn json(&self, pair: &Pair, load: &str, run: usize) -> serde_json::Value {
        let [first, second] = pair.names.map(|name| format!("{name}_goodput"));
        json!({
            "bench": "overload", "peer": self.peer, "backend": pair.backend.name(),
            "phase": load, "run": run,
            first: round(self.goodput[0], 3),
            second: round(self.goodput[1], 3),
            "timeouts_per_s": round(self.counted.timed_out as f64 / self.counted.secs, 1),
            "refused": self.counted.refused,
            "p99_ms": self.counted.p99_ms.map(|it| round(it, 1)),
            "refusal_p99_ms": self.counted.refusal_p99_ms.map(|it| round(it, 1)),
            "doubtful": self.doubtful,
        })
    }
}
