//! The breaker written the naive way.

use super::*;
use crate::dependency::breaker::rules;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Good,
    Bad { in_a_row: bool },
    Slow { answered: bool },
    Nothing,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    started: u64,
    round: u32,
    /// `None` for a bystander.
    pub(super) probe: Option<bool>,
}

#[derive(Debug)]
pub(super) struct Naive {
    pub(super) state: BreakerState,
    pub(super) mode: BreakerMode,
    /// Closed since, open until, ramping until.
    moment: u64,
    opens: u32,
    pub(super) generation: u32,
    /// When, in which generation, how, whether it took too long.
    results: Vec<(u64, u32, Mark, bool)>,
    /// Results before this one are forgotten by the window.
    cleared: usize,
    running: u32,
    succeeded: u32,
    inconclusive: u32,
    lease: u64,
    /// A ramp that a check began.
    is_unproven: bool,
    /// Calls of the ramp that run, and those that succeeded.
    ramp: (u32, u32),
    /// When a call last failed, in time to decide or too late.
    failed_at: Option<u64>,
}

pub(super) type Moved = Option<(BreakerState, BreakerState)>;

impl Naive {
    pub(super) fn new() -> Self {
        Self {
            state: BreakerState::Closed,
            mode: BreakerMode::Auto,
            moment: 0,
            opens: 0,
            generation: 1,
            results: Vec::new(),
            cleared: 0,
            running: 0,
            succeeded: 0,
            inconclusive: 0,
            lease: 0,
            is_unproven: false,
            ramp: (0, 0),
            failed_at: None,
        }
    }

    fn is_ruled(&self) -> bool {
        matches!(self.mode, BreakerMode::Auto | BreakerMode::Observe)
    }

    fn go(&mut self, to: BreakerState, moment: u64) -> Moved {
        let from = std::mem::replace(&mut self.state, to);
        self.moment = moment;
        self.generation += 1;
        if to == BreakerState::Probing {
            (self.running, self.succeeded, self.inconclusive) = (0, 0, 0);
        }
        self.is_unproven = false;
        if to == BreakerState::Ramping {
            self.cleared = self.results.len();
            self.ramp = (0, 0);
        }
        Some((from, to))
    }

    fn open(&mut self, level: u32, now: u64) -> Moved {
        self.go(BreakerState::Open, now + (1_000 << level).min(4_000))
    }

    fn trip(&mut self, now: u64) -> Moved {
        // 1, 2 and 4 s: the wait stops to grow at level 2.
        if self.state == BreakerState::Closed {
            self.opens = self.opens_at(now);
        }
        self.opens = (self.opens + 1).min(31);
        self.open((self.opens - 1).min(2), now)
    }

    pub(super) fn opens_at(&self, now: u64) -> u32 {
        if self.state != BreakerState::Closed {
            return self.opens;
        }
        let opens = self.opens.min(2);
        opens - opens.min(((now - self.moment) / 10_000) as u32)
    }

    fn fail_round(&mut self, now: u64) -> Moved {
        self.opens = (self.opens + 1).min(31);
        self.open((self.opens - 1).min(2), now)
    }

    fn judge_round(&mut self, now: u64) -> Moved {
        if self.running > 0 && now >= self.lease {
            self.failed_at = Some(now);
            self.fail_round(now)
        } else if self.succeeded >= 3 {
            (self.running == 0)
                .then(|| self.go(BreakerState::Ramping, now + 3_000))
                .flatten()
        } else if self.inconclusive >= 2 {
            self.open(self.opens.saturating_sub(1).min(2), now)
        } else {
            None
        }
    }

    pub(super) fn due(&mut self, now: u64) -> Moved {
        if !self.is_ruled() {
            return None;
        }
        match self.state {
            BreakerState::Open if now >= self.moment => self.go(BreakerState::Probing, now),
            BreakerState::Probing => self.judge_round(now),
            BreakerState::Ramping if now >= self.moment && !self.is_unproven => {
                self.state = BreakerState::Closed;
                Some((BreakerState::Ramping, BreakerState::Closed))
            }
            BreakerState::Closed | BreakerState::Open | BreakerState::Ramping => None,
        }
    }

    pub(super) fn acquire(&mut self, now: u64, random: u32) -> (Option<Held>, Moved) {
        let moved = self.due(now);
        let probe = match (self.mode, self.state) {
            (BreakerMode::ForcedOpen, _) => None,
            (BreakerMode::ForcedClosed, _) | (_, BreakerState::Closed) => Some(false),
            (_, BreakerState::Open) => None,
            (_, BreakerState::Probing) => {
                let has_room = self.running < 2 && self.running + self.succeeded < 3;
                has_room.then(|| {
                    if self.running == 0 {
                        self.lease = now + 2_000;
                    }
                    self.running += 1;
                    true
                })
            }
            (_, BreakerState::Ramping) => {
                let share = 1.0 - 0.9 * self.moment.saturating_sub(now) as f64 / 3_000.0;
                let by_share = f64::from(random) / 4_294_967_296.0 < share;
                let has_room = self.ramp.0 < 10 + self.ramp.1;
                (by_share || has_room).then(|| {
                    self.ramp.0 += 1;
                    false
                })
            }
        };
        let is_admitted = probe.is_some() || self.mode == BreakerMode::Observe;
        let held = is_admitted.then_some(Held {
            started: now,
            round: self.generation,
            probe,
        });
        (held, moved)
    }

    pub(super) fn settle(&mut self, held: Held, outcome: CallOutcome, now: u64) -> Moved {
        let is_late = held.round != self.generation;
        let took = now - held.started;
        let mark = match outcome {
            CallOutcome::Success if took < 600 => Mark::Good,
            CallOutcome::Success | CallOutcome::Slow => Mark::Slow { answered: true },
            CallOutcome::Failure(failure) if failure.class == FailureClass::Saturated => {
                Mark::Nothing
            }
            CallOutcome::Failure(failure) => Mark::Bad {
                in_a_row: failure.class != FailureClass::Overloaded,
            },
            CallOutcome::Abandoned { elapsed } if elapsed >= Duration::from_millis(600) => {
                Mark::Slow { answered: false }
            }
            CallOutcome::Neutral | CallOutcome::Abandoned { .. } => Mark::Nothing,
        };
        if matches!(mark, Mark::Bad { .. }) {
            self.failed_at = Some(now);
        }
        match held.probe {
            _ if is_late => None,
            None => None,
            Some(true) => self.settle_probe(mark, outcome == CallOutcome::Neutral, now),
            Some(false) => {
                let is_slow = matches!(mark, Mark::Slow { .. })
                    || matches!(mark, Mark::Bad { .. }) && took >= 600;
                self.results.push((now, self.generation, mark, is_slow));
                if self.state == BreakerState::Ramping {
                    self.leave_ramp(mark == Mark::Good);
                    if self.is_unproven && matches!(mark, Mark::Bad { .. }) {
                        return self.is_ruled().then(|| self.trip(now)).flatten();
                    }
                    self.is_unproven &= !(mark == Mark::Good && self.ramp.1 >= 3);
                }
                let judges = matches!(mark, Mark::Bad { .. } | Mark::Slow { .. });
                (judges && self.is_ruled() && self.has_reason(mark, now))
                    .then(|| self.trip(now))
                    .flatten()
            }
        }
    }

    fn settle_probe(&mut self, mark: Mark, answered: bool, now: u64) -> Moved {
        match mark {
            Mark::Bad { .. } | Mark::Slow { .. } => {
                self.failed_at = Some(now);
                return self.fail_round(now);
            }
            Mark::Good | Mark::Nothing => {}
        }
        if now >= self.lease {
            self.failed_at = Some(now);
            return self.fail_round(now);
        }
        self.running -= 1;
        if mark == Mark::Good {
            self.succeeded += 1;
            self.lease = now + 2_000;
        } else {
            self.inconclusive += 1;
            if answered {
                self.lease = now + 2_000;
            }
        }
        self.judge_round(now)
    }

    fn live(&self, now: u64) -> impl Iterator<Item = &(u64, u32, Mark, bool)> {
        let first = (now / 1_000).saturating_sub(9);
        self.results[self.cleared..]
            .iter()
            .filter(move |(at, ..)| at / 1_000 >= first)
    }

    pub(super) fn counts(&self, now: u64) -> (u32, u32, u32) {
        let count = |wanted: fn(&Mark, bool) -> bool| {
            self.live(now)
                .filter(|(_, _, mark, is_slow)| wanted(mark, *is_slow))
                .count() as u32
        };
        (
            count(|mark, _| *mark != Mark::Nothing),
            count(|mark, _| matches!(mark, Mark::Bad { .. })),
            count(|_, is_slow| is_slow),
        )
    }

    fn has_reason(&self, mark: Mark, now: u64) -> bool {
        let row: Vec<u64> = self
            .results
            .iter()
            .rev()
            .take_while(|(_, round, mark, _)| {
                *round == self.generation
                    && !matches!(mark, Mark::Good | Mark::Slow { answered: true })
            })
            .filter(|(_, _, mark, _)| matches!(mark, Mark::Bad { in_a_row: true }))
            .map(|(at, ..)| *at)
            .collect();
        let is_long = row.len() >= 3 && (now - row[row.len() - 1] >= 200 || row.len() >= 4);
        if mark == (Mark::Bad { in_a_row: true }) && is_long {
            return true;
        }
        let (calls, bad, slow) = self.counts(now);
        let exceeds =
            |hits: u32, ratio: f64| calls >= 4 && rules::wilson_lower(hits, calls) > ratio;
        exceeds(bad, 0.5) || exceeds(slow, 0.3)
    }

    fn leave_ramp(&mut self, succeeded: bool) {
        self.ramp.0 -= 1;
        self.ramp.1 += u32::from(succeeded);
    }

    pub(super) fn release(&mut self, held: Held) {
        if held.round != self.generation {
            return;
        }
        match held.probe {
            Some(true) => {
                self.running -= 1;
                self.inconclusive += 1;
            }
            Some(false) if self.state == BreakerState::Ramping => self.leave_ramp(false),
            Some(false) | None => {}
        }
    }

    pub(super) fn check_vouches(&mut self, since: u64, now: u64) -> Moved {
        let may = self.is_ruled()
            && self.state == BreakerState::Probing
            && now - since >= 3_000
            && self.failed_at.is_none_or(|at| at < since)
            && self.running == 0;
        may.then(|| {
            let moved = self.go(BreakerState::Ramping, now + 3_000);
            self.is_unproven = true;
            moved
        })
        .flatten()
    }

    pub(super) fn check_passed(&mut self, depth: CheckDepth, now: u64) -> Moved {
        if !self.is_ruled() {
            return None;
        }
        let is_deep = depth == CheckDepth::Deep;
        match self.state {
            BreakerState::Open => {
                let moved = self.go(BreakerState::Probing, now);
                self.succeeded += u32::from(is_deep);
                moved
            }
            BreakerState::Probing if is_deep => {
                self.succeeded += 1;
                (self.succeeded >= 3 && self.running == 0)
                    .then(|| self.go(BreakerState::Ramping, now + 3_000))
                    .flatten()
            }
            BreakerState::Closed | BreakerState::Probing | BreakerState::Ramping => None,
        }
    }

    pub(super) fn check_failed(&mut self, now: u64) -> Moved {
        if !self.is_ruled() {
            return None;
        }
        match self.state {
            BreakerState::Closed | BreakerState::Ramping => {
                let (calls, bad, _) = self.counts(now);
                (calls == bad).then(|| self.trip(now)).flatten()
            }
            BreakerState::Probing if self.succeeded == 0 => self.fail_round(now),
            BreakerState::Open | BreakerState::Probing => None,
        }
    }

    /// Whether a call would pass, and what the look moved.
    pub(super) fn look(&mut self, now: u64) -> (bool, Moved) {
        match (self.mode, self.state) {
            (BreakerMode::ForcedOpen, _) => (false, None),
            (BreakerMode::ForcedClosed | BreakerMode::Observe, _) => (true, None),
            (_, BreakerState::Closed | BreakerState::Ramping) => (true, None),
            (_, BreakerState::Open) => (now >= self.moment, None),
            (_, BreakerState::Probing) => {
                let passed = self.succeeded >= 3 && self.running == 0;
                let moved = (!passed).then(|| self.judge_round(now)).flatten();
                let has_room = self.running < 2 && self.running + self.succeeded < 3;
                (passed || moved.is_none() && has_room, moved)
            }
        }
    }

    pub(super) fn set_mode(&mut self, mode: BreakerMode, now: u64) -> Moved {
        use BreakerMode::{Auto, ForcedClosed, ForcedOpen, Observe};
        let before = std::mem::replace(&mut self.mode, mode);
        match (before, mode) {
            (from, to) if from == to => None,
            (Auto | Observe, Auto | Observe) => Some((self.state, self.state)),
            (_, ForcedOpen) | (ForcedOpen, Auto | Observe) => self.go(BreakerState::Open, now),
            (_, ForcedClosed) => {
                self.opens = 0;
                self.go(BreakerState::Closed, now)
            }
            (_, Auto | Observe) => self.go(BreakerState::Closed, now),
        }
    }
}
