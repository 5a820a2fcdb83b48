//! A limit that finds itself. How it works is said at [`Adaptive`].

use std::time::{Duration, Instant};

use super::{
    Admitted, Change, ChangeReason, Directive, Ended, Ending, Limit, LimitPhase, Sampling,
    Snapshot, Tag, Window,
};
use engaged::{Engaged, Outcome};
use settled::Settled;
use watch::Watch;

mod clusters;
mod cycle;
mod engaged;
mod growth;
mod settled;
mod slope;
mod sums;
mod watch;

/// Stays out of the way until requests queue, then holds the limit at which they stop to.
///
/// # What it does
///
/// A service can work on only so many requests at once: its *knee* `N` (workers, connections, cores).
/// Beyond it a further request only waits, so by Little's law latency grows in step with how many are in flight.
/// `N` does not change when the service merely becomes slower, so a limit set from `N` survives a brownout, while one set from a latency does not.
///
/// [`Adaptive`] has two states.
///
/// **Open.** There is no limit. Requests are sampled into blocks of 16 in the order of their admission, and neighbouring blocks are compared: does latency rise *because* more were in flight?
/// With `x` the difference of `ln(in flight at admission)` and `y` that of `ln(latency)`, the slope `sum(x y) / sum(x²)` is 1 behind a full pool.
/// It must be at least 4 standard errors above nothing, over single blocks, pairs or fours, and survive without the pair that speaks most for it.
/// Levels would not do: in flight follows latency in a healthy service too. Five things tell the two apart:
///
/// - a latency that jumps by more than in flight begins a new story (a dependency that takes 300 ms longer moves latency first, and in flight only after it);
/// - whatever moves slowly moves together, so the short ups and downs, without their trend, must follow each other too: measured slopes are 0.6-0.8 behind a pool and 0.0-0.2 behind a dependency that comes and goes;
/// - what has been explained once in this way is not asked about again;
/// - except where what waits outgrows everything but an overload: both in flight and latency say, by Little's law and without a baseline, that work comes 1.4 times as fast as it ends. Seconds at exactly the capacity, in which a queue became the normal, then hide nothing. Slower growth is told by fours of blocks well beyond the knee, each without what its neighbours share;
/// - the queue must be worth a limit (1.8 times slower, and `2 N + 7` in flight), not about to go away by itself, and no burst: it holds, or has stood for, forty times what a request takes, between 50 and 250 ms.
///
/// The slowest two of each block are not waited for. Where they are most of the work, because one request in ten takes a hundred times longer, they count once they end, and a queue counts as gone with fewer than `2 N` in flight.
///
/// Where nothing can be learnt from latency any more, because most clients give up, it tries a limit if they did not give up while fewer were in flight.
///
/// **Held.** The limit is `1.4 N + 1`. First it is *verified* against the requests that were admitted last without it: if the others are no faster, it is lifted, and saturation is not believed for 8 latencies, doubled each time.
/// Where even these others queued for certain it comes down by half, and each half is verified against the one before.
/// Then, while a tenth of the arrivals is refused, it *dips* to 0.65 for about one cohort of `max(16, limit / 2)` requests and compares those admitted in the dip with those admitted at the limit before and after it:
/// `N = F_high * R_low / R_high`, with means and their standard error. Sums are kept over dips until they are sure, and dropped when the latency at the limit shows that the service became faster or slower meanwhile.
/// A limit of 64 places and more that the watch found is looked at once more with a dip to a third, if the first dip leaves open whether everybody queued; where they did it comes down by halves, as in a verification.
/// Where nobody queues the limit grows by 3, and after two growths on end goes away.
/// It also goes away when nobody was refused for 10 s, when requests are refused while nothing at all ends for 10 latencies (not counting the longest time in which nobody came either, because a process that stood still hears of arrivals before it ends anything), and when more run for half a second than what comes explains: then what was known no longer holds.
/// While the process itself runs late (no heartbeat for 20 ms too long, within the last second) it does not grow and does not go away: requests then are slow at any limit, so "no faster with fewer" says nothing.
/// While what comes is less than what the service can do it lends places to bursts, as many as are served in the time that a queue may last without being an overload. They are in the cap and not in the limit that is told.
/// While it refuses nobody it watches as if it were open, so a limit that is too high is found as well.
///
/// **Told.** Each experiment ends with an error of some hundredths, so a limit that is right goes on moving by a place or two. What [`Limit::snapshot`] and the changes tell stays while the limit is about that, and becomes the mean of the last ones when it is not.
///
/// # Why this and not the neighbours
///
/// Gradient, Vegas and BBR compare latency with a baseline from another time, and so take a slower dependency for a queue, or sustained overload for the norm. AIMD needs a latency that somebody chose. `Fixed` needs a number that somebody knows. The simulator (`crates/sim`) compares them.
///
/// # Example
///
/// ```
/// use steadfast_core::limit::{Adaptive, Limit};
///
/// // The seed keeps the experiments of several instances out of step.
/// let limit = Adaptive::builder(42).min(4).build();
/// assert_eq!(limit.snapshot().limit, None);
/// ```
///
/// # Hazards
///
/// - Two pools behind one limit have no single knee: the slower one can use up the limit. Give each a limit of its own.
/// - In flight must be what latency is about. Streams whose body lasts for minutes need a count of their own.
/// - Handlers that block their thread queue before this limit, where it sees nothing.
/// - Clients in a closed loop, fewer than would be refused, keep in flight constant. Nothing can be learnt from that, and nothing is done.
/// - In the first 250 to 500 ms of an overload, until it is no burst any more, everybody is admitted; where neighbours keep the process from the processors, up to 2 s. That is the price of never refusing a healthy service.
///
/// Constants carry their reasons beside them. "The study" is the one that the simulator's README summarises and repeats.
///
/// # Cost
///
/// About 25 KB. A sampled request costs about a microsecond on average and at most about 8,000 are sampled each second; the rest of them never come here.
#[derive(Clone, Debug)]
pub struct Adaptive {
    bounds: Bounds,
    random: Random,
    watch: Watch,
    /// Present while there is a limit.
    engaged: Option<Engaged>,
    /// Saturation is not believed before this moment: earlier ones were wrong.
    doubt_until: Option<Instant>,
    doubts: u32,
    /// Until then the process was late, so nothing measured speaks for a higher limit.
    late_until: Option<Instant>,
    /// The first epoch of the next limit that is held.
    epoch: u32,
    /// Places that are kept beside the limit, for those who go first and for those who stand in line: what is found out is about how many run, and nobody else takes them.
    kept: u32,
    settled: Settled,
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
        match &self.engaged {
            Some(engaged) => Some(self.bounds.clamp(engaged.limit())),
            None => self.bounds.max,
        }
    }

    /// Tells of the limit, if it is no longer about what was told of it.
    fn told(&mut self, now: Instant, why: Option<ChangeReason>) -> Option<Change> {
        let (from, to) = self.settled.follow(self.limit())?;
        let change = Change::new(now, from, to, why.unwrap_or(ChangeReason::Other("unknown")));
        self.change = Some(change);
        Some(change)
    }

    fn open(&mut self) {
        if let Some(engaged) = self.engaged.take() {
            self.epoch = engaged.next_epoch();
        }
        self.watch.clear();
    }

    /// Advances what is held and obeys what follows.
    fn advance(
        &mut self,
        now: Instant,
        step: impl FnOnce(&mut Engaged, &mut Random) -> Outcome,
    ) -> Option<Change> {
        let engaged = self.engaged.as_mut()?;
        engaged.freeze(self.late_until.is_some_and(|until| now < until));
        let outcome = step(engaged, &mut self.random);
        if let Some(experiment) = engaged.take_experiment() {
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
        self.told(now, why)
    }

    fn watched(&mut self, ended: &Ended, serial: u32) -> Option<Change> {
        if self.engaged.is_some() && !self.watches() {
            // It was admitted before the limit that is being verified.
            return self.advance(ended.now, |engaged, random| {
                engaged.ended_earlier(ended, serial, random)
            });
        }
        let sample = ended.sample();
        let saturation = self.watch.ended(ended.now, serial, sample)?;
        if self.doubt_until.is_some_and(|until| ended.now < until) {
            return None;
        }
        let epoch = match &self.engaged {
            Some(engaged) if engaged.idle() && engaged.above(saturation.knee) => {
                engaged.next_epoch()
            }
            Some(_) => return None,
            None => self.epoch,
        };
        let newest = self.watch.newest(ended.now);
        self.watch.clear();
        self.engaged = Some(Engaged::saturated(ended.now, &saturation, newest, epoch));
        let why = ChangeReason::Saturated {
            in_flight: saturation.high.in_flight(),
            slower: saturation.slower,
            knee: saturation.knee,
        };
        self.told(ended.now, Some(why))
    }

    /// Whether nobody is refused, so that all there is to do is to watch.
    fn watches(&self) -> bool {
        self.engaged.as_ref().is_none_or(Engaged::idle)
    }
}

impl Limit for Adaptive {
    fn directive(&self) -> Directive {
        match &self.engaged {
            None => Directive::new(self.bounds.max, Sampling::OneIn(self.watch.one_in()), 0),
            Some(engaged) => Directive::new(
                Some(self.bounds.clamp(engaged.cap().saturating_add(self.kept))),
                Sampling::OneIn(if engaged.idle() {
                    self.watch.one_in()
                } else {
                    engaged.one_in()
                }),
                engaged.window_arrivals(),
            ),
        }
    }

    fn kept(&mut self, places: u32) {
        self.kept = places;
    }

    fn spared(&self) -> u32 {
        self.engaged.as_ref().map_or(0, Engaged::dip)
    }

    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(LimitPhase::Open);
        snapshot.limit = self.settled.told();
        snapshot.change = self.change;
        snapshot.experiment = self.last;
        if let Some(engaged) = &self.engaged {
            snapshot.phase = engaged.phase();
            snapshot.knee = engaged.knee();
            snapshot.refused_ratio = engaged.refused_ratio();
        }
        snapshot
    }

    fn admitted(&mut self, admitted: Admitted) -> Tag {
        if self.watches() {
            let serial = self.watch.admitted(admitted.now, admitted.in_flight);
            return Tag::new(serial << 2 | WATCH);
        }
        match &mut self.engaged {
            Some(engaged) => engaged.admitted(admitted.now, admitted.in_flight),
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
        self.advance(ended.now, |engaged, random| engaged.ended(&ended, random))
    }

    fn window(&mut self, window: Window) -> Option<Change> {
        let watched = self.watches();
        let change = self.advance(window.now, |engaged, random| {
            engaged.window(&window, random)
        });
        if watched && !self.watches() {
            // At the limit in flight stands still, and what was seen before is of another time.
            self.watch.clear();
        }
        change
    }

    fn late(&mut self, now: Instant, lag: Duration) {
        let until = now.checked_add(LATE_FOR.max(lag));
        self.late_until = self.late_until.max(until);
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
        let mut adaptive = Adaptive {
            bounds: self.bounds,
            random: Random(self.seed),
            watch: Watch::new(),
            engaged: self
                .start
                .map(|limit| Engaged::at(f64::from(limit.max(1)), 1)),
            doubt_until: None,
            doubts: 0,
            late_until: None,
            epoch: 1,
            kept: 0,
            settled: Settled::at(None),
            change: None,
            last: None,
        };
        adaptive.settled = Settled::at(adaptive.limit());
        adaptive
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

/// The cap while nobody is refused is this share of the knee and so many more; it falls to the limit as refusals near three tenths.
/// At exactly the capacity a fixed limit on 16 workers needs 37 for a goodput of 0.97, and 30 for a p99 of 1.3 at twice the capacity, so one number cannot do both (study, section 7).
const HEADROOM_SHARE: f64 = 1.8;
const HEADROOM_BURST: f64 = 8.0;

/// A queue is worth a limit when this share of the knee and so many more are in flight: below it, one that comes and goes at 0.8 of the capacity would be refused.
const BURST_SHARE: f64 = 2.0;
const BURST_PLUS: f64 = 7.0;

/// How long a queue may last and still be a burst that needs no limit, in seconds, for a service that takes so many seconds for a request that does not wait.
fn burst_secs(service_secs: f64) -> f64 {
    (BURST_SERVICES * service_secs).clamp(BURST_SECS_MIN, BURST_SECS_MAX)
}

/// A burst lasts for so many times what a request takes: callers wait for longer where answers take longer.
const BURST_SERVICES: f64 = 40.0;
/// Nobody gives up before this,
const BURST_SECS_MIN: f64 = 0.05;
/// and half of the half second for which the least patient callers of a slow service wait is the most. With 0.2 an overload is found 50 ms sooner, and bursts that leave 150 ms of work behind were refused.
const BURST_SECS_MAX: f64 = 0.25;

/// After a late heartbeat the limit does not grow for this long: ten beats, since a process that its neighbours starve is on time now and then.
const LATE_FOR: Duration = Duration::from_secs(1);

/// After a mistaken limit, saturation is not believed for this many latencies, doubled each time.
const DOUBT_LATENCIES: f64 = 8.0;
/// So that the doubling does not overflow.
const DOUBLINGS_MAX: u32 = 16;
/// It is believed again after this at the latest.
const DOUBT_SECS_MAX: f64 = 60.0;

#[cfg(all(test, not(loom)))]
mod tests;
