//! A breaker written the naive way, from a list of results that is counted anew for every
//! question, against the one of words and atomics. The stall rule is off here: `pending_calls`
//! has a model of its own.

mod naive;

use naive::{Held, Naive};
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
    /// It has passed since so many milliseconds ago.
    CheckVouches(u64),
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
        3 => (2_000_u64..6_000).prop_map(Op::CheckVouches),
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
                Op::CheckVouches(ago) => {
                    let since = now.saturating_sub(ago);
                    let moved = rig.breaker.check_vouches(rig.at(since), at);
                    (moved, naive.check_vouches(since, now))
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
