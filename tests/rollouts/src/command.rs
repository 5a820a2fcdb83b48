//! `bench rollouts`: rolling restarts under load, every way of serving in one run.
//!
//! This program is also the servers: started with [`SUBJECT`] it is one of them.

mod races;

use std::{process::ExitCode, time::Duration};

use crate::{
    backend::Program,
    front::Front,
    run::{Outcome, Plan, rollout},
    subject::Kind,
    table,
    tally::Row,
};
use tokio::{
    runtime::Builder,
    sync::Semaphore,
    task::JoinSet,
    time::{Instant, timeout},
};

/// The argument that makes this program a server.
pub const SUBJECT: &str = "rollouts-subject";

/// Rollouts that run at a time: most of a restart is waiting.
const LANES: usize = 4;

/// Restarts of ours in one rollout behind a proxy, in all and with `--quick`. There are two
/// such rollouts for each proxy, so in all each proxy sees 200 of them.
const OURS: (u32, u32) = (100, 4);

/// Restarts of everything else; enough to see the rate of a loss.
const OTHERS: (u32, u32) = (12, 4);

/// Requests between two restarts of ours, in all and with `--quick`: 200,000 for each proxy.
const OURS_EACH: (u32, u32) = (1_000, 300);

/// Requests between two restarts of everything else.
const OTHERS_EACH: (u32, u32) = (500, 300);

/// Requests a second of one rollout, in all and with `--quick`.
const RATE_PER_SEC: (u32, u32) = (400, 200);

/// The whole benchmark never takes longer.
const RUN_MAX: Duration = Duration::from_secs(60 * 60);

/// What can be typed after `bench rollouts`.
const USAGE: &str =
    "usage: bench rollouts [--quick] [--json] [--why] [--subject NAME] [--front NAME]
       bench rollouts --races [--json] [--subject NAME]";

/// Runs what the arguments after `rollouts` ask for.
///
/// # Errors
/// They make no sense: which, and what would.
///
/// # Panics
/// A subject or a front does not come up.
pub fn run(arguments: &[&str]) -> Result<ExitCode, String> {
    let options = Options::parse(arguments)?;
    let runtime = Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.expect("a process may have threads");
    let done = runtime.block_on(async { timeout(RUN_MAX, options.measure()).await });
    Ok(done.unwrap_or_else(|_| {
        eprintln!("the benchmark is not done after {RUN_MAX:?}");
        ExitCode::FAILURE
    }))
}

/// Finds what an option names.
///
/// # Errors
/// It names nothing that is known: what was found, and what is known.
pub fn named<T>(
    what: &str,
    name: Option<&&str>,
    find: impl FnOnce(&str) -> Option<T>,
    known: &[&str],
) -> Result<T, String> {
    let fault = match name {
        None => format!("--{what} needs a name"),
        Some(name) => match find(name) {
            Some(found) => return Ok(found),
            None => format!("no {what} is called `{name}`"),
        },
    };
    Err(format!("{fault}; known are {}", known.join(" ")))
}

#[derive(Clone, Copy, Debug, Default)]
struct Options {
    quick: bool,
    json: bool,
    /// Whether single races are driven instead.
    races: bool,
    /// Whether losses are described.
    why: bool,
    subject: Option<Kind>,
    front: Option<Front>,
}

impl Options {
    fn parse(arguments: &[&str]) -> Result<Self, String> {
        let mut options = Self::default();
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match *argument {
                "--quick" => options.quick = true,
                "--json" => options.json = true,
                "--races" => options.races = true,
                "--why" => options.why = true,
                "--subject" => {
                    let known = Kind::ALL.map(Kind::name);
                    options.subject = Some(named("subject", rest.next(), Kind::named, &known)?);
                }
                "--front" => {
                    let known = Front::ALL.map(Front::name);
                    options.front = Some(named("front", rest.next(), Front::named, &known)?);
                }
                other => return Err(format!("unknown option `{other}`\n{USAGE}")),
            }
        }
        // Taken and not kept to, they would be worse than refused.
        let unmet = [
            ("--quick", options.quick),
            ("--why", options.why),
            ("--front", options.front.is_some()),
        ];
        match unmet.iter().find(|(_, given)| options.races && *given) {
            Some((option, _)) => Err(format!(
                "--races takes no {option}: a race is driven without a proxy, always in full, \
                 and says what it saw\n{USAGE}"
            )),
            None => Ok(options),
        }
    }

    fn plans(self) -> Vec<Plan> {
        let pick = |(all, quick)| if self.quick { quick } else { all };
        let fronts = Front::ALL.into_iter();
        let fronts = fronts.filter(|front| self.front.is_none_or(|it| it == *front));
        let all = fronts.flat_map(|front| {
            let kinds = Kind::ALL.into_iter();
            let kinds = kinds.filter(|kind| self.subject.is_none_or(|it| it == *kind));
            kinds.flat_map(move |subject| {
                let proof = subject == Kind::Ours && front.can_be_lossless();
                let plan = Plan {
                    first_check: Duration::ZERO,
                    subject,
                    front,
                    restarts: pick(if proof { OURS } else { OTHERS }),
                    requests_each: pick(if proof { OURS_EACH } else { OTHERS_EACH }),
                    rate_per_sec: pick(RATE_PER_SEC),
                };
                // The others have two profiles, these one.
                let twice = proof && matches!(front, Front::Nginx | Front::Envoy);
                vec![plan; if twice { 2 } else { 1 }]
            })
        });
        let mut all: Vec<_> = all.collect();
        // The longest first, so that no lane has one of them alone at the end.
        all.sort_by_key(|plan| std::cmp::Reverse(plan.restarts));
        all
    }

    async fn measure(self) -> ExitCode {
        let program = Program {
            path: std::env::current_exe().expect("this program is a file"),
            arguments: vec![SUBJECT.to_owned()],
        };
        if self.races {
            return races::run(&program, self.subject, self.json).await;
        }
        let began = Instant::now();
        let lanes = std::sync::Arc::new(Semaphore::new(LANES));
        let mut running = JoinSet::new();
        for plan in self.plans() {
            let (lanes, program) = (std::sync::Arc::clone(&lanes), program.clone());
            running.spawn(async move {
                let _lane = lanes.acquire_owned().await;
                let outcome = rollout(plan, &program).await;
                (plan, outcome)
            });
        }
        let mut outcomes = Vec::new();
        while let Some(done) = running.join_next().await {
            let (plan, outcome) = done.expect("a rollout says what is wrong with it");
            eprintln!(
                "{:>4.0?} {} behind {}: done",
                began.elapsed(),
                plan.subject.name(),
                plan.front.name()
            );
            outcomes.push((plan, outcome));
        }
        outcomes.sort_by_key(|(plan, _)| (plan.front, plan.subject));
        let agree = self.explain(&outcomes);
        let rows = sums(&outcomes);
        self.print(&rows);
        let mut proven = rows
            .iter()
            .filter(|row| row.subject == Kind::Ours && row.front.can_be_lossless());
        let lost = !agree || proven.any(|row| row.bad() + row.refused > 0);
        if lost {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        }
    }

    fn print(self, rows: &[Row]) {
        if !self.json {
            println!("{}", table::heading());
        }
        for row in rows {
            if self.json {
                println!("{}", row.json());
            } else {
                println!("{}", table::line(row));
            }
        }
    }

    /// Says where reports and clients differ, and, if asked, what each loss was. Returns
    /// whether the reports of ours agree wherever nothing can be lost on the way.
    fn explain(self, outcomes: &[(Plan, Outcome)]) -> bool {
        let mut reports = 0;
        let mut agree = 0;
        for (plan, outcome) in outcomes {
            if self.why {
                for line in &outcome.described {
                    eprintln!("{} {}: {line}", plan.subject.name(), plan.front.name());
                }
            }
            if !plan.front.can_be_lossless() {
                continue;
            }
            reports += outcome.accounts.len();
            for account in &outcome.accounts {
                if account.agrees() {
                    agree += 1;
                } else {
                    eprintln!(
                        "{}: report and clients differ: {account:?}",
                        plan.front.name()
                    );
                }
            }
        }
        if reports > 0 {
            eprintln!("{agree} of {reports} drain reports agree with what the clients have");
        }
        agree == reports
    }
}

/// Adds up the rollouts of the same kind.
fn sums(outcomes: &[(Plan, Outcome)]) -> Vec<Row> {
    let mut sums: Vec<Row> = Vec::new();
    for row in outcomes.iter().flat_map(|(_, outcome)| &outcome.rows) {
        match sums.iter_mut().find(|sum| sum.is_of_the_kind_of(row)) {
            Some(sum) => sum.add(row),
            None => sums.push(row.clone()),
        }
    }
    sums
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_makes_no_sense_is_named_with_what_does() {
        for (line, told) in [
            (&["--quik"][..], "`--quik`\nusage: bench rollouts"),
            (
                &["--subject"],
                "--subject needs a name; known are steadfast",
            ),
            (&["--subject", "nginx"], "`nginx`; known are steadfast"),
            (&["--front", "apache"], "`apache`; known are"),
            (
                &["--races", "--front", "nginx"],
                "--races takes no --front: a race is driven without a proxy",
            ),
            (&["--quick", "--races"], "--races takes no --quick"),
            (&["--races", "--why"], "--races takes no --why"),
        ] {
            let fault = Options::parse(line).expect_err("it makes no sense");
            assert!(fault.contains(told), "{fault}");
        }
        let races = Options::parse(&["--races", "--subject", "steadfast", "--json"]);
        assert!(races.is_ok_and(|it| it.races && it.json && it.subject == Some(Kind::Ours)));
    }
}
