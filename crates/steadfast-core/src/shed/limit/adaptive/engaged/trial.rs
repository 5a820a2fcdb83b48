//! The steps of an experiment: what each takes, when it ends, and what comes after it.
//!
//! A dip goes *before* → *dip* → *hold* → *after* → *wait* → decision → rest. A new limit is
//! verified (*verify* → *wait*), and one that was raised by much is the high side of the next
//! comparison (*rise* → *wait*). A step that its load has left ends in a rest without one.

use std::time::{Duration, Instant};

use super::super::Random;
use super::super::cycle::{Group, Kept, Kind, Step};
use super::super::sums::Sums;
use super::{Engaged, Outcome, next};

/// One experiment, from its first step to the decision.
#[derive(Clone, Debug)]
pub(super) struct Trial {
    pub(super) step: Step,
    /// Which requests are of it: those whose tags carry this number.
    pub(super) epoch: u32,
    pub(super) step_since: Option<Instant>,
    pub(super) dip_since: Option<Instant>,
    /// Zero for the sums of moments.
    pub(super) zero: Option<Instant>,
    /// How many requests the step has taken.
    pub(super) taken: f64,
    pub(super) high: Group,
    pub(super) low: Group,
    /// What the watch saw, and the first of its blocks that is compared with a new limit.
    pub(super) watched: Option<(Sums, u32)>,
    /// Whether the limit is on its way down by halves, so that what it stands at is no estimate.
    pub(super) falls: bool,
    /// Whether the limit is a guess: clients had given up, and with how many in flight they would not have is not known.
    pub(super) blind: bool,
}

impl Trial {
    pub(super) fn new(epoch: u32) -> Self {
        Self {
            step: Step::Rest,
            epoch,
            step_since: None,
            dip_since: None,
            zero: None,
            taken: 0.0,
            high: Group::default(),
            low: Group::default(),
            watched: None,
            falls: false,
            blind: false,
        }
    }
}

impl Engaged {
    pub(super) fn begin(&mut self, now: Instant) {
        self.trial.epoch = next(self.trial.epoch);
        self.trial.zero.get_or_insert(now);
        self.enter(Step::Before, now);
    }

    pub(super) fn enter(&mut self, step: Step, now: Instant) {
        self.trial.zero.get_or_insert(now);
        if step == Step::Dip {
            self.trial.dip_since = Some(now);
        }
        self.trial.step = step;
        self.trial.step_since = Some(now);
        self.trial.taken = 0.0;
    }

    /// The group of a step is full.
    pub(super) fn step_done(&mut self, now: Instant) {
        let next = match self.trial.step {
            Step::Before => Step::Dip,
            Step::Dip => {
                let latency = self.trial.high.sums.latency().max(self.latency.secs);
                let hold = Duration::try_from_secs_f64(latency).unwrap_or(Duration::ZERO);
                Step::Hold {
                    until: now.checked_add(hold).unwrap_or(now),
                }
            }
            Step::After => Step::Wait { kind: Kind::Dip },
            Step::Rise => Step::Wait { kind: Kind::Rise },
            Step::Verify => Step::Wait { kind: Kind::Verify },
            step @ (Step::Rest | Step::Hold { .. } | Step::Wait { .. }) => step,
        };
        self.enter(next, now);
    }

    /// Ends steps whose time is over.
    pub(super) fn clock(&mut self, now: Instant) {
        if matches!(self.trial.step, Step::Hold { until } if now >= until) {
            self.enter(Step::After, now);
        }
        let since = self.trial.step_since.unwrap_or(now);
        let took = now.saturating_duration_since(since).as_secs_f64();
        let patience = (STEP_LATENCIES * self.latency.secs).max(PATIENCE_SECS_MIN)
            + STEP_COHORTS * self.cohort() * self.latency.secs / self.limit;
        if matches!(
            self.trial.step,
            Step::Before | Step::Dip | Step::After | Step::Rise
        ) && took > patience
        {
            // The load has gone: no decision, no harm.
            self.forget();
            self.rest(now, REST_UNDECIDED_SECS);
        }
    }

    /// Concludes when everything the experiment took has ended, or has had its time.
    pub(super) fn finish(&mut self, now: Instant, random: &mut Random) -> Outcome {
        let Step::Wait { kind } = self.trial.step else {
            return Outcome::Nothing;
        };
        let since = self.trial.step_since.unwrap_or(now);
        let patience = (STRAGGLERS_LATENCIES * self.latency.secs).max(PATIENCE_SECS_MIN);
        let over = now.saturating_duration_since(since).as_secs_f64() >= patience;
        if (self.trial.high.open() || self.trial.low.open()) && !over {
            return Outcome::Nothing;
        }
        let at = self.secs(now);
        self.trial.high.close(at);
        self.trial.low.close(at);
        self.trial.epoch = next(self.trial.epoch);
        self.decide(now, kind, random)
    }

    pub(super) fn forget(&mut self) {
        self.trial.high = Group::default();
        self.trial.low = Group::default();
        self.trial.falls = false;
        self.trial.blind = false;
        self.rest.kept = Kept::default();
        self.trial.epoch = next(self.trial.epoch);
        self.rest.calm = None;
        self.rest.recent = Sums::default();
    }

    pub(super) fn rest(&mut self, now: Instant, secs: f64) {
        self.enter(Step::Rest, now);
        let rest = Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO);
        self.rest.until = now.checked_add(rest);
    }

    pub(super) fn dips(&self) -> bool {
        matches!(self.trial.step, Step::Dip | Step::Hold { .. })
    }

    pub(super) fn dip_secs(&self, now: Instant) -> f64 {
        let since = self.trial.dip_since.unwrap_or(now);
        let end = self.trial.step_since.unwrap_or(now);
        end.saturating_duration_since(since)
            .as_secs_f64()
            .min(DIP_SECS_MAX)
    }

    pub(super) fn cohort(&self) -> f64 {
        (self.limit / 2.0).max(COHORT_MIN)
    }

    pub(super) fn cohort_full(&self) -> f64 {
        (self.limit / f64::from(self.one_in())).max(COHORT_MIN)
    }

    pub(super) fn secs(&self, at: Instant) -> f64 {
        match self.trial.zero {
            Some(zero) if at >= zero => at.saturating_duration_since(zero).as_secs_f64(),
            Some(zero) => -zero.saturating_duration_since(at).as_secs_f64(),
            None => 0.0,
        }
    }
}

/// Fewest requests that a side of a comparison takes. Means of fewer differ by more than a queue at the target makes.
const COHORT_MIN: f64 = 16.0;
/// A step that takes longer than so many latencies and so many times what its cohort takes to come has lost its load.
const STEP_LATENCIES: f64 = 8.0;
const STEP_COHORTS: f64 = 4.0;
/// No step and no wait is given up sooner, whatever the latency: a process that is not scheduled for a while takes this long.
const PATIENCE_SECS_MIN: f64 = 0.25;
/// Those of an experiment that have not ended after so many latencies are counted with the age they have.
const STRAGGLERS_LATENCIES: f64 = 10.0;
/// Nothing is tried for so long after an experiment that could not be decided.
pub(super) const REST_UNDECIDED_SECS: f64 = 1.0;
/// The rest after a dip is in proportion to it, up to a dip of this length: the service may have become quick again.
const DIP_SECS_MAX: f64 = 10.0;
