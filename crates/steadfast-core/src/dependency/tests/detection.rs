//! The documented bound of detection is true.
//!
//! Method: the scheduler's loop is played in virtual time with random settings, jitter and
//! traffic; at some moment the dependency dies.

use proptest::prelude::*;

use super::*;

/// What dies.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Death {
    /// Everything.
    Whole,
    /// What only the check asks for: calls go on over their old sessions.
    ForTheCheck,
}

#[derive(Clone, Debug)]
struct Story {
    settings: CheckSettings,
    /// Between two calls; none at all if zero.
    call_every: u64,
    death: Death,
    dies_at: u64,
    randoms: Vec<u64>,
}

fn story() -> impl Strategy<Value = Story> {
    let settings = (1_u64..20, 1_u64..4, 1_u64..1_500, 1_u32..5).prop_map(
        |(interval, failing, timeout, fall)| CheckSettings {
            interval: Duration::from_secs(interval),
            interval_failing: Duration::from_secs(failing.min(interval)),
            timeout: Duration::from_millis(timeout),
            fall,
            ..CheckSettings::default()
        },
    );
    let death = prop_oneof![Just(Death::Whole), Just(Death::ForTheCheck)];
    let randoms = prop::collection::vec(any::<u64>(), 64);
    (settings, 0_u64..4_000, death, 30_000_u64..90_000, randoms).prop_map(
        |(settings, call_every, death, dies_at, randoms)| Story {
            settings,
            call_every,
            death,
            dies_at,
            randoms,
        },
    )
}

impl Story {
    /// Returns when the dependency was first believed to be what `is_found` says.
    fn found_at(&self, is_found: impl Fn(Health) -> bool) -> u64 {
        let rig = Rig::new(None);
        let start = rig.at(0);
        rig.state.set_check(
            "test",
            CheckDepth::Shallow,
            self.settings,
            Requirement::default(),
            start,
        );
        let mut randoms = self.randoms.iter().cycle().copied();
        let mut random = || randoms.next().expect("it cycles");
        let timeout = u64::try_from(self.settings.timeout.as_millis()).expect("short");
        // The run that is under way, and when the next one is due.
        let mut running: Option<(u64, bool)> = None;
        let mut due = 0;
        for ms in 0..self.dies_at + 400_000 {
            let now = rig.at(ms);
            let is_dead = ms >= self.dies_at;
            if self.call_every > 0 && ms % self.call_every == 0 {
                let fails = is_dead && self.death == Death::Whole;
                if let Ok(permit) = DependencyState::try_acquire(&rig.state, now, 0, random()) {
                    let failed = CallOutcome::Failure(FailureClass::Unreachable.into());
                    permit.settle(if fails { failed } else { CallOutcome::Success }, now);
                }
            }
            if let Some((ends, passes)) = running.filter(|(ends, _)| ms >= *ends) {
                running = None;
                let outcome = if passes {
                    CheckOutcome::pass()
                } else {
                    CheckOutcome::fail(FailureClass::Timeout, "silence")
                };
                let record = rig
                    .state
                    .record_check(outcome, TOOK, rig.at(ends), random());
                due = ms + u64::try_from(record.next_run_in.as_millis()).expect("short");
            } else if running.is_none() && ms >= due {
                match rig.state.traffic_vouches(now, random()) {
                    Some(wait) => due = ms + u64::try_from(wait.as_millis()).expect("short"),
                    // A good answer that is on its way may be as late as a bad one.
                    None => running = Some((ms + timeout, !is_dead)),
                }
            }
            if ms % 100 == 0 && is_dead && is_found(rig.state.view(now).health(now)) {
                return ms;
            }
        }
        panic!("never found: {self:?}")
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_death_is_found_within_the_documented_bound(story in story()) {
        let found = match story.death {
            Death::Whole => story.found_at(|health| health == Health::Failing),
            // The two disagree, which is a warning.
            Death::ForTheCheck => story.found_at(|health| health != Health::Passing),
        };
        let bound = story.settings.detection_max() + Duration::from_millis(110);
        let took = Duration::from_millis(found - story.dies_at);
        prop_assert!(took <= bound, "{took:?} of {bound:?}");
    }
}

/// A success from before the death is no evidence once calls fail too: what a check found
/// in five seconds was called a warning until the window had passed.
#[test]
fn a_check_and_calls_that_fail_since_are_believed_before_the_window_is_over() {
    let rig = Rig::new(Some(CheckDepth::Shallow));
    rig.passes(0);
    rig.call(900, true);
    rig.fails(1_000);
    rig.call(2_500, false);
    rig.fails(2_600);
    assert_eq!(rig.seen(2_700).0, Health::Passing);
    rig.fails(3_600);
    assert_eq!(rig.seen(3_700).0, Health::Failing);
    assert_eq!(rig.breaker(3_610), BreakerState::Open);
}
