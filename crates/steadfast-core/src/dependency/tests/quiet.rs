//! What a check may do while nobody calls.

use super::*;

#[test]
fn a_shallow_check_never_closes_what_calls_opened() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    rig.passes(100);
    rig.passes(200);
    assert_eq!(
        rig.breaker(900),
        BreakerState::Open,
        "it had passed all along"
    );
    for ms in [300, 400, 500] {
        rig.fails(ms);
    }
    rig.passes(600);
    rig.passes(700);
    assert_eq!(
        rig.breaker(700),
        BreakerState::Probing,
        "it is news that it passes"
    );
    for ms in (1_000..120_000).step_by(1_000) {
        rig.passes(ms);
        rig.state.tick(rig.at(ms), MIDDLE);
        let expected = if ms < 10_600 {
            BreakerState::Probing
        } else {
            BreakerState::Ramping
        };
        assert_eq!(rig.breaker(ms), expected, "at {ms}");
    }
    let (health, reason) = rig.seen(120_000);
    assert_eq!(health, Health::Warning, "calls have to confirm it");
    assert!(reason.is_some_and(|it| it.ends_with("traffic is let back in")));
    // A call that fails is believed at once.
    rig.call(120_000, false);
    assert_eq!(rig.breaker(120_000), BreakerState::Open);
}

/// A service that nobody called since its outage met a burst: one call passed, then the
/// next, and 35 of 40 were refused for an error a minute old.
#[test]
fn a_burst_after_a_minute_of_passing_checks_is_served_whole() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    rig.fails(3_000);
    for ms in [4_000, 5_000, 10_000, 15_000, 20_000, 25_000, 30_000, 35_000] {
        rig.passes(ms);
        rig.state.tick(rig.at(ms), MIDDLE);
    }
    let at = rig.at(36_000);
    let luckless = MIDDLE | u64::from(u32::MAX);
    let burst: Vec<_> = (0..40)
        .filter_map(|_| DependencyState::try_acquire(&rig.state, at, 0, luckless).ok())
        .collect();
    assert_eq!(burst.len(), 40);
    for permit in burst {
        permit.settle(CallOutcome::Success, rig.at(36_100));
    }
    rig.state.tick(rig.at(36_200), MIDDLE);
    assert_eq!(rig.breaker(36_200), BreakerState::Closed);
}

/// It passed while calls failed, so that it passes proves nothing.
#[test]
fn a_check_that_is_blind_to_the_outage_lets_nobody_in() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    rig.passes(500);
    rig.call(1_100, false);
    assert_eq!(rig.breaker(1_100), BreakerState::Open);
    for ms in (5_000..120_000).step_by(5_000) {
        rig.passes(ms);
        rig.state.tick(rig.at(ms), MIDDLE);
        assert_eq!(rig.breaker(ms), BreakerState::Probing);
    }
}
