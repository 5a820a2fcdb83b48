//! The loop in a small world in virtual time: threads that run one request to its end
//! before they look at anything else, which is what a handler that computes does to a
//! runtime.

mod line;

use std::collections::VecDeque;

use proptest::prelude::*;

use super::{
    control::{LagControl, Seen, room_for},
    *,
};
use crate::{request::priority::Priority, testing::origin};

/// What became of a run, from `after` on.
#[derive(Debug, Default)]
struct Score {
    offered: u32,
    refused: u32,
    /// Answered within the client's patience.
    good: u32,
    critical_offered: u32,
    critical_good: u32,
    background_good: u32,
    light_offered: u32,
    light_good: u32,
    longest_wait: f64,
    /// Longest that a probe waited.
    probe_wait: f64,
}

/// How long a client listens.
const PATIENCE: f64 = 0.5;

/// Requests in the world, in seconds.
struct World {
    workers: usize,
    service: f64,
    /// How many requests a second compute for how long, beside the others.
    light: (f64, f64),
    random: u64,
    lag_loop: LagLoop,
    start: Instant,
}

#[derive(Clone, Copy)]
struct Request {
    came: f64,
    priority: Priority,
    light: bool,
    seen: Option<(f64, Line)>,
}

impl Request {
    const fn path(&self) -> &'static str {
        match self.light {
            true => "/page",
            false => "/login",
        }
    }
}

impl World {
    fn new(workers: u32, service: f64, seed: u64) -> Self {
        let start = origin();
        let lag_loop = LagLoop::new(LagMode::Enforce, start);
        lag_loop.set_workers(workers);
        Self {
            workers: workers as usize,
            service,
            light: (0.0, 0.0),
            random: seed | 1,
            lag_loop,
            start,
        }
    }

    fn uniform(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        (self.random >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn at(&self, time: f64) -> Instant {
        self.start + Duration::from_secs_f64(time)
    }

    /// Runs to `end`. `load` says how many times the capacity is asked for; `pauses` are
    /// times during which nothing runs; `class` says what a request is, from a number
    /// between 0 and 1.
    fn run(
        &mut self,
        (after, end): (f64, f64),
        load: impl Fn(f64) -> f64,
        pauses: &[(f64, f64)],
        class: impl Fn(f64) -> Priority,
    ) -> Score {
        let capacity = self.workers as f64 / self.service;
        let mut score = Score::default();
        let mut free = vec![0.0_f64; self.workers];
        let mut line: VecDeque<Request> = VecDeque::new();
        let (mut next_arrival, mut next_beat) = (0.0_f64, 0.1_f64);
        let mut arrived = 0_u64;
        let mut now = 0.0;
        while now < end {
            // The next thing that happens: somebody comes, a thread is free, a beat is due.
            let earliest = free.iter().copied().fold(f64::MAX, f64::min);
            let can_run = if line.is_empty() {
                f64::MAX
            } else {
                earliest.max(now)
            };
            let beat = f64::max(next_beat, earliest);
            now = next_arrival.min(can_run).min(beat).max(now);
            if let Some((_, until)) = pauses
                .iter()
                .find(|(from, until)| (*from..*until).contains(&now))
            {
                free.iter_mut().for_each(|free| *free = free.max(*until));
            }
            if next_arrival <= now {
                let priority = class(self.uniform());
                let heavy = capacity * load(now);
                let rate = heavy + self.light.0;
                line.push_back(Request {
                    came: next_arrival,
                    priority,
                    light: self.light.0 > 0.0 && self.uniform() * rate > heavy,
                    seen: None,
                });
                next_arrival += -(1.0 - self.uniform()).ln() / rate;
                continue;
            }
            let earliest = free.iter().copied().fold(f64::MAX, f64::min);
            if earliest > now {
                continue;
            }
            // While calm a beat waits behind what has come before it.
            let lined = self.lag_loop.stands();
            if next_beat <= now
                && (lined || line.front().is_none_or(|front| front.came > next_beat))
            {
                if now > after {
                    score.probe_wait = score.probe_wait.max(now - next_beat);
                }
                let lag = Duration::from_secs_f64(now - next_beat);
                self.lag_loop.beat(arrived, lag, self.at(now));
                next_beat = now + 0.1;
                continue;
            }
            // A thread is free. Lined up, it first looks at everything that has come.
            let looked = if lined {
                line.len()
            } else {
                usize::from(!line.is_empty())
            };
            let mut kept = VecDeque::new();
            for (place, mut request) in line.drain(..).enumerate() {
                if place < looked && request.seen.is_none() {
                    arrived += 1;
                    let moment = self.start + Duration::from_secs_f64(now);
                    let counts = request.came > after;
                    score.offered += u32::from(counts);
                    score.critical_offered +=
                        u32::from(counts && request.priority == Priority::Critical);
                    score.light_offered += u32::from(counts && request.light);
                    let who = (request.priority, request.path());
                    if self
                        .lag_loop
                        .arrive(place % 2, who, || arrived, moment)
                        .is_err()
                    {
                        score.refused += u32::from(counts);
                        continue;
                    }
                    let stands = self.lag_loop.stand(place % 2, who.0, who.1);
                    request.seen = Some((now, stands));
                }
                kept.push_back(request);
            }
            line = kept;
            let Some(request) = line.pop_front() else {
                continue;
            };
            let (since, place) = request.seen.expect("it was looked at");
            let turn = self.lag_loop.turn(
                place,
                request.priority,
                self.at(since),
                || arrived,
                self.at(now),
            );
            let counts = request.came > after;
            if turn.is_err() {
                score.refused += u32::from(counts);
                continue;
            }
            let worker = free
                .iter()
                .position(|free| *free <= now)
                .expect("one is free");
            let service = match request.light {
                true => self.light.1,
                false => self.service,
            };
            free[worker] = now + service;
            if let Some(timed) = place.timed() {
                let computed = Duration::from_secs_f64(service);
                let ended = self.at(now + service);
                self.lag_loop.computed(timed, computed, worker % 2, ended);
            }
            if counts {
                let whole = now + service - request.came;
                score.longest_wait = score.longest_wait.max(now - request.came);
                let good = u32::from(whole <= PATIENCE);
                score.good += good;
                score.critical_good += good * u32::from(request.priority == Priority::Critical);
                score.light_good += good * u32::from(request.light);
                score.background_good += good * u32::from(request.priority == Priority::Background);
            }
        }
        score
    }
}

fn default(_: f64) -> Priority {
    Priority::Default
}

#[test]
fn five_times_the_capacity_keeps_it_busy_and_waits_short() {
    for seed in 1..6 {
        for (workers, service) in [(1, 0.002), (2, 0.01), (4, 0.05), (2, 0.1)] {
            let mut world = World::new(workers, service, seed * 7919);
            let (after, end) = (4.0, 24.0);
            let score = world.run((after, end), |_| 5.0, &[], default);
            let capacity = f64::from(workers) / service * (end - after);
            let goodput = f64::from(score.good) / capacity;
            assert!(
                goodput >= 0.95,
                "{goodput} with {workers} x {service} s, seed {seed}: {score:?}"
            );
            let longest = WAIT_TARGET.as_secs_f64() * 2.0 + service * 4.0;
            assert!(
                score.longest_wait <= longest,
                "{workers} x {service}: {score:?}"
            );
            assert!(
                score.probe_wait <= service + 0.01,
                "{workers} x {service}: {score:?}"
            );
        }
    }
}

#[test]
fn a_service_with_capacity_left_refuses_nobody() {
    for seed in 1..11 {
        for (workers, service) in [(1, 0.001), (2, 0.01), (4, 0.05), (2, 0.1), (2, 1.0)] {
            for load in [0.3, 0.5, 0.7] {
                let mut world = World::new(workers, service, seed * 104_729);
                let score = world.run((0.0, 60.0), |_| load, &[], default);
                assert_eq!(
                    score.refused, 0,
                    "{load} of {workers} x {service} s, seed {seed}: {score:?}"
                );
            }
        }
    }
}

#[test]
fn pauses_and_bursts_refuse_nobody() {
    for seed in 1..11 {
        for (load, pause) in [(0.5, 0.3), (0.7, 0.3), (0.5, 1.0)] {
            let mut world = World::new(2, 0.01, seed * 15_485_863);
            let pauses = [(5.0, 5.0 + pause), (12.0, 12.0 + pause)];
            let score = world.run((0.0, 20.0), |_| load, &pauses, default);
            assert_eq!(
                score.refused, 0,
                "{pause} s at {load}, seed {seed}: {score:?}"
            );
        }
        // A hundred times the capacity for 50 ms is 5 s of work for a hundredth of them.
        let burst = |now: f64| {
            if (5.0..5.02).contains(&now) {
                20.0
            } else {
                0.1
            }
        };
        let mut world = World::new(2, 0.005, seed * 32_452_843);
        let score = world.run((0.0, 10.0), burst, &[], default);
        assert_eq!(score.refused, 0, "a burst, seed {seed}: {score:?}");
    }
}

#[test]
fn after_an_overload_everybody_is_served_again() {
    for seed in 1..6 {
        let mut world = World::new(2, 0.01, seed * 49_979_687);
        let load = |now: f64| if now < 10.0 { 5.0 } else { 0.8 };
        let score = world.run((11.0, 30.0), load, &[], default);
        let served = 1.0 - f64::from(score.refused) / f64::from(score.offered);
        assert!(served >= 0.99, "seed {seed}: {score:?}");
    }
}

#[test]
fn critical_requests_are_served_while_background_ones_are_not() {
    for seed in 1..6 {
        let mut world = World::new(2, 0.01, seed * 86_028_121);
        // Ten times the capacity: a tenth of the capacity is critical, half default.
        let class = |unit: f64| match unit {
            unit if unit < 0.01 => Priority::Critical,
            unit if unit < 0.3 => Priority::Default,
            _ => Priority::Background,
        };
        let score = world.run((4.0, 64.0), |_| 10.0, &[], class);
        let critical = f64::from(score.critical_good) / f64::from(score.critical_offered);
        assert!(critical >= 0.999, "seed {seed}: {score:?}");
        assert!(
            score.background_good * 50 < score.good,
            "seed {seed}: {score:?}"
        );
    }
}

#[test]
fn a_flood_of_what_computes_leaves_what_hardly_does_alone() {
    for seed in 1..6 {
        let mut world = World::new(2, 0.008, seed * 67_867_967);
        world.light = (700.0, 0.0001);
        let score = world.run((4.0, 24.0), |_| 10.0, &[], default);
        let light = f64::from(score.light_good) / f64::from(score.light_offered);
        assert!(light >= 0.99, "seed {seed}: {light}, {score:?}");
        let heavy = f64::from(score.good - score.light_good) / (250.0 * 20.0);
        assert!(heavy >= 0.9, "seed {seed}: {heavy}, {score:?}");
    }
}

#[test]
fn a_published_decision_survives_its_word() {
    for lined in [false, true] {
        for room in [None, Some(0), Some(7), Some(1_000_000)] {
            let full_wait_ms = 60_000;
            let published = Published {
                lined,
                room,
                full_wait_ms,
            };
            assert_eq!(Published::from_word(published.to_word()), published);
        }
    }
}

#[test]
fn an_idle_process_that_is_late_does_nothing() {
    let start = origin();
    let lag_loop = LagLoop::new(LagMode::Enforce, start);
    for beat in 1..100_u32 {
        lag_loop.beat(0, Duration::from_secs(1), start + BEAT * beat);
    }
    assert_eq!(lag_loop.snapshot(start + BEAT * 100).phase, LagPhase::Calm);
}

#[test]
fn where_the_heartbeat_waits_too_requests_look_for_themselves() {
    let start = origin();
    let lag_loop = LagLoop::new(LagMode::Enforce, start);
    lag_loop.beat(0, Duration::ZERO, start + BEAT);
    let mut arrived = 0;
    let mut comes = |now| {
        arrived += 1;
        let let_in = lag_loop.arrive(0, (Priority::Default, "/"), || arrived, now);
        assert_eq!(let_in, Ok(()), "nobody is refused for it");
        lag_loop.stand(0, Priority::Default, "/") != Line::Out
    };
    assert!(!comes(start + BEAT * 2), "the next beat is due just now");
    assert!(comes(start + BEAT * 4), "it is two beats late");
    let seen = lag_loop.snapshot(start + BEAT * 4);
    assert_eq!((seen.phase, seen.lag), (LagPhase::Lined, BEAT * 2));
}

#[test]
fn a_turn_that_comes_looks_as_well() {
    let start = origin();
    let lag_loop = LagLoop::new(LagMode::Enforce, start);
    lag_loop.beat(1, Duration::from_secs(1), start + BEAT);
    let line = lag_loop.stand(0, Priority::Default, "/");
    let asked = std::cell::Cell::new(0);
    let arrived = || {
        asked.set(asked.get() + 1);
        2
    };
    let turn = |line, now| lag_loop.turn(line, Priority::Default, start, arrived, now);
    assert_eq!(turn(Line::Out, start + BEAT * 2), Ok(()));
    assert_eq!(asked.get(), 0, "who stood in no line has no turn");
    assert_eq!(turn(line, start + BEAT * 2), Ok(()));
    assert_eq!(asked.get(), 1);
    assert_eq!(lag_loop.snapshot(start + BEAT * 2).waiting, 0);
}

#[test]
fn switched_off_it_neither_lines_up_nor_refuses() {
    let start = origin();
    let lag_loop = LagLoop::new(LagMode::Off, start);
    let late = start + Duration::from_secs(9);
    lag_loop.beat(50, Duration::from_secs(1), late);
    assert_eq!(
        lag_loop.arrive(0, (Priority::Default, "/"), || 51, late + LOOK),
        Ok(())
    );
    assert_eq!(lag_loop.stand(0, Priority::Default, "/"), Line::Out);
}

#[test]
fn whoever_leaves_the_line_leaves_no_trace() {
    let start = origin();
    let lag_loop = LagLoop::new(LagMode::Enforce, start);
    lag_loop.beat(1, Duration::from_secs(1), start + BEAT);
    let place = lag_loop.stand(1, Priority::Critical, "/");
    assert_ne!(place, Line::Out);
    assert_eq!(lag_loop.snapshot(start + BEAT).waiting, 1);
    lag_loop.leave(place, Priority::Critical);
    assert_eq!(lag_loop.snapshot(start + BEAT).waiting, 0);
}

proptest! {
    /// Goal: whatever is seen, in whatever order, the decision stays within its bounds.
    #[test]
    fn whatever_is_seen_the_controller_stays_within_its_bounds(
        workers in 0_u32..1000,
        looks in proptest::collection::vec(
            (0_u64..2_000_000, 0_u64..5_000, any::<u16>(), any::<u16>(), any::<u16>(), proptest::option::of(0_u64..5_000), any::<u16>()),
            0..300,
        ),
    ) {
        let mut control = LagControl::new(workers);
        let mut now = origin();
        for (step, lag, arrived, refused, started, shortest, waiting) in looks {
            now += Duration::from_micros(step);
            let before = control.phase();
            control.look(Seen {
                now,
                lag: Duration::from_millis(lag),
                arrived: arrived.into(),
                refused: refused.into(),
                started: started.into(),
                shortest: shortest.map(Duration::from_millis),
                waiting: waiting.into(),
                left: 0,
            });
            prop_assert!(control.capacity().is_finite() && control.capacity() >= 0.0);
            prop_assert!((0.0..=1.0).contains(&control.refused_ratio()));
            // Nobody is refused in the look that lines requests up.
            prop_assert!(!(before == LagPhase::Calm && control.phase() == LagPhase::Refusing));
            prop_assert_eq!(control.room().is_some(), control.phase() == LagPhase::Refusing);
            if let Some(room) = control.room() {
                prop_assert!(2 * room >= 3 * workers.max(1) && room <= 1_000_000);
                for pair in Priority::ALL.windows(2) {
                    prop_assert!(room_for(pair[0], room) >= room_for(pair[1], room));
                    prop_assert!(room_for(pair[1], room) >= 1);
                }
            }
        }
    }

    /// Goal: the room grows with what the processors are seen to do.
    #[test]
    fn more_room_follows_from_more_capacity(rate in 1_u16..500, more in 1_u16..500) {
        let room = |starts: u16| {
            let mut control = LagControl::new(1);
            let mut now = origin();
            for look in 0..200_u32 {
                now += LOOK;
                control.look(Seen {
                    now,
                    lag: Duration::from_secs(1),
                    arrived: 5_000,
                    refused: 0,
                    started: starts.into(),
                    shortest: Some(Duration::from_millis(u64::from(100 + look))),
                    waiting: 1_000_000,
                    left: 0,
                });
            }
            control.room()
        };
        prop_assert!(room(rate) <= room(rate.saturating_add(more)));
        prop_assert!(room(rate).is_some());
    }
}
