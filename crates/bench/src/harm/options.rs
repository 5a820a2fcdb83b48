//! What can be typed after `bench harm`.

use super::situations::{self, Pace, Situation};

pub(crate) const USAGE: &str =
    "usage: bench harm [--quick] [--json] [--why] [--runs N] [--situation NAME]...";

/// How often each situation is measured, if nobody says.
const RUNS: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) quick: bool,
    pub(super) json: bool,
    /// Whether to show what handlers failed with.
    pub(super) why: bool,
    pub(super) runs: usize,
    /// Only these; all, if none is named.
    named: Vec<String>,
}

impl Options {
    /// Reads the arguments; the error says which makes no sense and what does.
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            json: false,
            why: false,
            runs: 0,
            named: Vec::new(),
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--why" => options.why = true,
                "--runs" => options.runs = runs(rest.next())?,
                "--situation" => options.named.push(named(rest.next())?),
                other => return Err(format!("unknown option `{other}`\n{USAGE}")),
            }
        }
        if options.runs == 0 {
            options.runs = if options.quick { 1 } else { RUNS };
        }
        Ok(options)
    }

    pub(super) const fn pace(&self) -> Pace {
        if self.quick { Pace::Quick } else { Pace::Full }
    }

    /// Returns what is to be measured.
    pub(super) fn situations(&self) -> Vec<Situation> {
        let all = situations::all().into_iter();
        all.filter(|it| match self.named.as_slice() {
            [] => !self.quick || it.quick,
            named => named.iter().any(|name| name == it.name),
        })
        .collect()
    }
}

fn runs(count: Option<&&str>) -> Result<usize, String> {
    let count = count.and_then(|count| count.parse().ok());
    let count = count.filter(|count| (1..=100).contains(count));
    count.ok_or_else(|| format!("--runs needs a number from 1 to 100\n{USAGE}"))
}

fn named(name: Option<&&str>) -> Result<String, String> {
    let name = name.ok_or("--situation needs a name")?;
    let known: Vec<&str> = situations::all().iter().map(|it| it.name).collect();
    if known.contains(name) {
        return Ok((*name).to_owned());
    }
    let known = known.join(" ");
    Err(format!(
        "no situation is called `{name}`; known are {known}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            (&["--quik"][..], "`--quik`"),
            (&["--runs", "0"], "from 1 to 100"),
            (&["--situation", "rain"], "`rain`"),
            (&["--situation"], "needs a name"),
        ] {
            let fault = Options::parse(line).expect_err("it makes no sense");
            assert!(fault.contains(named), "{fault}");
        }
        let chosen = Options::parse(&["--situation", "burst-200", "--runs", "2"]);
        let chosen = chosen.expect("it makes sense");
        assert_eq!(chosen.situations().len(), 1);
        assert_eq!(chosen.runs, 2);
    }
}
