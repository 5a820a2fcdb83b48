//! `bench truth [--quick] [--json] [--why] [--runs N] [--situation NAME]...`: what is said of a
//! dependency that fails, and when.
//!
//! Each situation is the guarded application with defaults, in front of a real server that is
//! harmed and healed while requests come. `/health/` is read twenty times a second: how long
//! until it says so ([`mod@watch`]), with which reason, how many requests failed after that
//! without one, how long until all are served again, and whether anybody was accused who had
//! done nothing. What is held against it is law 11. Several situations are watched at a time,
//! since hardly anything runs in any.

#![allow(
    clippy::disallowed_methods,
    reason = "it measures real servers, on the real clock"
)]

mod figures;
mod report;
mod situations;
mod watch;

use std::{io, process::ExitCode, sync::Arc};

use figures::Row;
use situations::Situation;
use tokio::{sync::Semaphore, task::JoinSet};

use crate::stack::options::Options;

/// So many situations are watched at once.
const AT_ONCE: usize = 8;

/// Runs the benchmark.
pub(crate) fn main(arguments: &[&str]) -> ExitCode {
    let known: Vec<&str> = situations::all().iter().map(|it| it.name).collect();
    let options = match Options::parse("truth", &known, arguments) {
        Ok(options) => options,
        Err(fault) => {
            eprintln!("{fault}");
            return ExitCode::from(64);
        }
    };
    if options.why {
        crate::stack::log_failures();
    }
    match crate::stack::block_on(watch_all(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench truth: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn watch_all(options: &Options) -> io::Result<()> {
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let mut all = JoinSet::new();
    let situations: Vec<Situation> = situations::all()
        .into_iter()
        .filter(|it| options.wants(it.name, it.quick))
        .collect();
    for (at, situation) in situations.iter().enumerate() {
        let (situation, room, runs) = (situation.clone(), Arc::clone(&room), options.runs);
        all.spawn(async move { (at, watch(&situation, &room, runs).await) });
    }
    let mut rows = Vec::new();
    let mut broken = Ok(());
    while let Some(row) = all.join_next().await {
        let (at, row) = match row {
            Ok(row) => row,
            // The others are worth seeing all the same.
            Err(error) => {
                broken = Err(io::Error::other(error));
                continue;
            }
        };
        eprintln!("{} is over", row.name);
        if options.json {
            println!("{}", row.json());
        }
        rows.push((at, row));
    }
    rows.sort_by_key(|(at, _)| *at);
    if !options.json {
        let rows: Vec<Row> = rows.into_iter().map(|(_, row)| row).collect();
        report::print(&rows, options);
    }
    broken
}

async fn watch(situation: &Situation, room: &Semaphore, runs: usize) -> Row {
    let mut seen = Vec::new();
    for _ in 0..runs {
        let _place = room.acquire().await.expect("it is never closed");
        seen.push((situation.run)().await);
    }
    Row::new(situation, &seen)
}
