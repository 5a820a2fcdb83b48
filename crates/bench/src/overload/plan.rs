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
    fn open(name: &str, rate: f64, secs: f64, settle_secs: f64) -> Self {
        Self {
            name: name.to_owned(),
            load: Load::Open { rate },
            secs,
            settle_secs,
            slowness: 1.0,
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

    /// Requests meant each second; nothing where it depends on the answers.
    pub(crate) fn rate(&self) -> Option<f64> {
        match self.load {
            Load::Open { rate } => Some(rate),
            Load::Closed { .. } => None,
        }
    }
}

/// The phases of all acts, by their names.
pub(crate) const PHASES: [&str; 10] = [
    "0.5x", "0.8x", "1x", "cold-2x", "2x", "5x", "10x", "recovery", "brownout", "healed",
];

/// Leaves of the acts what leads to one of these phases; everything, if none is named.
pub(crate) fn only(acts: Vec<Vec<Phase>>, wanted: &[String]) -> Vec<Vec<Phase>> {
    if wanted.is_empty() {
        return acts;
    }
    let leads = |mut act: Vec<Phase>| {
        let last = act.iter().rposition(|phase| wanted.contains(&phase.name))?;
        act.truncate(last + 1);
        Some(act)
    };
    acts.into_iter().filter_map(leads).collect()
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

/// The acts of one peer, each against a fresh server; `capacity` in requests each second,
/// `brownout` how many times slower the service becomes, if that makes sense for it.
pub(crate) fn acts(pace: Pace, capacity: f64, brownout: Option<f64>) -> Vec<Vec<Phase>> {
    let times =
        |name: &str, factor: f64, secs, settle| Phase::open(name, factor * capacity, secs, settle);
    let mut acts = match pace {
        Pace::Quick => vec![vec![
            times("0.5x", 0.5, 0.5, 0.0),
            times("2x", 2.0, 0.8, 0.4),
            times("10x", 10.0, 0.6, 0.2),
            times("recovery", 0.5, 0.4, 0.0),
        ]],
        Pace::Short => vec![
            vec![times("0.8x", 0.8, 1.2, 0.0)],
            vec![
                times("cold-2x", 2.0, 1.2, 0.0),
                times("2x", 2.0, 1.2, 0.0),
                times("5x", 5.0, 1.2, 0.2),
                times("10x", 10.0, 1.4, 0.4),
                times("recovery", 0.5, 0.8, 0.0),
            ],
        ],
        Pace::Full => vec![
            vec![times("0.8x", 0.8, 2.5, 0.0)],
            vec![times("cold-2x", 2.0, 2.5, 0.0)],
            vec![
                times("0.5x", 0.5, 2.0, 0.0),
                times("1x", 1.0, 3.0, 1.0),
                times("2x", 2.0, 3.0, 1.0),
                times("5x", 5.0, 2.5, 0.5),
                times("10x", 10.0, 2.5, 0.5),
                times("recovery", 0.5, 1.5, 0.0),
            ],
        ],
    };
    if let Some(slowness) = brownout {
        let (before, during, after) = match pace {
            Pace::Quick => (0.3, 0.8, 0.4),
            Pace::Short => (0.8, 2.8, 0.8),
            Pace::Full => (1.5, 4.0, 1.5),
        };
        let settle = if pace == Pace::Quick { 0.4 } else { 1.0 };
        acts.push(vec![
            times("before", 0.8, before, 0.0),
            times("brownout", 0.8, during, settle).slower(slowness),
            times("healed", 0.8, after, 0.0),
        ]);
    }
    acts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_phase_is_known_and_can_be_asked_for_alone() {
        let acts = acts(Pace::Full, 100.0, Some(8.0));
        let names = |acts: &[Vec<Phase>]| -> Vec<Vec<String>> {
            let of = |act: &Vec<Phase>| act.iter().map(|phase| phase.name.clone()).collect();
            acts.iter().map(of).collect()
        };
        for name in names(&acts).concat() {
            assert!(
                name == "before" || PHASES.contains(&name.as_str()),
                "{name}"
            );
        }
        let led = names(&only(acts.clone(), &["2x".to_owned()]));
        assert_eq!(led, [["0.5x", "1x", "2x"]]);
        assert_eq!(only(acts.clone(), &[]).len(), acts.len());
    }
}
