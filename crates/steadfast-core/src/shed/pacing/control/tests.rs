//! The controller before clients of which each is refused, pauses, and asks again.

use proptest::prelude::*;

use super::*;
use crate::{sync::pulse::BEAT, testing::origin};

const LONG: Duration = Duration::from_millis(40);

/// A controller, and what it has seen so far.
struct World {
    control: PacingControl,
    now: Instant,
    between: Duration,
}

impl World {
    fn new(workers: u32) -> Self {
        let mut world = Self {
            control: PacingControl::new(workers),
            now: origin(),
            between: Duration::ZERO,
        };
        world.beat(0, Duration::ZERO, 0);
        world
    }

    /// A beat later, in which so many clients did nothing but ask.
    fn beat(&mut self, hasty: u32, lag: Duration, queued: u32) -> Told {
        self.beat_busy(hasty, lag, queued, 0.5)
    }

    fn beat_busy(&mut self, hasty: u32, lag: Duration, queued: u32, busy_ratio: f64) -> Told {
        self.now += BEAT;
        self.between += BEAT * hasty;
        self.control.look(Seen {
            now: self.now,
            lag,
            queued,
            busy_ratio,
            between: self.between,
        })
    }

    fn beats(&mut self, count: usize, hasty: u32, lag: Duration) -> Vec<Told> {
        let beats = (0..count).map(|_| self.beat(hasty, lag, 0));
        beats.filter(|told| *told != Told::Nothing).collect()
    }

    fn pause_ms(&self) -> f64 {
        let pause = self.control.pause().unwrap_or_default();
        (pause.as_secs_f64() * 1000.0).round()
    }
}

#[test]
fn a_runtime_that_is_on_time_paces_nobody_however_many_ask() {
    let mut world = World::new(2);
    assert!(world.beats(100, 5_000, LATE).is_empty());
    assert_eq!(world.control.pause(), None);
    world.beat(5_000, LATE, QUEUED - 1);
    assert_eq!(world.control.pause(), None);
    world.beat(5_000, Duration::ZERO, QUEUED);
    assert!(world.control.pause().is_some(), "a long queue is late too");
    let mut world = World::new(2);
    world.beat_busy(5_000, LATE, 0, BUSY - 0.01);
    assert_eq!(world.control.pause(), None);
    world.beat_busy(5_000, Duration::ZERO, 0, BUSY);
    assert!(
        world.control.pause().is_some(),
        "so are workers without a pause"
    );
}

#[test]
fn a_late_runtime_paces_nobody_where_few_are_hasty() {
    let mut world = World::new(2);
    // 5 ms at 30,000 a second.
    world.beats(100, 149, Duration::from_secs(1));
    assert_eq!(world.control.pause(), None);
    world.beats(1, 150, LONG);
    assert_eq!(world.pause_ms(), 5.0);
}

#[test]
fn the_pause_leaves_each_thread_its_rate_at_once() {
    for (workers, hasty, expected) in [(2, 1_500, 50.0), (1, 1_500, 100.0), (8, 1_500, 13.0)] {
        let mut world = World::new(workers);
        world.beat(hasty, LONG, 0);
        assert_eq!(world.pause_ms(), expected, "{workers}");
        world.beats(50, hasty, Duration::ZERO);
        assert_eq!(world.pause_ms(), expected, "{workers}: it stays");
    }
    let mut world = World::new(2);
    world.beat(100_000, LONG, 0);
    assert_eq!(world.control.pause(), Some(PAUSE_MAX));
}

#[test]
fn a_runtime_that_stays_late_gets_more_room() {
    let mut world = World::new(2);
    world.beats(100, 1_500, LONG);
    assert_eq!(world.pause_ms(), 200.0, "a quarter of the rate");
    world.beats(100, 1_500, Duration::ZERO);
    assert_eq!(world.pause_ms(), 50.0);
}

#[test]
fn a_flood_is_told_once_and_so_is_its_end_and_a_burst_is_not() {
    let mut world = World::new(2);
    assert!(world.beats(3, 1_500, LONG).is_empty());
    assert!(world.beats(20, 0, LONG).is_empty());
    assert_eq!(world.control.pause(), None, "a burst is over");
    assert_eq!(world.beats(50, 1_500, LONG), [Told::Begins]);
    assert_eq!(world.beats(50, 10, LONG), [Told::Ends]);
    assert_eq!(world.control.pause(), None);
}

#[test]
fn a_moment_with_few_does_not_end_it() {
    let mut world = World::new(2);
    world.beats(20, 1_500, LONG);
    for _ in 0..20 {
        world.beats(4, 0, Duration::ZERO);
        assert!(world.control.pause().is_some());
        world.beats(2, 1_500, Duration::ZERO);
    }
}

#[test]
fn two_looks_at_one_moment_are_one() {
    let mut world = World::new(2);
    world.beat(1_500, LONG, 0);
    let seen = Seen {
        now: world.now,
        lag: LONG,
        queued: 0,
        busy_ratio: 0.0,
        between: world.between + Duration::from_secs(9),
    };
    let before = world.control.pause();
    assert_eq!(world.control.look(seen), Told::Nothing);
    assert_eq!(world.control.pause(), before);
}

proptest! {
    #[test]
    fn the_pause_is_bounded_and_ends(
        beats in prop::collection::vec((0_u32..50_000, 0_u64..100, 0_u32..500), 0..200),
    ) {
        let mut world = World::new(3);
        for (hasty, lag, queued) in beats {
            world.beat(hasty, Duration::from_millis(lag), queued);
            prop_assert!(world.control.pause().is_none_or(|pause| pause <= PAUSE_MAX));
        }
        world.beats(usize::from(FEW_LOOKS) + 1, 0, LONG);
        prop_assert_eq!(world.control.pause(), None);
    }
}
