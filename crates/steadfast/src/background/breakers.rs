//! Moves breakers where no traffic does.

use std::sync::Arc;

use tokio::task::JoinHandle;

use crate::{clock, instance::readiness::Readiness};

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

/// The pause where there is nothing to tick.
const IDLE: std::time::Duration = std::time::Duration::from_secs(1);
