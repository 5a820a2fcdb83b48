//! Fifty instances of one service in front of one dependency.
//!
//! Method: virtual time in steps of 20 ms; each instance has a breaker and randomness of
//! its own, and offers a call at every step. What reaches the dependency is counted.

use super::*;

const INSTANCES: usize = 50;
const STEP_MS: u64 = 20;

/// When the dependency comes back.
const UP_MS: u64 = 60_000;

/// Splitmix64: one line, and good enough to spread fifty instances.
pub(super) fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Returns how many calls reached the dependency in each tenth of a second, all instances
/// together.
fn reached(trip: &Trip, seed: u64) -> Vec<u32> {
    let mut seeds: Vec<u64> = (0..INSTANCES as u64).map(|at| seed ^ (at << 32)).collect();
    let fleet: Vec<_> = seeds.iter().map(|_| Rig::new(trip.clone())).collect();
    let mut reached = Vec::new();
    for ms in (0..UP_MS + 30_000).step_by(STEP_MS as usize) {
        if ms % 100 == 0 {
            reached.push(0);
        }
        let outcome = if ms < UP_MS {
            FAILED
        } else {
            CallOutcome::Success
        };
        for (rig, seed) in fleet.iter().zip(&mut seeds) {
            let now = rig.at(ms);
            let _ = rig.breaker.tick(now, random(seed));
            if let Ok(permit) = rig.breaker.try_acquire(now, 0, random(seed)) {
                *reached.last_mut().expect("begun above") += 1;
                let _ = permit.settle(outcome, now);
            }
        }
    }
    reached
}

/// With waits that grow.
fn trip() -> Trip {
    let trip = Trip::default().open_max(Duration::from_secs(5));
    trip.consecutive_spread(Duration::ZERO)
}

#[test]
fn instances_that_opened_together_do_not_probe_in_step() {
    for seed in [1, 2] {
        let together = reached(&trip().jitter_ratio(0.0), seed);
        let apart = reached(&trip(), seed);
        // They all open in the first tenth of a second, and probe from then on.
        let most = |counts: &[u32]| counts[5..UP_MS as usize / 100].iter().copied().max();
        assert_eq!(
            most(&together),
            Some(INSTANCES as u32),
            "what jitter is for"
        );
        let most = most(&apart).expect("a minute");
        assert!(
            most <= 15,
            "seed {seed}: {most} of 50 probed in one tenth of a second"
        );
        let late = &apart[300..UP_MS as usize / 100];
        let most = late.iter().copied().max().expect("half a minute");
        assert!(
            most <= 6,
            "seed {seed}: {most} probed at once after half a minute"
        );
    }
}

#[test]
fn a_fleet_spares_a_sick_dependency() {
    for seed in [1, 2] {
        let counts = reached(&trip(), seed);
        // Each of the fifty instances offers fifty calls a second.
        let sick: u32 = counts[10..UP_MS as usize / 100].iter().sum();
        assert!(
            sick < 1_000,
            "seed {seed}: {sick} calls reached the sick dependency"
        );
    }
}

/// Goal: also where the wait does not grow, the calls that ask whether it is back are few.
#[test]
fn a_fleet_with_the_defaults_sends_a_sick_dependency_a_fiftieth_of_its_calls() {
    let defaults = Trip::default().consecutive_spread(Duration::ZERO);
    let counts = reached(&defaults, 1);
    let sick: u32 = counts[10..UP_MS as usize / 100].iter().sum();
    let offered = INSTANCES as u64 * (UP_MS - 1_000) / STEP_MS;
    assert!(u64::from(sick) < offered / 40, "{sick} of {offered}");
}
