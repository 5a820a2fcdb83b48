//! What can be typed after `cargo xtask`.

use std::{fmt::Display, str::FromStr};

/// The whole command line, for help and for whoever mistyped it.
pub(crate) const USAGE: &str = concat!(
    "\
usage: cargo xtask COMMAND [OPTION]...

commands:
  test      set the machine up, then run every check and every test
  verify    the same without servers and without installing; run it before each commit
  laws      only the checks of the source against the laws of ARCHITECTURE.md
  api       whether each published crate promises what its api.txt says
  package   build each published crate from its package alone
  mutants   seed faults into the core, one at a time, and print which its tests do not catch
  bench     measure beside the peers, see below
  scenarios make real faults with real programs, and print what the doctor says of each beside the
            runbook's commands: `scenarios [--quick] [--json] [--why] [--table] [--picture] [NAME]...`
  fuzz      give every parser of the doctor mutated inputs, 10 million each unless told
  help      this text

benchmarks; `--help` after each shows its line again:
",
    include_str!("../../crates/bench/src/usage.txt"),
    "  bench logs [--size 1G] [--json]
      how fast logs are attributed, beside `halog`

options of test:
  --no-install   name the programs that are missing instead of installing them
  --quick        run the tests only: no format, lint, documentation, feature, loom or law check

options of api:
  --write         write the texts anew
  --since COMMIT  whether one can upgrade from there, by cargo-semver-checks

options of fuzz:
  --inputs N     so many for each parser (10000000)

options of mutants:
  --sample N     so many faults, evenly over all there could be (300)
  --minutes N    at most so long; what was tried by then is the sample (60)
  --from N       begin with this one: another sample of the same size (0)

exit codes: 0 all is well, 1 a check failed, 2 the machine lacks something, 64 wrong usage"
);

/// A command line that makes sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Api(ApiOptions),
    /// What follows is the benchmark's own command line.
    Bench(Vec<String>),
    /// So many inputs for each parser.
    Fuzz(u64),
    Help,
    Laws,
    Mutants(MutantsOptions),
    Package,
    /// What follows is the scenarios' own command line.
    Scenarios(Vec<String>),
    Test(TestOptions),
    Verify,
}

/// What `api` may be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ApiOptions {
    /// Compare with what is written down.
    Compare,
    /// Write it down anew.
    Write,
    /// Compare with what a commit promises, and say whether one can upgrade from there.
    Since(String),
}

/// What `mutants` may be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MutantsOptions {
    pub(crate) sample: usize,
    pub(crate) minutes: u32,
    pub(crate) from: usize,
}

/// What `test` may be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TestOptions {
    pub(crate) no_install: bool,
    pub(crate) quick: bool,
}

impl Command {
    /// Reads the arguments after `cargo xtask`; the error says which one makes no sense.
    pub(crate) fn parse(arguments: &[String]) -> Result<Self, String> {
        let Some((name, rest)) = arguments.split_first() else {
            return Err("no command given".into());
        };
        let is_help = |it: &String| it == "--help" || it == "-h";
        // A benchmark has a help of its own.
        let is_its_own = name == "bench" && rest.first().is_some_and(|it| !is_help(it));
        if !is_its_own && rest.iter().any(is_help) {
            return Ok(Self::Help);
        }
        let none = |command| match rest.first() {
            None => Ok(command),
            Some(extra) => Err(format!("unknown option `{extra}`: {name} takes none")),
        };
        match name.as_str() {
            "test" => TestOptions::parse(rest).map(Self::Test),
            "verify" => none(Self::Verify),
            "fuzz" => match rest {
                [] => Ok(Self::Fuzz(FUZZ_INPUTS)),
                [option, count @ ..] if option == "--inputs" && count.len() < 2 => {
                    number(rest, 1).map(Self::Fuzz)
                }
                _ => Err(unknown(rest, &["--inputs"], "fuzz takes --inputs N")),
            },
            "laws" => none(Self::Laws),
            "api" => match rest {
                [] => Ok(Self::Api(ApiOptions::Compare)),
                [write] if write == "--write" => Ok(Self::Api(ApiOptions::Write)),
                [since, commit] if since == "--since" => {
                    Ok(Self::Api(ApiOptions::Since(commit.clone())))
                }
                [since] if since == "--since" => Err("`--since` takes a commit".into()),
                _ => Err(unknown(
                    rest,
                    &["--write", "--since"],
                    "api takes --write or --since COMMIT",
                )),
            },
            "package" => none(Self::Package),
            "mutants" => MutantsOptions::parse(rest).map(Self::Mutants),
            "bench" => Ok(Self::Bench(rest.to_vec())),
            "scenarios" => Ok(Self::Scenarios(rest.to_vec())),
            "help" | "--help" | "-h" => Ok(Self::Help),
            _ => Err(format!("unknown command `{name}`")),
        }
    }
}

impl MutantsOptions {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self {
            sample: 300,
            minutes: 60,
            from: 0,
        };
        for pair in arguments.chunks(2) {
            match pair[0].as_str() {
                "--sample" => options.sample = number(pair, 1)?,
                "--minutes" => options.minutes = number(pair, 1)?,
                "--from" => options.from = number(pair, 0)?,
                other => {
                    return Err(format!(
                        "unknown option `{other}`: mutants takes --sample, --minutes and --from"
                    ));
                }
            }
        }
        Ok(options)
    }
}

/// Reads the number after an option.
fn number<T: FromStr + PartialOrd + Display + Copy>(
    pair: &[String],
    least: T,
) -> Result<T, String> {
    let given = pair.get(1).map(String::as_str);
    let value = given.and_then(|given| given.parse().ok());
    value.filter(|number| *number >= least).ok_or_else(|| {
        let found = given.map_or_else(|| "nothing".to_owned(), |given| format!("`{given}`"));
        format!("`{}` takes a number from {least}, found {found}", pair[0])
    })
}

/// Says that the first option is not known; if it is, that they are too many.
fn unknown(options: &[String], known: &[&str], takes: &str) -> String {
    match options.first().filter(|it| !known.contains(&it.as_str())) {
        Some(other) => format!("unknown option `{other}`: {takes}"),
        None => format!("`{}` is too much: {takes}", options.join(" ")),
    }
}

/// What a parser has to survive before a release.
const FUZZ_INPUTS: u64 = 10_000_000;

impl TestOptions {
    fn parse(arguments: &[String]) -> Result<Self, String> {
        let mut options = Self::default();
        for argument in arguments {
            match argument.as_str() {
                "--no-install" => options.no_install = true,
                "--quick" => options.quick = true,
                _ => {
                    return Err(format!(
                        "unknown option `{argument}`: test takes --no-install and --quick"
                    ));
                }
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Command, String> {
        let arguments: Vec<String> = line.split_whitespace().map(Into::into).collect();
        Command::parse(&arguments)
    }

    #[test]
    fn options_are_read_in_any_order() {
        let both = TestOptions {
            no_install: true,
            quick: true,
        };
        assert_eq!(parse("test --quick --no-install"), Ok(Command::Test(both)));
        assert_eq!(parse("test"), Ok(Command::Test(TestOptions::default())));
        assert_eq!(parse("verify --help"), Ok(Command::Help));
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        for (line, named) in [
            ("", "no command"),
            ("tests", "`tests`"),
            (
                "test --quik",
                "`--quik`: test takes --no-install and --quick",
            ),
            ("verify --quick", "`--quick`: verify takes none"),
            ("fuzz --inputs many", "a number from 1, found `many`"),
            ("fuzz --inputs", "found nothing"),
            ("fuzz --inputs 0", "found `0`"),
            ("fuzz --input 3", "`--input`: fuzz takes --inputs N"),
            ("fuzz --inputs 3 4", "`--inputs 3 4` is too much"),
            ("api --read", "`--read`: api takes --write or --since"),
            ("api --since", "takes a commit"),
            ("api --write --since x", "too much: api takes"),
            ("mutants --sample x", "a number from 1, found `x`"),
        ] {
            let fault = parse(line).expect_err(line);
            assert!(fault.contains(named), "{fault}");
        }
    }

    #[test]
    fn a_sample_has_a_size_and_a_time() {
        let options = |sample, minutes, from| {
            Command::Mutants(MutantsOptions {
                sample,
                minutes,
                from,
            })
        };
        assert_eq!(parse("mutants"), Ok(options(300, 60, 0)));
        let all = parse("mutants --minutes 5 --sample 20 --from 7");
        assert_eq!(all, Ok(options(20, 5, 7)));
        for line in [
            "mutants --sample",
            "mutants --sample 0",
            "mutants --from x",
            "mutants --all 3",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }

    #[test]
    fn a_benchmark_has_a_help_of_its_own() {
        let own = ["rollouts".to_owned(), "--help".to_owned()];
        assert_eq!(
            parse("bench rollouts --help"),
            Ok(Command::Bench(own.to_vec()))
        );
        assert_eq!(parse("bench --help"), Ok(Command::Help));
        for option in [
            "--races",
            "--why",
            "--subject NAME",
            "--front NAME",
            "--watch",
        ] {
            assert!(USAGE.contains(option), "{option}");
        }
        assert!(USAGE.contains("\n  bench rollouts [") && USAGE.contains("\n  bench logs ["));
    }

    #[test]
    fn contributing_names_every_command() {
        let contributing = include_str!("../../CONTRIBUTING.md");
        for command in ["test", "verify", "laws", "api", "package", "mutants"] {
            assert!(USAGE.contains(&format!("\n  {command} ")), "{command}");
            assert!(contributing.contains(&format!("cargo xtask {command}")));
        }
    }
}
