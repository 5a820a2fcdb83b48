//! What can be typed after `bench serve`.

use std::time::Duration;

use super::{instructions, load::Until};
use crate::stack::options::no_runs;

const USAGE: &str = "usage: bench serve [--quick] [--json] [--runs N] [--instructions]";

/// How often each row is measured, if nobody says.
const RUNS: usize = 5;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Options {
    pub(super) quick: bool,
    pub(super) json: bool,
    /// Whether nothing but instructions is counted.
    pub(super) instructions_only: bool,
    pub(super) runs: usize,
}

impl Options {
    /// Reads the arguments; the error says which makes no sense and what does.
    pub(super) fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            quick: false,
            json: false,
            instructions_only: false,
            runs: 0,
        };
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--instructions" => options.instructions_only = true,
                "--runs" => options.runs = runs(rest.next())?,
                other => return Err(format!("unknown option `{other}`\n{USAGE}")),
            }
        }
        if options.runs == 0 {
            options.runs = if options.quick { 1 } else { RUNS };
        }
        Ok(options)
    }

    /// How long a window of load is. The quick ones end however slow the machine is.
    pub(super) const fn window(&self) -> Until {
        match self.quick {
            true => Until::Answered(256),
            false => Until::Passed(Duration::from_secs(1)),
        }
    }

    /// With how many worker threads the servers run.
    pub(super) const fn workers(&self) -> &'static [usize] {
        if self.quick { &[1] } else { &[1, 2] }
    }

    /// How many connections are opened to see what one costs.
    pub(super) const fn connections(&self) -> usize {
        if self.quick { 50 } else { 500 }
    }

    pub(super) fn counts_instructions(&self) -> bool {
        self.instructions_only || !self.quick && instructions::can_be_counted()
    }
}

fn runs(given: Option<&&str>) -> Result<usize, String> {
    let count = given.and_then(|count| count.parse().ok());
    let count = count.filter(|count| (1..=100).contains(count));
    count.ok_or_else(|| format!("{}\n{USAGE}", no_runs(given)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            (&["--quik"][..], "`--quik`"),
            (&["--runs", "0"], "from 1 to 100"),
            (&["--runs"], "from 1 to 100"),
        ] {
            let fault = Options::parse(line).expect_err("it makes no sense");
            assert!(fault.contains(named), "{fault}");
        }
        let chosen = Options::parse(&["--runs", "3", "--json"]).expect("it makes sense");
        assert_eq!((chosen.runs, chosen.json), (3, true));
    }
}
