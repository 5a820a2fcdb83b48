//! What was written down: access and error logs of proxies and servers, attributed line by line.
//!
//! `why503 logs FILE…` reads whole files and prints a histogram; as a collector it reads the tail
//! of the files that the options name.

use std::process::ExitCode;

use crate::{
    cli::LogsArgs,
    collect::{Collected, Job},
};

/// Looks at the logs that the options name.
pub(crate) async fn collect(job: &Job<'_>) -> Collected {
    let _ = job;
    Collected::default()
}

/// The command `why503 logs`.
pub(crate) fn run(args: &LogsArgs) -> ExitCode {
    let _ = args;
    ExitCode::SUCCESS
}
