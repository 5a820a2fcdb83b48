//! What can be typed after `bench harm` and `bench truth`.

use rollouts::command::named;

/// How often each situation is run, if nobody says.
const RUNS: usize = 3;

/// What was typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) quick: bool,
    pub(crate) json: bool,
    /// Whether to show what handlers failed with.
    pub(crate) why: bool,
    pub(crate) runs: usize,
    /// Only these; all, if none is named.
    named: Vec<String>,
}

impl Options {
    /// Reads what follows `bench BENCH`, whose situations are these; the error says which word
    /// makes no sense and what does.
    pub(crate) fn parse(bench: &str, known: &[&str], arguments: &[&str]) -> Result<Self, String> {
        let usage = format!(
            "usage: bench {bench} [--quick] [--json] [--why] [--runs N] [--situation NAME]..."
        );
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
                "--runs" => {
                    let given = rest.next();
                    let runs = given.and_then(|count| count.parse().ok());
                    let runs = runs.filter(|count| (1..=100).contains(count));
                    options.runs = runs.ok_or_else(|| format!("{}\n{usage}", no_runs(given)))?;
                }
                "--situation" => options.named.push(situation(rest.next(), known)?),
                other => return Err(format!("unknown option `{other}`\n{usage}")),
            }
        }
        if options.runs == 0 {
            options.runs = if options.quick { 1 } else { RUNS };
        }
        Ok(options)
    }

    /// Whether a situation of this name, which a quick run has or has not, is wanted.
    pub(crate) fn wants(&self, name: &str, is_quick: bool) -> bool {
        match self.named.as_slice() {
            [] => !self.quick || is_quick,
            named => named.iter().any(|wanted| wanted == name),
        }
    }
}

/// What is wrong with the number after `--runs`.
pub(crate) fn no_runs(given: Option<&&str>) -> String {
    let found = given.map_or_else(|| "nothing".to_owned(), |given| format!("`{given}`"));
    format!("--runs needs a number from 1 to 100, found {found}")
}

fn situation(name: Option<&&str>, known: &[&str]) -> Result<String, String> {
    let find = |it: &str| known.contains(&it).then(|| it.to_owned());
    named("situation", name, find, known)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [&str; 2] = ["sun", "snow"];

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            (&["--quik"][..], "`--quik`"),
            (&["--runs", "0"], "from 1 to 100, found `0`"),
            (&["--runs"], "from 1 to 100, found nothing"),
            (&["--situation", "rain"], "`rain`; known are sun snow"),
            (&["--situation"], "needs a name; known are sun snow"),
        ] {
            let fault = Options::parse("weather", &KNOWN, line).expect_err("it makes no sense");
            assert!(fault.contains(named), "{fault}");
        }
        let chosen = Options::parse("weather", &KNOWN, &["--situation", "snow", "--runs", "2"]);
        let chosen = chosen.expect("it makes sense");
        assert!(chosen.wants("snow", false) && !chosen.wants("sun", true));
        assert_eq!(chosen.runs, 2);
    }
}
