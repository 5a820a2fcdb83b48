//! A server that refuses new sessions while old ones serve.

use super::*;

const SAYS: &str = "password authentication failed at postgres://shop:hunter2@db/shop";

impl Rig {
    fn refused(&self, ms: u64, still_serving: u32) {
        let now = self.at(ms);
        self.state
            .note_new_sessions_refused(FailureClass::Auth, &SAYS, still_serving, now);
    }
}

fn sentence(rest: &str) -> String {
    format!(
        "new sessions are refused: password authentication failed at postgres://***@db/shop; {rest}"
    )
}

#[test]
fn old_sessions_that_serve_warn_in_the_servers_words_and_refuse_nobody() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.passes(0);
    rig.call(0, true);
    rig.refused(10, 4);
    let reason = sentence("4 old ones still serve");
    assert_eq!(rig.seen(11), (Health::Warning, Some(reason)));
    // The check may ask an old session; what it says does not undo it.
    rig.passes(20);
    rig.refused(30, 1);
    let reason = sentence("1 old one still serves");
    assert_eq!(rig.seen(31), (Health::Warning, Some(reason)));
    let now = rig.at(31);
    let view = rig.state.view(now);
    assert_eq!(view.since(now), Some(rig.at(10)));
    assert_eq!(view.class(now), Some(FailureClass::Auth));
    rig.refused(40, 0);
    assert_eq!(rig.seen(41).1, Some(sentence("no old one serves")));
    assert!(rig.state.refusal(rig.at(41)).is_none());
    assert_eq!(rig.breaker(41), BreakerState::Closed);
    rig.state.note_session_opened(rig.at(50));
    assert_eq!(rig.seen(51), (Health::Passing, None));
}

/// The check is what finds out that sessions open again, so it is not left out.
#[test]
fn traffic_does_not_vouch_while_sessions_are_refused() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.passes(0);
    rig.call(10, true);
    assert!(rig.state.traffic_vouches(rig.at(20), MIDDLE).is_some());
    rig.refused(30, 4);
    assert!(rig.state.traffic_vouches(rig.at(40), MIDDLE).is_none());
    rig.state.note_session_opened(rig.at(50));
    rig.passes(55);
    assert!(rig.state.traffic_vouches(rig.at(60), MIDDLE).is_some());
}

#[test]
fn the_failing_side_of_a_dependency_comes_first() {
    let rig = Rig::new(None);
    rig.refused(0, 4);
    for ms in [10, 20, 30] {
        rig.call(ms, false);
    }
    let (health, reason) = rig.seen(40);
    assert_eq!(health, Health::Failing);
    assert_eq!(
        reason.as_deref(),
        Some("3 calls in a row failed within 20ms")
    );
}

#[test]
fn an_earlier_view_is_brought_up_to_date_and_listeners_hear_both_ends() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<(&'static str, u64)>>);
    impl DependencyListener for Heard {
        fn moved(&self, _: &DependencyState, _: &BreakerTransition) {}

        fn noticed(&self, _: &DependencyState, notice: &DependencyNotice, _: Instant) {
            let mut heard = self.0.lock().expect("no panic");
            match notice {
                DependencyNotice::SessionsRefused(seen) => heard.push(("refused", seen.refused)),
                DependencyNotice::SessionsOpen(seen) => heard.push(("open", seen.refused)),
                other => panic!("{other:?}"),
            }
        }
    }
    let rig = Rig::new(None);
    let heard = Arc::new(Heard::default());
    assert!(rig.state.listen(heard.clone()));
    let mut view = rig.state.view(rig.at(0));
    rig.state.note_session_opened(rig.at(0));
    for ms in 1..4 {
        rig.refused(ms, 4);
    }
    rig.state.refresh(&mut view, rig.at(4));
    assert_eq!(view.health(rig.at(4)), Health::Warning);
    rig.state.note_session_opened(rig.at(5));
    rig.state.refresh(&mut view, rig.at(6));
    assert!(view.sessions_refused.is_none());
    let told = heard.0.lock().expect("no panic").clone();
    assert_eq!(told, [("refused", 1), ("open", 3)]);
}
