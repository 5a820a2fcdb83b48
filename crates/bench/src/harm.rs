//! `bench harm [--quick] [--json] [--why] [--runs N] [--situation NAME]...`: what the guard makes
//! worse.
//!
//! Each situation is one application twice, on the bare pool and on the guarded one, with
//! defaults only, in front of real servers and under the same load in the same run. What is
//! held against it is law 10: the guarded one serves at least what the bare one serves while
//! the client waits ([`crate::stack::PATIENCE`]), nearly as fast, and where the bare one
//! fails, it fails sooner and says why. Situations in which hardly anything runs put both
//! under load at once; the others take turns, and begin in turns.
//!
//! Loopback only; every server is a child process that ends with this one.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures real servers, on the real clock"
)]

mod figures;
mod places;
mod report;
mod restarts;
mod situations;

use std::{io, process::ExitCode, sync::Arc};

use figures::Row;
use places::Places;
pub(crate) use restarts::serve;
use situations::{Pace, Situation};

use crate::stack::{Side, options::Options};

/// Runs the benchmark.
pub(crate) fn main(arguments: &[&str]) -> ExitCode {
    let known: Vec<&str> = situations::all().iter().map(|it| it.name).collect();
    let options = match Options::parse("harm", &known, arguments) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(64);
        }
    };
    if options.why {
        crate::stack::log_failures();
    }
    match crate::stack::block_on(measure_all(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench harm: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn measure_all(options: &Options) -> io::Result<()> {
    let places = Arc::new(Places::default());
    let mut rows = Vec::new();
    let pace = if options.quick {
        Pace::Quick
    } else {
        Pace::Full
    };
    let all = situations::all().into_iter();
    for situation in all.filter(|it| options.wants(it.name, it.quick)) {
        let mut runs = Vec::new();
        for run in 0..options.runs {
            eprintln!("{}, run {} of {}", situation.name, run + 1, options.runs);
            let bare_first = run % 2 == 0;
            runs.push(measure(&situation, &places, pace, bare_first).await);
        }
        let row = Row::new(&situation, &runs);
        if options.json {
            println!("{}", row.json());
        }
        rows.push(row);
    }
    if !options.json {
        report::print(&rows, options);
    }
    Ok(())
}

/// Puts both under the same load; returns what came of the bare one and of the guarded one.
async fn measure(
    situation: &Situation,
    places: &Arc<Places>,
    pace: Pace,
    bare_first: bool,
) -> [figures::Seen; 2] {
    // In tasks of their own, so that neither waits for what blocks the other.
    let run = |side| {
        let seen = (situation.run)(Arc::clone(places), side, pace);
        let task = tokio::spawn(seen);
        async move { task.await.expect("a situation runs to its end") }
    };
    if situation.together {
        let (bare, guarded) = (run(Side::Bare), run(Side::Guarded));
        return [bare.await, guarded.await];
    }
    if bare_first {
        let bare = run(Side::Bare).await;
        [bare, run(Side::Guarded).await]
    } else {
        let guarded = run(Side::Guarded).await;
        [run(Side::Bare).await, guarded]
    }
}
