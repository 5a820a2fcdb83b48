//! Says in the log what becomes of a dependency, with or without a guard.
//!
//! An outage is two lines: one at WARN when the dependency is believed down, with the last
//! error, and one at INFO when it is believed up again, with its length and how many calls
//! were refused and failed meanwhile. In between the breaker's steps are told at INFO. The
//! same record is behind `outages` at `/why503/` and `steadfast_outages_total`, so that
//! log, page and metrics count the same thing.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use steadfast_core::{
    CallKind, DependencyState, Health,
    plumbing::{BreakerState, BreakerTransition, DependencyListener, DependencyView},
};

use crate::clock;

/// The record of one dependency's outages.
#[derive(Debug, Default)]
pub(crate) struct Log(Mutex<Outages>);

/// How often it was down, and what is known of the last time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Outages {
    pub(crate) count: u64,
    pub(crate) last: Option<Outage>,
}

/// One outage.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outage {
    pub(crate) began: Instant,
    /// `None` while it lasts.
    pub(crate) lasted: Option<Duration>,
    /// Calls that were not made; of one that lasts, all before it.
    pub(crate) refused: u64,
    /// Calls that failed, those that opened the breaker among them; of one that lasts, all
    /// before it.
    pub(crate) failed: u64,
}

enum Transition {
    Down,
    Up(Outage),
}

impl Log {
    /// Follows what is believed of the dependency.
    pub(super) fn follow(&self, state: &DependencyState, view: &DependencyView, now: Instant) {
        let health = view.health(now);
        let Some(change) = self.change(state, view, health, now) else {
            return;
        };
        let dependency = view.name.as_str();
        match change {
            Transition::Down => {
                let class = view.class(now).map_or("", |class| class.code());
                let reason = view
                    .reason(now)
                    .map(|it| it.to_string())
                    .unwrap_or_default();
                let last_error = view.last_error().map_or("", |last| &*last.message);
                tracing::warn!(
                    target: crate::log::DEPENDENCY,
                    dependency, class, reason, last_error, "a dependency is down"
                );
            }
            Transition::Up(outage) => {
                let lasted_ms = outage.lasted.map_or(0, |it| it.as_millis());
                let Outage {
                    refused, failed, ..
                } = outage;
                tracing::info!(
                    target: crate::log::DEPENDENCY,
                    dependency, lasted_ms, refused, failed, health = health.as_str(),
                    "a dependency is up again"
                );
            }
        }
    }

    fn change(
        &self,
        state: &DependencyState,
        view: &DependencyView,
        health: Health,
        now: Instant,
    ) -> Option<Transition> {
        let mut outages = self.lock();
        let on = outages.last.filter(|last| last.lasted.is_none());
        match on {
            None if health == Health::Failing => {
                let (refused, failed) = counts(state);
                let tripped = view.breaker.as_ref().map_or(0, |it| it.counts.failed);
                outages.count += 1;
                outages.last = Some(Outage {
                    began: view.since(now).unwrap_or(now),
                    lasted: None,
                    refused,
                    failed: failed.saturating_sub(tripped.into()),
                });
                Some(Transition::Down)
            }
            Some(on) if health.is_up() => {
                let over = on.so_far(state, now);
                outages.last = Some(over);
                Some(Transition::Up(over))
            }
            _ => None,
        }
    }

    /// Returns the record, with the counts of an outage that lasts as of now.
    pub(super) fn outages(&self, state: &DependencyState, now: Instant) -> Outages {
        let mut outages = *self.lock();
        if let Some(on) = outages.last.filter(|last| last.lasted.is_none()) {
            let lasted = None;
            outages.last = Some(Outage {
                lasted,
                ..on.so_far(state, now)
            });
        }
        outages
    }

    fn lock(&self) -> MutexGuard<'_, Outages> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Outage {
    fn so_far(self, state: &DependencyState, now: Instant) -> Self {
        let (refused, failed) = counts(state);
        Self {
            began: self.began,
            lasted: Some(now.saturating_duration_since(self.began)),
            refused: refused.saturating_sub(self.refused),
            failed: failed.saturating_sub(self.failed),
        }
    }
}

/// Calls refused and calls failed so far.
fn counts(state: &DependencyState) -> (u64, u64) {
    let calls = state.calls();
    let failed = calls.of(CallKind::Failure) + calls.of(CallKind::Timeout);
    (calls.of(CallKind::Refused), failed)
}

impl DependencyListener for Log {
    fn moved(&self, dependency: &DependencyState, moved: &BreakerTransition) {
        let name = dependency.name();
        let key = dependency.key_text();
        let (from, to, mode) = (moved.from.code(), moved.to.code(), moved.mode.code());
        let why = moved.reason;
        // One key of many that is out is no outage of the whole, so its step is the warning.
        if moved.to == BreakerState::Open && key.is_some() {
            let last = dependency.last_call_error();
            let last_error = last.as_ref().map_or("", |last| &*last.message);
            tracing::warn!(
                target: crate::log::DEPENDENCY,
                dependency = %name, key, from, to, mode, %why, last_error, "a breaker moved"
            );
        } else {
            tracing::info!(
                target: crate::log::DEPENDENCY,
                dependency = %name, key, from, to, mode, %why, "a breaker moved"
            );
        }
        if key.is_none() {
            let now = clock::now();
            self.follow(dependency, &dependency.view(now), now);
        }
    }
}
