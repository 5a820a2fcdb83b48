//! The queue beside a plain model of its rules, and the claims that a model does not show.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::Wake,
};

use proptest::prelude::*;

use super::*;
use crate::testing::origin;

const MS: Duration = Duration::from_millis(1);

fn asking(priority: Priority) -> Asking {
    Asking {
        priority,
        deadline: None,
    }
}

/// A gate of a limit and a queue, with everything that tests vary.
struct Gate {
    tokens: Tokens,
    queue: WaitQueue,
    tempo: Tempo,
    now: Instant,
}

impl Gate {
    fn new(limit: u32, settings: QueueSettings) -> Self {
        let now = origin();
        let tempo = Tempo {
            limit,
            service: Duration::ZERO,
        };
        Self {
            tokens: Tokens::new(limit),
            queue: WaitQueue::new(settings, now),
            tempo,
            now,
        }
    }

    /// A gate on which as many run as may.
    fn full(limit: u32, settings: QueueSettings) -> Self {
        let gate = Self::new(limit, settings);
        for _ in 0..limit {
            assert!(gate.tokens.take(0).is_some());
        }
        gate
    }

    fn enter(&self, asking: Asking) -> Entered {
        self.queue
            .enter(asking, self.tempo, &self.tokens, 0, self.now)
    }

    fn waits(&self, priority: Priority) -> PlaceNo {
        match self.enter(asking(priority)) {
            Entered::Wait(place, _) => place,
            other => panic!("{other:?}"),
        }
    }

    fn ask(&self, place: PlaceNo) -> WaitState {
        self.queue.ask(place, &self.tokens, Waker::noop(), self.now)
    }

    /// A permit ends.
    fn release(&self, token: Token) {
        self.tokens.give_back(0, token);
        if self.tokens.is_wanted() {
            self.queue.hand_over(&self.tokens, 0, Some(self.now));
        }
    }

    fn snapshot(&self) -> QueueSnapshot {
        self.queue.snapshot(self.tempo.limit, self.now)
    }

    fn len(&self) -> u32 {
        self.snapshot().len
    }

    fn leave(&self, place: PlaceNo) {
        if let Some(token) = self.queue.leave(place, &self.tokens) {
            self.release(token);
        }
    }
}

/// The rules in the plainest form: a list, and a search for each question.
#[derive(Default)]
struct Model {
    limit: u32,
    running: u32,
    /// Class, arrival, place, when it is late.
    waiting: Vec<(Priority, u64, PlaceNo, Instant)>,
    arrivals: u64,
    empty_at: Option<Instant>,
    emptied_at: Option<Instant>,
    /// The latest moment that the queue was told.
    clock: Option<Instant>,
}

impl Model {
    fn see(&mut self, now: Instant) {
        self.clock = Some(now);
        if self
            .emptied_at
            .is_some_and(|at| now.saturating_duration_since(at) >= 5 * MS)
        {
            self.empty_at = Some(now);
        }
    }

    fn stands(&self, now: Instant) -> bool {
        self.empty_at
            .is_some_and(|at| now.saturating_duration_since(at) > 100 * MS)
    }

    /// Who is served first: the highest class, in it the first or the last to come.
    fn order(&self, now: Instant) -> Vec<(Priority, u64, PlaceNo, Instant)> {
        let mut order = self.waiting.clone();
        let stands = self.stands(now);
        order.sort_by_key(|(class, arrival, ..)| {
            (*class, if stands { u64::MAX - arrival } else { *arrival })
        });
        order
    }

    fn forget(&mut self, place: PlaceNo) {
        self.waiting.retain(|(_, _, other, _)| *other != place);
    }

    /// Hands over what is free to those who go before a newcomer; returns who may run.
    fn serve(&mut self, newcomer: Option<Priority>, now: Instant) -> Vec<PlaceNo> {
        let mut granted = Vec::new();
        if !self.waiting.is_empty() {
            self.clock = Some(now);
        }
        let standing = self.stands(now);
        for (class, _, place, until) in self.order(now) {
            if newcomer.is_some_and(|mine| mine < class || mine == class && standing) {
                break;
            }
            if until <= now {
                self.forget(place);
            } else if self.running < self.limit {
                self.running += 1;
                self.forget(place);
                granted.push(place);
            } else {
                break;
            }
        }
        granted
    }
}

#[derive(Clone, Debug)]
enum Step {
    Enter(usize, Option<u64>),
    End,
    Ask(usize),
    Leave(usize),
    Pass(u64),
    Limit(u32),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (0_usize..4, proptest::option::weighted(0.3, 0_u64..150)).prop_map(|(class, left)| Step::Enter(class, left)),
        4 => Just(Step::End),
        4 => any::<usize>().prop_map(Step::Ask),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => (0_u64..40).prop_map(Step::Pass),
        1 => (1_u32..12).prop_map(Step::Limit),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    /// Goal: order, bounds, fates and the count of permits are those of the model,
    /// whatever happens; and at every rest nobody waits while a token lies about.
    #[test]
    fn the_queue_does_what_the_plain_rules_say(
        limit in 1_u32..12,
        steps in proptest::collection::vec(step(), 1..200),
    ) {
        let mut gate = Gate::new(limit, QueueSettings::default());
        let now = Some(gate.now);
        let mut model = Model { limit, empty_at: now, emptied_at: now, clock: now, ..Model::default() };
        let (mut tickets, mut running): (Vec<PlaceNo>, Vec<Token>) = (Vec::new(), Vec::new());
        let mut granted: Vec<PlaceNo> = Vec::new();
        for step in steps {
            // The others do not look at the queue while nobody waits.
            if matches!(step, Step::Enter(..)) || matches!(step, Step::Ask(_) if !tickets.is_empty()) {
                model.see(gate.now);
            }
            match step {
                Step::Enter(class, left) => {
                    let priority = Priority::ALL[class];
                    let deadline = left.map(|left| Deadline::after(gate.now, left as u32 * MS));
                    // What the model would do: serve, run, refuse, displace or wait.
                    granted.extend(model.serve(Some(priority), gate.now));
                    let entered = gate.enter(Asking { priority, deadline });
                    let max = (model.limit / 2) as usize;
                    let standing = model.stands(gate.now);
                    if model.running < model.limit {
                        let Entered::Run(token) = entered else { panic!("{entered:?}") };
                        model.running += 1;
                        running.push(token);
                    } else if max == 0 {
                        prop_assert!(matches!(entered, Entered::Refuse(Rule::Limit, _)));
                    } else {
                        let last = model.order(gate.now).pop();
                        let full = model.waiting.len() >= max;
                        let wins = last.is_some_and(|(theirs, ..)| priority < theirs || priority == theirs && standing);
                        if full && !wins {
                            prop_assert!(matches!(entered, Entered::Refuse(Rule::QueueFull, _)), "{:?}", entered);
                        } else {
                            let Entered::Wait(place, until) = entered else {
                                // Only a table full of those who have not asked yet excuses it.
                                prop_assert!(tickets.len() - model.waiting.len() >= 64, "{entered:?}");
                                continue;
                            };
                            if full {
                                model.forget(last.expect("full").2);
                            }
                            let allowed = if standing { 5 } else { 100 };
                            let mine = left.map_or(allowed, |left| allowed.min(left)) as u32;
                            prop_assert_eq!(until, gate.now + mine * MS);
                            model.waiting.push((priority, model.arrivals, place, until));
                            model.arrivals += 1;
                            tickets.push(place);
                        }
                    }
                }
                Step::End => if let Some(token) = running.pop() {
                    model.running -= 1;
                    granted.extend(model.serve(None, gate.now));
                    gate.release(token);
                },
                Step::Ask(which) if !tickets.is_empty() => {
                    let place = tickets[which % tickets.len()];
                    let waiting = model.waiting.iter().find(|(_, _, other, _)| *other == place).copied();
                    let told = gate.ask(place);
                    match waiting {
                        Some((.., until)) if gate.now < until => prop_assert_eq!(told, WaitState::Wait),
                        Some(_) => {
                            prop_assert!(matches!(told, WaitState::Refuse(Rule::QueueTimeout | Rule::Deadline, _)));
                            model.forget(place);
                            tickets.retain(|other| *other != place);
                        }
                        None if granted.contains(&place) => {
                            let (WaitState::Run(token) | WaitState::TooLate(token, _)) = told else { panic!("{told:?}") };
                            running.push(token);
                            granted.retain(|other| *other != place);
                            tickets.retain(|other| *other != place);
                        }
                        None => {
                            prop_assert!(matches!(told, WaitState::Refuse(..)), "{:?}", told);
                            tickets.retain(|other| *other != place);
                        }
                    }
                }
                Step::Leave(which) if !tickets.is_empty() => {
                    let place = tickets.swap_remove(which % tickets.len());
                    model.forget(place);
                    if granted.contains(&place) {
                        granted.retain(|other| *other != place);
                        model.running -= 1;
                        granted.extend(model.serve(None, gate.now));
                    }
                    gate.leave(place);
                }
                Step::Ask(_) | Step::Leave(_) => {}
                Step::Pass(ms) => gate.now += ms as u32 * MS,
                Step::Limit(limit) => {
                    model.limit = limit;
                    gate.tokens.set_limit(limit);
                    gate.tempo.limit = limit;
                    if gate.tokens.is_wanted() {
                        gate.queue.hand_over(&gate.tokens, 0, Some(gate.now));
                        granted.extend(model.serve(None, gate.now));
                    }
                }
            }
            model.emptied_at = model.waiting.is_empty().then(|| model.emptied_at.or(model.clock)).flatten();
            prop_assert_eq!(gate.len() as usize, model.waiting.len());
            prop_assert_eq!(gate.tokens.in_flight(), model.running);
            prop_assert_eq!(gate.tokens.is_wanted(), !model.waiting.is_empty());
            prop_assert!(model.waiting.is_empty() || model.running >= model.limit);
        }
        for place in tickets { gate.leave(place); }
        for token in running { gate.release(token); }
        prop_assert_eq!(gate.tokens.in_flight(), 0);
    }
}

#[test]
fn a_request_whose_caller_will_have_left_is_not_queued() {
    let mut gate = Gate::full(4, QueueSettings::default());
    gate.tempo.service = 40 * MS;
    let with = |left: Duration| Asking {
        priority: Priority::Default,
        deadline: Some(Deadline::after(gate.now, left)),
    };
    // 10 ms to the next free place, 40 ms of work.
    let Entered::Refuse(rule, queued) = gate.enter(with(49 * MS)) else {
        panic!("queued in vain")
    };
    assert_eq!(rule, Rule::Deadline);
    assert_eq!(
        (queued.expected, queued.deadline_left),
        (10 * MS, Some(49 * MS))
    );
    assert!(matches!(gate.enter(with(51 * MS)), Entered::Wait(..)));
    // The next has one more ahead of it.
    assert!(matches!(
        gate.enter(with(59 * MS)),
        Entered::Refuse(Rule::Deadline, _)
    ));
}

#[test]
fn a_deadline_that_passes_in_the_queue_is_the_rule_that_is_named() {
    let mut gate = Gate::full(4, QueueSettings::default());
    let hasty = Asking {
        priority: Priority::Default,
        deadline: Some(Deadline::after(gate.now, 30 * MS)),
    };
    let Entered::Wait(hasty, until) = gate.enter(hasty) else {
        panic!("not queued")
    };
    assert_eq!(until, gate.now + 30 * MS);
    let patient = gate.waits(Priority::Default);
    gate.now += 30 * MS;
    let WaitState::Refuse(rule, queued) = gate.ask(hasty) else {
        panic!("waits on")
    };
    assert_eq!((rule, queued.waited), (Rule::Deadline, 30 * MS));
    assert_eq!(gate.ask(patient), WaitState::Wait);
    gate.now += 70 * MS;
    let WaitState::Refuse(rule, queued) = gate.ask(patient) else {
        panic!("waits on")
    };
    assert_eq!((rule, queued.waited), (Rule::QueueTimeout, 100 * MS));
    assert_eq!(gate.snapshot().waits.mean, 65 * MS);
}

/// Goal: under twice the load a queue is empty for an instant now and then; each time it was taken for a burst again, in which everybody may wait for 100 ms.
#[test]
fn a_queue_that_was_empty_for_an_instant_still_stands() {
    let mut gate = Gate::full(4, QueueSettings::default());
    let allowed = |gate: &mut Gate| {
        let asking = Asking::default();
        let Entered::Wait(place, until) = gate.enter(asking) else {
            panic!("not queued")
        };
        (place, until - gate.now)
    };
    let (first, wait) = allowed(&mut gate);
    assert_eq!(wait, 100 * MS);
    gate.now += 50 * MS;
    assert_eq!(gate.ask(first), WaitState::Wait);
    gate.leave(first);
    for _ in 0..30 {
        // Empty for 2 ms, and then not for 3.
        gate.now += 2 * MS;
        let (place, _) = allowed(&mut gate);
        gate.now += 3 * MS;
        assert_eq!(gate.ask(place), WaitState::Wait);
        gate.leave(place);
    }
    gate.now += 2 * MS;
    let (last, wait) = allowed(&mut gate);
    assert_eq!(wait, 5 * MS, "it has not been empty for 5 ms on end");
    gate.leave(last);
    gate.now += 5 * MS;
    assert_eq!(allowed(&mut gate).1, 100 * MS, "now it has");
}

#[test]
fn who_is_granted_is_woken_and_nobody_else() {
    #[derive(Default)]
    struct Count(AtomicU32);
    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    let gate = Gate::full(4, QueueSettings::default());
    let counts = [Arc::new(Count::default()), Arc::new(Count::default())];
    let places = [
        gate.waits(Priority::Background),
        gate.waits(Priority::Critical),
    ];
    for (place, count) in places.into_iter().zip(&counts) {
        let waker = Waker::from(Arc::clone(count));
        let told = gate.queue.ask(place, &gate.tokens, &waker, gate.now);
        assert_eq!(told, WaitState::Wait);
    }
    gate.release(Token::Within);
    let woken = counts
        .each_ref()
        .map(|count| count.0.load(Ordering::SeqCst));
    assert_eq!(woken, [0, 1], "the critical one, although it came later");
    assert_eq!(gate.ask(places[1]), WaitState::Run(Token::Within));
    gate.leave(places[0]);
    assert_eq!(
        Arc::strong_count(&counts[0]),
        1,
        "its waker is gone with it"
    );
}

#[test]
fn who_was_granted_and_leaves_hands_the_token_on() {
    let gate = Gate::full(4, QueueSettings::default());
    let (first, second) = (gate.waits(Priority::Default), gate.waits(Priority::Default));
    gate.release(Token::Within);
    gate.leave(first);
    assert_eq!(gate.ask(second), WaitState::Run(Token::Within));
    assert_eq!(gate.tokens.in_flight(), 4);
}

#[test]
fn settings_out_of_bounds_are_told() {
    let faults = QueueSettings::default()
        .len_max(QUEUE_LEN_MAX + 1)
        .target(Duration::ZERO)
        .interval(2 * QUEUE_WAIT_MAX)
        .faults();
    assert_eq!(faults.len(), 3, "{faults:?}");
    assert!(QueueSettings::default().faults().is_empty());
}
