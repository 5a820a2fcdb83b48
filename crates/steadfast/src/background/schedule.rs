//! The loop that asks one dependency, again and again.

use std::{
    future::Future,
    panic::AssertUnwindSafe,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use steadfast_core::{
    CheckOutcome, CheckRun, CheckStatus, Deadline, FailureClass, plumbing::HealthChange,
};
use tokio::{
    runtime::{Handle, RuntimeFlavor},
    task::{JoinError, JoinHandle},
};

use crate::instance::readiness::Readiness;
use crate::{
    clock,
    dependency::{Ask, Dependency},
};

/// Asks every dependency at once, and from then on each at its own pace, for ever. The
/// caller owns the tasks and ends them by aborting them.
pub(crate) fn run_checks(ready: &Arc<Readiness>) -> Vec<JoinHandle<()>> {
    let spawn = |dependency: &Dependency| {
        let check = dependency.check()?;
        let asking = ask_for_ever(Arc::clone(ready), dependency.clone(), check);
        Some(tokio::spawn(asking))
    };
    ready.dependencies.iter().filter_map(spawn).collect()
}

async fn ask_for_ever(ready: Arc<Readiness>, dependency: Dependency, check: Arc<dyn Ask>) {
    let mut first = true;
    loop {
        let began = clock::now();
        if let Some(wait) = dependency.state().traffic_vouches(began, fastrand::u64(..)) {
            ready.publish();
            pause(&dependency, wait).await;
            continue;
        }
        let (_, settings) = dependency.settings();
        let run = CheckRun::new(Deadline::at(began + settings.timeout)).first(first);
        first = false;
        let mut running = Running(tokio::spawn(Apart(Arc::clone(&check).ask(run))));
        let outcome = running.answer(run, settings.timeout).await;
        let cut = !running.0.is_finished();
        let wait = record(&ready, &dependency, outcome, began);
        if cut {
            // Single flight: a check that blocks its thread is not started again before it
            // has come back. Its state goes stale meanwhile, and says so by name.
            running.gone().await;
        }
        pause(&dependency, wait).await;
    }
}

/// Waits until the next run, or until calls begin to fail or to wait: then the check is asked
/// at once, because it knows whether the dependency does not answer anybody.
async fn pause(dependency: &Dependency, wait: Duration) {
    let began = clock::now();
    let was_doubted = dependency.state().is_doubted(began);
    let (_, settings) = dependency.settings();
    loop {
        let now = clock::now();
        let waited = now.saturating_duration_since(began);
        let is_news = !was_doubted
            && waited >= settings.interval_failing
            && dependency.state().is_doubted(now);
        if waited >= wait || is_news {
            return;
        }
        tokio::time::sleep(LOOK_EVERY.min(wait - waited)).await;
    }
}

/// How often the scheduler looks whether calls begin to fail.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A check that may block its thread. On a runtime of several threads the worker's work is
/// handed to another thread first: a blocked worker can be the one that holds the runtime's
/// driver, and then no timer and no socket of the process would move, the scheduler's own
/// included. On a runtime of one thread nobody can help; the probe listener says so.
struct Apart(Pin<Box<dyn Future<Output = CheckOutcome> + Send>>);

impl Future for Apart {
    type Output = CheckOutcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<CheckOutcome> {
        if Handle::current().runtime_flavor() == RuntimeFlavor::MultiThread {
            tokio::task::block_in_place(|| self.0.as_mut().poll(cx))
        } else {
            self.0.as_mut().poll(cx)
        }
    }
}

/// One run. Dropped, it is cut.
struct Running(JoinHandle<CheckOutcome>);

impl Running {
    async fn answer(&mut self, run: CheckRun, timeout: Duration) -> CheckOutcome {
        match tokio::time::timeout_at(run.deadline.instant().into(), &mut self.0).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) => no_answer(error),
            Err(_) => {
                self.0.abort();
                CheckOutcome::unknown(
                    FailureClass::Timeout,
                    format!("the check gave no answer within {timeout:?}"),
                )
            }
        }
    }

    async fn gone(&mut self) {
        if !self.0.is_finished() {
            let _ = (&mut self.0).await;
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn no_answer(error: JoinError) -> CheckOutcome {
    let Ok(payload) = error.try_into_panic() else {
        return CheckOutcome::unknown(FailureClass::Other, "the check was cancelled");
    };
    let message = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a payload that is no text".to_owned());
    // A payload whose own drop panics must not end the loop.
    let _ = std::panic::catch_unwind(AssertUnwindSafe(|| drop(payload)));
    CheckOutcome::unknown(
        FailureClass::Panicked,
        format!("the check panicked: {message}"),
    )
}

fn record(
    ready: &Readiness,
    dependency: &Dependency,
    outcome: CheckOutcome,
    began: std::time::Instant,
) -> Duration {
    let now = clock::now();
    let why = match (outcome.status(), outcome.class()) {
        (CheckStatus::Pass, _) => String::new(),
        (_, Some(class)) => format!("{class}: {}", outcome.message()),
        (_, None) => outcome.message().to_owned(),
    };
    let took = now.saturating_duration_since(began);
    let record = dependency.record(outcome, took, now);
    let wait = record.next_run_in;
    if let Some(HealthChange { from, to, .. }) = record.change {
        ready
            .explain
            .note(dependency.name(), from.as_str(), to.as_str(), &why);
    }
    // Only who is still waited for says when it is worth coming back.
    if dependency.view().gates_start() {
        ready.life.next_round(now + wait);
    }
    ready.publish();
    wait
}
