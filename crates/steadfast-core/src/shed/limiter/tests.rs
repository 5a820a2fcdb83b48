//! What an algorithm is told, and when.

use std::sync::Arc;

use super::*;
use crate::{shed::limit::ChangeReason, testing::origin};

/// What an algorithm was told.
#[derive(Debug, Default)]
struct Told {
    admitted: Vec<u32>,
    ended: Vec<(u32, u32)>,
    windows: Vec<(u32, u32, u32)>,
    kept: u32,
}

/// Asks for what the test wants, and marks what it samples with numbers.
#[derive(Debug)]
struct Asks {
    cap: u32,
    sampling: Sampling,
    window: u16,
    told: Arc<Mutex<Told>>,
}

impl Asks {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().expect("no panic")
    }
}

impl Limit for Asks {
    fn directive(&self) -> Directive {
        Directive::new(Some(self.cap), self.sampling, self.window)
    }

    fn snapshot(&self) -> Snapshot {
        Snapshot::new(crate::shed::limit::LimitPhase::Held)
    }

    fn admitted(&mut self, admitted: Admitted) -> Tag {
        let mut told = self.told();
        told.admitted.push(admitted.in_flight);
        Tag::new(told.admitted.len() as u32)
    }

    fn ended(&mut self, ended: Ended) -> Option<Change> {
        self.told().ended.push((ended.tag.raw(), ended.in_flight));
        None
    }

    fn kept(&mut self, places: u32) {
        self.told().kept = places;
    }

    fn spared(&self) -> u32 {
        3
    }

    fn window(&mut self, window: Window) -> Option<Change> {
        let seen = (window.admitted, window.refused, window.in_flight);
        self.told().windows.push(seen);
        let to = self.cap + 1;
        let from = std::mem::replace(&mut self.cap, to);
        Some(Change::new(
            window.now,
            Some(from),
            Some(to),
            ChangeReason::Other("asked"),
        ))
    }
}

struct Rig {
    driver: LimitDriver,
    tokens: Tokens,
    lined: AtomicI64,
    line_is_bounded: bool,
    admitted: Counter,
    refused: Counter,
    told: Arc<Mutex<Told>>,
    now: Instant,
}

impl Rig {
    fn new(sampling: Sampling, window: u16) -> Self {
        let told = Arc::default();
        let limit = Self::asks(sampling, window, &told);
        Self {
            driver: LimitDriver::new(limit),
            tokens: Tokens::new(8),
            lined: AtomicI64::new(0),
            line_is_bounded: true,
            admitted: Counter::new(),
            refused: Counter::new(),
            told,
            now: origin(),
        }
    }

    fn asks(sampling: Sampling, window: u16, told: &Arc<Mutex<Told>>) -> Box<dyn Limit> {
        Box::new(Asks {
            cap: 8,
            sampling,
            window,
            told: Arc::clone(told),
        })
    }

    fn counts(&self) -> Counts<'_> {
        Counts {
            tokens: &self.tokens,
            lined: &self.lined,
            line_is_bounded: self.line_is_bounded,
            admitted: &self.admitted,
            refused: &self.refused,
        }
    }

    /// One comes, and is admitted or refused.
    fn arrives(&self, admitted: bool) -> Sampled {
        let count = if admitted {
            &self.admitted
        } else {
            &self.refused
        };
        count.add_at(0, 1);
        self.driver.arrived(0, admitted, self.counts(), self.now)
    }

    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().expect("no panic")
    }
}

#[test]
fn an_algorithm_hears_of_one_in_so_many_of_those_who_were_admitted_and_of_their_ends() {
    let rig = Rig::new(Sampling::OneIn(3), 0);
    let held = rig.tokens.take(0).expect("there is room");
    let sampled: Vec<_> = (0..9).map(|_| rig.arrives(true)).collect();
    let which: Vec<_> = sampled.iter().map(|it| it.is_sampled()).collect();
    let third = [false, false, true];
    assert_eq!(which, [third, third, third].concat());
    assert_eq!(rig.told().admitted, [1, 1, 1], "with how many in flight");
    for _ in 0..6 {
        assert!(!rig.arrives(false).is_sampled(), "a refusal is no sample");
    }
    rig.tokens.give_back(0, held);
    for sample in sampled {
        let ending = Ending::Completed;
        let (now, tokens) = (rig.now, &rig.tokens);
        rig.driver.answered(sample, now, ending, tokens, now);
    }
    let told = rig.told();
    assert_eq!(told.ended, [(1, 1), (2, 1), (3, 1)], "as it was admitted");
    assert!(told.windows.is_empty(), "it wants no windows");
}

#[test]
fn who_stands_in_line_is_not_in_flight_to_a_sample() {
    let rig = Rig::new(Sampling::OneIn(1), 2);
    for _ in 0..5 {
        rig.tokens.take(0).expect("there is room");
    }
    rig.lined.store(3, Ordering::Relaxed);
    rig.arrives(true);
    rig.lined.store(9, Ordering::Relaxed);
    rig.arrives(true);
    assert_eq!(rig.told().admitted, [2, 1], "itself at least");
    let in_flight: Vec<_> = rig.told().windows.iter().map(|it| it.2).collect();
    assert_eq!(in_flight, [5], "who came and who is here are counted alike");
}

#[test]
fn those_who_stand_in_line_on_average_take_no_places_of_the_limit() {
    let mut rig = Rig::new(Sampling::OneIn(1), 0);
    let mut after = |lined, looks| {
        rig.lined.store(lined, Ordering::Relaxed);
        for _ in 0..looks {
            rig.now += Duration::from_millis(10);
            rig.arrives(true);
        }
        rig.told().kept
    };
    assert_eq!(after(0, 3), 0);
    assert_eq!(after(40, 1), 4, "a moment is no average");
    assert_eq!(after(40, 100), 40);
    assert_eq!(after(0, 100), 0, "they are gone with the line");
}

#[test]
fn for_a_line_that_nothing_bounds_no_places_are_kept() {
    // All who found a place so would stand there, and more would be kept for them.
    let mut rig = Rig::new(Sampling::OneIn(1), 0);
    rig.line_is_bounded = false;
    rig.lined.store(40, Ordering::Relaxed);
    for _ in 0..100 {
        rig.now += Duration::from_millis(10);
        rig.arrives(true);
    }
    assert_eq!(rig.told().kept, 0);
}

#[test]
fn what_is_kept_for_the_line_comes_on_top_of_what_others_are_kept() {
    let mut rig = Rig::new(Sampling::OneIn(1), 0);
    rig.driver.kept(2, &rig.tokens);
    rig.lined.store(40, Ordering::Relaxed);
    for _ in 0..100 {
        rig.now += Duration::from_millis(10);
        rig.arrives(true);
    }
    assert_eq!(rig.told().kept, 42);
    rig.driver.kept(0, &rig.tokens);
    assert_eq!(rig.told().kept, 40);
}

#[test]
fn no_more_are_let_in_than_an_adaptive_limit_may_admit_at_most() {
    let after = |limit: crate::limit::Adaptive| {
        let mut rig = Rig::new(Sampling::OneIn(1), 0);
        rig.driver.replace(Box::new(limit), rig.counts());
        rig.lined.store(40, Ordering::Relaxed);
        for _ in 0..100 {
            rig.now += Duration::from_millis(10);
            rig.arrives(true);
        }
        rig.tokens.limit()
    };
    let builder = crate::limit::Adaptive::builder(1).start(8);
    assert!(after(builder.build()) >= 8 + 40);
    assert_eq!(after(builder.max(10).build()), 10);
}

#[test]
fn without_a_limit_there_is_none_whoever_stands_in_line() {
    let mut rig = Rig::new(Sampling::OneIn(1), 0);
    let open = Box::new(crate::limit::Adaptive::new(1));
    rig.driver.replace(open, rig.counts());
    rig.lined.store(40, Ordering::Relaxed);
    for _ in 0..100 {
        rig.now += Duration::from_millis(10);
        rig.arrives(true);
    }
    assert_eq!(rig.tokens.limit(), LIMIT_MAX);
}

#[test]
fn an_algorithm_that_wants_to_hear_nothing_hears_nothing() {
    let rig = Rig::new(Sampling::Nothing, 0);
    for _ in 0..50 {
        assert!(!rig.arrives(true).is_sampled());
        rig.arrives(false);
    }
    let told = rig.told();
    assert!(told.admitted.is_empty() && told.windows.is_empty());
}

#[test]
fn a_window_is_told_when_so_many_have_come_with_what_came_since_the_last() {
    let rig = Rig::new(Sampling::Nothing, 8);
    for _ in 0..6 {
        rig.arrives(true);
    }
    assert!(rig.told().windows.is_empty(), "six of eight");
    rig.arrives(false);
    rig.arrives(false);
    assert_eq!(rig.told().windows, [(6, 2, 0)]);
    assert_eq!(
        rig.driver.cap(),
        Some(9),
        "what it made of that is in force"
    );
    assert_eq!(rig.tokens.limit(), 9);
    for _ in 0..8 {
        rig.arrives(true);
    }
    assert_eq!(rig.told().windows, [(6, 2, 0), (8, 0, 0)]);
    let changes = rig.driver.take_changes();
    let moves: Vec<_> = changes.iter().map(|it| (it.from, it.to)).collect();
    assert_eq!(moves, [(Some(8), Some(9)), (Some(9), Some(10))]);
    assert!(rig.driver.take_changes().is_empty(), "they are taken once");
}

#[test]
fn a_new_algorithm_begins_with_what_is_kept_and_with_what_comes_from_now_on() {
    let rig = Rig::new(Sampling::OneIn(1), 0);
    rig.driver.kept(2, &rig.tokens);
    assert_eq!(rig.told().kept, 2);
    let old = rig.arrives(true);
    for _ in 0..7 {
        rig.arrives(true);
    }
    let told = Arc::default();
    let new = Rig::asks(Sampling::OneIn(1), 8, &told);
    rig.driver.replace(new, rig.counts());
    let told = || told.lock().expect("no panic");
    assert_eq!(told().kept, 2);
    rig.driver
        .answered(old, rig.now, Ending::Completed, &rig.tokens, rig.now);
    assert!(told().ended.is_empty(), "the tag is the other's");
    for _ in 0..8 {
        rig.arrives(true);
    }
    assert_eq!(told().windows, [(8, 0, 0)], "those before are not its own");
}

#[test]
fn what_a_dip_takes_is_spared_for_those_who_go_first_if_anybody_does() {
    let rig = Rig::new(Sampling::Nothing, 1);
    rig.arrives(true);
    assert_eq!(rig.tokens.limit(), 9, "nobody goes first");
    rig.driver.kept(2, &rig.tokens);
    assert_eq!(rig.tokens.limit(), 9 + 3);
    rig.driver.kept(0, &rig.tokens);
    assert_eq!(rig.tokens.limit(), 9);
}

#[test]
fn of_changes_that_nobody_collects_the_last_are_kept() {
    let rig = Rig::new(Sampling::Nothing, 1);
    for _ in 0..CHANGES_KEPT + 5 {
        rig.arrives(true);
    }
    let changes = rig.driver.take_changes();
    assert_eq!(changes.len(), CHANGES_KEPT);
    let last = changes.last().map(|it| it.to);
    assert_eq!(last, Some(rig.driver.cap()));
}
