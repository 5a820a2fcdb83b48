//! The stages of a run, under one deadline.

use std::process::ExitCode;

use crate::{
    cli::Options,
    clock,
    collect::{Collected, Found, Job},
    dependency, exit, host, kubernetes, library, logs, proxy,
};

/// Examines what the options name.
pub(crate) fn run(options: &Options) -> ExitCode {
    let Some(target) = &options.target else {
        return ExitCode::from(exit::USAGE);
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let Ok(runtime) = runtime else {
        return ExitCode::FAILURE;
    };
    runtime.block_on(async {
        let found = Found::default();
        let job = Job {
            target,
            options,
            deadline: clock::now() + options.budget,
            found: &found,
        };
        collect(&job).await;
    });
    runtime.shutdown_background();
    ExitCode::from(exit::WELL)
}

async fn collect(job: &Job<'_>) -> Collected {
    let (library, host, proxy, kubernetes, dependency, logs) = tokio::join!(
        library::collect(job),
        host::collect(job),
        proxy::collect(job),
        kubernetes::collect(job),
        dependency::collect(job),
        logs::collect(job),
    );
    let mut all = Collected::default();
    for part in [library, host, proxy, kubernetes, dependency, logs] {
        all.extend(part);
    }
    all
}

/// The command `why503 explain`.
pub(crate) fn explain(id: &str) -> ExitCode {
    let _ = id;
    ExitCode::SUCCESS
}

/// The command `why503 runbook`.
pub(crate) fn runbook() -> ExitCode {
    ExitCode::SUCCESS
}
