//! What the tests of calls and clients look at in a breaker.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::time::Duration;

use steadfast::{BreakerState, CallKind, Dependency, DependencyState, Trip};

/// Opens after three failures, whatever their spread.
pub(crate) fn trip() -> Trip {
    Trip::default()
        .consecutive_failures(3)
        .consecutive_spread(Duration::ZERO)
        .jitter_ratio(0.0)
}

pub(crate) fn state(dependency: &Dependency) -> BreakerState {
    let view = dependency.view();
    view.breaker.map_or(BreakerState::Closed, |seen| seen.state)
}

pub(crate) fn in_flight(dependency: &Dependency) -> u32 {
    let seen = dependency.view().breaker.and_then(|seen| seen.in_flight);
    seen.expect("the stall rule is on")
}

pub(crate) fn count(dependency: &Dependency, kind: CallKind) -> u64 {
    AsRef::<DependencyState>::as_ref(dependency)
        .calls()
        .of(kind)
}
