//! The active side: what the background check says, and what that does to the breaker.
//!
//! This file uses atomics: it sets the flag that spares gates the lock.

use std::time::{Duration, Instant};

use super::{DependencyState, view::LastError};
use crate::{
    FailureClass,
    dependency::{
        breaker::{Breaker, BreakerState, BreakerTransition, CheckDepth, TripRules},
        check::{
            CheckOutcome, CheckStatus,
            settings::{CheckSettings, Requirement},
            state::{CheckState, CheckView, Health, HealthChange},
        },
    },
    sync::{atomic::Ordering::Relaxed, lock},
};

/// Most runs of a check in a row that traffic may stand in for. Every second run is made in
/// any case: a check sees what calls on old sessions do not (a password that was rotated,
/// no slot for a newcomer, a replica that falls behind), and each run that is left out is
/// added to the time until that is found ([`CheckSettings::detection_max`]).
pub const SKIPS_MAX: u32 = 1;

/// What came of one run of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CheckRecord {
    /// The change of what the check is believed to say, if there is one.
    pub change: Option<HealthChange>,
    /// How long to wait until the next run.
    pub next_run_in: Duration,
}

#[derive(Debug)]
pub(super) struct Active {
    pub(super) rules: TripRules,
    requirement: Requirement,
    check: Option<Checked>,
}

#[derive(Debug)]
struct Checked {
    kind: &'static str,
    depth: CheckDepth,
    settings: CheckSettings,
    state: CheckState,
    next_run: Option<Instant>,
    skips: u32,
    /// When it began to pass in the present outage; `None` if it does not, or there is none.
    passes_from: Option<Instant>,
}

impl DependencyState {
    /// Says that a check is asked in the background, how, and what its failure means.
    /// What was known of an earlier check is forgotten.
    pub fn set_check(
        &self,
        kind: &'static str,
        depth: CheckDepth,
        settings: CheckSettings,
        requirement: Requirement,
        now: Instant,
    ) {
        let mut active = lock(&self.active);
        active.requirement = requirement;
        active.check = Some(Checked {
            kind,
            depth,
            settings,
            state: CheckState::new(settings, now),
            next_run: None,
            skips: 0,
            passes_from: None,
        });
    }

    /// Sets what being down means for the instance, for a dependency without a check.
    pub fn set_requirement(&self, requirement: Requirement) {
        lock(&self.active).requirement = requirement;
    }

    /// Takes the answer of a run of the check that took `took` and ended now.
    /// `random` is uniform over `u64`.
    pub fn record_check(
        &self,
        outcome: CheckOutcome,
        took: Duration,
        now: Instant,
        random: u64,
    ) -> CheckRecord {
        let mut active = lock(&self.active);
        let Some(check) = &mut active.check else {
            return CheckRecord {
                change: None,
                next_run_in: CheckSettings::default().interval,
            };
        };
        let (status, class) = (outcome.status(), outcome.class());
        let error = (status == CheckStatus::Fail).then(|| LastError {
            at: now,
            class: class.unwrap_or(FailureClass::Other),
            message: outcome.message().into(),
        });
        let was_read_only = check.state.failing_from().is_some()
            && check.state.failed_class() == Some(FailureClass::ReadOnly);
        let change = check.state.record(outcome, took, now);
        check.skips = 0;
        let next_run_in = check.plan(random, now);
        let health = check.state.health(now);
        let outage = self
            .breaker
            .get()
            .and_then(|it| it.snapshot(now).outage_since);
        let passes_from = check.passes_from(status, outage, now);
        let depth = check.depth;
        let failed_at = check.state.failed_at();
        let failing_from = check.state.failing_from();
        drop(active);
        if let Some(error) = error {
            if error.class == FailureClass::ReadOnly {
                self.note_read_only(&error.message, now);
            }
            lock(&self.errors).check = Some(error);
        } else if was_read_only && status == CheckStatus::Pass {
            // The same check that was told no is told yes.
            self.note_writable(now);
        }
        // Relaxed: whoever sees it set looks again under the lock.
        self.check_fails.store(health == Health::Failing, Relaxed);
        let moved = self.breaker.get().and_then(|breaker| match status {
            CheckStatus::Pass | CheckStatus::Warn if health.is_up() => self
                .check_passed(breaker, depth, failed_at, now)
                .or_else(|| breaker.check_vouches(passes_from?, now)),
            // Once is not often enough to be believed, and is enough to let a call ask.
            CheckStatus::Pass | CheckStatus::Warn => {
                let began = breaker.snapshot(now).outage_since?;
                failed_at.filter(|at| *at >= began)?;
                breaker.check_passed(CheckDepth::Shallow, now)
            }
            // Who takes no writes is not out.
            CheckStatus::Fail if class == Some(FailureClass::ReadOnly) => None,
            CheckStatus::Fail if health == Health::Failing => {
                let class = class.unwrap_or(FailureClass::Other);
                breaker.check_failed(class, failing_from, now, random)
            }
            _ => None,
        });
        if let Some(moved) = moved {
            self.tell(&moved);
        }
        CheckRecord {
            change,
            next_run_in,
        }
    }

    /// Asks whether traffic of the last interval proves that the dependency works, so that
    /// this run of the check can be left out. Returns how long to wait until the next run
    /// if so; the check counts as fresh.
    ///
    /// Only a check that passes may be left out, only while the breaker is closed, calls
    /// succeeded and none failed, and at most [`SKIPS_MAX`] times in a row.
    pub fn traffic_vouches(&self, now: Instant, random: u64) -> Option<Duration> {
        let breaker = self.breaker.get()?;
        // What calls cannot see is not proven by them.
        if self.sessions.is_noted() || self.read_only.is_noted() {
            return None;
        }
        let mut active = lock(&self.active);
        let check = active.check.as_mut()?;
        if check.skips >= SKIPS_MAX || !check.state.is_steady(now) {
            return None;
        }
        let (state, counts) = breaker.recent(check.settings.interval, now);
        if state != BreakerState::Closed || counts.failed > 0 || counts.calls == 0 {
            return None;
        }
        check.skips += 1;
        check.state.vouch(now);
        Some(check.plan(random, now))
    }

    /// Tells the breaker that the check passed, if that is news.
    fn check_passed(
        &self,
        breaker: &Breaker,
        depth: CheckDepth,
        failed_at: Option<Instant>,
        now: Instant,
    ) -> Option<BreakerTransition> {
        let began = breaker.snapshot(now).outage_since?;
        // What a check alone began, it may end: nothing else speaks against it.
        let depth = if breaker.is_out_by_check_alone(now) {
            CheckDepth::Deep
        } else {
            depth
        };
        // A check that passed all through the outage looks at something else.
        let is_news = failed_at.is_some_and(|at| at >= began);
        if depth == CheckDepth::Shallow && !is_news {
            return None;
        }
        breaker.check_passed(depth, now)
    }

    /// Refuses by the check alone: for a dependency that nobody calls through its breaker.
    pub(super) fn check_view(&self) -> (Requirement, Option<CheckView>, Option<Instant>) {
        let active = lock(&self.active);
        let check = active.check.as_ref();
        let view = check.map(|it| it.state.view(&self.name, active.requirement, it.kind));
        (active.requirement, view, check.and_then(|it| it.next_run))
    }
}

impl Active {
    pub(super) const fn new(rules: TripRules) -> Self {
        Self {
            rules,
            // Without a check there is nothing that could be required to pass.
            requirement: Requirement::Degrades,
            check: None,
        }
    }

    pub(super) const fn requirement(&self) -> Requirement {
        self.requirement
    }

    pub(super) fn settings(&self) -> Option<CheckSettings> {
        self.check.as_ref().map(|check| check.settings)
    }

    /// Returns of what kind the check's failure is, if it fails and leaves nothing to use.
    pub(super) fn failing_class(&self, now: Instant) -> Option<FailureClass> {
        let check = self.check.as_ref()?;
        (check.state.health(now) == Health::Failing)
            .then(|| check.state.failed_class().unwrap_or(FailureClass::Other))
            .filter(|class| *class != FailureClass::ReadOnly)
    }
}

impl Checked {
    /// Returns since when it has passed in the outage that began at `outage`.
    fn passes_from(
        &mut self,
        status: CheckStatus,
        outage: Option<Instant>,
        now: Instant,
    ) -> Option<Instant> {
        let passes = matches!(status, CheckStatus::Pass | CheckStatus::Warn);
        let from = |began| self.passes_from.filter(|from| *from >= began);
        self.passes_from = outage
            .filter(|_| passes)
            .map(|began| from(began).unwrap_or(now));
        self.passes_from
    }

    fn plan(&mut self, random: u64, now: Instant) -> Duration {
        let wait = self.state.next_run_in(random);
        self.next_run = Some(now + wait);
        wait
    }
}
