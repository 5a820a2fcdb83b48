//! What the application wants done on the way out, in order and in time.
//!
//! A hook that panics is an entry in the report; one that hangs is cut when the time of its
//! stage is over, and those behind it are not run. Neither can keep the process.

use std::{
    fmt,
    future::{Future, poll_fn},
    pin::{Pin, pin},
    sync::{Mutex, PoisonError},
    task::Poll,
};

use super::{HookEnd, HookReport, HookStage};
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

    /// Runs the hooks of one stage, one after another, until their time is over. Each has an
    /// entry in the report then, also the one that hung and those behind it.
    ///
    /// # Cancel safety
    /// Dropped, it leaves a hook running that no report names.
    pub(crate) async fn run(&self, stage: HookStage, over: impl Future<Output = ()>) {
        let mut over = pin!(over);
        let mut left = true;
        while let Some(hook) = self.next(stage) {
            let began = clock::now();
            left = left && poll_fn(|cx| Poll::Ready(over.as_mut().poll(cx).is_pending())).await;
            let end = if left {
                // A task of its own, so that its panic is an answer.
                let mut task = tokio::spawn(async move { (hook.run)().await });
                tokio::select! {
                    biased;
                    ended = &mut task => ended.map_or(HookEnd::Panicked, |()| HookEnd::Done),
                    () = &mut over => {
                        task.abort();
                        left = false;
                        HookEnd::TimedOut
                    }
                }
            } else {
                HookEnd::NotRun
            };
            let took = clock::now().saturating_duration_since(began);
            if end != HookEnd::Done {
                let (hook, stage) = (&*hook.name, stage.as_str());
                tracing::warn!(target: crate::log::DRAIN, hook, stage, ?took, "a hook ended badly: {end}");
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

impl fmt::Debug for Hooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        let names: Vec<_> = waiting.iter().map(|hook| &hook.name).collect();
        f.debug_struct("Hooks").field("waiting", &names).finish()
    }
}
