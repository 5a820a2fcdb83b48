//! A limit that finds itself.

use std::time::{Duration, Instant};

use super::{
    Admitted, Change, Directive, Ended, Ending, Limit, LimitPhase, Sampling, Snapshot, Tag, Why,
    Window,
};
use held::{Held, Outcome};
use watch::Watch;

mod cycle;
mod held;
mod slope;
mod sums;
mod watch;

/// Stays out of the way until requests queue, then holds the limit at which they stop to.
#[derive(Clone, Debug)]
pub struct Adaptive {
    bounds: Bounds,
    random: Random,
    watch: Watch,
    /// Present while there is a limit.
    held: Option<Held>,
    /// Saturation is not believed before this moment: earlier ones were wrong.
    doubt_until: Option<Instant>,
    doubts: u32,
    /// The first epoch of the next limit that is held.
    epoch: u32,
    change: Option<Change>,
    last: Option<super::Experiment>,
}

/// Builds an [`Adaptive`] limit.
#[derive(Clone, Copy, Debug)]
pub struct AdaptiveBuilder {
    seed: u64,
    bounds: Bounds,
    start: Option<u32>,
}

#[derive(Clone, Copy, Debug)]
struct Bounds {
    min: u32,
    max: Option<u32>,
}

impl Adaptive {
    /// Makes one with the defaults, which suit every service it was tried on.
    ///
    /// The seed only keeps the experiments of several instances from falling into step; any number that differs between them will do.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self::builder(seed).build()
    }

    /// Starts to build one with bounds of one's own.
    #[must_use]
    pub const fn builder(seed: u64) -> AdaptiveBuilder {
        AdaptiveBuilder {
            seed,
            bounds: Bounds { min: 1, max: None },
            start: None,
        }
    }

    fn limit(&self) -> Option<u32> {
        match &self.held {
            Some(held) => Some(self.bounds.clamp(held.limit())),
            None => self.bounds.max,
        }
    }

    /// Compares the limit with what it was, and tells if it moved.
    fn told(&mut self, now: Instant, from: Option<u32>, why: Option<Why>) -> Option<Change> {
        let to = self.limit();
        if from == to {
            return None;
        }
        let change = Change::new(now, from, to, why.unwrap_or(Why::Other("unknown")));
        self.change = Some(change);
        Some(change)
    }

    fn open(&mut self) {
        if let Some(held) = self.held.take() {
            self.epoch = held.next_epoch();
        }
        self.watch.clear();
    }

    /// Advances what is held and obeys what follows.
    fn advance(
        &mut self,
        now: Instant,
        step: impl FnOnce(&mut Held, &mut Random) -> Outcome,
    ) -> Option<Change> {
        let from = self.limit();
        let held = self.held.as_mut()?;
        let outcome = step(held, &mut self.random);
        if let Some(experiment) = held.take_experiment() {
            self.last = Some(experiment);
        }
        let why = match outcome {
            Outcome::Nothing => None,
            Outcome::Moved(why) => Some(why),
            Outcome::Confirmed(why) => {
                self.doubts = 0;
                Some(why)
            }
            Outcome::Open(why) => {
                self.open();
                Some(why)
            }
            Outcome::Mistaken { why, latency } => {
                self.open();
                let doubt =
                    DOUBT_LATENCIES * latency * f64::from(1 << self.doubts.min(DOUBLINGS_MAX));
                let doubt = Duration::from_secs_f64(doubt.min(DOUBT_SECS_MAX));
                self.doubts += 1;
                self.doubt_until = now.checked_add(doubt);
                Some(why)
            }
        };
        self.told(now, from, why)
    }

    fn watched(&mut self, ended: &Ended, serial: u32) -> Option<Change> {
        let sample = ended.sample();
        let saturation = self.watch.ended(ended.now, serial, sample)?;
        if self.doubt_until.is_some_and(|until| ended.now < until) {
            return None;
        }
        let from = self.limit();
        let epoch = match &self.held {
            Some(held) if held.idle() && held.above(saturation.knee) => held.next_epoch(),
            Some(_) => return None,
            None => self.epoch,
        };
        self.watch.clear();
        self.held = Some(Held::saturated(ended.now, &saturation, epoch));
        let why = Why::Saturated {
            in_flight: saturation.high.in_flight(),
            slower: saturation.slower,
            knee: saturation.knee,
        };
        self.told(ended.now, from, Some(why))
    }

    /// Whether nobody is refused, so that all there is to do is to watch.
    fn watches(&self) -> bool {
        self.held.as_ref().is_none_or(Held::idle)
    }
}

impl Limit for Adaptive {
    fn directive(&self) -> Directive {
        match &self.held {
            None => Directive::new(self.bounds.max, Sampling::OneIn(self.watch.one_in()), 0),
            Some(held) => Directive::new(
                Some(self.bounds.clamp(held.cap())),
                Sampling::OneIn(if held.idle() {
                    self.watch.one_in()
                } else {
                    held.one_in()
                }),
                held.window_arrivals(),
            ),
        }
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(LimitPhase::Open);
        snapshot.limit = self.limit();
        snapshot.change = self.change;
        snapshot.experiment = self.last;
        if let Some(held) = &self.held {
            snapshot.phase = held.phase();
            snapshot.knee = held.knee();
            snapshot.refused_ratio = held.refused_ratio();
        }
        snapshot
    }

    fn admitted(&mut self, admitted: Admitted) -> Tag {
        if self.watches() {
            let serial = self.watch.admitted(admitted.now, admitted.in_flight);
            return Tag::new(serial << 2 | WATCH);
        }
        match &mut self.held {
            Some(held) => held.admitted(admitted.now, admitted.in_flight),
            None => Tag::NONE,
        }
    }

    fn ended(&mut self, ended: Ended) -> Option<Change> {
        if ended.tag.is_none() {
            return None;
        }
        if ended.tag.raw() & 3 == WATCH {
            return self.watched(&ended, ended.tag.raw() >> 2);
        }
        self.advance(ended.now, |held, random| held.ended(&ended, random))
    }

    fn window(&mut self, window: Window) -> Option<Change> {
        let watched = self.watches();
        let change = self.advance(window.now, |held, random| held.window(&window, random));
        if watched && !self.watches() {
            // At the limit in flight stands still, and what was seen before is of another time.
            self.watch.clear();
        }
        change
    }
}

impl AdaptiveBuilder {
    /// Never admits fewer than this; 1 by default, and never 0.
    #[must_use]
    pub const fn min(mut self, min: u32) -> Self {
        self.bounds.min = if min == 0 { 1 } else { min };
        self
    }

    /// Never admits more than this; no bound by default, since a healthy service is never refused.
    #[must_use]
    pub const fn max(mut self, max: u32) -> Self {
        self.bounds.max = Some(if max == 0 { 1 } else { max });
        self
    }

    /// Starts from a limit instead of none, for a service whose limit was known before a restart.
    #[must_use]
    pub const fn start(mut self, limit: u32) -> Self {
        self.start = Some(limit);
        self
    }

    /// Makes the limit. A minimum above the maximum gives way to it.
    #[must_use]
    pub fn build(self) -> Adaptive {
        Adaptive {
            bounds: self.bounds,
            random: Random(self.seed),
            watch: Watch::new(),
            held: self.start.map(|limit| Held::at(f64::from(limit.max(1)), 1)),
            doubt_until: None,
            doubts: 0,
            epoch: 1,
            change: None,
            last: None,
        }
    }
}

impl Bounds {
    fn clamp(self, limit: u32) -> u32 {
        let max = self.max.unwrap_or(u32::MAX - 1);
        limit.clamp(self.min.min(max), max)
    }
}

impl Ended {
    /// Latency, in flight and whether the client left, if it says anything.
    fn sample(&self) -> Option<(f64, u32, bool)> {
        match self.ending {
            Ending::Completed => Some((self.latency_secs(), self.in_flight, false)),
            Ending::Abandoned => Some((self.latency_secs(), self.in_flight, true)),
            Ending::Irrelevant => None,
        }
    }
}

/// Random numbers from a seed (splitmix64), to keep instances out of step.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    fn between(&mut self, low: f64, high: f64) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let unit = ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64;
        low + (high - low) * unit
    }
}

/// The low bits of a tag say what it is for.
const WATCH: u32 = 1;

/// The extra cap while few are refused is this share of the knee and so many more.
const HEADROOM_SHARE: f64 = 2.3;
const HEADROOM_BURST: f64 = 8.0;

/// A queue is worth a limit when this share of the knee and so many more are in flight.
const BURST_SHARE: f64 = 2.0;
const BURST_PLUS: f64 = 7.0;

/// After a mistaken limit, saturation is not believed for this many latencies, doubled each time.
const DOUBT_LATENCIES: f64 = 8.0;
/// So that the doubling does not overflow.
const DOUBLINGS_MAX: u32 = 16;
/// It is believed again after this at the latest.
const DOUBT_SECS_MAX: f64 = 60.0;
