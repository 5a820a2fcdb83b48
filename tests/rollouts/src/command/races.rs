//! `bench rollouts --races`: every race against every way to serve, as a table.

use std::{process::ExitCode, sync::Arc};

use crate::{
    backend::Program,
    races::{Race, Seen},
    subject::Kind,
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Races at a time: most of one is waiting for an exit.
const LANES: u32 = 4;

/// Drives all and prints them. It fails if ours does not pass one.
pub(super) async fn run(program: &Program, subject: Option<Kind>, json: bool) -> ExitCode {
    let lanes = Arc::new(Semaphore::new(LANES as usize));
    let mut running = JoinSet::new();
    for race in Race::ALL {
        for kind in Kind::ALL {
            if subject.is_some_and(|it| it != kind) {
                continue;
            }
            let (lanes, program) = (Arc::clone(&lanes), program.clone());
            running.spawn(async move {
                // The one that needs every file a process may have runs alone.
                let wanted = if race == Race::IdleMany { LANES } else { 1 };
                let _lanes = lanes.acquire_many_owned(wanted).await;
                race.drive(kind, &program, false).await
            });
        }
    }
    let mut all: Vec<Seen> = Vec::new();
    while let Some(seen) = running.join_next().await {
        all.push(seen.expect("a race says what is wrong with it"));
    }
    all.sort_by_key(|seen| (seen.race, seen.subject));
    let mut race = None;
    for seen in &all {
        if json {
            println!("{}", seen.json());
            continue;
        }
        if race != Some(seen.race) {
            race = Some(seen.race);
            println!("{}", seen.race.name());
        }
        println!("    {:<12} {}", seen.subject.name(), seen.text());
    }
    let passes = all
        .iter()
        .filter(|seen| seen.subject == Kind::Ours)
        .all(Seen::passes);
    if passes {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
