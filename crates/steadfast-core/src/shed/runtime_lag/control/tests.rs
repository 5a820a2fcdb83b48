//! From what is seen to the phase, one look after the other.

use super::*;
use crate::testing::origin;

const LOOK: Duration = Duration::from_millis(20);
const WORKERS: u32 = 2;

/// A controller and the moment of its last look.
struct Rig {
    control: LagControl,
    now: Instant,
}

impl Rig {
    fn new() -> Self {
        Self {
            control: LagControl::new(WORKERS),
            now: origin(),
        }
    }

    /// Looks at so many who came, began and wait, `looks` times.
    fn looks(&mut self, looks: u32, lag: Duration, [arrived, started, waiting]: [u32; 3]) {
        for _ in 0..looks {
            self.now += LOOK;
            self.control.look(Seen {
                now: self.now,
                lag,
                arrived,
                refused: 0,
                started,
                shortest: None,
                waiting,
                left: 0,
            });
        }
    }

    fn phase(&self) -> LagPhase {
        self.control.phase()
    }

    /// Has the line stand with a hundred who begin each second, until some are refused.
    fn refusing() -> Self {
        let mut rig = Self::new();
        rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
        rig.looks(26, 2 * LAG_MAX, [40, 2, 100]);
        assert_eq!(rig.phase(), LagPhase::Refusing);
        rig
    }
}

#[test]
fn requests_stand_in_line_only_once_the_runtime_was_late_while_some_came() {
    for (lag, arrived, phase) in [
        (LAG_MAX, 5, LagPhase::Calm),
        (LAG_MAX + LOOK / 20, 0, LagPhase::Calm),
        (LAG_MAX + LOOK / 20, 1, LagPhase::Lined),
    ] {
        let mut rig = Rig::new();
        rig.looks(1, lag, [arrived, 0, 0]);
        assert_eq!(rig.phase(), phase, "{lag:?} late, {arrived} came");
    }
}

#[test]
fn some_are_refused_only_after_the_line_has_stood_for_the_whole_proof() {
    let after = |looks, begun_each, waiting| {
        let mut rig = Rig::new();
        rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
        rig.looks(looks, 2 * LAG_MAX, [40, begun_each, waiting]);
        rig.phase()
    };
    assert_eq!(after(25, 2, 100), LagPhase::Lined, "480 ms");
    assert_eq!(after(26, 2, 100), LagPhase::Refusing, "500 ms");
    // Three for each thread stand; five for two threads do not.
    assert_eq!(after(26, 2, 6), LagPhase::Refusing);
    assert_eq!(after(26, 2, 5), LagPhase::Lined);
    // Little's law: a thousand a second work six off in 6 ms, and 21 in 21.
    assert_eq!(after(26, 20, 6), LagPhase::Lined);
    assert_eq!(after(26, 20, 20), LagPhase::Lined);
    assert_eq!(after(26, 20, 21), LagPhase::Refusing);
    assert_eq!(
        after(26, 0, 100),
        LagPhase::Lined,
        "nothing begins: a pause"
    );
}

#[test]
fn the_proof_begins_when_the_line_is_long_for_what_begins() {
    // A thousand begin each second, so twenty are worked off in 20 ms.
    let mut rig = Rig::new();
    rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
    for waiting in [6, 12, 18, 24] {
        rig.looks(1, 2 * LAG_MAX, [60, 20, waiting]);
    }
    // What began before the run's first look says nothing of it, so that look counts.
    rig.looks(23, 2 * LAG_MAX, [60, 20, 400]);
    assert_eq!(rig.phase(), LagPhase::Lined, "480 ms");
    rig.looks(2, 2 * LAG_MAX, [60, 20, 400]);
    assert_eq!(rig.phase(), LagPhase::Refusing);
}

#[test]
fn a_line_that_was_short_in_between_has_not_stood() {
    let mut rig = Rig::new();
    rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
    rig.looks(20, 2 * LAG_MAX, [60, 20, 400]);
    rig.looks(1, 2 * LAG_MAX, [20, 20, 10]);
    rig.looks(20, 2 * LAG_MAX, [60, 20, 400]);
    assert_eq!(rig.phase(), LagPhase::Lined);
}

#[test]
fn a_line_that_is_being_worked_off_refuses_nobody() {
    let mut rig = Rig::new();
    rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
    for waiting in (0..60).map(|look| 300 - 4 * look) {
        rig.looks(1, 2 * LAG_MAX, [40, 4, waiting]);
        assert_eq!(rig.phase(), LagPhase::Lined, "{waiting} wait");
    }
}

#[test]
fn a_line_that_clients_give_up_on_is_not_being_worked_off() {
    let refuses = |arrived, left| {
        let mut rig = Rig::new();
        rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
        for look in 0..30 {
            rig.now += LOOK;
            rig.control.look(Seen {
                now: rig.now,
                lag: 2 * LAG_MAX,
                arrived,
                refused: 0,
                started: 2,
                shortest: Some(2 * LAG_MAX),
                // It grows for as long as clients wait, and then is as long as before that.
                waiting: if look < 10 { 100 + 40 * look } else { 300 },
                left: if look < 10 { 0 } else { left },
            });
        }
        rig.phase() == LagPhase::Refusing
    };
    assert!(refuses(40, 38), "more come than begin");
    assert!(!refuses(1, 38), "after a pause fewer do");
    assert!(!refuses(40, 0), "nobody left, so it was worked off");
}

#[test]
fn a_phase_is_left_a_second_after_its_last_reason() {
    let mut rig = Rig::new();
    rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
    rig.looks(49, Duration::ZERO, [1, 1, 0]);
    assert_eq!(rig.phase(), LagPhase::Lined, "980 ms");
    rig.looks(1, 2 * LAG_MAX, [1, 1, 0]);
    rig.looks(49, Duration::ZERO, [1, 1, 0]);
    assert_eq!(rig.phase(), LagPhase::Lined, "late again meanwhile");
    rig.looks(1, Duration::ZERO, [1, 1, 0]);
    assert_eq!(rig.phase(), LagPhase::Calm);
}

#[test]
fn refusing_ends_when_less_is_asked_for_than_can_be_done() {
    // A hundred begin each second, which is two a look.
    for (arrived, phase) in [(2, LagPhase::Refusing), (1, LagPhase::Lined)] {
        let mut rig = Rig::refusing();
        rig.looks(30, LAG_MAX, [arrived, 2, 2]);
        assert_eq!(rig.phase(), phase, "{arrived} a look");
    }
}

#[test]
fn there_is_room_for_what_is_begun_while_the_target_waits_and_for_three_on_two_threads() {
    let mut rig = Rig::refusing();
    let near = |found: f64, expected: f64| (found / expected - 1.0).abs() < 0.05;
    assert!(
        near(rig.control.capacity(), 100.0),
        "{}",
        rig.control.capacity()
    );
    assert_eq!(rig.control.room(), Some(3), "of two threads");
    // Three may stand in line, and a hundred begin each second.
    assert!(near(rig.control.full_wait().as_secs_f64(), 0.03));
    rig.looks(200, LAG_MAX, [400, 20, 50]);
    assert!(near(rig.control.capacity(), 1_000.0), "it follows");
    assert_eq!(rig.control.room(), Some(10), "what begins within 10 ms");
    assert!(near(rig.control.full_wait().as_secs_f64(), 0.01));
}

#[test]
fn a_line_that_runs_empty_while_some_are_refused_shows_more_capacity() {
    let mut rig = Rig::refusing();
    let before = rig.control.capacity();
    let look = |rig: &mut Rig, refused, started| {
        rig.now += LOOK;
        rig.control.look(Seen {
            now: rig.now,
            lag: LAG_MAX,
            arrived: 40,
            refused,
            started,
            shortest: None,
            waiting: 0,
            left: 0,
        });
        rig.control.capacity() / before
    };
    assert_eq!(look(&mut rig, 0, 5), 1.0, "nobody is refused");
    assert_eq!(look(&mut rig, 5, 0), 1.0, "nothing has begun");
    let raised = look(&mut rig, 5, 5);
    assert!(raised > 1.1 && raised < 1.5, "{raised}");
}

#[test]
fn the_share_of_refusals_follows_what_comes_and_ends_with_refusing() {
    let mut rig = Rig::refusing();
    let look = |rig: &mut Rig, arrived, refused| {
        rig.now += LOOK;
        rig.control.look(Seen {
            now: rig.now,
            lag: LAG_MAX,
            arrived,
            refused,
            started: 2,
            shortest: None,
            waiting: 50,
            left: 0,
        });
        rig.control.refused_ratio()
    };
    for _ in 0..40 {
        look(&mut rig, 40, 10);
    }
    let ratio = rig.control.refused_ratio();
    assert!((ratio - 0.25).abs() < 0.01, "{ratio}");
    assert!((look(&mut rig, 0, 0) - ratio).abs() < 1e-9, "nobody came");
    rig.looks(60, LAG_MAX, [1, 2, 10]);
    assert_eq!(rig.phase(), LagPhase::Lined);
    assert!(rig.control.refused_ratio() < 1e-9);
}

#[test]
fn what_nobody_waits_for_stops_first_and_critical_requests_wait_longest() {
    let rooms = Priority::ALL.map(|priority| room_for(priority, 40));
    assert_eq!(rooms, [160, 40, 20, 10]);
    assert_eq!(room_for(Priority::Background, 1), 1, "one always");
    let waits = Priority::ALL.map(|priority| wait_max(priority, LAG_MAX));
    assert!(waits[0] > waits[1] && waits[1] >= waits[3]);
}

#[test]
fn what_is_forgotten_is_all_but_the_number_of_threads() {
    let mut rig = Rig::refusing();
    rig.control.reset();
    assert_eq!((rig.phase(), rig.control.room()), (LagPhase::Calm, None));
    assert_eq!(rig.control.capacity(), 0.0);
    assert_eq!(rig.control.wait(), Duration::ZERO);
    rig.looks(1, 2 * LAG_MAX, [40, 0, 0]);
    rig.looks(26, 2 * LAG_MAX, [40, 2, 100]);
    assert_eq!(rig.control.room(), Some(3), "still of two threads");
}
