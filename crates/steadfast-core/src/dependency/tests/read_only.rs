//! A server that takes no writes.

use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use proptest::prelude::*;

use super::*;
use crate::dependency::{
    breaker::BreakerMode,
    read_only::{AGREED, PROBE_INTERVAL, PROBE_LEASE},
};

const SAYS: &str = "cannot execute INSERT in a read-only transaction";

impl Rig {
    fn write_fails(&self, ms: u64) {
        self.state.note_read_only(&SAYS, self.at(ms));
    }

    /// Tries a write; a server that takes none says so.
    fn write(&self, ms: u64, is_read_only: bool) -> bool {
        let passes = self.state.admit_write(self.at(ms)).is_ok();
        if passes && is_read_only {
            self.write_fails(ms);
        } else if passes {
            self.state.note_writable(self.at(ms));
        }
        passes
    }
}

#[test]
fn a_read_only_server_warns_at_once_and_refuses_writes_alone_once_it_is_known() {
    let rig = Rig::new(None);
    rig.call(0, true);
    assert!(rig.write(0, true), "nothing is known");
    let reason = format!("read-only: {SAYS}");
    assert_eq!(rig.seen(1), (Health::Warning, Some(reason.clone())));
    assert!(rig.write(1, true), "one may be the statement's own fault");
    let refusal = rig.state.admit_write(rig.at(11)).expect_err("known");
    let Evidence::DependencyDown(down) = refusal.evidence() else {
        panic!("{refusal:?}")
    };
    assert_eq!(down.since, Duration::from_millis(11));
    assert_eq!(down.class, FailureClass::ReadOnly);
    assert_eq!(&*down.last_error, SAYS);
    let told = down.reason.as_ref().map(ToString::to_string);
    assert_eq!(told.as_ref(), Some(&reason), "one sentence everywhere");
    assert!(refusal.retry_after() <= PROBE_INTERVAL);
    rig.call(12, true);
    assert_eq!(rig.breaker(12), BreakerState::Closed, "reads go on");
    assert!(rig.state.refusal(rig.at(12)).is_none());
    let view = rig.state.view(rig.at(12));
    assert_eq!(view.since(rig.at(12)), Some(rig.at(0)));
    let seen = view.read_only.expect("it is known");
    assert_eq!((seen.is_refusing, seen.refused), (true, 1));
    assert_eq!(rig.state.calls().of(CallKind::Refused), 1);
}

#[test]
fn a_failover_heals_within_two_seconds_and_one_write_tries_at_a_time() {
    let rig = Rig::new(None);
    rig.write_fails(0);
    rig.write_fails(0);
    // 100 writes a second; the new node is there after 5 s.
    let mut tried = Vec::new();
    let mut healed = None;
    for ms in (10..9_000).step_by(10) {
        if rig.write(ms, ms < 5_000) {
            tried.push(ms);
            healed = healed.or((ms >= 5_000).then_some(ms));
        }
    }
    let healed = healed.expect("it heals");
    assert!(healed <= 6_000, "{healed}");
    let before = tried.iter().filter(|ms| **ms < 5_000).count();
    assert!((4..=7).contains(&before), "about one a second: {tried:?}");
    assert_eq!(
        tried.iter().filter(|ms| **ms > healed).count(),
        (9_000 - healed as usize) / 10 - 1
    );
    assert!(rig.state.view(rig.at(9_000)).read_only.is_none());
}

#[test]
fn a_write_that_tries_and_is_never_heard_of_holds_the_others_for_its_lease() {
    let rig = Rig::new(None);
    rig.write_fails(0);
    rig.write_fails(0);
    let passes = |ms| rig.state.admit_write(rig.at(ms)).is_ok();
    assert!(passes(1_000), "it tries");
    let lease = u64::try_from(PROBE_LEASE.as_millis()).expect("short");
    assert!(!passes(1_000 + lease - 1));
    assert!(passes(1_000 + lease));
}

#[test]
fn writes_that_were_under_way_do_not_put_the_next_try_off() {
    let rig = Rig::new(None);
    for ms in (0..2_000).step_by(10) {
        rig.write_fails(ms);
    }
    assert!(rig.state.admit_write(rig.at(2_000)).is_ok());
}

#[test]
fn one_statement_of_its_own_fault_refuses_nobody_and_is_forgotten() {
    let rig = Rig::new(None);
    rig.call(0, true);
    for ms in (0..60_000).step_by(1_000) {
        rig.write_fails(ms);
        assert!(rig.write(ms + 500, false), "others are served");
    }
    rig.write_fails(60_000);
    assert_eq!(rig.seen(69_000).0, Health::Warning);
    assert_eq!(rig.seen(70_000).0, Health::Passing);
    assert!(rig.write(70_000, true), "it begins anew");
    assert!(rig.write(70_001, false));
}

/// A disk that is nearly full takes some writes. Refusing the others because of those that
/// fail must not grow with them: each relapse needs twice the evidence.
#[test]
fn a_server_that_takes_some_writes_has_few_refused() {
    let rig = Rig::new(None);
    let mut refused = 0;
    for n in 0..10_000_u64 {
        let fails = n % 4 < 2;
        refused += u32::from(!rig.write(n * 10, fails));
    }
    assert!(refused < 400, "{refused}");
}

#[test]
fn a_person_or_an_observer_lets_every_write_pass() {
    for mode in [BreakerMode::ForcedClosed, BreakerMode::Observe] {
        let rig = Rig::new(None);
        rig.state.set_mode(mode, rig.at(0));
        for ms in 0..100 {
            assert!(rig.write(ms, true), "{mode}");
        }
        let would = rig.state.calls().of(CallKind::WouldRefuse);
        assert_eq!(would > 0, mode == BreakerMode::Observe);
        assert_eq!(rig.seen(100).0, Health::Warning);
    }
}

#[test]
fn what_the_server_says_is_redacted_and_its_text_made_ten_times_a_second_outside_the_lock() {
    struct Text<'a>(&'a Rig, AtomicU32);
    impl fmt::Display for Text<'_> {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.1.fetch_add(1, Relaxed);
            // Foreign code may look at the dependency.
            let _ = self.0.state.view(self.0.at(0));
            f.write_str("readonly at postgres://u:hunter2@db/shop")
        }
    }
    let rig = Rig::new(None);
    let text = Text(&rig, AtomicU32::new(0));
    for ms in 0..1_000 {
        rig.state.note_read_only(&text, rig.at(ms));
    }
    let seen = rig.state.view(rig.at(999)).read_only.expect("known");
    assert_eq!(&*seen.error, "readonly at postgres://***@db/shop");
    assert_eq!(text.1.load(Relaxed), 10);
}

#[test]
fn an_earlier_view_is_brought_up_to_date() {
    let rig = Rig::new(None);
    let mut view = rig.state.view(rig.at(0));
    rig.write_fails(1);
    rig.state.refresh(&mut view, rig.at(2));
    assert_eq!(view.health(rig.at(2)), Health::Warning);
    rig.state.note_writable(rig.at(3));
    rig.state.refresh(&mut view, rig.at(4));
    assert!(view.read_only.is_none());
}

#[test]
fn listeners_hear_the_first_failure_the_verdict_and_the_end() {
    #[derive(Default)]
    struct Heard(Mutex<Vec<(&'static str, bool)>>);
    impl DependencyListener for Heard {
        fn moved(&self, _: &DependencyState, _: &BreakerTransition) {}

        fn noticed(&self, _: &DependencyState, notice: &DependencyNotice, _: Instant) {
            let (word, seen) = match notice {
                DependencyNotice::ReadOnly(seen) => ("read-only", seen),
                DependencyNotice::Writable(seen) => ("writable", seen),
                other => panic!("{other:?}"),
            };
            let mut heard = self.0.lock().expect("no panic");
            heard.push((word, seen.is_refusing));
        }
    }
    let rig = Rig::new(None);
    let heard = Arc::new(Heard::default());
    assert!(rig.state.listen(heard.clone()));
    for ms in 0..5 {
        rig.write_fails(ms);
    }
    rig.state.note_writable(rig.at(9));
    rig.state.note_writable(rig.at(10));
    let told = [
        ("read-only", false),
        ("read-only", true),
        ("writable", true),
    ];
    assert_eq!(*heard.0.lock().expect("no panic"), told);
}

#[test]
fn a_call_that_fails_so_tells_it_and_opens_nothing() {
    let rig = Rig::new(None);
    for ms in 0..100 {
        let now = rig.at(ms);
        let permit = DependencyState::try_acquire(&rig.state, now, 0, MIDDLE).expect("closed");
        permit.fail(FailureClass::ReadOnly.into(), &SAYS, now);
    }
    assert_eq!(rig.breaker(100), BreakerState::Closed);
    assert_eq!(
        rig.seen(100),
        (Health::Warning, Some(format!("read-only: {SAYS}")))
    );
    assert!(rig.state.admit_write(rig.at(100)).is_err());
    assert_eq!(rig.state.calls().of(CallKind::Failure), 100);
}

/// A check that writes is told no: reads go on, whether or not anybody has called yet.
#[test]
fn a_check_that_fails_so_warns_and_refuses_no_read() {
    let rig = Rig::new(Some(CheckDepth::Deep));
    let fails = |ms| {
        let outcome = CheckOutcome::fail(FailureClass::ReadOnly, SAYS);
        rig.state.record_check(outcome, TOOK, rig.at(ms), MIDDLE);
    };
    for ms in [0, 1_000, 2_000] {
        fails(ms);
    }
    assert!(
        rig.state.refusal(rig.at(2_000)).is_none(),
        "nobody has called"
    );
    rig.call(2_100, true);
    fails(3_000);
    assert_eq!(rig.breaker(3_000), BreakerState::Closed);
    let reason = format!("read-only: {SAYS}");
    assert_eq!(rig.seen(3_000), (Health::Warning, Some(reason)));
    assert!(rig.state.admit_write(rig.at(3_010)).is_ok(), "it tries");
    assert!(rig.state.admit_write(rig.at(3_011)).is_err());
    for ms in [4_000, 5_000] {
        rig.passes(ms);
    }
    assert!(rig.state.admit_write(rig.at(5_010)).is_ok());
    assert_eq!(rig.seen(5_010), (Health::Passing, None));
}

proptest! {
    /// Whatever comes: nobody is refused before the server refused `AGREED` writes, at most
    /// one write tries in each interval, and a success lets all pass.
    #[test]
    fn refusals_follow_from_what_the_server_said(
        steps in prop::collection::vec((0_u8..3, 1_u64..700), 1..200),
    ) {
        let rig = Rig::new(None);
        let (mut ms, mut in_a_row, mut last_try) = (0, 0_u32, None);
        for (what, later) in steps {
            ms += later;
            match what {
                0 => { rig.write_fails(ms); in_a_row += 1; }
                1 => { rig.state.note_writable(rig.at(ms)); (in_a_row, last_try) = (0, None); }
                _ => {
                    let passes = rig.state.admit_write(rig.at(ms)).is_ok();
                    let is_refusing = rig.state.view(rig.at(ms)).read_only.is_some_and(|it| it.is_refusing);
                    if !passes { prop_assert!(in_a_row >= AGREED); }
                    if passes && is_refusing {
                        let apart = last_try.map(|last: u64| ms - last);
                        prop_assert!(apart.is_none_or(|it| it >= 800), "{apart:?}");
                        last_try = Some(ms);
                    }
                }
            }
        }
    }
}
