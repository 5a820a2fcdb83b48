//! What can be typed after `bench overload`.

use rollouts::command::named;

use super::{
    backend::Backend,
    peers,
    plan::{self, Pace},
    two_routes,
};
use crate::stack::options::no_runs;

pub(crate) const USAGE: &str = "usage: bench overload [--quick] [--json] [--watch] [--runs N] [--peer NAME]... [--backend NAME]... [--phase NAME]...";

/// A median and a worst that mean something, in an hour and a half for everything.
const RUNS: usize = 5;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    /// How often each peer is measured, all peers in turn.
    pub(crate) runs: usize,
    pub(crate) json: bool,
    pub(crate) peers: Vec<String>,
    pub(crate) backends: Vec<Backend>,
    /// Only what leads to these phases is run; all are, if none is named.
    pub(crate) phases: Vec<String>,
    /// Whether our own server says on standard error where its gate stands.
    pub(crate) watch: bool,
}

impl Options {
    /// Reads the arguments; the error says which makes no sense and what does.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            runs: 0,
            json: false,
            peers: Vec::new(),
            backends: Vec::new(),
            phases: Vec::new(),
            watch: false,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--runs" => options.runs = runs(rest.next())?,
                "--peer" => options.peers.push(peer(rest.next())?),
                "--backend" => options.backends.push(backend(rest.next())?),
                "--phase" => match rest.next() {
                    Some(name) => options.phases.push((*name).to_owned()),
                    None => return Err(format!("--phase needs a name\n{USAGE}")),
                },
                "--watch" => options.watch = true,
                other => return Err(format!("unknown option `{other}`\n{USAGE}")),
            }
        }
        if options.runs == 0 {
            options.runs = if options.quick { 1 } else { RUNS };
        }
        if options.peers.is_empty() {
            let few = ["bare", "tower-oracle", "steadfast"];
            let all: &[&str] = if options.quick { &few } else { &peers::NAMES };
            options.peers = all.iter().map(|name| (*name).to_owned()).collect();
        }
        if options.backends.is_empty() {
            let all: &[Backend] = if options.quick {
                &[Backend::Workers]
            } else {
                &Backend::ALL
            };
            options.backends = all.to_vec();
        }
        options.keep_backends_of_phases()?;
        Ok(options)
    }

    /// Leaves the backends that have one of the wanted phases; each must be one of theirs.
    fn keep_backends_of_phases(&mut self) -> Result<(), String> {
        for wanted in &self.phases {
            let mut known: Vec<_> = self.backends.iter().flat_map(|it| phases(*it)).collect();
            known.sort();
            known.dedup();
            if !known.contains(wanted) {
                let (name, known) = (wanted.as_str(), known.join(" "));
                return Err(format!("no phase `{name}`; known are {known}"));
            }
        }
        let wanted = |name: &String| self.phases.is_empty() || self.phases.contains(name);
        self.backends.retain(|it| phases(*it).iter().any(wanted));
        Ok(())
    }

    /// The first backend has longer phases than the others.
    pub(crate) fn pace(&self, backend: Backend) -> Pace {
        match backend {
            _ if self.quick => Pace::Quick,
            Backend::Workers => Pace::Full,
            Backend::Cpu | Backend::Postgres | Backend::Mix | Backend::Pools | Backend::Logins => {
                Pace::Short
            }
        }
    }
}

fn runs(given: Option<&&str>) -> Result<usize, String> {
    let parsed = given.and_then(|number| number.parse().ok());
    let runs = parsed.filter(|runs| (1..=100).contains(runs));
    runs.ok_or_else(|| format!("{}\n{USAGE}", no_runs(given)))
}

fn peer(name: Option<&&str>) -> Result<String, String> {
    let fixed = |n: &str| n.parse::<u32>().is_ok_and(|n| n > 0);
    let ours = [peers::ONE_LIMIT, peers::UNPACED];
    let is_known = |it: &str| {
        let named = peers::NAMES.contains(&it) || ours.contains(&it);
        named || it.strip_prefix("tower-").is_some_and(fixed)
    };
    let more = ["tower-N (a limit of N)"];
    let known = [&peers::NAMES[..], &ours, &more].concat();
    named(
        "peer",
        name,
        |it| is_known(it).then(|| it.to_owned()),
        &known,
    )
}

fn backend(name: Option<&&str>) -> Result<Backend, String> {
    named(
        "backend",
        name,
        Backend::named,
        &Backend::ALL.map(Backend::name),
    )
}

/// The phases of a backend, by their names.
fn phases(backend: Backend) -> Vec<String> {
    let own = two_routes::phases(backend);
    if own.is_empty() {
        plan::PHASES.map(str::to_owned).to_vec()
    } else {
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            (&["--quik"][..], "`--quik`"),
            (&["--peer", "nginx"], "`nginx`"),
            (&["--peer", "tower-0"], "`tower-0`"),
            (&["--runs", "0"], "`0`"),
            (&["--runs", "many"], "1 to 100"),
            (&["--backend"], "needs a name; known are workers"),
            (&["--phase", "11x"], "`11x`; known are"),
            (&["--phase"], "--phase needs a name"),
            (
                &["--backend", "cpu", "--phase", "login-10x"],
                "`login-10x`; known are 0.5x",
            ),
        ] {
            let fault = Options::parse(line).expect_err("it makes no sense");
            assert!(fault.contains(named), "{fault}");
        }
        let chosen = Options::parse(&["--peer", "tower-24", "--backend", "cpu"]);
        let chosen = chosen.expect("it makes sense");
        assert_eq!(chosen.peers, ["tower-24"]);
        assert_eq!(chosen.runs, RUNS);
        assert_eq!(chosen.pace(Backend::Cpu), Pace::Short);
    }

    #[test]
    fn a_phase_chooses_the_backends_that_have_it() {
        let chosen = Options::parse(&["--phase", "both-10x"]).expect("it makes sense");
        assert_eq!(chosen.backends, [Backend::Pools, Backend::Logins]);
        let chosen = Options::parse(&["--phase", "brownout", "--phase", "page-10x"]);
        let chosen = chosen.expect("it makes sense");
        assert_eq!(chosen.backends.len(), 5);
        assert!(!chosen.backends.contains(&Backend::Pools));
    }
}
