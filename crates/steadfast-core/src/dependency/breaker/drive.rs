//! What moves a breaker besides calls: time, checks and people.

use std::time::{Duration, Instant};

use super::{
    Breaker,
    control_word::Event,
    pending_calls::PendingCalls,
    probe_round::Standing,
    reason::BreakerReason,
    state::{BreakerMode, BreakerState},
    step::BreakerTransition,
    trip_rules::ms,
};
use crate::{FailureClass, dependency::breaker::window::WindowCounts};

/// How much a passed check says. Complete: it does the real work, or it does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CheckDepth {
    /// It asks whether somebody is there. It may start probing and never closes what calls
    /// spoke against, because a port that answers and work that succeeds are two things.
    Shallow,
    /// It does what calls do, so its success counts like a probe's.
    Deep,
}

impl Breaker {
    /// Takes the step that time asks for: ends a wait, a ramp or a silent probe's lease,
    /// and trips on calls that hang. Call it every [`super::TripRules::tick_interval`].
    ///
    /// `random` is uniform over `u64`.
    #[must_use = "nobody else gets this transition"]
    pub fn tick(&self, now: Instant, random: u64) -> Option<BreakerTransition> {
        let now_ms = self.ms(now);
        let jitter = (random >> 32) as u32;
        let word = self.word();
        if !word.is_ruled() {
            return None;
        }
        match word.state() {
            BreakerState::Closed => {
                self.listen(now_ms);
                self.trip_if_stalled(word, jitter, now_ms)
            }
            BreakerState::Open => {
                self.advance(word, Event::ProbeDue, BreakerReason::ProbeDue, now_ms)
            }
            BreakerState::Probing => {
                let standing = self.read_round(word).standing(&self.rules.round, now_ms);
                self.end_round(word, standing, jitter, now_ms)
            }
            BreakerState::Ramping => self
                .advance(word, Event::RampOver, BreakerReason::RampOver, now_ms)
                .or_else(|| self.trip_if_stalled(word, jitter, now_ms)),
        }
    }

    /// Tells that a check of the dependency passed.
    ///
    /// An open breaker begins to probe before its wait is over; see [`CheckDepth`] for
    /// what more a check can do. While a probe runs, no check ends the round.
    #[must_use = "nobody else gets this transition"]
    pub fn check_passed(&self, depth: CheckDepth, now: Instant) -> Option<BreakerTransition> {
        let now_ms = self.ms(now);
        let word = self.word();
        if !word.is_ruled() {
            return None;
        }
        let is_out = matches!(word.state(), BreakerState::Open | BreakerState::Probing);
        if let (true, CheckDepth::Deep, Some(pending)) = (is_out, depth, &self.pending) {
            // Calls that hang since before the outage must not trip the ramp that follows.
            // While closed a check says nothing about calls: those that hang, hang.
            pending.answered(0, now_ms);
        }
        match word.state() {
            BreakerState::Closed | BreakerState::Ramping => None,
            BreakerState::Open => {
                let reason = BreakerReason::CheckPassed;
                let moved = self.advance(word, Event::CheckPassed, reason, now_ms)?;
                if depth == CheckDepth::Deep {
                    // If one success is all that is asked for, the next call or tick ends
                    // the round: one call returns one transition.
                    let word = self.word();
                    if word.generation() == moved.generation {
                        self.edit_round(word, |round| Some(round.succeed_by_check()));
                    }
                }
                Some(moved)
            }
            BreakerState::Probing if depth == CheckDepth::Deep => {
                let round = self.edit_round(word, |round| Some(round.succeed_by_check()))?;
                // The check speaks for itself only: a probe that runs must end first, and
                // a silent one is the business of whoever looks at the round next.
                match round.standing(&self.rules.round, now_ms) {
                    Standing::Passed => self.pass_round(word, self.rules.round.successes, now_ms),
                    Standing::Free | Standing::Full | Standing::LeaseOver | Standing::Exhausted => {
                        None
                    }
                }
            }
            BreakerState::Probing => None,
        }
    }

    /// Tells that a check of the dependency has passed since `since`, and that it is not one
    /// that passes whatever happens. Where nobody calls, nobody probes; after as long as a
    /// ramp takes, the check lets calls in as a ramp does, and they decide.
    ///
    /// It never closes: a port that answers and work that succeeds are two things. It does
    /// nothing while a probe runs or a call hangs, nor if a call failed after `since`.
    #[must_use = "nobody else gets this transition"]
    pub fn check_vouches(&self, since: Instant, now: Instant) -> Option<BreakerTransition> {
        let now_ms = self.ms(now);
        let since_ms = self.ms(since);
        let word = self.word();
        let is_idle = || self.read_round(word).running() == 0 && !self.hangs(now_ms);
        let failed = self.record.last_call_failure();
        if word.state() != BreakerState::Probing
            || now_ms.saturating_sub(since_ms) < self.rules.ramp_ms
            || failed.is_some_and(|at| at >= since_ms)
            || !is_idle()
        {
            return None;
        }
        let event = Event::CheckVouched {
            ramp_ms: self.rules.ramp_ms,
        };
        let next = word.step(event, now_ms)?;
        // As before the ramp that probes begin: see `pass_round`.
        if self.word() == word {
            self.window.clear();
        }
        self.exchange(word, next, BreakerReason::CheckPassed, now_ms)
    }

    /// Whether it is asked again so often that not each time is news.
    pub(crate) const fn retries_often(&self) -> bool {
        self.rules.retries_often()
    }

    fn hangs(&self, now_ms: u64) -> bool {
        let stalled = |pending: &PendingCalls| pending.look(now_ms).stalled > 0;
        self.pending.as_ref().is_some_and(stalled)
    }

    /// Whether nothing but a check speaks against the dependency: a check began the outage,
    /// no call has failed since one window before it, and none hangs.
    pub(crate) fn is_out_by_check_alone(&self, now: Instant) -> bool {
        let word = self.word();
        let began = self.record.outage.read().checked_sub(1);
        let by_check = matches!(
            self.outage_reason(word),
            Some(BreakerReason::CheckFailed(_))
        );
        let (Some(began), true) = (began, by_check) else {
            return false;
        };
        let window = ms(self.rules.window());
        let failed = self.record.last_call_failure();
        failed.is_none_or(|at| at.saturating_add(window) < began) && !self.hangs(self.ms(now))
    }

    /// Tells that a check of the dependency failed, after whatever hysteresis checks have.
    ///
    /// It opens a closed or ramping breaker and ends a round of probes, unless calls
    /// succeeded in the same window or round: a check can be wrong (its own password has
    /// expired), and traffic that succeeds outvotes it. `failing_from` is when the failures
    /// in a row began, if that is known: once calls have failed since and none succeeded,
    /// what succeeded before is no evidence any more.
    ///
    /// `random` is uniform over `u64`.
    #[must_use = "nobody else gets this transition"]
    pub fn check_failed(
        &self,
        class: FailureClass,
        failing_from: Option<Instant>,
        now: Instant,
        random: u64,
    ) -> Option<BreakerTransition> {
        let now_ms = self.ms(now);
        let jitter = (random >> 32) as u32;
        let word = self.word();
        if !word.is_ruled() {
            return None;
        }
        let reason = BreakerReason::CheckFailed(class);
        match word.state() {
            BreakerState::Closed | BreakerState::Ramping => {
                if self.outvotes(failing_from, now).is_some() {
                    return None;
                }
                self.record.failed(class);
                self.trip(word.generation(), reason, None, jitter, now_ms)
            }
            BreakerState::Probing if self.read_round(word).succeeded() == 0 => {
                self.record.failed(class);
                self.fail_round(word, reason, None, jitter, now_ms)
            }
            BreakerState::Probing | BreakerState::Open => None,
        }
    }

    /// Returns how many calls outvote a check that has failed since `failing_from`, and
    /// within which time they succeeded; `None` if none does.
    ///
    /// The buckets that lie wholly within the check's failures speak first: who succeeds
    /// there contradicts the check, and who fails there agrees with it. Only if nobody
    /// called meanwhile does an earlier success count.
    pub(crate) fn outvotes(
        &self,
        failing_from: Option<Instant>,
        now: Instant,
    ) -> Option<(u32, Duration)> {
        let now_ms = self.ms(now);
        let bucket_ms = self.rules.bucket_ms();
        let succeeded = |counts: WindowCounts| counts.calls.saturating_sub(counts.failed);
        let told = |count, buckets| {
            let within = Duration::from_millis(bucket_ms.saturating_mul(buckets));
            (count, within.min(self.rules.window()))
        };
        let failing_ms = failing_from.map_or(0, |from| now_ms.saturating_sub(self.ms(from)));
        let since = failing_ms / bucket_ms;
        let counts = match since {
            0 => WindowCounts::default(),
            buckets => self.window.counts_of(buckets, now_ms),
        };
        if counts.calls > 0 {
            let count = succeeded(counts);
            return (count > 0).then(|| told(count, since));
        }
        let lately = (ms(OUTVOTED_FOR) / bucket_ms).max(1);
        let count = succeeded(self.window.counts_of(lately, now_ms));
        (count > 0).then(|| told(count, lately))
    }

    /// Returns who decides.
    #[must_use]
    pub fn mode(&self) -> BreakerMode {
        self.word().mode()
    }

    /// Sets who decides. Back in auto from forced open, the breaker probes before it lets
    /// traffic in; back from forced closed, it is closed and judges what the window holds.
    #[must_use = "nobody else gets this transition"]
    pub fn set_mode(&self, mode: BreakerMode, now: Instant) -> Option<BreakerTransition> {
        let now_ms = self.ms(now);
        let reason = BreakerReason::Mode(mode);
        loop {
            let word = self.word();
            let next = word.step(Event::Mode(mode), now_ms)?;
            if mode == BreakerMode::ForcedOpen {
                self.note_opening(word, next, reason, now_ms);
            }
            if let Some(moved) = self.exchange(word, next, reason, now_ms) {
                return Some(moved);
            }
        }
    }
}

/// For how long a call that succeeded speaks against a check that fails, if nobody calls any
/// more: the default window. A longer window must not make the bound of detection longer.
pub(crate) const OUTVOTED_FOR: Duration = Duration::from_secs(10);
