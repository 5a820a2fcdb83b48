//! What the guard does for breakers: it moves them without traffic, and writes down what
//! moved them.

use std::sync::{Arc, Weak};

use steadfast_core::{BreakerTransition, DependencyListener, DependencyState};
use tokio::task::JoinHandle;

use crate::clock;
use crate::instance::readiness::Readiness;

/// Ticks the breakers of all dependencies, for ever. A breaker without traffic would
/// otherwise stay open after its wait, and a probe that hangs would keep its slot. The
/// caller owns the task and ends it by aborting it.
pub(crate) fn run_breakers(ready: &Arc<Readiness>) -> JoinHandle<()> {
    let ready = Arc::clone(ready);
    tokio::spawn(async move {
        loop {
            let states = || ready.dependencies.iter().map(|it| it.state());
            for state in states() {
                state.tick(clock::now(), fastrand::u64(..));
            }
            // A breaker that is made meanwhile waits for one round of the others' at most.
            let pause = states().map(|state| state.tick_interval()).min();
            tokio::time::sleep(pause.unwrap_or(IDLE)).await;
        }
    })
}

/// Writes steps into the ledger's timeline, and publishes what they mean for readiness.
pub(crate) struct Herald(Weak<Readiness>);

impl Herald {
    /// Listens to every dependency of a guard for as long as the guard lives.
    pub(crate) fn listen(ready: &Arc<Readiness>) {
        for dependency in &ready.dependencies {
            let herald = Arc::new(Self(Arc::downgrade(ready)));
            if !dependency.state().listen(herald) {
                tracing::warn!(
                    target: "steadfast", dependency = %dependency.name(),
                    "too many guards know this dependency; this one does not hear of its breaker"
                );
            }
        }
    }
}

impl DependencyListener for Herald {
    fn moved(&self, dependency: &DependencyState, moved: &BreakerTransition) {
        let Some(ready) = self.0.upgrade() else {
            return;
        };
        let mut why = match dependency.key_text() {
            Some(key) => format!("key {key}: {}", moved.reason),
            None => moved.reason.to_string(),
        };
        if let Some(last) = dependency.last_call_error().filter(|_| moved.is_outage()) {
            why.push_str("; the last error: ");
            why.push_str(&last.message);
        }
        let (from, to) = (moved.from.code(), moved.to.code());
        ready
            .explain
            .write_change(dependency.name(), from, to, &why, moved.at);
        ready.publish();
    }

    fn is_gone(&self) -> bool {
        self.0.strong_count() == 0
    }
}

/// The pause where there is nothing to tick.
const IDLE: std::time::Duration = std::time::Duration::from_secs(1);
