//! What the application wants done on the way out, in order and in time.
//!
//! A hook that panics is an entry in the report; one that hangs is cut when the time of its
//! stage is over, and those behind it are not run. Neither can keep the process.

use std::{
    fmt,
    future::Future,
    pin::Pin,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use steadfast_core::{HookEnd, HookReport, HookStage};

use crate::clock;

/// Most hooks of one process. Each is run one after another inside a few seconds.
pub(crate) const HOOKS_MAX: usize = 64;

type Run = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What to do, by name.
struct Hook {
    name: Box<str>,
    stage: HookStage,
    run: Box<dyn FnOnce() -> Run + Send>,
}

/// The hooks that have not run yet, and what became of the others.
#[derive(Default)]
pub(crate) struct Hooks {
    waiting: Mutex<Vec<Hook>>,
    reports: Mutex<Vec<HookReport>>,
}

impl Hooks {
    /// Adds a hook behind those of its stage. Returns whether there was room.
    pub(crate) fn add<F, R>(&self, stage: HookStage, name: &str, hook: F) -> bool
    where
        F: FnOnce() -> R + Send + 'static,
        R: Future<Output = ()> + Send + 'static,
    {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.len() >= HOOKS_MAX {
            return false;
        }
        waiting.push(Hook {
            name: name.into(),
            stage,
            run: Box::new(move || Box::pin(hook())),
        });
        true
    }

    /// Runs the hooks of one stage, one after another, for at most this long together.
    pub(crate) async fn run(&self, stage: HookStage, time: Duration) {
        let until = clock::now() + time;
        while let Some(hook) = self.next(stage) {
            let began = clock::now();
            let end = if began >= until {
                HookEnd::NotRun
            } else {
                run_one(hook.run, until.into()).await
            };
            let took = clock::now().saturating_duration_since(began);
            if end != HookEnd::Done {
                let (hook, stage) = (&*hook.name, stage.as_str());
                tracing::warn!(target: "steadfast", hook, stage, ?took, "a hook ended badly: {end}");
            }
            let mut reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
            reports.push(HookReport::new(&hook.name, stage, end, took));
        }
    }

    /// Returns what became of those that had their turn.
    pub(crate) fn reports(&self) -> Vec<HookReport> {
        let reports = self.reports.lock().unwrap_or_else(PoisonError::into_inner);
        reports.clone()
    }

    fn next(&self, stage: HookStage) -> Option<Hook> {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let at = waiting.iter().position(|hook| hook.stage == stage)?;
        Some(waiting.remove(at))
    }
}

/// A hook is a task of its own, so that its panic is an answer.
async fn run_one(run: Box<dyn FnOnce() -> Run + Send>, until: tokio::time::Instant) -> HookEnd {
    let mut task = tokio::spawn(async move { run().await });
    match tokio::time::timeout_at(until, &mut task).await {
        Ok(Ok(())) => HookEnd::Done,
        Ok(Err(_)) => HookEnd::Panicked,
        Err(_) => {
            task.abort();
            HookEnd::TimedOut
        }
    }
}

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<_> = waiting.iter().map(|hook| &hook.name).collect();
        f.debug_struct("Hooks").field("waiting", &names).finish()
    }
}
