//! Probes that are never heard of again, beside checks that pass and gates that look.

use super::*;

/// Opened by a check and let probe by a check, at 22.6 s.
fn probing_by_check() -> Rig {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.call(0, true);
    for ms in [20_000, 21_000, 22_000] {
        rig.fails(ms);
    }
    rig.passes(22_500);
    rig.passes(22_600);
    assert_eq!(rig.breaker(22_600), BreakerState::Probing);
    rig
}

/// Passes the check until long after every wait, and nothing else.
fn only_the_check_passes(rig: &Rig, from: u64) {
    for ms in (from..from + 60_000).step_by(500) {
        rig.passes(ms);
        rig.state.tick(rig.at(ms), MIDDLE);
        let state = rig.breaker(ms);
        assert!(
            matches!(state, BreakerState::Open | BreakerState::Probing),
            "{state} at {ms}"
        );
    }
}

#[test]
fn a_check_does_not_close_while_a_probe_hangs_nor_after_its_silence() {
    let rig = probing_by_check();
    let at = rig.at(22_700);
    let _hangs = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("a probe");
    for ms in (23_000..27_700).step_by(100) {
        rig.passes(ms);
        assert_eq!(rig.breaker(ms), BreakerState::Probing);
    }
    rig.state.tick(rig.at(27_700), MIDDLE);
    assert_eq!(rig.breaker(27_700), BreakerState::Open);
    only_the_check_passes(&rig, 28_000);
}

/// Settled by hand, without a word of what went wrong.
#[test]
fn a_shallow_check_does_not_close_what_a_probe_spoke_against() {
    for class in [FailureClass::Unhealthy, FailureClass::Timeout] {
        let rig = probing_by_check();
        let at = rig.at(22_700);
        let probe = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("a probe");
        probe.settle(CallOutcome::Failure(class.into()), rig.at(26_700));
        assert_eq!(rig.breaker(26_700), BreakerState::Open, "{class}");
        only_the_check_passes(&rig, 27_000);
    }
}

#[test]
fn a_shallow_check_does_not_close_beside_calls_that_failed_or_hang() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.call(15_000, false);
    for ms in [20_000, 21_000, 22_000] {
        rig.fails(ms);
    }
    // It saw the outage and its end, so it lets calls try, and no more.
    for ms in (22_500..90_000).step_by(500) {
        rig.passes(ms);
        rig.state.tick(rig.at(ms), MIDDLE);
        assert_ne!(rig.breaker(ms), BreakerState::Closed);
    }
    let rig = Rig::new(Some(CheckDepth::Shallow));
    let at = rig.at(19_000);
    let _hangs = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("closed");
    for ms in [20_000, 21_000, 22_000] {
        rig.fails(ms);
    }
    assert_eq!(rig.breaker(22_000), BreakerState::Open);
    only_the_check_passes(&rig, 60_000);
}

/// A gate in front of every call: nobody but the gate comes by.
#[test]
fn a_gate_alone_ends_the_round_of_a_probe_that_vanished() {
    let rig = Rig::new(None);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    let log = Log::of(&rig);
    let at = rig.at(1_100);
    let _vanished = DependencyState::try_acquire(&rig.state, at, 0, MIDDLE).expect("a probe");
    assert!(rig.state.refusal(rig.at(2_099)).is_some(), "it has a lease");
    assert_eq!(rig.breaker(6_099), BreakerState::Probing);
    let refusal = rig.state.refusal(rig.at(6_100)).expect("it is over");
    assert_eq!(refusal.retry_after(), Duration::from_secs(1));
    assert_eq!(rig.breaker(6_100), BreakerState::Open);
    assert!(rig.state.refusal(rig.at(7_099)).is_some());
    assert!(rig.state.refusal(rig.at(7_100)).is_none(), "a probe may go");
    rig.call(7_100, true);
    let heard = log.heard();
    assert!(
        heard.contains(&(BreakerState::Open, "probe-silent")),
        "{heard:?}"
    );
}

/// The same where probes were dropped without a word.
#[test]
fn a_gate_alone_ends_a_round_that_found_nothing_out() {
    let rig = Rig::new(None);
    for ms in [0, 10, 20] {
        rig.call(ms, false);
    }
    let mut dropped = 0;
    while rig.state.refusal(rig.at(1_100)).is_none() {
        let at = rig.at(1_100);
        drop(DependencyState::try_acquire(&rig.state, at, 0, MIDDLE));
        dropped += 1;
        assert!(dropped < 100);
    }
    assert_eq!(rig.breaker(1_100), BreakerState::Open);
    assert!(rig.state.refusal(rig.at(2_100)).is_none());
}
