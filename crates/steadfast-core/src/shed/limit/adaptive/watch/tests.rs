//! The watch beside a pool of workers, in virtual time.

use std::{cmp::Reverse, collections::BinaryHeap};

use super::*;
use crate::testing::origin;

/// A pool, its requests in the order in which they come, and the watch that sees them.
struct World {
    watch: Watch,
    now: Instant,
    /// When each worker is free.
    workers: Vec<Instant>,
    /// Those in flight, the next to end on top: when they end and came, with how many, and the serial of their block.
    running: BinaryHeap<Reverse<(Instant, Instant, u32, u32)>>,
    random: u64,
}

impl World {
    fn new(serial: u32, workers: usize) -> Self {
        let mut watch = Watch::new();
        watch.serial = serial & SERIAL_MASK;
        Self {
            watch,
            now: origin(),
            workers: vec![origin(); workers],
            running: BinaryHeap::new(),
            random: 7,
        }
    }

    /// A number from 0 to 1, in the same order in each run.
    fn random(&mut self) -> f64 {
        self.random = self
            .random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        (self.random >> 33) as f64 / f64::from(1_u32 << 31)
    }

    /// Lets requests come for a while, and returns what was concluded, and at which arrival.
    fn run(&mut self, arrivals: u32, gap_secs: f64, work_secs: f64) -> Vec<(u32, f64)> {
        let mut concluded = Vec::new();
        for number in 0..arrivals {
            let gap = 2.0 * self.random() * gap_secs;
            self.now += Duration::from_secs_f64(gap);
            for found in self.end_until_now() {
                concluded.push((number, found.knee));
            }
            let free = self.workers.iter_mut().min().expect("one works");
            let starts = (*free).max(self.now);
            let ends = starts + Duration::from_secs_f64(work_secs);
            *free = ends;
            let in_flight = self.running.len() as u32 + 1;
            let serial = self.watch.admitted(self.now, in_flight);
            self.running
                .push(Reverse((ends, self.now, in_flight, serial)));
        }
        concluded
    }

    fn end_until_now(&mut self) -> Vec<Saturation> {
        let mut found = Vec::new();
        while let Some(&Reverse((at, came, in_flight, serial))) = self.running.peek() {
            if at > self.now {
                break;
            }
            self.running.pop();
            let latency = at.saturating_duration_since(came).as_secs_f64();
            found.extend(
                self.watch
                    .ended(at, serial, Some((latency, in_flight, false))),
            );
        }
        found
    }
}

#[test]
fn a_full_pool_is_noticed_and_its_size_with_it() {
    let mut world = World::new(1, 8);
    assert_eq!(world.run(4_000, 0.002, 0.01), [], "it has room for all");
    let found = world.run(4_000, 0.0006, 0.01);
    let (_, knee) = *found.first().expect("twice what it can do");
    assert!((7.0..11.0).contains(&knee), "{knee}");
}

#[test]
fn a_dependency_that_becomes_slow_is_no_full_pool() {
    let mut world = World::new(1, 1_000);
    world.run(2_000, 0.001, 0.01);
    assert_eq!(world.run(2_000, 0.001, 0.3), []);
}

#[test]
fn what_is_concluded_does_not_depend_on_where_serials_have_got_to() {
    // Goal: the same story is told wherever the serials come round in it; the wrap falls
    // before, between and behind whatever is noticed.
    let story = |serial: u32| {
        let mut world = World::new(serial, 8);
        let mut told = world.run(1_000, 0.002, 0.01);
        // Slower, with room for all the same, and then overloaded.
        told.extend(world.run(600, 0.008, 0.05));
        world.watch.explained = Some(world.watch.serial);
        told.extend(world.run(600, 0.002, 0.01));
        told.extend(world.run(1_000, 0.0006, 0.01));
        let (from, newest) = world.watch.newest(world.now);
        (told, earlier(world.watch.serial, from), newest.len())
    };
    let expected = story(BLOCKS as u32);
    assert!(!expected.0.is_empty());
    for before in [1, 50, 90, 130, 160, 190] {
        let told = story(0_u32.wrapping_sub(before));
        assert_eq!(told, expected, "{before} blocks before the wrap");
    }
}

#[test]
fn what_was_explained_is_forgotten_before_serials_come_round_to_it() {
    let mut world = World::new(1, 8);
    world.run(100, 0.002, 0.01);
    world.watch.explained = Some(world.watch.serial);
    world.run(BLOCK * (BLOCKS as u32 + 2), 0.002, 0.01);
    assert_eq!(world.watch.explained, None);
}

#[test]
fn of_two_serials_the_nearer_way_tells_which_is_later() {
    assert!(is_since(5, 5) && is_since(6, 5) && !is_since(4, 5));
    assert!(is_since(0, SERIAL_MASK) && !is_since(SERIAL_MASK, 0));
}

#[test]
fn where_most_give_up_who_did_not_with_fewer_in_flight_a_limit_is_tried() {
    // Goal: latency says nothing, because it is the patience of clients; that they did not
    // leave while fewer were in flight does.
    let told = |calm_in_flight: u32, in_flight: u32, gave_up: u32| {
        let mut watch = Watch::new();
        let mut at = origin();
        let mut found = Vec::new();
        for (in_flight, gave_up) in [(calm_in_flight, 0), (in_flight, gave_up)] {
            for number in 0..BLOCK {
                let serial = watch.admitted(at, in_flight);
                let abandoned = number < gave_up;
                let end = at + Duration::from_millis(100);
                found.extend(watch.ended(end, serial, Some((0.1, in_flight, abandoned))));
            }
            at += Duration::from_secs(1);
        }
        found.first().map(|found| found.knee.round() as u32)
    };
    assert_eq!(told(10, 40, 9), Some(10));
    assert_eq!(told(10, 40, 7), None, "half is not most");
    assert_eq!(told(10, 26, 9), None, "not worth a limit");
    assert_eq!(told(1, 160, 9), Some(10), "and no less than a sixteenth");
}
