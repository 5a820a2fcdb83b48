//! Runs one peer's scenes: starts a fresh server and a generator for each, tells the server
//! when to become slower, starts neighbours, reads what the generator counted and what
//! processors everybody used and wanted.

use std::{io, time::Duration};

use super::{
    backend::{Backend, Place, SPIN_MS, spin},
    client::tally::{Bin, Counted, Counts, Said},
    figures::{Capacity, Cores, Row},
    machine::{Neighbours, Used},
    plan::{Act, LEADING, Phase, Scene},
};
use crate::{child::Process, clock};

/// For a server to come up, and for the last answers after an act.
const PATIENCE: Duration = Duration::from_secs(20);

/// A bare server that is asked for what it can do has nothing to refuse; if it answered nothing
/// in time, the machine stood still for a moment. More often than this it is something else.
const TRIES: u32 = 5;

/// Measures again while nothing was answered.
pub(super) fn until_answered<T>(
    mut measure: impl FnMut() -> io::Result<Option<T>>,
) -> io::Result<T> {
    for _ in 0..TRIES {
        if let Some(measured) = measure()? {
            return Ok(measured);
        }
    }
    let fault = format!("the bare server answered nothing in time, {TRIES} times in a row");
    Err(io::Error::other(fault))
}

/// What came of a scene.
pub(super) struct Run {
    pub(super) phases: Vec<(Phase, Counted, Cores)>,
    pub(super) bins: Vec<Bin>,
}

/// A backend where it is.
pub(super) struct Stage {
    pub(super) backend: Backend,
    pub(super) place: Place,
}

impl Stage {
    /// Runs a scene against a fresh server.
    pub(super) fn run(&self, peer: &str, scene: Scene) -> io::Result<Run> {
        let place = serde_json::to_string(&self.place)?;
        let name = self.backend.name();
        let mut server = Process::spawn(&["overload-server", peer, name, &place])?;
        let address = server.line(PATIENCE)?;
        let act = Act {
            phases: scene.phases,
            paths: self.backend.paths(),
            probes: true,
            connections: scene.connections,
        };
        let text = serde_json::to_string(&act)?;
        let client = Process::spawn(&["overload-client", &address, &text])?;
        let longest = act.phases.iter().map(|it| it.secs).fold(0.0, f64::max);
        let patience = PATIENCE + Duration::from_secs_f64(longest);
        let (mut used, mut neighbours) = (Vec::new(), None);
        let counts: Counts = loop {
            let said = serde_json::from_str(&client.line(patience)?)?;
            drop(neighbours.take());
            used.push(Used::so_far(&client, &server));
            match said {
                Said::Begins(index) => {
                    if let Some(phase) = act.phases.get(index) {
                        server.tell(&phase.slowness.to_string())?;
                        neighbours = Some(Neighbours::start(phase.neighbours));
                    }
                }
                Said::Done(counts) => break counts,
            }
        };
        let own = self.backend.works_elsewhere();
        let pairs = used.windows(2).zip(&act.phases);
        let cores = pairs.map(|(pair, phase)| pair[1].since(&pair[0], phase.secs, own));
        let phases = act.phases.iter().cloned().zip(counts.phases).zip(cores);
        Ok(Run {
            phases: phases
                .map(|((phase, counted), cores)| (phase, counted, cores))
                .collect(),
            bins: counts.bins,
        })
    }

    /// Measures the capacity in a closed loop, each figure for `secs`.
    pub(super) fn capacity(&self, secs: f64) -> io::Result<Capacity> {
        until_answered(|| self.capacity_seen(secs))
    }

    fn capacity_seen(&self, secs: f64) -> io::Result<Option<Capacity>> {
        let places = u32::try_from(self.backend.knee()).unwrap_or(1);
        // Too few clients to queue, and so many that no place ever waits for one.
        let few = (3 * places / 4).max(1);
        let mut phases = vec![
            Phase::closed("unloaded", few, 2.0 * secs, 0.2 * secs),
            Phase::closed("capacity", 2 * places, secs, 0.2 * secs),
        ];
        if let Some(slowness) = self.backend.brownout() {
            let browned = Phase::closed("capacity, browned", 2 * places, secs, 0.4 * secs);
            phases.push(browned.slower(slowness));
        }
        let connections = 0;
        let run = self.run(
            "bare",
            Scene {
                phases,
                connections,
            },
        )?;
        let rate = |index: usize| {
            let (_, counted, _) = run.phases.get(index)?;
            Some(counted.served as f64 / counted.secs).filter(|it| *it > 0.0)
        };
        let p99 = run
            .phases
            .first()
            .and_then(|(_, counted, _)| counted.p99_ms);
        let (Some(unloaded_p99_ms), Some(per_sec)) = (p99, rate(1)) else {
            return Ok(None);
        };
        Ok(Some(Capacity {
            per_sec,
            unloaded_p99_ms,
            browned_per_sec: rate(2),
            // Everything takes so many times longer, and a slow service answers too seldom
            // for a p99 of its own.
            browned_p99_ms: self.backend.brownout().map(|times| times * unloaded_p99_ms),
        }))
    }

    /// Rows of a scene.
    pub(super) fn rows(
        &self,
        (peer, number): (&str, usize),
        run: &Run,
        capacity: &Capacity,
    ) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut at = 0.0;
        for (phase, counted, cores) in &run.phases {
            let bins = bins_between(&run.bins, at, at + phase.secs);
            at += phase.secs;
            if phase.name != LEADING {
                let who = (peer, self.backend.name(), number);
                let counted = counted.clone();
                rows.push(Row::new(who, phase, counted, bins, capacity, *cores));
            }
        }
        rows
    }
}

fn bins_between(bins: &[Bin], from: f64, to: f64) -> &[Bin] {
    let index = |at: f64| ((at / super::client::tally::BIN_SECS).round() as usize).min(bins.len());
    &bins[index(from)..index(to)]
}

/// Finds how many rounds of computing take [`SPIN_MS`], from the fastest of a few tries.
pub(super) fn calibrate() -> u64 {
    const ROUNDS: u64 = 2_000_000;
    let timed = |_| {
        let began = clock::now();
        spin(ROUNDS);
        clock::secs_since(began)
    };
    let fastest = (0..10).map(timed).fold(f64::INFINITY, f64::min);
    (ROUNDS as f64 * SPIN_MS / 1e3 / fastest.max(1e-9)) as u64
}
