//! What follows from an experiment.
//!
//! With `F` the mean in flight at admission and `R` the mean latency of both sides, `N = F_high * R_low / R_high` is the knee when the low side did not queue.
//! Means, because Little's law is about means: where 90 % take 2 ms and 10 % take 200 ms, a wait of 8 ms moves the mean by a factor of 1.4 and the median by 5.

use std::time::Instant;

use super::super::Random;
use super::super::cycle::{Kept, Kind, Step};
use super::super::watch::{CALM_RATIO, GIVEN_UP_RATIO};
use super::trial::REST_UNDECIDED_SECS;
use super::{DIP, Engaged, LIMIT_MAX, LIMIT_MIN, Outcome, TARGET, target};
use crate::shed::limit::{ChangeReason, Experiment};

/// What a comparison says.
struct Finding {
    /// Logarithm of the factor to change the limit by.
    step: f64,
    /// Whether it is sure enough to be taken in full.
    strong: bool,
    /// Whether nobody queues.
    grows: bool,
    knee: Option<f64>,
    why: ChangeReason,
}

impl Engaged {
    pub(super) fn decide(&mut self, now: Instant, kind: Kind, random: &mut Random) -> Outcome {
        let kept = std::mem::take(&mut self.rest.kept);
        kept.add_to(&mut self.trial.high, &mut self.trial.low);
        let (high, low) = (self.trial.high.sums, self.trial.low.sums);
        if high.n() < SIDE_MIN || low.n() < SIDE_MIN {
            self.forget();
            self.rest(now, REST_UNDECIDED_SECS);
            return Outcome::Nothing;
        }
        let (high_f, low_f) = (high.in_flight(), low.in_flight());
        let fewer = (low_f / high_f).min(1.0);
        let ratio = low.queued(&high);
        let error = (self.trial.high.error_squared() + self.trial.low.error_squared()).sqrt();
        let experiment = Experiment::new(now, low_f, high_f, ratio, error);
        self.experiment = Some(experiment);
        if kind == Kind::Verify {
            return self.verified(now, &experiment, fewer);
        }
        // What the watch found in a plateau may be too high many times over, which shallow dips alone would take minutes to undo.
        let unproven = !self.proven && low.n() >= FALL_SAMPLES;
        if unproven && self.deep && in_step(&experiment, fewer) {
            return self.fall(now, &experiment);
        }
        // A comparison whose error is not known has proven nothing.
        self.proven |= error < ERROR_MAX;
        let found = self.weigh(&experiment);
        let rest = self.dip_secs(now) / DUTY * random.between(1.0 - JITTER, 1.0 + JITTER);
        if !found.strong && error > ERROR_FINE {
            // Not enough is known: keep the sums, look again soon if they hint at something.
            let few = self.trial.high.clusters.few() || self.trial.low.clusters.few();
            if unproven && !self.deep && may_be_in_step(&experiment, fewer) {
                self.proven = false;
                self.deep = true;
                self.forget();
                self.rest(now, 0.0);
                return Outcome::Nothing;
            }
            let soon = few || found.step.abs() > HINT * error || self.apart(1.0) < LOG_SMALL;
            self.rest.kept = Kept {
                high: std::mem::take(&mut self.trial.high),
                low: std::mem::take(&mut self.trial.low),
            };
            self.deep &= ratio < SHALLOW * fewer;
            self.rest(now, if soon { 0.0 } else { rest });
            return Outcome::Nothing;
        }
        if self.frozen && found.step > 0.0 {
            self.forget();
            self.rest(now, rest);
            return Outcome::Nothing;
        }
        let grown = std::mem::take(&mut self.grown);
        if found.grows {
            if grown >= GROWN_MIN {
                return Outcome::Open(found.why);
            }
            self.grown = grown + found.step.max(0.0);
        }
        let step = if found.strong {
            found.step
        } else {
            DAMP * found.step
        };
        self.limit = (self.limit * step.exp()).clamp(LIMIT_MIN, LIMIT_MAX);
        self.knee = found.knee;
        let queued = if found.strong {
            ALL_QUEUED
        } else {
            ALL_QUEUED_FINE
        };
        self.deep = ratio < queued * fewer || found.knee.is_none();
        let reference = self.trial.high;
        self.forget();
        self.rest(now, if found.strong || self.deep { 0.0 } else { rest });
        if found.strong && found.step > RISE_FROM {
            self.trial.low = reference;
            self.begin(now);
            self.trial.step = Step::Rise;
        }
        Outcome::Moved(found.why)
    }

    /// What a comparison says: the means if they are sure enough, else the logarithms.
    fn weigh(&self, experiment: &Experiment) -> Finding {
        let (ratio, error, knee) = (experiment.latency_ratio, experiment.error, experiment.knee);
        let abandoned = self.trial.high.sums.abandoned_ratio();
        if abandoned > GIVEN_UP_RATIO {
            return Finding {
                step: DIP.ln(),
                strong: true,
                grows: false,
                knee: None,
                why: ChangeReason::Abandoned { ratio: abandoned },
            };
        }
        let no_queue = ChangeReason::NoQueue {
            latency_ratio: ratio,
        };
        let step = (target(knee) / self.limit).ln();
        let strong = step.abs() > (STRONG * error).max(STEP_MIN) && error < ERROR_MAX;
        if strong && ratio > NO_QUEUE {
            let share = ((ratio - NO_QUEUE) / (1.0 - NO_QUEUE)).min(1.0);
            return Finding {
                step: share * GROWTH.ln() + (1.0 - share) * step,
                strong,
                grows: true,
                knee: Some(knee),
                why: no_queue,
            };
        }
        match self.unqueued() {
            Some(growth) if !strong => Finding {
                step: growth.ln(),
                strong: true,
                grows: true,
                knee: Some(knee.max(experiment.in_flight_high)),
                why: no_queue,
            },
            _ => Finding {
                step,
                strong,
                grows: false,
                knee: Some(knee),
                why: ChangeReason::Queueing {
                    latency_ratio: ratio,
                    knee,
                },
            },
        }
    }

    /// How far apart the logarithms of both sides are, over how far they would be if the limit sat at its target.
    ///
    /// Where durations differ a lot a mean needs thousands of requests, but a queue shows in the short ones at once.
    fn apart(&self, errors: f64) -> f64 {
        let (high, low) = (&self.trial.high, &self.trial.low);
        let apart = high.sums.log() - low.sums.log();
        let error = (high.log_error_squared() + low.log_error_squared()).sqrt();
        (apart + errors * error) / low.sums.shift().max(SHIFT_MIN)
    }

    /// The factor to grow by when the logarithms exclude a queue.
    fn unqueued(&self) -> Option<f64> {
        if self.apart(LOG_ERRORS_MANY) < LOG_NONE {
            return Some(GROWTH);
        }
        if self.trial.low.sums.n() < LOG_SAMPLES_MIN {
            return None;
        }
        let apart = self.apart(LOG_ERRORS);
        if apart < LOG_NONE {
            return Some(GROWTH_FEW);
        }
        (apart < LOG_SMALL).then_some(GROWTH_LEAST)
    }

    /// Comes down by half where even those who had fewer in flight queued for certain: they are the high side of the next comparison, so that each step takes one cohort and not a dip.
    fn fall(&mut self, now: Instant, experiment: &Experiment) -> Outcome {
        let blind = self.trial.blind;
        let reference = self.trial.low;
        self.forget();
        self.trial.high = reference;
        self.trial.falls = true;
        self.trial.blind = blind;
        self.trial.watched = None;
        self.deep = false;
        self.latency.secs = reference.sums.latency();
        // A few that found the place empty say little of a guess, so that is halved itself.
        let from = if blind {
            self.limit
        } else {
            reference.sums.in_flight()
        };
        let knee = from * FALL / TARGET;
        self.knee = Some(knee);
        self.limit = target(knee).clamp(LIMIT_MIN, LIMIT_MAX);
        self.enter(Step::Verify, now);
        Outcome::Moved(ChangeReason::Queueing {
            latency_ratio: experiment.latency_ratio,
            knee,
        })
    }

    /// Whether most of the high side gave up, and few of the low side: what the high ones took is their patience, which says that they queued and not for how long.
    fn cut_short(&self) -> bool {
        let (high, low) = (&self.trial.high.sums, &self.trial.low.sums);
        high.abandoned_ratio() > GIVEN_UP_RATIO && low.abandoned_ratio() < CALM_RATIO
    }

    /// Whether a limit set without an experiment made requests faster.
    fn verified(&mut self, now: Instant, experiment: &Experiment, fewer: f64) -> Outcome {
        let ratio = experiment.latency_ratio;
        // In standard errors, how far it is from "no faster" and from "faster in step with fewer in flight".
        let from_no_queue = -ratio.ln() / experiment.error;
        let from_queue = (ratio / fewer).ln() / experiment.error;
        if self.frozen && from_no_queue < HINT {
            // Slow at any limit, because the process is late: look again when it is not.
            self.forget();
            self.rest(now, 0.0);
            return Outcome::Nothing;
        }
        // What was cut short is longer than it looks, so it excludes no queue.
        let no_queue = from_queue > HINT && !self.cut_short();
        if no_queue && from_no_queue < HINT_NONE {
            return Outcome::Mistaken {
                why: ChangeReason::NoQueue {
                    latency_ratio: ratio,
                },
                latency: self.trial.high.sums.latency(),
            };
        }
        if !no_queue && from_no_queue <= HINT && self.trial.low.sums.n() < VERIFY_MAX {
            self.enter(Step::Verify, now);
            return Outcome::Nothing;
        }
        let queue = from_queue < HINT_QUEUE && from_no_queue > HINT;
        // What is too low cannot grow again while the process is late.
        let blind = self.trial.blind && !self.frozen;
        if all_queued(experiment, fewer) || (blind && (queue || self.cut_short())) {
            return self.fall(now, experiment);
        }
        // Clients that gave up cut the high side short, and a service that became slower does so with what the watch saw: both make the knee too large, so the smaller counts.
        let seen = self.trial.watched.map_or(f64::INFINITY, |(watched, _)| {
            let error = (watched.error_squared() + self.trial.low.own_error_squared()).sqrt();
            watched.in_flight()
                * self.trial.low.sums.queued(&watched)
                * (error - SURE_ENOUGH).max(0.0).exp()
        });
        let knee = experiment.knee.min(seen);
        // The watch saw more requests than this one cohort, so its knee stands unless it is far off.
        let off = self
            .knee
            .filter(|_| !self.trial.falls)
            .map_or(f64::INFINITY, |before| (knee / before).ln().abs());
        if from_queue > HINT && off > FAR_OFF {
            self.knee = Some(knee);
            self.limit = target(knee).clamp(self.limit / GROWTH, self.limit * GROWTH);
        }
        self.forget();
        self.rest(now, 0.0);
        Outcome::Confirmed(ChangeReason::Queueing {
            latency_ratio: ratio,
            knee,
        })
    }
}

/// Whether latency fell in step with fewer in flight, and no less for certain.
fn all_queued(experiment: &Experiment, fewer: f64) -> bool {
    let above = (experiment.latency_ratio / fewer).ln();
    above + HINT * experiment.error < FALL_WITHIN
}

/// Whether a deep dip made latency fall in step with fewer in flight: behind a limit at its target it would have fallen by half as much.
fn in_step(experiment: &Experiment, fewer: f64) -> bool {
    (experiment.latency_ratio / fewer).ln() + experiment.error < ALL_QUEUED.ln()
}

/// Whether a dip made latency fall, and perhaps in step with fewer in flight.
fn may_be_in_step(experiment: &Experiment, fewer: f64) -> bool {
    let Experiment {
        latency_ratio,
        error,
        ..
    } = *experiment;
    (latency_ratio / fewer).ln() - error < ALL_QUEUED.ln() && -latency_ratio.ln() > HINT * error
}

/// A limit under which everybody queues is halved.
const FALL: f64 = 0.5;
/// Logarithm by which latency may be above what a queue alone makes of it. At twice the knee a cohort is large and even enough to know it; nearer to the knee it is not, and the dips decide: with 0.18 limits were found too low, and 1x lost 1 % of goodput.
const FALL_WITHIN: f64 = 0.1;
/// After a dip of fewer requests nothing is halved: a small limit comes down by itself.
const FALL_SAMPLES: f64 = 32.0;
/// Standard errors of a step that is taken in full.
const STRONG: f64 = 3.3;
/// A smaller step (in logarithms) is never taken in full.
const STEP_MIN: f64 = 0.1;
/// Standard errors of a step that is looked into at once, and of a verification.
const HINT: f64 = 2.0;
/// With this error of `ln(latency_ratio)` a part of the step is taken.
const ERROR_FINE: f64 = 0.06;
/// With a larger error no step is taken in full.
const ERROR_MAX: f64 = 0.2;
/// From this ratio on nobody queues.
const NO_QUEUE: f64 = 0.9;
/// The factor by which a limit grows when nobody queues.
const GROWTH: f64 = 3.0;
/// Nobody queues if the logarithms are apart by less than this share of what a queue would make.
const LOG_NONE: f64 = 0.4;
/// Few queue if by less than this.
const LOG_SMALL: f64 = 0.7;
/// With this error a knee that the watch saw counts as it is; what is beyond goes to the side of those who would be refused.
const SURE_ENOUGH: f64 = 0.2;
/// Logarithm of a factor of two.
const FAR_OFF: f64 = std::f64::consts::LN_2;
/// After so many requests a verification ends undecided, and the experiments decide.
const VERIFY_MAX: f64 = 128.0;
/// Share of a fine step that is taken; with 1 and a looser error the limit wanders by a factor of six (study).
const DAMP: f64 = 0.6;
/// Share of the time that dips take while all is quiet; at 0.3 they cost 2-7 % on small pools (study).
const DUTY: f64 = 0.05;
/// An unsure dip in which latency fell by less than so many times what a queue would make was deep enough: the knee is between, and deep dips starve a small pool.
const SHALLOW: f64 = 1.3;
/// A step larger than this is itself the next experiment.
const RISE_FROM: f64 = 0.4;
/// Where nobody queues after the limit grew by this factor (in logarithms), it goes away: throughput grows with it.
/// A smaller growth may have come from below the knee to just above it.
const GROWN_MIN: f64 = 0.65;
/// A side with fewer says nothing; they are what is left when most of a cohort's load went away.
const SIDE_MIN: f64 = 4.0;
/// Rests differ by so much, so that instances do not dip together.
const JITTER: f64 = 0.25;
/// Everybody queued, even in the dip, when latency fell by less than so many times what a queue would make: the next dip goes deeper.
const ALL_QUEUED: f64 = 1.15;
/// The same of a fine step, whose error is smaller.
const ALL_QUEUED_FINE: f64 = 1.05;
/// Standard errors that the logarithms give away, however few they are, before they exclude a queue.
const LOG_ERRORS_MANY: f64 = 8.0;
/// The same when there are [`LOG_SAMPLES_MIN`].
const LOG_ERRORS: f64 = 3.0;
/// Two cohorts of the smallest kind.
const LOG_SAMPLES_MIN: f64 = 32.0;
/// The factor by which a limit grows when few samples say that nobody queues.
const GROWTH_FEW: f64 = 2.0;
/// The factor when few queue: the limit's own distance from the knee.
const GROWTH_LEAST: f64 = 1.4;
/// Within so many standard errors of "no faster" a new limit is a mistake, if a queue is excluded.
const HINT_NONE: f64 = 1.0;
/// On the way down from a limit that was found blindly, "all queue" is believed until it is so many standard errors away: what is too low is found within a cohort, and what is too high keeps everybody waiting.
const HINT_QUEUE: f64 = 1.0;
/// A wait that would show in the logarithms by less than this shows in nothing.
const SHIFT_MIN: f64 = 1e-3;

#[cfg(test)]
mod tests;
