//! A limit that is held: what it enforces, and the experiments that move it.

use std::time::{Duration, Instant};

use super::clusters::WIDTH;
use super::cycle::{Group, Kept, Kind, Step};
use super::slope::Saturation;
use super::sums::Sums;
use super::watch::is_since;
use super::{HEADROOM_BURST, HEADROOM_SHARE, Random};
use crate::shed::limit::{ChangeReason, Ended, Experiment, LimitPhase, Tag, Window};

mod decide;
mod obsolete;
mod sample;
mod slack;
mod trial;

use slack::{Service, Slack};
use trial::Trial;

/// What follows from what was sampled.
#[derive(Clone, Copy, Debug)]
pub(super) enum Outcome {
    /// Nothing.
    Nothing,
    /// The limit moved.
    Moved(ChangeReason),
    /// A new limit proved right.
    Confirmed(ChangeReason),
    /// The limit goes away.
    Open(ChangeReason),
    /// The limit goes away, and should not have come.
    Mistaken {
        /// Why.
        why: ChangeReason,
        /// What a request takes, in seconds.
        latency: f64,
    },
}

/// A limit in force.
#[derive(Clone, Debug)]
pub(super) struct Engaged {
    limit: f64,
    knee: Option<f64>,
    /// Share of arrivals refused outside dips.
    refused: f64,
    latency: Latency,
    /// Variance of what requests take that have room, as the watch saw it, in square seconds.
    scatter: f64,
    /// Whether the next dip is a deep one.
    deep: bool,
    /// Whether the process is late, so that the limit must not grow.
    frozen: bool,
    /// Whether a dip has looked at what the watch found.
    proven: bool,
    /// By how much it grew on end, as a logarithm.
    grown: f64,
    trial: Trial,
    rest: Rest,
    signs: Signs,
    slack: Slack,
    /// What the last trial saw, until somebody takes it.
    experiment: Option<Experiment>,
}

/// The mean latency at the limit.
#[derive(Clone, Copy, Debug, Default)]
struct Latency {
    secs: f64,
    /// In flight at their admission.
    in_flight: f64,
    n: f64,
}

/// Between two experiments.
#[derive(Clone, Debug, Default)]
struct Rest {
    until: Option<Instant>,
    /// What earlier trials saw without being sure.
    kept: Kept,
    /// Latency at the limit since the last decision, to notice when it changes.
    calm: Option<Sums>,
    recent: Sums,
}

/// Signs that the limit is needed and that the service is alive.
#[derive(Clone, Copy, Debug, Default)]
struct Signs {
    last_end: Option<Instant>,
    last_window: Option<Instant>,
    /// The longest time between two windows since something ended.
    gap: Duration,
    last_refusal: Option<Instant>,
    in_flight: Option<u32>,
}

impl Engaged {
    /// A limit somebody else found.
    pub(super) fn at(limit: f64, epoch: u32) -> Self {
        Self {
            limit: limit.clamp(LIMIT_MIN, LIMIT_MAX),
            knee: None,
            refused: 0.0,
            latency: Latency::default(),
            scatter: 0.0,
            deep: false,
            frozen: false,
            proven: true,
            grown: 0.0,
            trial: Trial::new(epoch),
            rest: Rest::default(),
            signs: Signs::default(),
            slack: Slack::NONE,
            experiment: None,
        }
    }

    /// The limit that follows from saturation, to be verified against the `newest` requests that were admitted without it.
    pub(super) fn saturated(
        now: Instant,
        saturation: &Saturation,
        (from, newest): (u32, Group),
        epoch: u32,
    ) -> Self {
        let mut engaged = Self::at(target(saturation.knee), epoch);
        engaged.knee = Some(saturation.knee);
        engaged.proven = false;
        engaged.latency.secs = saturation.high.latency();
        engaged.trial.high = newest;
        engaged.vary(saturation.scatter);
        engaged.trial.blind = saturation.guessed;
        engaged.trial.watched = Some((saturation.high, from));
        engaged.signs.lives(now);
        engaged.signs.last_refusal = Some(now);
        // Whoever is over the limit now is refused; the extra headroom is for when few are.
        engaged.refused = HEADROOM_UNTIL;
        engaged.enter(Step::Verify, now);
        engaged
    }

    /// Takes over the variance that the watch saw: for as long as the limit is held, and for both sides of the verification, which a few that happen to be short do not show. A side forgets it with what it compares.
    fn vary(&mut self, scatter: f64) {
        self.scatter = scatter;
        for side in [&mut self.trial.high, &mut self.trial.low] {
            side.scatter = scatter;
        }
    }

    pub(super) fn limit(&self) -> u32 {
        self.limit.round().max(1.0) as u32
    }

    /// An epoch that no tag carries yet.
    pub(super) fn next_epoch(&self) -> u32 {
        next(self.trial.epoch)
    }

    /// Whether it refuses next to nobody and is not looking into anything.
    pub(super) fn idle(&self) -> bool {
        self.trial.step == Step::Rest && self.refused < IDLE_REFUSED
    }

    /// Whether the limit is well above what this knee asks for.
    pub(super) fn above(&self, knee: f64) -> bool {
        self.limit > ABOVE * target(knee)
    }

    /// Whether the limit must not grow for now.
    pub(super) fn freeze(&mut self, frozen: bool) {
        self.frozen = frozen;
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
        match self.trial.step {
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
        let open = (1.0 - self.refused / HEADROOM_UNTIL).max(0.0);
        (self.limit + (self.headroom() * open).max(self.lent())).ceil() as u32
    }

    /// Places beyond the limit while nobody is refused.
    fn headroom(&self) -> f64 {
        (HEADROOM_SHARE * self.known_knee() + HEADROOM_BURST - self.limit).max(0.0)
    }

    /// The service, by Little's law, from requests that were admitted at the limit.
    fn service(&self) -> Service {
        let Latency { secs, in_flight, n } = self.latency;
        if n < LATENCY_MEMORY {
            return Service::default();
        }
        Service {
            capacity: in_flight / secs.max(1e-9),
            secs: self.known_knee() * secs / in_flight.max(1.0),
        }
    }

    fn known_knee(&self) -> f64 {
        self.knee.unwrap_or(self.limit / TARGET)
    }

    /// Places beyond the limit for a load that comes in bursts.
    fn lent(&self) -> f64 {
        if self.trial.step == Step::Rest && !self.frozen {
            self.slack.places()
        } else {
            0.0
        }
    }

    /// By how much the cap is lower than the limit for the moment of a dip.
    pub(super) fn dip(&self) -> u32 {
        let dip = if self.dips() {
            self.limit.ceil() as u32
        } else {
            0
        };
        dip.saturating_sub(self.cap())
    }

    pub(super) fn one_in(&self) -> u16 {
        match self.trial.step {
            Step::Rest | Step::Wait { .. } => {
                (self.limit / SAMPLES_AT_REST).clamp(1.0, ONE_IN_MAX) as u16
            }
            _ => 1,
        }
    }

    pub(super) fn window_arrivals(&self) -> u16 {
        (self.limit / 4.0).clamp(WINDOW_MIN, WINDOW_MAX) as u16
    }

    pub(super) fn admitted(&mut self, now: Instant, in_flight: u32) -> Tag {
        self.clock(now);
        let at = self.secs(now);
        let reference = f64::from(in_flight) >= REFERENCE * self.limit;
        let kind = match self.trial.step {
            Step::Before | Step::After | Step::Rise if reference => HIGH,
            Step::Dip if in_flight.saturating_mul(2) >= self.cap() => LOW,
            Step::Verify => LOW,
            _ => return Tag::new(self.trial.epoch << 2 | OTHER),
        };
        if kind == HIGH {
            self.trial.high.admitted(at, in_flight);
        } else {
            self.trial.low.admitted(at, in_flight);
        }
        let tag = Tag::new(self.trial.epoch << 2 | kind);
        self.trial.taken += 1.0;
        if self.trial.taken >= self.cohort() {
            self.step_done(now);
        }
        tag
    }

    pub(super) fn ended(&mut self, ended: &Ended, random: &mut Random) -> Outcome {
        let now = ended.now;
        self.signs.lives(now);
        let sample = ended.sample().filter(|sample| self.tells(*sample));
        let kind = ended.tag.raw() & 3;
        if ended.tag.raw() >> 2 == self.trial.epoch && kind != OTHER {
            let (at, ends_at) = (self.secs(ended.admitted_at), self.secs(now));
            let wait = (TARGET - 1.0) * self.latency.secs;
            let group = if kind == HIGH {
                &mut self.trial.high
            } else {
                &mut self.trial.low
            };
            group.ended(at, ended.in_flight, sample);
            if let Some((latency, ..)) = sample {
                group.sums.would_wait(latency, wait);
                group
                    .clusters
                    .add(ends_at, WIDTH * self.latency.secs, latency);
            }
        }
        // A burst that was lent places says nothing of the limit.
        let own = REFERENCE * self.limit..=self.limit + self.headroom();
        let reference = kind != LOW && own.contains(&f64::from(ended.in_flight));
        if let Some((latency, in_flight, abandoned)) = sample.filter(|_| reference) {
            self.latency.n = (self.latency.n + 1.0).min(LATENCY_MEMORY);
            self.latency.secs += (latency - self.latency.secs) / self.latency.n;
            self.latency.in_flight +=
                (f64::from(in_flight) - self.latency.in_flight) / self.latency.n;
            if self.trial.step == Step::Rest {
                self.rest.recent.add(latency, in_flight, abandoned);
                self.notice(now);
            }
        }
        self.clock(now);
        self.finish(now, random)
    }

    /// Hears of the end of a request that was admitted before this limit.
    pub(super) fn ended_earlier(
        &mut self,
        ended: &Ended,
        serial: u32,
        random: &mut Random,
    ) -> Outcome {
        let compared = self
            .trial
            .watched
            .is_some_and(|(_, from)| is_since(serial, from));
        let verifies = matches!(
            self.trial.step,
            Step::Verify | Step::Wait { kind: Kind::Verify }
        );
        if !verifies || !compared || !self.trial.high.open() {
            return Outcome::Nothing;
        }
        self.signs.lives(ended.now);
        let at = self.secs(ended.admitted_at);
        let sample = ended.sample().filter(|sample| self.tells(*sample));
        self.trial.high.ended(at, ended.in_flight, sample);
        self.finish(ended.now, random)
    }

    pub(super) fn window(&mut self, window: &Window, random: &mut Random) -> Outcome {
        let now = window.now;
        self.signs.seen(now);
        let (admitted, refused) = (f64::from(window.admitted), f64::from(window.refused));
        let before = self.signs.in_flight.replace(window.in_flight);
        if before.is_some_and(|f| f.saturating_add(window.admitted) > window.in_flight) {
            self.signs.lives(now);
        }
        if refused > 0.0 || self.signs.last_refusal.is_none() {
            self.signs.last_refusal = Some(now);
        }
        if !self.dips() {
            self.count(admitted, refused);
        }
        // While the process is late those who stand in line are beyond it, and hold no place.
        let beyond = !self.frozen && f64::from(window.in_flight) > self.limit + self.headroom();
        let service = self.service();
        self.slack.arrived(now, admitted + refused, service, beyond);
        self.clock(now);
        let outcome = self.finish(now, random);
        if !matches!(outcome, Outcome::Nothing) {
            return outcome;
        }
        if let Some(why) = self.obsolete(now, refused > 0.0) {
            return Outcome::Open(why);
        }
        let pressed = self.refused > PRESSED;
        if self.trial.step == Step::Rest
            && pressed
            && self.lent() < 1.0
            && self.rest.until.is_none_or(|until| now >= until)
        {
            self.begin(now);
        }
        Outcome::Nothing
    }

    fn count(&mut self, admitted: f64, refused: f64) {
        let arrivals = admitted + refused;
        if arrivals <= 0.0 {
            return;
        }
        let memory = (MEMORY_LIMITS * self.limit).max(MEMORY_MIN);
        let weight = 1.0 - (1.0 - 1.0 / memory).powf(arrivals);
        self.refused += (refused / arrivals - self.refused) * weight;
    }
}

impl Signs {
    /// Something has ended.
    fn lives(&mut self, now: Instant) {
        self.last_end = Some(now);
        self.gap = Duration::ZERO;
    }

    /// A window has come.
    fn seen(&mut self, now: Instant) {
        let before = self.last_window.replace(now).max(self.last_end);
        let gap = before.map_or(Duration::ZERO, |it| now.saturating_duration_since(it));
        self.gap = self.gap.max(gap);
    }
}

/// Epochs count round, and zero is left out because a tag of zero is none.
fn next(epoch: u32) -> u32 {
    ((epoch + 1) & EPOCH_MASK).max(1)
}

fn target(knee: f64) -> f64 {
    TARGET * knee + TARGET_PLUS
}

/// What the low bits of a tag say beside `WATCH`.
const OTHER: u32 = 0;
const HIGH: u32 = 2;
const LOW: u32 = 3;
const EPOCH_MASK: u32 = (1 << 29) - 1;

/// A real number below 2 could not be dipped.
const LIMIT_MIN: f64 = 2.0;
/// Beyond this a limit limits nothing.
const LIMIT_MAX: f64 = 1e6;
/// The limit aims at `TARGET * knee + TARGET_PLUS`: room for what is not evenly spread.
/// `TARGET * DIP` must stay below 1, else it cannot come down from above. With 1.2 the dips reach below the knee (pool of 64: goodput 0.88); without the 1 a pool of one loses 7 %. From the study's ablation.
const TARGET: f64 = 1.4;
const TARGET_PLUS: f64 = 1.0;
/// From this share of refusals on the cap is the limit; with fewer it is higher by the headroom.
const HEADROOM_UNTIL: f64 = 0.3;
/// Depth of a dip. From the study.
const DIP: f64 = 0.65;
/// Depth of the dip after one in which everybody queued.
const DIP_DEEP: f64 = 0.36;
/// A request is of the high side when admitted with this share of the limit in flight.
/// With any at all a brownout times out (study).
const REFERENCE: f64 = 0.85;
/// Share of refusals from which experiments begin. With 0.06 they cost 1-2 % of goodput between 1x and 1.2x.
const PRESSED: f64 = 0.1;
/// The share of refusals is remembered over so many arrivals for each place, and so many at least.
/// At exactly the capacity random arrivals come in bursts of hundreds that are refused together: with an eighth of this memory each looks like an overload, lowers the cap and starts an experiment, which costs 1.5 % of goodput.
const MEMORY_LIMITS: f64 = 16.0;
const MEMORY_MIN: f64 = 400.0;
/// With fewer refused than this share there is nothing to look into but whether the limit is too high.
const IDLE_REFUSED: f64 = 0.005;
/// A limit is lowered by what the watch found, without an experiment, if it is above what that asks for by this factor: knees found twice differ by a fifth.
const ABOVE: f64 = 1.25;
/// Requests sampled of one limit's worth while nothing is looked into: enough for a change of speed to show within a latency or two.
const SAMPLES_AT_REST: f64 = 32.0;
/// The thinnest sampling at rest, as in the watch.
const ONE_IN_MAX: f64 = 1024.0;
/// A window is a quarter of the limit's worth of arrivals. With fewer than so many a window costs more than its requests;
const WINDOW_MIN: f64 = 4.0;
/// with more a large limit would learn of refusals too late.
const WINDOW_MAX: f64 = 64.0;
/// Requests over which the mean latency is remembered: two cohorts of the smallest kind.
const LATENCY_MEMORY: f64 = 32.0;

#[cfg(test)]
mod tests;
