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
fn bursts_that_are_served_before_the_next_are_no_overload() {
    // Five times what eight workers can do, for 10 ms of every 62: each leaves 32 waiting.
    let mut world = World::new(1, 8);
    for burst in 0..100 {
        assert_eq!(world.run(40, 0.000_25, 0.01), [], "burst {burst}");
        world.now += Duration::from_millis(52);
    }
    // The same without the pauses between them is one.
    let found = world.run(4_000, 0.000_25, 0.01);
    let (number, knee) = *found.first().expect("five times what it can do");
    assert!((7.0..13.0).contains(&knee), "{knee}");
    // A quarter of a second's work is 200, and four of five add to it.
    assert!((200..400).contains(&number), "{number}");
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

#[test]
fn the_limit_that_is_tried_is_what_was_answered_as_fast_as_in_the_quietest_moment() {
    let told = |before: &[(u32, f64, u32, u64)]| {
        let mut watch = Watch::new();
        let mut at = origin();
        let mut found = Vec::new();
        for &(in_flight, latency, gave_up, secs) in before.iter().chain(&[(80, 0.5, 9, 1)]) {
            for number in 0..BLOCK {
                let serial = watch.admitted(at, in_flight);
                let sample = Some((latency, in_flight, number < gave_up));
                let end = at + Duration::from_secs_f64(latency);
                found.extend(watch.ended(end, serial, sample));
            }
            at += Duration::from_secs(secs);
        }
        found.first().map(|found| found.knee.round() as u32)
    };
    assert_eq!(told(&[(10, 0.1, 0, 1)]), Some(10));
    let (room, queue) = ((20, 0.105, 0, 1), (30, 0.15, 0, 1));
    assert_eq!(told(&[(10, 0.1, 0, 1), room, queue]), Some(20));
    assert_eq!(told(&[room, queue, (10, 0.1, 0, 1)]), Some(20));
    // However many found room, that all give up now is worth a limit.
    assert_eq!(told(&[(10, 0.1, 0, 1), (60, 0.105, 0, 1)]), Some(60));
    assert_eq!(
        told(&[(10, 0.1, 0, 1), (90, 0.105, 0, 1)]),
        Some(10),
        "no fewer than there are now"
    );
    assert_eq!(
        told(&[(10, 0.1, 0, 1), (20, 0.1, 7, 1)]),
        Some(10),
        "that one was not waited for"
    );
    assert_eq!(
        told(&[(20, 0.105, 0, 61), (10, 0.1, 0, 1)]),
        Some(10),
        "of another time"
    );
    assert_eq!(
        told(&[(20, 0.1, 0, 1), (10, 0.05, 0, 1)]),
        Some(10),
        "it was not as fast after all"
    );
}

#[test]
fn clients_that_leave_sooner_than_answers_come_leave_for_no_queue() {
    // Goal: a process that stands still reads no socket, and its clients leave meanwhile.
    let told = |patience: f64| {
        let mut watch = Watch::new();
        let mut at = origin();
        let mut found = None;
        for (in_flight, latency, abandoned) in [(8, 0.2, false), (80, patience, true)] {
            for _ in 0..BLOCK {
                let serial = watch.admitted(at, in_flight);
                let end = at + Duration::from_secs_f64(latency);
                let sample = Some((latency, in_flight, abandoned));
                found = watch.ended(end, serial, sample).or(found);
            }
            at += Duration::from_secs(1);
        }
        found.map(|found| found.knee.round() as u32)
    };
    assert_eq!(told(0.5), Some(8));
    assert_eq!(told(0.15), None);
}

/// Takes a block in, all with so many in flight, of which all but the last two have ended
/// after so long.
fn block(watch: &mut Watch, at: Instant, in_flight: u32, latency_secs: f64) {
    let serials: Vec<_> = (0..BLOCK).map(|_| watch.admitted(at, in_flight)).collect();
    for serial in &serials[..BLOCK_ENDS as usize] {
        let end = at + Duration::from_secs_f64(latency_secs);
        watch.ended(end, *serial, Some((latency_secs, in_flight, false)));
    }
}

#[test]
fn a_new_limit_is_compared_with_what_came_last_with_about_as_many_in_flight() {
    let now = origin();
    let mut watch = Watch::new();
    for in_flight in [10, 10, 20, 20] {
        block(&mut watch, now, in_flight, 0.01);
    }
    let (from, group) = watch.newest(now + Duration::from_secs(1));
    assert_eq!((from, group.len()), (3, 32.0), "two blocks of twenty");
    assert!(
        (group.sums.n() - 28.0).abs() < 0.5 && group.open(),
        "and four that run"
    );
    // One block alone is enough of another kind, and four of the same.
    let mut watch = Watch::new();
    for in_flight in [10, 10, 20] {
        block(&mut watch, now, in_flight, 0.01);
    }
    watch.in_flight = 40.0;
    assert_eq!(watch.newest(now).0, 3, "none is of as many");
    let mut watch = Watch::new();
    for _ in 0..9 {
        block(&mut watch, now, 20, 0.01);
    }
    assert_eq!(watch.newest(now).0, 6, "four blocks say all there is");
}

#[test]
fn sampling_keeps_blocks_as_long_as_a_scheduler_needs_and_follows_slowly() {
    let paced = |in_flight: f64, took: f64| {
        let mut watch = Watch::new();
        watch.in_flight = in_flight;
        let paces = (0..5).map(|_| {
            watch.pace(took);
            watch.one_in()
        });
        paces.collect::<Vec<_>>()
    };
    assert_eq!(
        paced(16.0, 1.0),
        [1, 1, 1, 1, 1],
        "everybody, while few run"
    );
    assert_eq!(paced(640.0, 1.0), [2, 4, 8, 10, 10], "one doubling a block");
    // Blocks of a tenth of what they should last are ten times too dense.
    assert_eq!(paced(16.0, 0.000_2)[..3], [2, 4, 8]);
    let mut watch = Watch::new();
    watch.one_in = 64;
    watch.in_flight = 16.0;
    watch.pace(1.0);
    assert_eq!(watch.one_in(), 32, "and by halves back");
    watch.clear();
    assert_eq!(watch.one_in(), 1);
}

#[test]
fn ends_of_what_was_forgotten_are_not_recognised() {
    let now = origin();
    let mut watch = Watch::new();
    let serial = watch.admitted(now, 4);
    watch.clear();
    let new = watch.admitted(now, 4);
    assert_ne!(serial, new);
    for _ in 0..BLOCK_ENDS {
        watch.ended(now, serial, Some((0.01, 4, false)));
    }
    assert_eq!(watch.remembered().map(|it| it.ended).sum::<u32>(), 0);
    let remembered: Vec<_> = watch.remembered().map(|it| it.serial).collect();
    assert_eq!(remembered, [new]);
}

#[test]
fn a_queue_lasts_if_it_stands_and_grows_or_is_what_the_slow_ones_met() {
    let start = origin();
    let secs = Duration::from_secs_f64;
    let lasting = |now_in_flight: f64, then: u32, high_in_flight: u32| {
        let mut watch = Watch::new();
        block(&mut watch, start, then, 0.2);
        let high = *watch.blocks[1].as_ref().expect("the block");
        let mut high = high;
        high.sums = Sums::default();
        high.sums.add(0.2, high_in_flight, false);
        high.serial = 1;
        watch.in_flight = now_in_flight;
        watch.lasts(start + secs(0.15), &high)
    };
    assert!(!lasting(37.0, 40, 40), "it goes away: below what it was");
    assert!(
        lasting(40.0, 40, 40),
        "it stands where the slow ones met it"
    );
    assert!(lasting(50.0, 40, 20), "it grows");
    assert!(!lasting(42.0, 40, 20), "it neither grows nor is as it was");
}
