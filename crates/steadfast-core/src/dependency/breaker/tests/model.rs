//! A breaker written the naive way, from a list of results that is counted anew for every
//! question, against the one of words and atomics. The stall rule is off here: `flights`
//! has a model of its own.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Acquire {
        random: u32,
    },
    Settle {
        pick: prop::sample::Index,
        outcome: CallOutcome,
    },
    Drop {
        pick: prop::sample::Index,
    },
    Tick,
    Look,
    CheckPassed(CheckDepth),
    CheckFailed,
    Mode(BreakerMode),
}

fn op() -> impl Strategy<Value = Op> {
    let outcome = prop_oneof![
        3 => Just(CallOutcome::Success),
        5 => Just(FAILED),
        1 => Just(failed(FailureClass::Overloaded)),
        1 => Just(failed(FailureClass::Saturated)),
        1 => Just(CallOutcome::Slow),
        1 => Just(CallOutcome::Neutral),
        1 => (0_u64..900).prop_map(abandoned),
    ];
    let mode = prop_oneof![
        Just(BreakerMode::Auto),
        Just(BreakerMode::ForcedOpen),
        Just(BreakerMode::ForcedClosed),
        Just(BreakerMode::Observe),
    ];
    prop_oneof![
        40 => any::<u32>().prop_map(|random| Op::Acquire { random }),
        40 => (any::<prop::sample::Index>(), outcome)
            .prop_map(|(pick, outcome)| Op::Settle { pick, outcome }),
        4 => any::<prop::sample::Index>().prop_map(|pick| Op::Drop { pick }),
        6 => Just(Op::Tick),
        4 => Just(Op::Look),
        2 => Just(Op::CheckPassed(CheckDepth::Shallow)),
        2 => Just(Op::CheckPassed(CheckDepth::Deep)),
        1 => Just(Op::CheckFailed),
        1 => mode.prop_map(Op::Mode),
    ]
}

fn trip() -> Trip {
    Trip::default()
        .no_stall()
        .calls_min(4)
        .consecutive_failures(3)
        .consecutive_spread(Duration::from_millis(200))
        .slow_limit(Duration::from_millis(600))
        .slow_ratio(0.3)
        .open_max(Duration::from_secs(4))
        .probes(2)
        .probe_successes(3)
        .inconclusive_max(2)
        .probe_lease(Duration::from_secs(2))
        .ramp(Duration::from_secs(3))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Good,
    Bad { in_a_row: bool },
    Slow { answered: bool },
    Nothing,
}

#[derive(Clone, Copy, Debug)]
struct Held {
    started: u64,
    round: u32,
    /// `None` for a bystander.
    probe: Option<bool>,
}

#[derive(Debug)]
struct Naive {
    state: BreakerState,
    mode: BreakerMode,
    /// Closed since, open until, ramping until.
    moment: u64,
    opens: u32,
    generation: u32,
    /// When, in which generation, how, whether it took too long.
    results: Vec<(u64, u32, Mark, bool)>,
    /// Results before this one are forgotten by the window.
    cleared: usize,
    running: u32,
    succeeded: u32,
    inconclusive: u32,
    lease: u64,
}

type Moved = Option<(BreakerState, BreakerState)>;

impl Naive {
    fn new() -> Self {
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
        if to == BreakerState::Ramping {
            self.cleared = self.results.len();
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

    fn opens_at(&self, now: u64) -> u32 {
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

    fn due(&mut self, now: u64) -> Moved {
        if !self.is_ruled() {
            return None;
        }
        match self.state {
            BreakerState::Open if now >= self.moment => self.go(BreakerState::Probing, now),
            BreakerState::Probing => self.judge_round(now),
            BreakerState::Ramping if now >= self.moment => {
                self.state = BreakerState::Closed;
                Some((BreakerState::Ramping, BreakerState::Closed))
            }
            BreakerState::Closed | BreakerState::Open | BreakerState::Ramping => None,
        }
    }

    fn acquire(&mut self, now: u64, random: u32) -> (Option<Held>, Moved) {
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
                let share = 1.0 - 0.9 * (self.moment - now) as f64 / 3_000.0;
                (f64::from(random) / 4_294_967_296.0 < share).then_some(false)
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

    fn settle(&mut self, held: Held, outcome: CallOutcome, now: u64) -> Moved {
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
        match held.probe {
            _ if is_late => None,
            None => None,
            Some(true) => self.settle_probe(mark, now),
            Some(false) => {
                let is_slow = matches!(mark, Mark::Slow { .. })
                    || matches!(mark, Mark::Bad { .. }) && took >= 600;
                self.results.push((now, self.generation, mark, is_slow));
                let judges = matches!(mark, Mark::Bad { .. } | Mark::Slow { .. });
                (judges && self.is_ruled() && self.has_reason(mark, now))
                    .then(|| self.trip(now))
                    .flatten()
            }
        }
    }

    fn settle_probe(&mut self, mark: Mark, now: u64) -> Moved {
        match mark {
            Mark::Bad { .. } | Mark::Slow { .. } => return self.fail_round(now),
            Mark::Good | Mark::Nothing => {}
        }
        if now >= self.lease {
            return self.fail_round(now);
        }
        self.running -= 1;
        if mark == Mark::Good {
            self.succeeded += 1;
            self.lease = now + 2_000;
        } else {
            self.inconclusive += 1;
        }
        self.judge_round(now)
    }

    fn live(&self, now: u64) -> impl Iterator<Item = &(u64, u32, Mark, bool)> {
        let first = (now / 1_000).saturating_sub(9);
        self.results[self.cleared..]
            .iter()
            .filter(move |(at, ..)| at / 1_000 >= first)
    }

    fn counts(&self, now: u64) -> (u32, u32, u32) {
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
        let exceeds = |hits: u32, ratio: f64| {
            calls >= 4 && super::super::rules::wilson_lower(hits, calls) > ratio
        };
        exceeds(bad, 0.5) || exceeds(slow, 0.3)
    }

    fn release(&mut self, held: Held) {
        if held.round == self.generation && held.probe == Some(true) {
            self.running -= 1;
            self.inconclusive += 1;
        }
    }

    fn check_passed(&mut self, depth: CheckDepth, now: u64) -> Moved {
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

    fn check_failed(&mut self, now: u64) -> Moved {
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
    fn look(&mut self, now: u64) -> (bool, Moved) {
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

    fn set_mode(&mut self, mode: BreakerMode, now: u64) -> Moved {
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

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn the_breaker_does_what_the_naive_one_does(
        steps in prop::collection::vec((prop_oneof![5 => 0_u64..60, 1 => 0_u64..2_500], op()), 1..250),
    ) {
        let rig = Rig::new(trip());
        let mut naive = Naive::new();
        let mut held: Vec<(BreakerPermit<&Breaker>, Held)> = Vec::new();
        let mut now = 0;
        for (wait, op) in steps {
            now += wait;
            let at = rig.at(now);
            let (moved, expected) = match op.clone() {
                Op::Acquire { random } => {
                    let (admitted, expected) = naive.acquire(now, random);
                    let moved = match rig.breaker.try_acquire(at, 0, MIDDLE | u64::from(random)) {
                        Ok(mut permit) => {
                            let admitted = admitted.expect("the naive one refuses");
                            prop_assert_eq!(permit.is_probe(), admitted.probe == Some(true));
                            prop_assert_eq!(permit.is_observed_refusal(), admitted.probe.is_none());
                            let moved = permit.take_transition();
                            held.push((permit, admitted));
                            moved
                        }
                        Err(refusal) => {
                            prop_assert!(admitted.is_none(), "the naive one admits");
                            refusal.transition.map(|moved| *moved)
                        }
                    };
                    (moved, expected)
                }
                Op::Settle { pick, outcome } if !held.is_empty() => {
                    let (permit, memo) = held.swap_remove(pick.index(held.len()));
                    (permit.settle(outcome, at), naive.settle(memo, outcome, now))
                }
                Op::Drop { pick } if !held.is_empty() => {
                    let (permit, memo) = held.swap_remove(pick.index(held.len()));
                    drop(permit);
                    naive.release(memo);
                    (None, None)
                }
                Op::Settle { .. } | Op::Drop { .. } => continue,
                Op::Look => {
                    let (passes, expected) = naive.look(now);
                    prop_assert_eq!(rig.breaker.refuses(|| at), !passes, "at {}", now);
                    let refused = rig.breaker.look(at).err();
                    prop_assert_eq!(refused.is_none(), passes, "a look at {}", now);
                    let moved = refused.and_then(|refused| refused.transition);
                    (moved.map(|moved| *moved), expected)
                }
                Op::Tick => (rig.tick(now), naive.due(now)),
                Op::CheckPassed(depth) => {
                    (rig.breaker.check_passed(depth, at), naive.check_passed(depth, now))
                }
                Op::CheckFailed => {
                    let class = FailureClass::Unreachable;
                    (rig.breaker.check_failed(class, None, at, MIDDLE), naive.check_failed(now))
                }
                Op::Mode(mode) => (rig.breaker.set_mode(mode, at), naive.set_mode(mode, now)),
            };
            let moved = moved.map(|moved| (moved.from, moved.to));
            prop_assert_eq!(moved, expected, "{:?} at {}", op, now);
            let snapshot = rig.snapshot(now);
            prop_assert_eq!(snapshot.mode, naive.mode);
            prop_assert_eq!(snapshot.generation, naive.generation);
            let is_seen_as_it_is = snapshot.state == naive.state;
            if is_seen_as_it_is {
                prop_assert_eq!(snapshot.opens_in_a_row, naive.opens_at(now));
            }
            let counts = snapshot.counts;
            prop_assert_eq!((counts.calls, counts.failed, counts.slow), naive.counts(now));
        }
    }
}
