//! Atomics. The load-shedding gate: how many requests may run at once.
//!
//! A request flows through [`ShedGate::admit`] before anything of it is read. It gets a
//! [`ShedPermit`], or a [`Refusal`] with the numbers that decided. The permit lives until
//! the response has been sent, and ends in exactly one [`ShedPermit::settle`]; dropping it
//! (a panic, a client that left) releases the place and teaches nothing.
//!
//! Laws kept here: admitting allocates nothing and writes no line that all threads share
//! while there is room ([`crate::Counter`] and the credits are striped); never more than
//! the limit run; with nothing in flight the next request is always admitted, because the
//! limit is at least one.

mod settings;

use std::time::{Duration, Instant};

use settings::fixed;
pub use settings::{HELD_MAX_DEFAULT, ShedMode, ShedSettings};

use crate::{
    cause::Rule,
    config_error::ConfigError,
    credits::{Credit, Credits, LIMIT_MAX},
    evidence::{Evidence, Overloaded},
    held::{Held, HeldTable, PlaceId},
    limit::{Change, Ending, Limit, Snapshot},
    name::Name,
    pilot::{Counts, Heard, Pilot},
    refusal::Refusal,
    shared::Local,
    stripe::{self, Counter},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
        lock,
    },
};

/// How old the numbers behind a retry hint may be. Reading them visits every stripe, which
/// a refusal must not pay for each time; a tenth of the shortest hint is exact enough.
const PACE_AGE_MAX: Duration = Duration::from_millis(100);

/// The retry hint before anything has been measured.
const HINT_UNMEASURED: Duration = Duration::from_secs(1);

const SOURCE: Name = Name::from_static("shed");

/// What a gate decided.
#[derive(Debug)]
#[non_exhaustive]
pub enum Decision<P> {
    /// The request may run for as long as the permit lives.
    Admit(P),
    /// The request may not run.
    Refuse(Refusal),
}

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// Nobody waited for the end: the client left, or the handler panicked.
    Abandoned,
    /// It was answered in full.
    Done,
    /// It failed on the way: its body ended with an error.
    Failed,
}

/// The gate. Its state belongs in a [`Local`], so that counting costs no shared line.
#[derive(Debug)]
pub struct ShedGate {
    credits: Credits,
    pilot: Pilot,
    observe: AtomicBool,
    held: HeldTable,
    held_max: Duration,
    admitted: Counter,
    refused: Counter,
    would_refuse: Counter,
    held_nanos: Counter,
    settled: Counter,
    pace: Mutex<Pace>,
}

/// What was measured at the last look.
#[derive(Clone, Debug)]
struct Pace {
    at: Option<Instant>,
    held_nanos: u64,
    settled: u64,
    mean_held: Option<Duration>,
    stuck: Option<Held>,
}

/// What the gate says about itself.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ShedSnapshot {
    /// How many requests may run; `None` while an algorithm sees no reason to limit.
    pub limit: Option<u32>,
    /// How many run.
    pub in_flight: u32,
    /// Whether it refuses.
    pub mode: ShedMode,
    /// Requests admitted since the start.
    pub admitted: u64,
    /// Requests refused since the start.
    pub refused: u64,
    /// Requests that observe mode would have refused.
    pub would_refuse: u64,
    /// Mean time a permit is held, over the last look's interval.
    pub mean_held: Option<Duration>,
    /// The request that has been running longest.
    pub oldest: Option<Held>,
    /// Where the algorithm behind the limit stands.
    pub algorithm: Snapshot,
}

impl ShedGate {
    /// Makes a gate. The seed only keeps the experiments of several instances from falling
    /// into step.
    ///
    /// # Errors
    /// Every fault of the settings: a limit outside 1 to 1,000,000, a zero `held_max`.
    pub fn new(settings: &ShedSettings, seed: u64, now: Instant) -> Result<Self, ConfigError> {
        ConfigError::check(settings.faults())?;
        let pilot = Pilot::new(settings.make(seed));
        Ok(Self {
            credits: Credits::new(pilot.cap().unwrap_or(LIMIT_MAX)),
            pilot,
            observe: AtomicBool::new(settings.mode == ShedMode::Observe),
            held: HeldTable::new(now),
            held_max: settings.held_max,
            admitted: Counter::new(),
            refused: Counter::new(),
            would_refuse: Counter::new(),
            held_nanos: Counter::new(),
            settled: Counter::new(),
            pace: Mutex::new(Pace {
                at: None,
                held_nanos: 0,
                settled: 0,
                mean_held: None,
                stuck: None,
            }),
        })
    }

    /// Decides on one request. `route` is its path; the head of it is kept while it runs.
    ///
    /// `owner` is a handle to the gate, or to whatever else a request needs of which the
    /// gate is a part: the permit keeps a clone of it, so that one handle serves for both.
    #[must_use]
    pub fn admit<T>(owner: &Local<T>, route: &str, now: Instant) -> Decision<ShedPermit<T>>
    where
        T: AsRef<Self> + Send + Sync + 'static,
    {
        let this: &Self = (**owner).as_ref();
        let stripe = stripe::current();
        let credit = match this.credits.take(stripe) {
            Some(credit) => credit,
            // Relaxed: a mode change need not be ordered with anything.
            None if this.observe.load(Ordering::Relaxed) => {
                this.would_refuse.add_at(stripe, 1);
                this.credits.take_beyond(stripe)
            }
            None => {
                this.refused.add_at(stripe, 1);
                this.pilot.arrived(stripe, false, this.counts(), now);
                return Decision::Refuse(this.refusal(now));
            }
        };
        this.admitted.add_at(stripe, 1);
        let heard = this.pilot.arrived(stripe, true, this.counts(), now);
        let place = this.held.enter(stripe, route, now);
        Decision::Admit(ShedPermit {
            owner: owner.clone(),
            credit,
            place,
            heard,
            since: now,
            ended: false,
        })
    }

    fn counts(&self) -> Counts<'_> {
        Counts {
            credits: &self.credits,
            admitted: &self.admitted,
            refused: &self.refused,
        }
    }

    /// Fixes the limit from now on; values outside 1 to 1,000,000 are brought inside.
    /// Lowering it cuts nobody: fewer are admitted until enough have ended.
    pub fn set_limit(&self, limit: u32) {
        self.pilot.replace(fixed(limit), self.counts());
    }

    /// Puts an algorithm in charge of the limit from now on.
    pub fn set_algorithm(&self, limit: Box<dyn Limit>) {
        self.pilot.replace(limit, self.counts());
    }

    /// Takes the changes of the limit since the last call, oldest first.
    #[must_use]
    pub fn take_changes(&self) -> Vec<Change> {
        self.pilot.take_changes()
    }

    /// Starts or stops to refuse.
    pub fn set_mode(&self, mode: ShedMode) {
        self.observe
            .store(mode == ShedMode::Observe, Ordering::Relaxed);
    }

    /// Returns how many requests run now.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.credits.in_flight()
    }

    /// Returns what the gate says about itself. Visits every stripe: not for the request path.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> ShedSnapshot {
        let pace = self.pace(now);
        ShedSnapshot {
            limit: Some(self.credits.limit()).filter(|limit| *limit < LIMIT_MAX),
            in_flight: self.credits.in_flight(),
            algorithm: self.pilot.snapshot(),
            mode: if self.observe.load(Ordering::Relaxed) {
                ShedMode::Observe
            } else {
                ShedMode::Enforce
            },
            admitted: self.admitted.sum(),
            refused: self.refused.sum(),
            would_refuse: self.would_refuse.sum(),
            mean_held: pace.mean_held,
            oldest: self.held.oldest(now),
        }
    }

    fn refusal(&self, now: Instant) -> Refusal {
        let pace = self.pace(now);
        let limit = self.credits.limit();
        let in_flight = self.credits.in_flight().max(limit);
        // Little's law: places free up at in_flight / mean_held a second.
        let hint = pace
            .mean_held
            .map_or(HINT_UNMEASURED, |held| held / in_flight);
        let overloaded = Overloaded {
            rule: Rule::Limit,
            in_flight,
            limit,
            stuck: pace.stuck,
        };
        Refusal::new(SOURCE, Evidence::Overloaded(overloaded), hint, now)
    }

    /// Returns what was measured, looking again if the last look is too old.
    fn pace(&self, now: Instant) -> Pace {
        let mut pace = lock(&self.pace);
        let fresh = pace
            .at
            .is_some_and(|at| now.saturating_duration_since(at) < PACE_AGE_MAX);
        if !fresh {
            let (held_nanos, settled) = (self.held_nanos.sum(), self.settled.sum());
            let ended = settled.wrapping_sub(pace.settled);
            if let Some(mean) = held_nanos.wrapping_sub(pace.held_nanos).checked_div(ended) {
                pace.mean_held = Some(Duration::from_nanos(mean));
                (pace.held_nanos, pace.settled) = (held_nanos, settled);
            }
            pace.stuck = self
                .held
                .oldest(now)
                .filter(|held| held.age >= self.held_max);
            pace.at = Some(now);
        }
        pace.clone()
    }
}

impl AsRef<Self> for ShedGate {
    fn as_ref(&self) -> &Self {
        self
    }
}

/// The right to run. Ends in [`ShedPermit::settle`]; a drop only releases.
#[derive(Debug)]
#[must_use = "a permit that is dropped at once lets everything run"]
pub struct ShedPermit<T: AsRef<ShedGate> + Send + Sync + 'static = ShedGate> {
    owner: Local<T>,
    credit: Credit,
    place: PlaceId,
    heard: Heard,
    since: Instant,
    ended: bool,
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> ShedPermit<T> {
    /// Says that the head of the answer is there: the work is done, whatever time the body
    /// takes. Without it, [`ShedPermit::settle`] is taken for the moment of the answer.
    #[inline]
    pub fn answered(&mut self, ending: Ending, now: Instant) {
        self.tell(ending, now);
    }

    /// Whether the algorithm waits to hear of the answer, so that nobody need read the
    /// clock otherwise.
    #[must_use]
    pub const fn is_sampled(&self) -> bool {
        self.heard.is_sampled()
    }

    fn tell(&mut self, ending: Ending, now: Instant) {
        let gate: &ShedGate = (*self.owner).as_ref();
        let heard = std::mem::replace(&mut self.heard, Heard::NOTHING);
        gate.pilot
            .answered(heard, self.since, ending, &gate.credits, now);
    }

    /// Ends the permit with what became of the request.
    pub fn settle(mut self, outcome: Outcome, now: Instant) {
        self.tell(
            match outcome {
                Outcome::Abandoned => Ending::Abandoned,
                Outcome::Done => Ending::Completed,
                // An error before any answer: its time says nothing about the work.
                Outcome::Failed => Ending::Irrelevant,
            },
            now,
        );
        let stripe = self.release();
        // An abandoned request was cut short: its time says nothing about how long one takes.
        if outcome != Outcome::Abandoned {
            let gate: &ShedGate = (*self.owner).as_ref();
            let held = now.saturating_duration_since(self.since).as_nanos();
            gate.held_nanos
                .add_at(stripe, u64::try_from(held).unwrap_or(u64::MAX));
            gate.settled.add_at(stripe, 1);
        }
    }

    /// Returns since when it has been held.
    #[must_use]
    pub const fn since(&self) -> Instant {
        self.since
    }

    /// Returns what the permit was made from.
    #[must_use]
    pub const fn owner(&self) -> &Local<T> {
        &self.owner
    }

    fn release(&mut self) -> usize {
        self.ended = true;
        let stripe = stripe::current();
        let gate: &ShedGate = (*self.owner).as_ref();
        gate.held.leave(self.place);
        gate.credits.give_back(stripe, self.credit);
        stripe
    }
}

impl<T: AsRef<ShedGate> + Send + Sync + 'static> Drop for ShedPermit<T> {
    fn drop(&mut self) {
        if !self.ended {
            // No moment is known here; the algorithm hears that there is nothing to learn.
            self.tell(Ending::Irrelevant, self.since);
            self.release();
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::testing::origin;

    fn gate(limit: u32, mode: ShedMode) -> (Local<ShedGate>, Instant) {
        let now = origin();
        let settings = ShedSettings::fixed(limit).mode(mode);
        (
            Local::new(ShedGate::new(&settings, 7, now).expect("valid")),
            now,
        )
    }

    fn admitted(gate: &Local<ShedGate>, now: Instant) -> ShedPermit {
        match ShedGate::admit(gate, "/work", now) {
            Decision::Admit(permit) => permit,
            Decision::Refuse(refusal) => panic!("{refusal:?}"),
        }
    }

    #[test]
    fn the_refusal_says_limit_count_and_who_hangs() {
        let (gate, start) = gate(2, ShedMode::Enforce);
        let _hanging = admitted(&gate, start);
        let later = start + Duration::from_secs(31);
        let _second = admitted(&gate, later);
        let Decision::Refuse(refusal) = ShedGate::admit(&gate, "/x", later) else {
            panic!("admitted a third")
        };
        let Evidence::Overloaded(seen) = refusal.evidence() else {
            panic!("{refusal:?}")
        };
        assert_eq!((seen.rule, seen.in_flight, seen.limit), (Rule::Limit, 2, 2));
        let stuck = seen.stuck.as_ref().expect("31 s is over the bound");
        assert_eq!((stuck.age.as_secs(), stuck.route.as_str()), (31, "/work"));
        assert!(refusal.safe_to_retry());
    }

    #[test]
    fn observe_mode_admits_all_and_counts_what_it_would_have_refused() {
        let (gate, now) = gate(1, ShedMode::Observe);
        let permits: Vec<_> = (0..3).map(|_| admitted(&gate, now)).collect();
        let seen = gate.snapshot(now);
        assert_eq!(
            (seen.in_flight, seen.admitted, seen.would_refuse),
            (3, 3, 2)
        );
        drop(permits);
        assert_eq!(gate.in_flight(), 0);
    }

    #[test]
    fn the_hint_is_the_time_to_the_next_free_place() {
        let (gate, start) = gate(2, ShedMode::Enforce);
        let first = admitted(&gate, start);
        let end = start + Duration::from_secs(8);
        first.settle(Outcome::Done, end);
        let _held = [admitted(&gate, end), admitted(&gate, end)];
        let Decision::Refuse(refusal) = ShedGate::admit(&gate, "/x", end) else {
            panic!("admitted a third")
        };
        assert_eq!(
            refusal.retry_after(),
            Duration::from_secs(4),
            "8 s each, two places"
        );
    }

    #[test]
    fn an_abandoned_request_releases_and_teaches_nothing() {
        let (gate, now) = gate(1, ShedMode::Enforce);
        admitted(&gate, now).settle(Outcome::Abandoned, now + Duration::from_secs(99));
        drop(admitted(&gate, now));
        let seen = gate.snapshot(now + Duration::from_secs(1));
        assert_eq!((seen.in_flight, seen.mean_held), (0, None));
    }

    #[test]
    fn wrong_settings_are_told_all_at_once() {
        let settings = ShedSettings::fixed(0).held_max(Duration::ZERO);
        let error = ShedGate::new(&settings, 7, origin()).expect_err("two faults");
        assert_eq!(error.faults().len(), 2, "{error}");
    }
}
