//! What runs the process: how long it waits before it kills, whether its signals arrive, and
//! what it wants to hear.

mod budget;
mod parent;
pub(crate) mod program;
#[cfg(feature = "systemd")]
pub(crate) mod systemd;

pub use budget::Budget;

use std::time::Duration;

use steadfast_diagnosis::Id;

use crate::drain::Drain;

/// How long the process manager waits for the drain, as far as that is known.
pub(crate) fn stop_allowed(budget: Option<&Budget>) -> Option<Duration> {
    let found = budget.cloned().or_else(Budget::of_surroundings)?;
    Some(found.left())
}

/// Says once, at the start, what about the surroundings will lose requests at the end. The
/// self-audit finds the first of the two as well, and leaves its telling to this, which has
/// the arithmetic.
pub(crate) fn warn(drain: &Drain, given: Option<&Budget>) {
    // A budget that was given was checked when the guard was built.
    let found = given.is_none().then(Budget::of_surroundings).flatten();
    if let Some(fault) = found.and_then(|budget| budget.fault(drain)) {
        let id = Id::ConfigGrace;
        tracing::warn!(
            target: crate::log::AUDIT, %id,
            "{fault}; if it is longer, say Guard::builder().budget(…)"
        );
    }
    if let Some(fault) = parent::swallows_signals() {
        tracing::warn!(target: crate::log::AUDIT, "{fault}");
    }
}
