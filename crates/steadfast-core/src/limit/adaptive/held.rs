//! A limit that is held: what it enforces, and the experiments that move it.

use std::time::{Duration, Instant};

use super::cycle::{Group, Kind, Step};
use super::sums::Sums;
use super::watch::Saturation;
use super::{HEADROOM_BURST, HEADROOM_SHARE, Random};
use crate::limit::{Ended, Experiment, LimitPhase, Tag, Why, Window};

/// What follows from what was heard.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Nothing.
    Nothing,
    /// The limit moved.
    Moved(Why),
    /// A new limit proved right.
    Confirmed(Why),
    /// The limit goes away.
    Open(Why),
    /// The limit goes away, and should not have come.
    Mistaken {
        /// Why.
        why: Why,
        /// What a request takes, in seconds.
        latency: f64,
    },
}

#[derive(Clone, Debug)]
pub(super) struct Held {
    limit: f64,
    knee: Option<f64>,
    /// Share of arrivals refused outside dips, with a memory of about two hundred arrivals.
    refused: f64,
    arrivals: f64,
    refusals: f64,
    /// Mean latency at the limit.
    latency: f64,
    latency_n: f64,
    step: Step,
    epoch: u32,
    step_since: Option<Instant>,
    dip_since: Option<Instant>,
    /// Zero for the sums of moments.
    zero: Option<Instant>,
    taken: f64,
    high: Group,
    low: Group,
    deep: bool,
    rises: u32,
    rest_until: Option<Instant>,
    /// Latency at the limit since the last decision, to notice when it changes.
    calm: Option<f64>,
    recent: Sums,
    last_end: Option<Instant>,
    last_refusal: Option<Instant>,
    in_flight: Option<u32>,
    experiment: Option<Experiment>,
}

impl Held {
    /// A limit somebody else found.
    pub(super) fn at(limit: f64, epoch: u32) -> Self {
        Self {
            limit: limit.clamp(LIMIT_MIN, LIMIT_MAX),
            knee: None,
            refused: 0.0,
            arrivals: 0.0,
            refusals: 0.0,
            latency: 0.0,
            latency_n: 0.0,
            step: Step::Rest,
            epoch,
            step_since: None,
            dip_since: None,
            zero: None,
            taken: 0.0,
            high: Group::default(),
            low: Group::default(),
            deep: false,
            rises: 0,
            rest_until: None,
            calm: None,
            recent: Sums::default(),
            last_end: None,
            last_refusal: None,
            in_flight: None,
            experiment: None,
        }
    }

    /// The limit that follows from saturation, to be verified.
    pub(super) fn saturated(now: Instant, saturation: &Saturation, epoch: u32) -> Self {
        let mut held = Self::at(target(saturation.knee), epoch);
        held.knee = Some(saturation.knee);
        held.latency = saturation.high.latency();
        held.high.sums = saturation.high;
        held.last_end = Some(now);
        held.last_refusal = Some(now);
        // Whoever is over the limit now is refused; the extra headroom is for when few are.
        held.refused = HEADROOM_UNTIL;
        held.enter(Step::Verify, now);
        held
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.round().max(1.0) as u32
    }

    /// An epoch that no tag carries yet.
    pub(super) fn next_epoch(&self) -> u32 {
        next(self.epoch)
    }

    pub(super) fn knee(&self) -> Option<f64> {
        self.knee
    }

    pub(super) fn refused_ratio(&self) -> f64 {
        self.refused
    }

    pub(super) fn take_experiment(&mut self) -> Option<Experiment> {
        self.experiment.take()
    }

    pub(super) fn phase(&self) -> LimitPhase {
        match self.step {
            Step::Rest => LimitPhase::Held,
            Step::Verify | Step::Wait { kind: Kind::Verify } => LimitPhase::Verifying,
            Step::Before | Step::After | Step::Wait { kind: Kind::Dip } => LimitPhase::Reference,
            Step::Dip | Step::Hold { .. } => LimitPhase::Dip,
            Step::Rise | Step::Wait { kind: Kind::Rise } => LimitPhase::Rise,
        }
    }

    /// The cap in force now.
    pub(super) fn cap(&self) -> u32 {
        if self.dips() {
            let depth = if self.deep { DIP_DEEP } else { DIP };
            return (depth * (self.limit - TARGET_PLUS)).floor().max(1.0) as u32;
        }
        let knee = self.knee.unwrap_or(self.limit / TARGET);
        let extra = (HEADROOM_SHARE * knee + HEADROOM_BURST - self.limit).max(0.0);
        let open = (1.0 - self.refused / HEADROOM_UNTIL).max(0.0);
        (self.limit + extra * open).ceil() as u32
    }

    pub(super) fn one_in(&self) -> u16 {
        match self.step {
            Step::Rest | Step::Wait { .. } => (self.limit / 32.0).clamp(1.0, 1024.0) as u16,
            _ => 1,
        }
    }

    pub(super) fn window_arrivals(&self) -> u16 {
        (self.limit / 4.0).clamp(4.0, 64.0) as u16
    }

    pub(super) fn admitted(&mut self, now: Instant, in_flight: u32) -> Tag {
        self.clock(now);
        let at = self.secs(now);
        let reference = f64::from(in_flight) >= REFERENCE * self.limit;
        let kind = match self.step {
            Step::Before | Step::After | Step::Rise if reference => HIGH,
            Step::Dip if in_flight.saturating_mul(2) >= self.cap() => LOW,
            Step::Verify => LOW,
            _ => return Tag::new(self.epoch << 2 | OTHER),
        };
        if kind == HIGH {
            self.high.admitted(at, in_flight);
        } else {
            self.low.admitted(at, in_flight);
        }
        let tag = Tag::new(self.epoch << 2 | kind);
        self.taken += 1.0;
        if self.taken >= self.cohort() {
            self.step_done(now);
        }
        tag
    }

    pub(super) fn ended(&mut self, ended: &Ended, random: &mut Random) -> Outcome {
        let now = ended.now;
        self.last_end = Some(now);
        let sample = ended.sample();
        let kind = ended.tag.raw() & 3;
        if ended.tag.raw() >> 2 == self.epoch && kind != OTHER {
            let at = self.secs(ended.admitted_at);
            let wait = (TARGET - 1.0) * self.latency;
            let group = if kind == HIGH { &mut self.high } else { &mut self.low };
            group.ended(at, ended.in_flight, sample);
            if let Some((latency, ..)) = sample {
                group.sums.would_wait(latency, wait);
            }
        }
        if let Some((latency, in_flight, abandoned)) = sample
            && kind != LOW
            && f64::from(in_flight) >= REFERENCE * self.limit
        {
            self.latency_n = (self.latency_n + 1.0).min(32.0);
            self.latency += (latency - self.latency) / self.latency_n;
            if self.step == Step::Rest {
                self.recent.add(latency, in_flight, abandoned);
                self.notice(now);
            }
        }
        self.clock(now);
        self.finish(now, random)
    }

    pub(super) fn window(&mut self, window: &Window, random: &mut Random) -> Outcome {
        let now = window.now;
        let (admitted, refused) = (f64::from(window.admitted), f64::from(window.refused));
        if let Some(before) = self.in_flight.replace(window.in_flight)
            && before.saturating_add(window.admitted) > window.in_flight
        {
            self.last_end = Some(now);
        }
        if refused > 0.0 || self.last_refusal.is_none() {
            self.last_refusal = Some(now);
        }
        if !self.dips() {
            self.count(admitted, refused);
        }
        self.clock(now);
        let outcome = self.finish(now, random);
        if !matches!(outcome, Outcome::Nothing) {
            return outcome;
        }
        if let Some(why) = self.obsolete(now, refused > 0.0) {
            return Outcome::Open(why);
        }
        let pressed = self.refusals >= 2.0 && self.refusals > PRESSED * self.arrivals;
        if self.step == Step::Rest && pressed && self.rest_until.is_none_or(|until| now >= until) {
            self.begin(now);
        }
        Outcome::Nothing
    }

    fn count(&mut self, admitted: f64, refused: f64) {
        let arrivals = admitted + refused;
        if arrivals <= 0.0 {
            return;
        }
        let memory = (2.0 * self.limit).max(100.0);
        let weight = 1.0 - (1.0 - 1.0 / memory).powf(arrivals);
        self.refused += (refused / arrivals - self.refused) * weight;
        self.arrivals += arrivals;
        self.refusals += refused;
        if self.arrivals > (4.0 * self.limit).max(200.0) {
            self.arrivals /= 2.0;
            self.refusals /= 2.0;
        }
    }

    /// Whether what is held says nothing about now.
    fn obsolete(&self, now: Instant, refuses: bool) -> Option<Why> {
        let since = |then: Option<Instant>| {
            then.map_or(Duration::ZERO, |then| now.saturating_duration_since(then))
        };
        let quiet = since(self.last_refusal);
        if quiet >= QUIET {
            return Some(Why::Quiet(quiet));
        }
        let silent = since(self.last_end);
        let patience = (SILENT_LATENCIES * self.latency).max(SILENT_SECS);
        (refuses && silent.as_secs_f64() >= patience).then_some(Why::Silent(silent))
    }

    fn begin(&mut self, now: Instant) {
        self.epoch = next(self.epoch);
        self.zero.get_or_insert(now);
        self.enter(Step::Before, now);
    }

    fn enter(&mut self, step: Step, now: Instant) {
        self.zero.get_or_insert(now);
        if step == Step::Dip {
            self.dip_since = Some(now);
        }
        self.step = step;
        self.step_since = Some(now);
        self.taken = 0.0;
    }

    /// The group of a step is full.
    fn step_done(&mut self, now: Instant) {
        let next = match self.step {
            Step::Before => Step::Dip,
            Step::Dip => {
                let latency = self.high.sums.latency().max(self.latency);
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
    fn clock(&mut self, now: Instant) {
        if let Step::Hold { until } = self.step
            && now >= until
        {
            self.enter(Step::After, now);
        }
        let since = self.step_since.unwrap_or(now);
        let took = now.saturating_duration_since(since).as_secs_f64();
        let patience = (8.0 * self.latency).max(0.25)
            + 4.0 * self.cohort() * self.latency / self.limit;
        if matches!(self.step, Step::Before | Step::Dip | Step::After | Step::Rise)
            && took > patience
        {
            // The load has gone: no decision, no harm.
            self.forget();
            self.rest(now, 1.0);
        }
    }

    /// Concludes when everything the experiment took has ended, or has had its time.
    fn finish(&mut self, now: Instant, random: &mut Random) -> Outcome {
        let Step::Wait { kind } = self.step else {
            return Outcome::Nothing;
        };
        let since = self.step_since.unwrap_or(now);
        let patience = (10.0 * self.latency).max(0.25);
        let over = now.saturating_duration_since(since).as_secs_f64() >= patience;
        if (self.high.open() || self.low.open()) && !over {
            return Outcome::Nothing;
        }
        let at = self.secs(now);
        self.high.close(at);
        self.low.close(at);
        self.epoch = next(self.epoch);
        self.decide(now, kind, random)
    }

    fn decide(&mut self, now: Instant, kind: Kind, random: &mut Random) -> Outcome {
        let (high, low) = (self.high.sums, self.low.sums);
        if high.n() < 4.0 || low.n() < 4.0 {
            self.forget();
            self.rest(now, 1.0);
            return Outcome::Nothing;
        }
        let (high_f, low_f) = (high.in_flight(), low.in_flight());
        let fewer = (low_f / high_f).min(1.0);
        let ratio = (low.latency() / high.latency()).clamp(fewer, 1.0);
        let error = (high.error_squared() + low.error_squared()).sqrt();
        let experiment = Experiment::new(now, low_f, high_f, ratio, error);
        self.experiment = Some(experiment);
        if kind == Kind::Verify {
            return self.verified(now, &experiment, fewer);
        }
        let knee = experiment.knee;
        let mut x = (target(knee) / self.limit).ln();
        let mut strong = x.abs() > STRONG * error && x.abs() > 0.1 && error < ERROR_MAX;
        let mut why = Why::Queueing {
            latency_ratio: ratio,
            knee,
        };
        let mut new_knee = Some(knee);
        let mut grows = false;
        if strong && ratio > NO_QUEUE {
            let share = ((ratio - NO_QUEUE) / (1.0 - NO_QUEUE)).min(1.0);
            x = share * GROWTH.ln() + (1.0 - share) * x;
            why = Why::NoQueue {
                latency_ratio: ratio,
            };
            grows = true;
        }
        if high.abandoned_ratio() > 0.5 {
            strong = true;
            grows = false;
            x = DIP.ln();
            new_knee = None;
            why = Why::Abandoned {
                ratio: high.abandoned_ratio(),
            };
        }
        let dip = self.dip_secs(now);
        if !strong && let Some(growth) = self.unqueued() {
            strong = true;
            grows = true;
            x = growth.ln();
            new_knee = Some(knee.max(high_f));
            why = Why::NoQueue {
                latency_ratio: ratio,
            };
        }
        if !strong && error > ERROR_FINE {
            // Not enough is known: keep the sums, look again soon if they hint at something.
            let soon = x.abs() > HINT * error || self.apart(1.0) < LOG_SMALL;
            self.rest(now, if soon { 0.0 } else { dip / DUTY * random.between(0.75, 1.25) });
            return Outcome::Nothing;
        }
        self.rises = if grows { self.rises + 1 } else { 0 };
        if self.rises >= RISES_MAX {
            return Outcome::Open(why);
        }
        self.limit = (self.limit * (if strong { x } else { DAMP * x }).exp())
            .clamp(LIMIT_MIN, LIMIT_MAX);
        self.knee = new_knee;
        self.deep = (strong && ratio < 1.15 * fewer) || (!strong && ratio < 1.05 * fewer)
            || new_knee.is_none();
        let rest = if strong || self.deep { 0.0 } else { dip / DUTY * random.between(0.75, 1.25) };
        self.forget();
        self.rest(now, rest);
        if strong && x > RISE_FROM {
            self.low.sums = high;
            self.begin(now);
            self.step = Step::Rise;
        }
        Outcome::Moved(why)
    }

    /// How far apart the logarithms of both sides are, over how far they would be if the limit sat at its target.
    ///
    /// Where durations differ a lot a mean needs thousands of requests, but a queue shows in the short ones at once.
    fn apart(&self, errors: f64) -> f64 {
        let (high, low) = (&self.high.sums, &self.low.sums);
        let apart = high.log() - low.log();
        let error = (high.log_error_squared() + low.log_error_squared()).sqrt();
        (apart + errors * error) / low.shift().max(1e-3)
    }

    /// The factor to grow by when the logarithms exclude a queue.
    fn unqueued(&self) -> Option<f64> {
        if self.apart(8.0) < LOG_NONE {
            return Some(GROWTH);
        }
        if self.low.sums.n() < 32.0 {
            return None;
        }
        let apart = self.apart(3.0);
        if apart < LOG_NONE {
            return Some(2.0);
        }
        (apart < LOG_SMALL).then_some(1.4)
    }

    /// Whether a limit set without an experiment made requests faster.
    fn verified(&mut self, now: Instant, experiment: &Experiment, fewer: f64) -> Outcome {
        let ratio = experiment.latency_ratio;
        // In standard errors, how far it is from "no faster" and from "faster in step with fewer in flight".
        let from_no_queue = -ratio.ln() / experiment.error;
        let from_queue = (ratio / fewer).ln() / experiment.error;
        if from_queue > 2.0 && from_no_queue < 1.0 {
            return Outcome::Mistaken {
                why: Why::NoQueue {
                    latency_ratio: ratio,
                },
                latency: self.high.sums.latency(),
            };
        }
        if from_queue <= 2.0 && from_no_queue <= 2.0 && self.low.sums.n() < VERIFY_MAX {
            self.enter(Step::Verify, now);
            return Outcome::Nothing;
        }
        if (ratio / fewer).ln() > HINT * experiment.error {
            self.knee = Some(experiment.knee);
            self.limit = target(experiment.knee).clamp(self.limit / 3.0, self.limit * 3.0);
        }
        self.forget();
        self.rest(now, 0.0);
        Outcome::Confirmed(Why::Queueing {
            latency_ratio: ratio,
            knee: experiment.knee,
        })
    }

    fn forget(&mut self) {
        self.high = Group::default();
        self.low = Group::default();
        self.epoch = next(self.epoch);
        self.arrivals = 0.0;
        self.refusals = 0.0;
        self.calm = None;
        self.recent = Sums::default();
    }

    fn rest(&mut self, now: Instant, secs: f64) {
        self.enter(Step::Rest, now);
        let rest = Duration::try_from_secs_f64(secs).unwrap_or(Duration::ZERO);
        self.rest_until = now.checked_add(rest);
    }

    /// Notices that latency at the limit is not what it was, and looks at once.
    fn notice(&mut self, now: Instant) {
        if self.recent.n() < self.cohort_full() {
            return;
        }
        let recent = std::mem::take(&mut self.recent);
        let mean = recent.latency();
        let calm = *self.calm.get_or_insert(mean);
        let moved = (mean / calm).ln().abs();
        if moved > 0.4 && moved > 4.0 * recent.error_squared().sqrt() {
            self.high = Group::default();
            self.low = Group::default();
            self.calm = None;
            self.rest_until = Some(now);
        }
    }

    fn dips(&self) -> bool {
        matches!(self.step, Step::Dip | Step::Hold { .. })
    }

    fn dip_secs(&self, now: Instant) -> f64 {
        let since = self.dip_since.unwrap_or(now);
        let end = self.step_since.unwrap_or(now);
        end.saturating_duration_since(since).as_secs_f64().min(10.0)
    }

    fn cohort(&self) -> f64 {
        (self.limit / 2.0).max(16.0)
    }

    fn cohort_full(&self) -> f64 {
        (self.limit / f64::from(self.one_in())).max(16.0)
    }

    fn secs(&self, at: Instant) -> f64 {
        match self.zero {
            Some(zero) if at >= zero => at.saturating_duration_since(zero).as_secs_f64(),
            Some(zero) => -zero.saturating_duration_since(at).as_secs_f64(),
            None => 0.0,
        }
    }
}

/// Epochs count round, and zero is left out because a tag of zero is none.
fn next(epoch: u32) -> u32 {
    ((epoch + 1) & EPOCH_MASK).max(1)
}

fn target(knee: f64) -> f64 {
    TARGET * knee + TARGET_PLUS
}

const OTHER: u32 = 0;
const HIGH: u32 = 2;
const LOW: u32 = 3;
const EPOCH_MASK: u32 = (1 << 29) - 1;

const LIMIT_MIN: f64 = 2.0;
const LIMIT_MAX: f64 = 1e6;
const TARGET: f64 = 1.4;
const TARGET_PLUS: f64 = 1.0;
const HEADROOM_UNTIL: f64 = 0.2;
const DIP: f64 = 0.65;
const DIP_DEEP: f64 = 0.36;
const REFERENCE: f64 = 0.85;
const PRESSED: f64 = 0.06;
const STRONG: f64 = 3.3;
const HINT: f64 = 2.0;
const ERROR_FINE: f64 = 0.06;
const ERROR_MAX: f64 = 0.2;
const NO_QUEUE: f64 = 0.9;
const GROWTH: f64 = 3.0;
const LOG_NONE: f64 = 0.4;
const LOG_SMALL: f64 = 0.7;
/// After so many requests a verification ends undecided, and the experiments decide.
const VERIFY_MAX: f64 = 128.0;
const DAMP: f64 = 0.6;
const DUTY: f64 = 0.05;
const RISE_FROM: f64 = 0.4;
const RISES_MAX: u32 = 2;
const QUIET: Duration = Duration::from_secs(10);
const SILENT_LATENCIES: f64 = 10.0;
const SILENT_SECS: f64 = 0.1;
