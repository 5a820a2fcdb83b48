//! Hears of each step that a breaker takes: the ledger's timeline gets it, and readiness is
//! published anew.

use std::sync::{Arc, Weak};

use steadfast_core::{
    DependencyState,
    plumbing::{BreakerTransition, DependencyListener},
};

use super::readiness::Readiness;

/// Writes steps into the ledger's timeline, and publishes what they mean for readiness.
pub(crate) struct BreakerListener(Weak<Readiness>);

impl BreakerListener {
    /// Listens to every dependency of a guard for as long as the guard lives.
    pub(crate) fn listen(ready: &Arc<Readiness>) {
        for dependency in &ready.dependencies {
            let listener = Arc::new(Self(Arc::downgrade(ready)));
            if !dependency.state().listen(listener) {
                tracing::warn!(
                    target: crate::log::AUDIT, dependency = %dependency.name(),
                    "too many guards know this dependency; this one does not hear of its breaker"
                );
            }
        }
    }
}

impl DependencyListener for BreakerListener {
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
