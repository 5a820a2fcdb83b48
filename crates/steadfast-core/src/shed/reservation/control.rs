//! How many places are kept from each class, from what came and what was served. Pure.
//!
//! At the edge of what is kept from a class, that class is refused, so in flight only grows
//! by who goes before it and shrinks as requests end. With `ratio` of those arrivals to the
//! ends of a full limit, every further place is found taken `ratio` times as seldom, so `n`
//! kept places are all taken for a share of about `ratio^n` of the time (the tail of a
//! birth-death process; Kleinrock, Queueing Systems 1, section 3.2; keeping places from
//! later classes is trunk reservation). [`LOSS`] is what that share may be.
//!
//! A full limit ends as many requests as were served, times the limit over how many ran
//! (Little's law); without that factor, who is kept out would make fewer end, and more
//! would be kept. All are counts of the same seconds, so how long requests take, and how
//! much that differs from class to class, does not enter.
//!
//! The arithmetic supposes that arrivals and ends are spread at random. Where they come in
//! clumps more is lost than it promises, so each moment with such a loss adds a place, and
//! [`LESS_AFTER`] arrivals, or [`LESS_LATER`], without one take some away again: it settles
//! where about that share is lost, whatever the clumps are like.

use std::time::{Duration, Instant};

use crate::request::priority::Priority;

pub(super) const CLASSES: usize = Priority::ALL.len();

/// The share of those who go first that may still be refused: half of the one in a thousand
/// that is promised.
pub(super) const LOSS: f64 = 1.0 / 2000.0;

/// Arrivals without a loss after which a place that was learnt is given up.
const LESS_AFTER: u64 = 2000;

/// The same for classes that seldom come.
const LESS_LATER: Duration = Duration::from_secs(60);

/// The share of the learnt places that is then given up.
const LESS_SHARE: u32 = 4;

/// For how long the limit must have been met before losses teach.
const TEACHES_AFTER: Duration = Duration::from_secs(1);

/// Most places that one look adds: one burst is no habit.
const LEARNT_AT_ONCE: u32 = 8;

/// Above this ratio whoever goes first asks for all there is, and losses teach nothing.
const TEACHES_MAX: f64 = 0.9;

/// Seconds that are remembered: a class that has not come for so long keeps nothing, and
/// nothing is kept from one.
const SECONDS: usize = 10;

/// A ratio is made of as many of the latest seconds as hold this many ends, or of all: with
/// fewer, one request makes all the difference.
const SERVED_MIN: f64 = 64.0;

/// For how long the limit counts as met after it was.
pub(in crate::shed) const CONTENDED_FOR: Duration = Duration::from_secs(1);

/// What happened since the last look.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Requests that asked for a place, by class.
    pub(crate) arrived: [u32; CLASSES],
    /// Those of them that were refused for want of one.
    pub(crate) refused: [u32; CLASSES],
    /// Requests that were admitted.
    pub(crate) served: u32,
    /// Whether somebody was refused while as many ran as may.
    pub(crate) met: bool,
    /// How many run, and may.
    pub(crate) in_flight: u32,
    pub(crate) limit: u32,
    /// Whether those who find no place wait for one; then places become free for them first.
    pub(crate) queued: bool,
}

#[derive(Clone, Copy, Debug, Default)]
struct Second {
    arrived: [u32; CLASSES],
    served: u32,
    looks: u32,
    /// How full the limit was, summed over the looks.
    full: f64,
}

/// The controller.
#[derive(Clone, Debug)]
pub(crate) struct ReserveControl {
    seconds: [Second; SECONDS],
    at: usize,
    began: Instant,
    /// When the limit was last met.
    met_at: Option<Instant>,
    /// Since when it has been, without a break.
    met_since: Option<Instant>,
    learnt: [Learnt; CLASSES],
    kept: [u32; CLASSES],
    ratio: [f64; CLASSES],
}

/// Places that were added because those who go before a class were refused.
#[derive(Clone, Copy, Debug)]
struct Learnt {
    places: u32,
    /// Arrivals of theirs since that last changed, and when it did.
    since: u64,
    at: Instant,
}

impl ReserveControl {
    pub(crate) fn new(now: Instant) -> Self {
        let learnt = Learnt {
            places: 0,
            since: 0,
            at: now,
        };
        Self {
            seconds: [Second::default(); SECONDS],
            at: 0,
            began: now,
            met_at: None,
            met_since: None,
            learnt: [learnt; CLASSES],
            kept: [0; CLASSES],
            ratio: [0.0; CLASSES],
        }
    }

    /// Whether the limit is being met, so that it matters who is admitted.
    pub(crate) const fn is_contended(&self) -> bool {
        self.met_at.is_some()
    }

    /// How many places are kept from each class.
    pub(crate) const fn kept(&self) -> [u32; CLASSES] {
        self.kept
    }

    /// The most that is kept from any class, as far as those it is kept for leave room for
    /// others: where they ask for all there is, they fill the limit by themselves.
    pub(crate) fn beside(&self) -> u32 {
        let last = self.last_class();
        if self.ratio[last] < TEACHES_MAX {
            self.kept[last]
        } else {
            0
        }
    }

    /// Arrivals of those who go before each class, over the ends of a full limit.
    pub(crate) const fn ratio(&self) -> [f64; CLASSES] {
        self.ratio
    }

    /// Takes what happened and decides.
    pub(crate) fn look(&mut self, seen: Seen, now: Instant) {
        self.turn(now);
        let second = &mut self.seconds[self.at];
        second.served = second.served.saturating_add(seen.served);
        second.looks += 1;
        second.full += f64::from(seen.in_flight) / f64::from(seen.limit.max(1));
        for (sum, came) in second.arrived.iter_mut().zip(seen.arrived) {
            *sum = sum.saturating_add(came);
        }
        self.note_contention(seen, now);
        let lasting = self.lasts(now);
        let last = self.last_class();
        for class in 0..CLASSES {
            self.ratio[class] = self.ratio_before(class);
            // At first the places that are to be kept are still taken, and while more run
            // than may none can be kept: what is lost then teaches nothing about how many
            // that should be.
            if lasting && seen.in_flight <= seen.limit {
                self.learn(class, seen, now);
            }
            // Nothing is kept from a class that does not come, or in vain.
            let from = self.is_contended() && class <= last;
            self.kept[class] = if from { self.places(class, seen) } else { 0 };
        }
    }

    /// Moves on to the present second.
    fn turn(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.began).as_secs();
        for _ in 0..passed.min(SECONDS as u64) {
            self.at = (self.at + 1) % SECONDS;
            self.seconds[self.at] = Second::default();
        }
        self.began += Duration::from_secs(passed);
    }

    /// The limit is met when somebody is refused at it, or when as much is asked for as
    /// would fill it: what is kept hides the first from those it is kept from.
    fn note_contention(&mut self, seen: Seen, now: Instant) {
        let (refused, served) = (total(&seen.refused), f64::from(seen.served.max(1)));
        let asked = f64::from(seen.in_flight) * (served + refused) / served;
        let fills = self.is_contended() && refused > 0.0 && asked >= f64::from(seen.limit);
        if seen.met || fills {
            self.met_at = Some(now);
            self.met_since.get_or_insert(now);
        }
        let over = |at: Instant| now.saturating_duration_since(at) >= CONTENDED_FOR;
        if self.met_at.is_some_and(over) {
            (self.met_at, self.met_since) = (None, None);
        }
    }

    /// Whether the limit has been met for a while.
    fn lasts(&self, now: Instant) -> bool {
        let while_ago = |since| now.saturating_duration_since(since) >= TEACHES_AFTER;
        self.met_since.is_some_and(while_ago)
    }

    /// The last class that anybody came of.
    fn last_class(&self) -> usize {
        let came = |class: &usize| self.seconds.iter().any(|second| second.arrived[*class] > 0);
        (0..CLASSES).rev().find(came).unwrap_or(0)
    }

    fn ratio_before(&self, class: usize) -> f64 {
        let (mut arrived, mut served) = (0.0, 0.0);
        let (mut full, mut looks) = (0.0, 0.0);
        for back in 0..SECONDS {
            let second = &self.seconds[(self.at + SECONDS - back) % SECONDS];
            arrived += total(&second.arrived[..class]);
            served += f64::from(second.served);
            full += second.full;
            looks += f64::from(second.looks);
            // The present second and the one before it at least.
            if back > 0 && served >= SERVED_MIN {
                break;
            }
        }
        arrived / served.max(1.0) * full / f64::max(looks, 1.0)
    }

    fn learn(&mut self, class: usize, seen: Seen, now: Instant) {
        let arrived = total(&seen.arrived[..class]) as u64;
        let lost = total(&seen.refused[..class]) as u32;
        let bound = seen.limit.saturating_sub(1);
        let can_grow = self.kept[class] < bound && self.ratio[class] < TEACHES_MAX;
        let learnt = &mut self.learnt[class];
        learnt.since = learnt.since.saturating_add(arrived);
        let long = now.saturating_duration_since(learnt.at) >= LESS_LATER;
        let places = if lost > 0 {
            learnt.places
                + if can_grow {
                    lost.min(LEARNT_AT_ONCE)
                } else {
                    0
                }
        } else if learnt.since >= LESS_AFTER || long {
            learnt.places - learnt.places.div_ceil(LESS_SHARE)
        } else {
            return;
        };
        *learnt = Learnt {
            places,
            since: 0,
            at: now,
        };
    }

    fn places(&self, class: usize, seen: Seen) -> u32 {
        let bound = seen.limit.saturating_sub(1);
        let came = |second: &Second| second.arrived[..class].iter().any(|came| *came > 0);
        if !self.seconds.iter().any(came) {
            return 0;
        }
        let computed = if seen.queued {
            // Who waits is next, so a place is seldom worth keeping; losses tell if it is.
            0
        } else {
            places_for(self.ratio[class], bound)
        };
        computed
            .saturating_add(self.learnt[class].places)
            .min(bound)
    }
}

fn total(counts: &[u32]) -> f64 {
    counts.iter().copied().map(f64::from).sum()
}

/// The fewest places with `ratio^places <= LOSS`, at least one and at most `bound`.
pub(super) fn places_for(ratio: f64, bound: u32) -> u32 {
    if ratio >= 1.0 {
        return bound;
    }
    // A ratio of zero gives minus infinity, and so zero.
    let places = (LOSS.ln() / ratio.max(0.0).ln()).ceil();
    (places.max(1.0) as u32).min(bound)
}
