//! What a generator is told to do: acts of phases, as plain data that goes to its process.

use serde::{Deserialize, Serialize};

/// When a client gives up, counted from the moment at which it meant to send.
pub(crate) const DEADLINE_SECS: f64 = 0.5;

/// One run against one fresh server.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Act {
    pub(crate) phases: Vec<Phase>,
    pub(crate) paths: Vec<Path>,
    /// Whether a prober asks `/ready/` ten times a second beside the load.
    pub(crate) probes: bool,
    /// Connections that are open from the start and used in turn; more are opened only where
    /// these do not suffice.
    pub(crate) connections: usize,
}

/// One of the paths that clients ask for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Path {
    pub(crate) path: String,
    /// Its share of the requests.
    pub(crate) share: f64,
    /// What one needs of the backend, over the mean of all: whoever answers only the short
    /// ones has not served more for it.
    pub(crate) work: f64,
}

/// A load for some time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) name: String,
    pub(crate) load: Load,
    pub(crate) secs: f64,
    /// Seconds at its start that do not count.
    pub(crate) settle_secs: f64,
    /// How many times slower the service is from its start on.
    pub(crate) slowness: f64,
    /// Shares of the paths in it, if they are others than the act's.
    pub(crate) shares: Vec<f64>,
    /// Threads that compute beside it for as long as it lasts, on the same processors.
    pub(crate) neighbours: usize,
}

/// Where requests come from.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) enum Load {
    /// So many each second, evenly, whatever becomes of them.
    Open { rate: f64 },
    /// So many clients, each with one request at a time.
    Closed { clients: u32 },
}

impl Phase {
    pub(super) fn open(name: &str, rate: f64, secs: f64, settle_secs: f64) -> Self {
        Self {
            name: name.to_owned(),
            load: Load::Open { rate },
            secs,
            settle_secs,
            slowness: 1.0,
            shares: Vec::new(),
            neighbours: 0,
        }
    }

    pub(crate) fn closed(name: &str, clients: u32, secs: f64, settle_secs: f64) -> Self {
        Self {
            load: Load::Closed { clients },
            ..Self::open(name, 0.0, secs, settle_secs)
        }
    }

    pub(crate) fn slower(mut self, slowness: f64) -> Self {
        self.slowness = slowness;
        self
    }

    /// The same with these shares of the paths.
    pub(super) fn shared(mut self, shares: &[f64]) -> Self {
        self.shares = shares.to_vec();
        self
    }

    fn beside(mut self, neighbours: usize) -> Self {
        self.neighbours = neighbours;
        self
    }

    /// Requests meant each second; nothing where it depends on the answers.
    pub(crate) fn rate(&self) -> Option<f64> {
        match self.load {
            Load::Open { rate } => Some(rate),
            Load::Closed { .. } => None,
        }
    }
}

/// The phases of all acts, by their names.
pub(crate) const PHASES: [&str; 14] = [
    "0.5x",
    "0.8x",
    "1x",
    "cold-2x",
    "2x",
    "5x",
    "10x",
    "recovery",
    "brownout",
    "healed",
    "neighbours",
    "neighbours-gone",
    "many-connections",
    "flood",
];

/// Phases that only lead to others: no row is made of them.
pub(crate) const LEADING: &str = "before";

/// Phases of one run against one fresh server.
#[derive(Clone, Debug)]
pub(crate) struct Scene {
    pub(crate) phases: Vec<Phase>,
    /// As in [`Act`].
    pub(crate) connections: usize,
}

impl Scene {
    pub(super) fn of(phases: Vec<Phase>) -> Self {
        let connections = 0;
        Self {
            phases,
            connections,
        }
    }
}

/// Leaves of the scenes what leads to one of these phases; everything, if none is named.
pub(crate) fn only(scenes: Vec<Scene>, wanted: &[String]) -> Vec<Scene> {
    if wanted.is_empty() {
        return scenes;
    }
    let leads = |mut scene: Scene| {
        let is = |phase: &Phase| wanted.contains(&phase.name);
        let last = scene.phases.iter().rposition(is)?;
        scene.phases.truncate(last + 1);
        Some(scene)
    };
    scenes.into_iter().filter_map(leads).collect()
}

/// How long the phases are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// A smoke: does it run, are the lines well formed.
    Quick,
    /// The shorter set, for all backends but the first.
    Short,
    /// Every phase.
    Full,
}

/// Twice the processors of a small machine.
const NEIGHBOURS: usize = 4;

/// Ten times what ten times the capacity keeps busy where refusals take a millisecond.
const MANY_CONNECTIONS: usize = 1_500;

/// The scenes of one peer; `capacity` in requests each second, `brownout` how many times
/// slower the service becomes, if that makes sense for it.
///
/// The loads of the third follow each other on one process, with the first second of each
/// left out: what was normal at one load is what a limit holds the next one against.
pub(crate) fn scenes(pace: Pace, capacity: f64, brownout: Option<f64>) -> Vec<Scene> {
    let times =
        |name: &str, factor: f64, secs, settle| Phase::open(name, factor * capacity, secs, settle);
    let mut scenes = match pace {
        Pace::Quick => vec![Scene::of(vec![
            times("0.5x", 0.5, 0.5, 0.0),
            times("2x", 2.0, 0.8, 0.4),
            times("10x", 10.0, 0.6, 0.2),
            times("recovery", 0.5, 0.4, 0.0),
        ])],
        Pace::Short | Pace::Full => {
            let secs = if pace == Pace::Full { 3.0 } else { 2.5 };
            let loaded = |name, factor| times(name, factor, secs, 1.0);
            vec![
                Scene::of(vec![times("0.8x", 0.8, secs, 0.0)]),
                Scene::of(vec![times("cold-2x", 2.0, secs, 0.0)]),
                Scene::of(vec![
                    times("0.5x", 0.5, secs, 0.0),
                    loaded("1x", 1.0),
                    loaded("2x", 2.0),
                    loaded("5x", 5.0),
                    loaded("10x", 10.0),
                    times("recovery", 0.5, 1.5, 0.0),
                ]),
                Scene::of(vec![
                    times(LEADING, 10.0, 2.0, 0.0),
                    times("neighbours", 10.0, 4.0, 0.0).beside(NEIGHBOURS),
                    times("neighbours-gone", 10.0, 2.5, 0.0),
                ]),
                Scene {
                    connections: MANY_CONNECTIONS,
                    phases: vec![
                        loaded("many-connections", 10.0),
                        Phase::closed("flood", MANY_CONNECTIONS as u32, secs, 1.0),
                    ],
                },
            ]
        }
    };
    if let Some(slowness) = brownout {
        let (before, during, after) = match pace {
            Pace::Quick => (0.3, 0.8, 0.4),
            Pace::Short => (0.8, 2.8, 0.8),
            Pace::Full => (1.5, 4.0, 1.5),
        };
        let settle = if pace == Pace::Quick { 0.4 } else { 1.0 };
        scenes.push(Scene::of(vec![
            times(LEADING, 0.8, before, 0.0),
            times("brownout", 0.8, during, settle).slower(slowness),
            times("healed", 0.8, after, 0.0),
        ]));
    }
    scenes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_known_and_can_be_asked_for_alone() {
        let scenes = scenes(Pace::Full, 100.0, Some(8.0));
        let names = |scenes: &[Scene]| -> Vec<Vec<String>> {
            let of = |it: &Scene| it.phases.iter().map(|phase| phase.name.clone()).collect();
            scenes.iter().map(of).collect()
        };
        for name in names(&scenes).concat() {
            assert!(name == LEADING || PHASES.contains(&name.as_str()), "{name}");
        }
        for phase in PHASES {
            let led = only(scenes.clone(), &[phase.to_owned()]);
            assert_eq!(led.len(), 1, "{phase}");
        }
        let led = names(&only(scenes.clone(), &["2x".to_owned()]));
        assert_eq!(led, [["0.5x", "1x", "2x"]]);
        assert_eq!(only(scenes.clone(), &[]).len(), scenes.len());
    }
}
