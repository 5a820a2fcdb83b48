//! Two clocks: the real one, which peers read themselves, and the paused one of a tokio
//! runtime, which ours reads.

use std::{
    thread,
    time::{Duration, Instant},
};

use tokio::runtime::{Builder, Runtime};

/// An opening that is waited out in real time: far above the clock's resolution.
pub(crate) const SHORT: Duration = Duration::from_millis(10);

/// Runs work inside the paused runtime, where ours finds its clock.
pub(crate) fn inside<T>(work: impl FnOnce() -> T) -> T {
    RUNTIME.with(|runtime| {
        let _entered = runtime.enter();
        work()
    })
}

/// Waits for a future, and runs what was spawned meanwhile.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    RUNTIME.with(|runtime| runtime.block_on(future))
}

/// Moves the paused clock, in steps that let spawned tasks keep their intervals.
pub(crate) fn advance(time: Duration) {
    block_on(async {
        let mut left = time;
        while !left.is_zero() {
            let step = left.min(STEP);
            tokio::time::advance(step).await;
            left -= step;
        }
    });
}

/// Sleeps in real time.
#[allow(
    clippy::disallowed_methods,
    reason = "the peers read the real clock, and nothing else runs meanwhile"
)]
pub(crate) fn sleep(time: Duration) {
    thread::sleep(time);
}

/// Reads the real clock.
pub(crate) fn real() -> Instant {
    crate::clock::now()
}

const STEP: Duration = Duration::from_millis(100);

thread_local! {
    static RUNTIME: Runtime = Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .expect("a runtime starts");
}
