//! `bench overhead [--json]`: what a request costs with and without each guard.
//!
//! Every row is measured in one process and one run. *ns* is the median of [`ROUNDS`]
//! rounds of [`CALLS`] calls, the rows taking turns; *2 threads* the same with two threads
//! that share the service's state; *instructions* come from callgrind (`valgrind
//! --tool=callgrind`), one run of this program for each row, *allocations* from memcheck's
//! heap summary. *Own* is what is left without the row's base, and *ratio* how many times
//! as much a call costs when a second thread shares the state. A peer's version is pinned
//! in the manifest. Without valgrind the columns that it fills are empty.

use std::{collections::BTreeMap, process::ExitCode};

use crate::{
    callgrind,
    rows::{self, Row},
    timing,
};

/// Rounds of a timing; odd, so that the median is one of them.
const ROUNDS: usize = 21;

/// Calls in a round: long against the clock's resolution, short against a scheduler's slice.
const CALLS: u32 = 20_000;

/// What was measured of one row.
#[derive(Clone, Copy, Debug)]
struct Figures {
    ns: f64,
    ns_2_threads: f64,
    instructions: Option<u64>,
    allocations: Option<f64>,
}

impl Figures {
    fn ratio(&self) -> f64 {
        self.ns_2_threads / self.ns
    }
}

/// What a row costs more than its base. It can be negative, because a refused call does
/// not run what the base runs.
#[derive(Clone, Copy, Debug)]
struct Own {
    ns: f64,
    instructions: Option<i64>,
}

impl Own {
    fn of(row: &Figures, base: &Figures) -> Self {
        let instructions = row.instructions.zip(base.instructions);
        Self {
            ns: row.ns - base.ns,
            instructions: instructions.map(|(row, base)| row as i64 - base as i64),
        }
    }
}

/// Measures every row and prints it.
pub(crate) fn command(json: bool) -> ExitCode {
    let rows = rows::all();
    if !json {
        println!(
            "{:<40} {:>8} {:>8} {:>10} {:>6} {:>13} {:>8} {:>12}",
            "row", "ns", "own", "2 threads", "ratio", "instructions", "own", "allocations"
        );
    }
    let times = timing::medians(&rows, ROUNDS, CALLS);
    let mut measured: BTreeMap<&str, Figures> = BTreeMap::new();
    for (row, (ns, ns_2_threads)) in rows.into_iter().zip(times) {
        let figures = Figures {
            ns,
            ns_2_threads,
            instructions: callgrind::per_call(row),
            allocations: callgrind::allocations_per_call(row),
        };
        measured.insert(row.name(), figures);
        let base = row.base().and_then(|base| measured.get(base));
        let own = base.map(|base| Own::of(&figures, base));
        if json {
            print_line(row, &figures, own);
        } else {
            print_row(row, &figures, own);
        }
    }
    ExitCode::SUCCESS
}

fn print_line(row: Row, figures: &Figures, own: Option<Own>) {
    println!(
        "{}",
        serde_json::json!({
            "bench": "overhead", "row": row.name(), "peer": row.peer(), "base": row.base(),
            "ns": figures.ns, "ns_2_threads": figures.ns_2_threads,
            "ratio_2_threads": figures.ratio(), "instructions": figures.instructions,
            "allocations": figures.allocations, "own_ns": own.map(|own| own.ns),
            "own_instructions": own.and_then(|own| own.instructions),
        })
    );
}

fn print_row(row: Row, figures: &Figures, own: Option<Own>) {
    let shown = |number: Option<String>| number.unwrap_or_else(|| "-".to_owned());
    println!(
        "{:<40} {:>8.0} {:>8} {:>10.0} {:>6.1} {:>13} {:>8} {:>12}",
        row.name(),
        figures.ns,
        shown(own.map(|own| format!("{:.0}", own.ns))),
        figures.ns_2_threads,
        figures.ratio(),
        shown(figures.instructions.map(|count| count.to_string())),
        shown(
            own.and_then(|own| own.instructions)
                .map(|count| count.to_string())
        ),
        shown(figures.allocations.map(|count| format!("{count:.1}"))),
    );
}
