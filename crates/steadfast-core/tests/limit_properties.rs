//! What holds for every algorithm whatever it hears: bounds, finite numbers, a reason for each change.

#![expect(clippy::disallowed_methods, reason = "virtual time needs one zero")]

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use steadfast_core::limit::{
    Adaptive, Admitted, ChangeReason, Ended, Ending, Fixed, Limit, Sampling, Tag, Window,
};

/// One thing that happens to a service.
#[derive(Clone, Debug)]
enum Happening {
    Arrive,
    /// The n-th of those running ends.
    End(usize, Ending),
    /// So many microseconds pass.
    Pass(u32),
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Arrive),
        3 => (any::<usize>(), prop_oneof![
            6 => Just(Ending::Completed),
            1 => Just(Ending::Abandoned),
            1 => Just(Ending::Irrelevant),
        ]).prop_map(|(n, ending)| Happening::End(n, ending)),
        3 => prop_oneof![0..2_000_u32, 0..200_000_u32, Just(0_u32), Just(u32::MAX)]
            .prop_map(Happening::Pass),
    ]
}

struct Caller {
    limit: Box<dyn Limit>,
    now: Instant,
    running: Vec<(Instant, u32, Tag)>,
    admitted: u32,
    refused: u32,
    bounds: (u32, u32),
}

impl Caller {
    fn new(limit: impl Limit + 'static, bounds: (u32, u32)) -> Self {
        Self {
            limit: Box::new(limit),
            now: Instant::now(),
            running: Vec::new(),
            admitted: 0,
            refused: 0,
            bounds,
        }
    }

    fn happen(&mut self, happening: &Happening) {
        match *happening {
            Happening::Pass(micros) => self.now += Duration::from_micros(micros.into()),
            Happening::End(n, ending) => self.end(n, ending),
            Happening::Arrive => self.arrive(),
        }
        self.check();
    }

    fn arrive(&mut self) {
        let directive = self.limit.directive();
        let before = self.limit.snapshot().limit;
        let in_flight = self.running.len() as u32;
        if directive.admits(in_flight) {
            self.admitted += 1;
            let tag = match directive.sampling {
                Sampling::Nothing => Tag::NONE,
                Sampling::OneIn(_) => self.limit.admitted(Admitted::new(self.now, in_flight + 1)),
            };
            self.running.push((self.now, in_flight + 1, tag));
            assert_eq!(
                before,
                self.limit.snapshot().limit,
                "no change without a word"
            );
        } else {
            assert!(in_flight > 0, "an idle service refuses nobody");
            self.refused += 1;
        }
        if directive.window > 0 && self.admitted + self.refused >= directive.window.into() {
            let in_flight = self.running.len() as u32;
            let window = Window::new(self.now, self.admitted, self.refused, in_flight);
            (self.admitted, self.refused) = (0, 0);
            self.told(|limit| limit.window(window));
        }
    }

    fn end(&mut self, n: usize, ending: Ending) {
        if self.running.is_empty() {
            return;
        }
        let (at, in_flight, tag) = self.running.swap_remove(n % self.running.len());
        let ended = Ended::new(self.now, at, in_flight, tag, ending);
        self.told(|limit| limit.ended(ended));
    }

    /// A limit changes only together with a change that names both ends and a reason.
    fn told(&mut self, call: impl FnOnce(&mut dyn Limit) -> Option<steadfast_core::limit::Change>) {
        let before = self.limit.snapshot().limit;
        let change = call(&mut *self.limit);
        let after = self.limit.snapshot().limit;
        match change {
            None => assert_eq!(before, after, "a change that nobody was told of"),
            Some(change) => {
                assert_eq!((change.from, change.to), (before, after));
                assert_ne!(before, after);
                assert_ne!(change.why, ChangeReason::Other("unknown"));
                let text = change.to_string();
                assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
                assert!(!change.why.code().is_empty());
            }
        }
    }

    fn check(&self) {
        let (min, max) = self.bounds;
        let directive = self.limit.directive();
        assert!(directive.admits(0));
        if let Some(cap) = directive.cap {
            assert!((min..=max).contains(&cap), "{cap}");
        }
        let snapshot = self.limit.snapshot();
        assert!(
            snapshot
                .limit
                .is_none_or(|limit| (min..=max).contains(&limit))
        );
        assert!(
            snapshot
                .knee
                .is_none_or(|knee| knee.is_finite() && knee > 0.0)
        );
        assert!((0.0..=1.0).contains(&snapshot.refused_ratio));
        if let Some(e) = snapshot.experiment {
            assert!((0.0..=1.0).contains(&e.latency_ratio), "{e:?}");
            assert!(e.error.is_finite() && e.knee.is_finite(), "{e:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn adaptive_keeps_its_word(
        happenings in prop::collection::vec(happening(), 1..1500),
        start in prop::option::of(1..200_u32),
        bounds in prop::option::of((1..50_u32, 1..500_u32)),
        seed: u64,
    ) {
        let mut builder = Adaptive::builder(seed);
        let mut seen = (1, u32::MAX);
        if let Some((min, max)) = bounds {
            builder = builder.min(min).max(max);
            seen = (min.min(max), max);
        }
        if let Some(start) = start {
            builder = builder.start(start);
        }
        let mut caller = Caller::new(builder.build(), seen);
        for happening in &happenings {
            caller.happen(happening);
        }
    }

    #[test]
    fn fixed_keeps_its_word(
        happenings in prop::collection::vec(happening(), 1..300),
        limit in 1..100_u32,
    ) {
        let limit = NonZeroU32::new(limit).unwrap();
        let mut caller = Caller::new(Fixed::new(limit), (limit.get(), limit.get()));
        for happening in &happenings {
            caller.happen(happening);
        }
    }

    /// Saturation in every shape and size: the loop is driven the way a pool would drive it. It samples everybody, so what the queue showed at first is out of memory before it is no burst any more.
    #[test]
    fn adaptive_settles_on_any_pool(workers in 1..40_usize, micros in 1_000..20_000_u64, seed: u64) {
        prop_assert!(finds_a_limit(workers, micros, seed, 6_000), "2x for 6000 arrivals and no limit");
    }
}

proptest! {
    // A burst may last for 50 ms however quick a service is, which is thousands of arrivals.
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn adaptive_settles_on_a_quick_pool(workers in 1..5_usize, micros in 100..1_000_u64, seed: u64) {
        let arrivals = (150_000 * 2 * workers as u64 / micros).max(6_000);
        prop_assert!(finds_a_limit(workers, micros, seed, arrivals), "2x for 150 ms and 6000 arrivals and no limit");
    }
}

/// Whether a limit is found at twice what a pool can do.
fn finds_a_limit(workers: usize, micros: u64, seed: u64, arrivals: u64) -> bool {
    let mut caller = Caller::new(Adaptive::new(seed), (1, u32::MAX));
    let gap = Duration::from_micros(micros) / (2 * workers as u32);
    let mut free_at = vec![caller.now; workers];
    let mut ends: Vec<(Instant, (Instant, u32, Tag))> = Vec::new();
    for step in 0..arrivals {
        let at = caller.now + gap;
        ends.sort_by_key(|e| std::cmp::Reverse(e.0));
        while let Some(&(end, running)) = ends.last().filter(|e| e.0 <= at) {
            ends.pop();
            caller.now = end;
            let place = caller.running.iter().position(|r| *r == running);
            caller.end(place.expect("it runs until here"), Ending::Completed);
        }
        caller.now = at;
        let before = caller.running.len();
        caller.happen(&Happening::Arrive);
        if let Some(running) = caller.running.get(before) {
            let worker = free_at.iter_mut().min().expect("a pool has a worker");
            let work = Duration::from_micros(micros * (60 + (step * 37) % 81) / 100);
            *worker = (*worker).max(at) + work;
            ends.push((*worker, *running));
        }
    }
    caller.limit.snapshot().limit.is_some()
}

/// Goal: clients whose patience was used up before they came here (in a socket that a
/// starved process did not read) say nothing about how many may run.
#[test]
fn clients_that_leave_at_once_do_not_lower_the_limit() {
    let limit = Adaptive::builder(7).min(16).start(24).build();
    let mut caller = Caller::new(limit, (16, u32::MAX));
    let mut ends: Vec<(Instant, Ending)> = Vec::new();
    let mut coming = 0_u32;
    let mut least = u32::MAX;
    for millisecond in 0..10_000_u32 {
        caller.now += Duration::from_millis(1);
        // Newest first, because an end moves the last of those who run into its place.
        for index in (0..ends.len()).rev() {
            if ends[index].0 <= caller.now {
                let (_, ending) = ends.swap_remove(index);
                caller.end(index, ending);
            }
        }
        for _ in 0..8 {
            let before = caller.running.len();
            caller.arrive();
            if caller.running.len() > before {
                coming += 1;
                let leaves = millisecond > 3_000 && coming % 10 < 7;
                let (stay, ending) = if leaves {
                    (1, Ending::Abandoned)
                } else {
                    // Sixteen at once take 10 ms; more wait for one of them.
                    (10 * (before as u64 / 16 + 1), Ending::Completed)
                };
                ends.push((caller.now + Duration::from_millis(stay), ending));
            }
        }
        caller.check();
        if let Some(limit) = caller
            .limit
            .snapshot()
            .limit
            .filter(|_| millisecond > 3_000)
        {
            least = least.min(limit);
        }
    }
    assert!(least > 16, "it fell to {least}");
}

/// Goal: while the process itself is late, requests are slow at any limit, and that is no
/// reason to raise it; once it is on time, it is raised. Method: a service without a queue
/// behind a limit that is far too low.
#[test]
fn a_late_process_does_not_raise_the_limit() {
    let highest = |late: bool| {
        let mut caller = Caller::new(Adaptive::builder(7).start(8).build(), (1, u32::MAX));
        let mut ends: Vec<Instant> = Vec::new();
        for millisecond in 0..4_000_u32 {
            caller.now += Duration::from_millis(1);
            for index in (0..ends.len()).rev() {
                if ends[index] <= caller.now {
                    ends.swap_remove(index);
                    caller.end(index, Ending::Completed);
                }
            }
            if late && millisecond % 400 == 0 {
                let lag = Duration::from_millis(30);
                caller.limit.late(caller.now, lag);
            }
            for _ in 0..8 {
                let before = caller.running.len();
                caller.arrive();
                if caller.running.len() > before {
                    ends.push(caller.now + Duration::from_millis(10));
                }
            }
        }
        caller.limit.snapshot().limit
    };
    assert_eq!(highest(true), Some(8));
    assert!(highest(false).is_none_or(|limit| limit > 40));
}
