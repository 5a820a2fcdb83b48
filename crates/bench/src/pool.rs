//! `bench pool [--quick] [--json]`: what a connection of a guarded pool costs beside one of the
//! bare pool.
//!
//! One server of each kind; the bare and the guarded pool have [`CONNECTIONS`] each and take
//! turns, a round each, with [`CLIENTS`] clients that ask again as soon as they are answered. So
//! the processors are full, and what the guard takes of them is what its clients lack: *ratio* is
//! what the guarded pool answers of what the bare one does in the round beside it, in the median
//! and in the worst round. *Instructions* are those of the client's process alone, for one client
//! on one thread (callgrind), and missing where there is no valgrind; they differ by some
//! thousands with how often the client has to sleep until the server has answered.

mod asks;

use std::{io, process::ExitCode, time::Duration};

use serde_json::json;

use crate::{callgrind, clock, stack::Side};

pub(crate) use asks::main as child;
use asks::{Asks, Way};

/// Of each pool: the default of sqlx.
const CONNECTIONS: u32 = 10;

/// More than there are connections, and so few that nobody waits for long.
const CLIENTS: usize = 32;

/// Rounds and how long each is; odd, so that the median is one of them.
#[derive(Clone, Copy)]
struct Plan {
    rounds: usize,
    secs: f64,
    counts: bool,
}

const WHOLE: Plan = Plan {
    rounds: 11,
    secs: 1.0,
    counts: true,
};

const QUICK: Plan = Plan {
    rounds: 1,
    secs: 0.1,
    counts: false,
};

/// What was measured of one way to ask.
struct Row {
    way: Way,
    /// Answers a second, by round.
    rates: [Vec<f64>; 2],
    instructions: [Option<u64>; 2],
}

/// Runs the benchmark.
pub(crate) fn main(is_quick: bool, as_json: bool) -> ExitCode {
    let plan = if is_quick { QUICK } else { WHOLE };
    match measure(plan, as_json) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench pool: {error}");
            ExitCode::FAILURE
        }
    }
}

fn measure(plan: Plan, as_json: bool) -> io::Result<()> {
    let postgres = support::Postgres::builder().start();
    let redis = support::Redis::builder().start();
    if !as_json {
        println!(
            "{:<20} {:>9} {:>11} {:>6} {:>6} {:>13} {:>8} {:>6}",
            "way", "bare/s", "guarded/s", "ratio", "worst", "instructions", "guarded", "own"
        );
    }
    for way in Way::ALL {
        let url = match way.is_redis() {
            true => redis.url(),
            false => postgres.admin_url(),
        };
        eprintln!("{}", way.name());
        let row = Row::measure(way, &url, plan)?;
        if as_json {
            println!("{}", row.json());
        } else {
            row.print();
        }
    }
    Ok(())
}

impl Row {
    fn measure(way: Way, url: &str, plan: Plan) -> io::Result<Self> {
        let runtime = tokio::runtime::Runtime::new()?;
        let sides = [Side::Bare, Side::Guarded];
        let asks = sides.map(|side| runtime.block_on(Asks::new(way, side, url, CONNECTIONS)));
        let mut rates = [Vec::new(), Vec::new()];
        // The first round warms up.
        for round in 0..=plan.rounds {
            for (asks, rates) in asks.iter().zip(&mut rates) {
                let rate = runtime.block_on(rate(asks, plan.secs));
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        let count = |side: Side| {
            let asked = |calls: u64| {
                let calls = calls.to_string();
                ["pool-asks", way.name(), side.name(), url, &calls].map(str::to_owned)
            };
            let counted = plan.counts.then(|| callgrind::instructions(asked));
            counted.flatten()
        };
        Ok(Self {
            way,
            rates,
            instructions: sides.map(count),
        })
    }

    /// What the guarded pool answers of what the bare one does, the least first.
    fn ratios(&self) -> Vec<f64> {
        let [bare, guarded] = &self.rates;
        let mut ratios: Vec<_> = guarded.iter().zip(bare).map(|(g, b)| g / b).collect();
        ratios.sort_by(f64::total_cmp);
        ratios
    }

    fn own_instructions(&self) -> Option<i64> {
        let [bare, guarded] = self.instructions;
        Some(guarded? as i64 - bare? as i64)
    }

    fn json(&self) -> serde_json::Value {
        let ratios = self.ratios();
        json!({
            "bench": "pool", "way": self.way.name(),
            "bare_per_s": median(&self.rates[0]).round(),
            "guarded_per_s": median(&self.rates[1]).round(),
            "ratio": median(&ratios), "ratio_worst": ratios.first(),
            "instructions_bare": self.instructions[0],
            "instructions_guarded": self.instructions[1],
            "own_instructions": self.own_instructions(),
        })
    }

    fn print(&self) {
        let shown = |count: Option<String>| count.unwrap_or_else(|| "-".to_owned());
        let [bare, guarded] = self.instructions;
        let ratios = self.ratios();
        println!(
            "{:<20} {:>9.0} {:>11.0} {:>6.2} {:>6.2} {:>13} {:>8} {:>6}",
            self.way.name(),
            median(&self.rates[0]),
            median(&self.rates[1]),
            median(&ratios),
            ratios.first().copied().unwrap_or_default(),
            shown(bare.map(|it| it.to_string())),
            shown(guarded.map(|it| it.to_string())),
            shown(self.own_instructions().map(|it| it.to_string())),
        );
    }
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

/// What came of a client's questions in one round.
#[derive(Debug, Default)]
struct Asked {
    answers: u32,
    in_vain: u32,
    /// Why there was no answer, last.
    why: Option<String>,
}

impl Asked {
    /// Asks until then, and once at least, however late it begins.
    async fn until(until: std::time::Instant, asks: Asks) -> Self {
        let mut asked = Self::default();
        loop {
            match asks.ask().await {
                Ok(()) => asked.answers += 1,
                Err(why) => {
                    asked.in_vain += 1;
                    asked.why = Some(why);
                }
            }
            if clock::now() >= until {
                return asked;
            }
        }
    }
}

/// Answers a second that all clients have together.
async fn rate(asks: &Asks, secs: f64) -> f64 {
    let began = clock::now();
    let until = began + Duration::from_secs_f64(secs);
    let clients = (0..CLIENTS).map(|_| tokio::spawn(Asked::until(until, asks.clone())));
    let clients: Vec<_> = clients.collect();
    let mut all = Asked::default();
    for client in clients {
        let asked = client.await.expect("a client does not panic");
        all.answers += asked.answers;
        all.in_vain += asked.in_vain;
        all.why = asked.why.or(all.why);
    }
    if let Some(why) = all.why {
        let count = all.in_vain;
        eprintln!("bench pool: {count} questions of a round had no answer; the last: {why}");
    }
    f64::from(all.answers) / clock::secs_since(began)
}
