//! Says in the log that a breaker moved, with or without a guard.

use steadfast_core::{BreakerState, BreakerTransition, DependencyListener, DependencyState};

pub(super) struct Log;

impl DependencyListener for Log {
    fn moved(&self, dependency: &DependencyState, moved: &BreakerTransition) {
        let name = dependency.name();
        let key = dependency.key_text();
        let (from, to, mode) = (moved.from.code(), moved.to.code(), moved.mode.code());
        let why = moved.reason;
        if moved.to == BreakerState::Open {
            let last = dependency.last_call_error();
            let last_error = last.as_ref().map_or("", |last| &*last.message);
            tracing::warn!(
                target: "steadfast",
                dependency = %name, key, from, to, mode, %why, last_error, "a breaker moved"
            );
        } else {
            tracing::info!(
                target: "steadfast",
                dependency = %name, key, from, to, mode, %why, "a breaker moved"
            );
        }
    }
}
