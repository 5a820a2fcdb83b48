//! A dependency and its keys: who knows whom, for how long, and how many.

use super::*;
use crate::dependency::keys::KEYS_MAX;

fn key(rig: &Rig, text: &str) -> Arc<DependencyState> {
    rig.state.key(text, rig.at(0)).expect("there is room")
}

#[test]
fn the_whole_knows_its_keys_in_their_order_for_as_long_as_they_live() {
    let rig = Rig::new(None);
    let texts = || -> Vec<String> {
        let keys = rig.state.living_keys();
        let texts = keys.iter().map(|key| key.key_text().unwrap_or("none"));
        texts.map(str::to_owned).collect()
    };
    assert!(texts().is_empty());
    let (first, second, third) = (key(&rig, "a"), key(&rig, "b"), key(&rig, "c"));
    assert_eq!(texts(), ["a", "b", "c"]);
    drop(second);
    assert_eq!(texts(), ["a", "c"], "one has gone");
    drop((first, third));
    assert!(texts().is_empty());
    assert_eq!(rig.state.key_text(), None, "the whole is no key");
}

#[test]
fn the_whole_shows_how_many_of_its_keys_refuse() {
    let rig = Rig::new(None);
    let (bad, good, _quiet) = (key(&rig, "bad"), key(&rig, "good"), key(&rig, "quiet"));
    let called = |state: &Arc<DependencyState>, ms, outcome| {
        let now = rig.at(ms);
        let permit = DependencyState::try_acquire(state, now, 0, MIDDLE).expect("it passes");
        permit.settle(outcome, now);
    };
    let failed = CallOutcome::Failure(FailureClass::Unhealthy.into());
    called(&good, 0, CallOutcome::Success);
    for ms in 0..3 {
        assert_eq!(
            rig.state.view(rig.at(ms)).keys,
            (3, 0),
            "after {ms} failures"
        );
        called(&bad, ms, failed);
    }
    let view = rig.state.view(rig.at(4));
    assert_eq!(view.keys, (3, 1));
    assert_eq!(view.health(rig.at(4)), Health::Warning);
}

#[test]
fn there_are_only_so_many_keys_and_one_that_has_gone_makes_room() {
    let rig = Rig::new(None);
    let mut keys: Vec<_> = (0..KEYS_MAX)
        .map(|nth| key(&rig, &nth.to_string()))
        .collect();
    assert!(rig.state.key("more", rig.at(1)).is_none(), "all live");
    keys.pop();
    assert!(rig.state.key("more", rig.at(2)).is_some());
}
