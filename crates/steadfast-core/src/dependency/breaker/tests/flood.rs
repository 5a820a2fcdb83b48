//! Traffic after an outage: who is refused although the dependency would have served it.
//!
//! Method: virtual time in steps of 10 ms. The dependency works one queue off, as fast as
//! it is warm; callers give up after two seconds, and what they asked for is worked on all
//! the same.

use std::collections::VecDeque;

use super::{fleet::random, *};

const STEP_MS: u64 = 10;
const PATIENCE_MS: u64 = 2_000;

/// Calls of which no share lets one pass.
const UNLUCKY: u64 = MIDDLE | u32::MAX as u64;

#[derive(Clone, Copy)]
struct Story {
    instances: usize,
    /// Between two calls of an instance.
    every_ms: u64,
    /// What the dependency works off in a second when it comes back, and when it is warm.
    cold: f64,
    warm: f64,
    warm_after_ms: u64,
    outage_ms: u64,
}

#[derive(Debug, Default)]
struct Ends {
    served: u32,
    refused: u32,
    refused_in_ramp: u32,
    gave_up: u32,
}

impl Story {
    fn tell(&self, trip: &Trip) -> Ends {
        let mut seeds: Vec<u64> = (0..self.instances as u64)
            .map(|at| 7 ^ (at << 32))
            .collect();
        let fleet: Vec<_> = seeds.iter().map(|_| Rig::new(trip.clone())).collect();
        let start = fleet[0].start;
        let mut ends = Ends::default();
        // Those that were admitted, in their order; `None` once they have ended.
        let mut calls: Vec<Option<(BreakerPermit<&Breaker>, u64)>> = Vec::new();
        let mut queue = VecDeque::new();
        let mut patient = 0;
        let mut budget: f64 = 0.0;
        for ms in (0..self.outage_ms + 60_000).step_by(STEP_MS as usize) {
            let now = start + Duration::from_millis(ms);
            let is_up = ms >= self.outage_ms;
            budget = (budget + self.rate(ms) * STEP_MS as f64 / 1_000.0).min(60.0);
            while is_up && budget >= 1.0 {
                let Some(next) = queue.pop_front() else { break };
                budget -= 1.0;
                if let Some((permit, _)) = calls[next as usize].take() {
                    let _ = permit.settle(CallOutcome::Success, now);
                    ends.served += 1;
                }
            }
            while let Some(call) = calls.get_mut(patient) {
                if call
                    .as_ref()
                    .is_some_and(|(_, since)| since + PATIENCE_MS > ms)
                {
                    break;
                }
                if let Some((permit, _)) = call.take() {
                    let _ = permit.settle(failed(FailureClass::Timeout), now);
                    ends.gave_up += 1;
                }
                patient += 1;
            }
            for (at, (rig, seed)) in fleet.iter().zip(&mut seeds).enumerate() {
                if (ms + at as u64 * STEP_MS) % self.every_ms != 0 {
                    continue;
                }
                let _ = rig.breaker.tick(now, random(seed));
                let low = if self.instances == 1 {
                    UNLUCKY
                } else {
                    random(seed)
                };
                match rig.breaker.try_acquire(now, 0, low) {
                    Ok(permit) if is_up => {
                        queue.push_back(calls.len() as u32);
                        calls.push(Some((permit, ms)));
                    }
                    Ok(permit) => drop(permit.settle(FAILED, now)),
                    Err(refusal) if is_up => {
                        ends.refused += 1;
                        ends.refused_in_ramp += u32::from(refusal.state == BreakerState::Ramping);
                    }
                    Err(_) => {}
                }
            }
        }
        ends
    }

    fn rate(&self, ms: u64) -> f64 {
        let up = ms.saturating_sub(self.outage_ms) as f64;
        let warm = (up / self.warm_after_ms as f64).min(1.0);
        self.cold + (self.warm - self.cold) * warm
    }
}

/// At ten calls a second it refused 46 of a hundred, at three 7 of twelve.
#[test]
fn where_there_is_no_flood_a_ramp_refuses_nobody() {
    for every_ms in [100, 330] {
        let story = Story {
            instances: 1,
            every_ms,
            cold: 20.0,
            warm: 120.0,
            warm_after_ms: 10_000,
            outage_ms: 6_000,
        };
        let ends = story.tell(&Trip::default());
        assert_eq!((ends.refused_in_ramp, ends.gave_up), (0, 0), "{ends:?}");
    }
}

/// A hundred calls a second, and a dependency that is cold for thirty: what it answers
/// decides how many it gets.
#[test]
fn a_ramp_asks_more_of_a_dependency_that_answers() {
    let story = Story {
        instances: 1,
        every_ms: 10,
        cold: 30.0,
        warm: 120.0,
        warm_after_ms: 10_000,
        outage_ms: 6_000,
    };
    let ends = story.tell(&Trip::default());
    // A few are late in the moment in which it comes up.
    assert!(ends.gave_up < 30 && ends.served > 5_700, "{ends:?}");
}

/// The ramp is never worse than none: over a minute after the outage, a fleet serves about
/// as many with it. With a floor that did not grow it served a tenth less.
#[test]
fn a_ramp_costs_a_fleet_next_to_nothing() {
    for warm_after_ms in [10_000, 30_000] {
        let story = Story {
            instances: 50,
            every_ms: 20,
            cold: 500.0,
            warm: 3_000.0,
            warm_after_ms,
            outage_ms: 6_000,
        };
        let with = story.tell(&Trip::default());
        let without = story.tell(&Trip::default().ramp(Duration::ZERO));
        assert!(
            f64::from(with.served) > f64::from(without.served) * 0.95,
            "{with:?}, without {without:?}"
        );
    }
}

/// A dependency that hangs after its probes gets the floor, and what the share lets in.
#[test]
fn calls_that_hang_in_a_ramp_make_no_room() {
    let rig = Rig::new(Trip::default());
    rig.trip(0);
    rig.recover(1_000);
    let ask = || rig.breaker.try_acquire(rig.at(1_000), 0, UNLUCKY).ok();
    let mut running: Vec<_> = std::iter::repeat_with(ask).map_while(|it| it).collect();
    assert_eq!(running.len(), 10);
    // One that is dropped gives its place back, one that succeeded brings another.
    running.pop();
    running.extend(ask());
    assert!(ask().is_none());
    let first = running.pop().expect("ten run");
    let _ = first.settle(CallOutcome::Success, rig.at(1_000));
    running.extend(ask());
    running.extend(ask());
    assert_eq!(running.len(), 11);
    assert!(ask().is_none());
}
