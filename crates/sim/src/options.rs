//! What can be typed after `sim`.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use sim::{peers, scenarios};

/// Names of peers, as they can be typed.
const PEERS: &str = "adaptive fixed-N start-N aimd gradient2 vegas, each also with +gate, +queue, +queue-N or +queue-N-MS behind it";

/// What stands after what makes no sense, and alone after `--help`.
pub(crate) fn usage() -> String {
    format!(
        "usage: sim [SCENARIO]... [--peer NAME|all] [--seed N | --seeds N | --seeds FROM-TO] [--summary | --csv] [--changes] [--speed] [--svg DIR]
       sim --fleets DIR
Runs every scenario whose name contains SCENARIO; several names are separated by commas.
Peers: {PEERS}.
--fleets draws the pictures of docs/fleets.md."
    )
}

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    /// Parts of names; all scenarios, if there is none.
    scenarios: Vec<String>,
    pub(crate) peers: Vec<String>,
    pub(crate) seeds: RangeInclusive<u64>,
    pub(crate) changes: bool,
    pub(crate) speed: bool,
    pub(crate) csv: bool,
    pub(crate) summary: bool,
    pub(crate) svg: Option<PathBuf>,
    /// Whether the pictures of fleets are drawn instead, and where.
    pub(crate) fleets: Option<PathBuf>,
}

impl Options {
    /// Reads the arguments; the error says which makes no sense and what does.
    pub(crate) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            scenarios: Vec::new(),
            peers: vec!["adaptive".to_owned()],
            seeds: 1..=1,
            changes: false,
            speed: false,
            csv: false,
            summary: false,
            svg: None,
            fleets: None,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--peer" => options.peers = peer(rest.next())?,
                "--seed" => {
                    let seed = value("--seed", "a number", rest.next(), number)?;
                    options.seeds = seed..=seed;
                }
                "--seeds" => {
                    let allowed = "a number from 1 on or FROM-TO, the lower first";
                    options.seeds = value("--seeds", allowed, rest.next(), seeds)?;
                }
                "--summary" => options.summary = true,
                "--changes" => options.changes = true,
                "--speed" => options.speed = true,
                "--csv" => options.csv = true,
                "--svg" => options.svg = Some(directory("--svg", rest.next())?),
                "--fleets" => options.fleets = Some(directory("--fleets", rest.next())?),
                name if !name.starts_with('-') => options.scenarios.extend(scenario(name)?),
                other => return Err(format!("unknown option `{other}`\n{}", usage())),
            }
        }
        if options.csv && options.summary {
            return Err(format!(
                "--summary and --csv exclude each other\n{}",
                usage()
            ));
        }
        if options.fleets.is_some() && arguments.len() > 2 {
            return Err(format!("--fleets DIR takes nothing else\n{}", usage()));
        }
        Ok(options)
    }

    /// Whether a scenario of this name is to be run.
    pub(crate) fn wants(&self, name: &str) -> bool {
        let mut parts = self.scenarios.iter();
        self.scenarios.is_empty() || parts.any(|part| name.contains(part))
    }
}

/// Takes what follows an option.
fn value<T>(
    option: &str,
    allowed: &str,
    given: Option<&&str>,
    read: impl FnOnce(&str) -> Option<T>,
) -> Result<T, String> {
    let found = given.map_or_else(|| "nothing".to_owned(), |given| format!("`{given}`"));
    let read = given.and_then(|given| read(given));
    read.ok_or_else(|| format!("{option} needs {allowed}, found {found}"))
}

fn number(text: &str) -> Option<u64> {
    text.parse().ok()
}

/// `N` is the seeds from 1 to N, `FROM-TO` those between.
fn seeds(text: &str) -> Option<RangeInclusive<u64>> {
    let (from, to) = text.split_once('-').unwrap_or(("1", text));
    let seeds = number(from)?..=number(to)?;
    (!seeds.is_empty()).then_some(seeds)
}

fn directory(option: &str, given: Option<&&str>) -> Result<PathBuf, String> {
    // Another option there is a directory that was forgotten.
    let is_one = |it: &str| (!it.starts_with('-')).then(|| it.into());
    value(option, "a directory", given, is_one)
}

fn peer(name: Option<&&str>) -> Result<Vec<String>, String> {
    let fault = match name {
        None => "--peer needs a name".to_owned(),
        Some(&"all") => return Ok(peers::NAMES.map(str::to_owned).into()),
        Some(name) if peers::make(name, 1).is_some() => return Ok(vec![(*name).to_owned()]),
        Some(name) => format!("no peer is called `{name}`"),
    };
    Err(format!("{fault}; known are all {PEERS}"))
}

/// Parts of names, each of which is in the name of a scenario.
fn scenario(parts: &str) -> Result<Vec<String>, String> {
    let known: Vec<_> = scenarios::all().into_iter().map(|it| it.name).collect();
    let parts = parts.split(',').filter(|part| !part.is_empty());
    let parts = parts.map(|part| match known.iter().any(|name| name.contains(part)) {
        true => Ok(part.to_owned()),
        false => Err(format!(
            "no scenario has `{part}` in its name; known are {}",
            known.join(" ")
        )),
    });
    parts.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named_with_what_does() {
        for (line, told) in [
            (&["--sumary"][..], "`--sumary`\nusage: sim"),
            (&["--peer"], "needs a name; known are all adaptive fixed-N"),
            (&["--peer", "nginx"], "`nginx`; known are all adaptive"),
            (&["--peer", "fixed-0"], "`fixed-0`; known are"),
            (&["--peer", "vegas+queu"], "`vegas+queu`; known are"),
            (&["--seed", "one"], "--seed needs a number, found `one`"),
            (&["--seeds"], "FROM-TO, the lower first, found nothing"),
            (
                &["--seeds", "0"],
                "from 1 on or FROM-TO, the lower first, found `0`",
            ),
            (&["--seeds", "9-3"], "found `9-3`"),
            (
                &["--svg", "--csv"],
                "--svg needs a directory, found `--csv`",
            ),
            (&["2x-poison"], "`2x-poison` in its name; known are "),
            (&["brownout,2x-poison"], "no scenario has `2x-poison`"),
            (&["--csv", "--summary"], "exclude each other\nusage: sim"),
            (&["--fleets", "there", "--csv"], "takes nothing else\nusage"),
        ] {
            let fault = Options::parse(line).expect_err("it makes no sense");
            assert!(fault.contains(told), "{fault}");
        }
    }

    #[test]
    fn scenarios_are_chosen_by_parts_of_their_names() {
        let chosen = |line: &[&str]| Options::parse(line).expect("it makes sense");
        let all = scenarios::all();
        let first = all[0].name.as_str();
        assert!(all.iter().all(|it| chosen(&[]).wants(&it.name)));
        for line in [&[first, "brownout"][..], &[&format!("brownout,{first}")]] {
            let chosen = chosen(line);
            assert!(chosen.wants(first) && chosen.wants("a-brownout"));
            assert!(!chosen.wants("anything else"));
        }
        assert_eq!(chosen(&["--seeds", "3"]).seeds, 1..=3);
        assert_eq!(chosen(&["--seeds", "5-5"]).seeds, 5..=5);
        assert_eq!(chosen(&["--peer", "all"]).peers, peers::NAMES);
    }
}
