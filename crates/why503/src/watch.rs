//! Stays, asks once a second, and explains the next failure when it comes.
//!
//! A 503 has usually gone when somebody looks. Until one comes this costs one request a second
//! and next to no processor time; when one comes everything is looked at, as in a single run, at
//! no more than one probe a second.

use std::time::Duration;

use steadfast_diagnosis::{Outcome, Path, Via};

use crate::{
    cli::Options,
    clock,
    doctor::{self, Report},
    exit,
    output::{self, Progress},
    probe::{Question, WAIT_MAX, ask},
    target::Target,
};

/// Between two probes.
const GAP: Duration = Duration::from_secs(1);

/// Asks until it fails, or until Ctrl-C.
pub(crate) async fn run(target: &Target, options: &Options) -> u8 {
    tokio::select! {
        report = failure(target, options) => {
            output::print(&report, options);
            report.code()
        }
        _ = tokio::signal::ctrl_c() => exit::WELL,
    }
}

async fn failure(target: &Target, options: &Options) -> Report {
    let since = clock::now();
    let progress = Progress::new(options);
    progress.say("watching");
    let mut tick = tokio::time::interval(GAP);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        let question = Question {
            target,
            via: Via::Given,
            path: Path::Given,
            headers: &options.headers,
            http: options.http,
            address: None,
            wait: WAIT_MAX,
        };
        let probe = ask(&question, since).await;
        let fails = match probe.outcome {
            Outcome::Answered(status) => status >= 500,
            Outcome::Grpc(status) => status != 0,
            _ => true,
        };
        if fails {
            tick.tick().await;
            let report = doctor::examine(target, options, GAP, Some(probe), &progress).await;
            progress.done();
            return report;
        }
    }
}
