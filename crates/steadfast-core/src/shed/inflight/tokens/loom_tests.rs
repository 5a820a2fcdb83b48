//! The moves of tokens under every interleaving.

use super::*;
use loom::{sync::Arc, thread};

#[test]
fn loom_two_takers_of_the_last_token_get_one() {
    loom::model(|| {
        let tokens = Arc::new(Tokens::new(1));
        let other = Arc::clone(&tokens);
        let taken = thread::spawn(move || other.take(1).is_some());
        let here = tokens.take(0).is_some();
        let there = taken.join().expect("joined");
        assert!(here ^ there);
        assert_eq!(tokens.in_flight(), 1);
    });
}

#[test]
fn loom_a_token_given_back_on_another_stripe_is_not_lost() {
    loom::model(|| {
        let tokens = Arc::new(Tokens::new(1));
        let held = tokens.take(0).expect("the first");
        let other = Arc::clone(&tokens);
        let returned = thread::spawn(move || other.give_back(1, held));
        let second = tokens.take(0);
        returned.join().expect("joined");
        if let Some(second) = second {
            tokens.give_back(0, second);
        }
        assert_eq!(tokens.in_flight(), 0);
        assert!(tokens.take(0).is_some());
    });
}

#[test]
fn loom_lowering_the_limit_neither_leaks_nor_mints_tokens() {
    loom::model(|| {
        let tokens = Arc::new(Tokens::new(2));
        let held = tokens.take(0).expect("the first");
        let other = Arc::clone(&tokens);
        let lowered = thread::spawn(move || other.set_limit(1));
        tokens.give_back(0, held);
        lowered.join().expect("joined");
        assert_eq!(tokens.in_flight(), 0);
        assert!(tokens.take(0).is_some());
        assert!(tokens.take(0).is_none());
    });
}

#[test]
fn loom_a_kept_place_is_lent_once_and_only_to_whom_it_is_kept_for() {
    loom::model(|| {
        let (tokens, held, critical) = a_place_is_kept_and_asked_for();
        let background = tokens.take_as(Priority::Background, 0);
        assert!(background.is_none(), "the second place is kept from it");
        assert!(critical.join().expect("joined"));
        assert_eq!(tokens.in_flight(), 2);
        tokens.give_back(0, held);
        assert!(
            tokens.take_as(Priority::Background, 0).is_none(),
            "the debt first"
        );
    });
}

#[test]
fn loom_keeping_a_place_while_it_is_asked_for_never_makes_one() {
    loom::model(|| {
        let tokens = Arc::new(Tokens::new(2));
        let both = [0, 0].map(|stripe| tokens.take(stripe).is_some());
        assert_eq!(both, [true, true]);
        let other = Arc::clone(&tokens);
        let keeper = thread::spawn(move || other.set_keep(Keep::new([0, 0, 0, 1])));
        let third = tokens.take_as(Priority::Critical, 1);
        keeper.join().expect("joined");
        assert!(third.is_none(), "two run at most");
        assert_eq!(tokens.in_flight(), 2);
    });
}

#[test]
fn loom_a_token_that_comes_back_while_the_limit_falls_makes_no_place() {
    // Goal: two run, the limit falls to one while one of them ends; nobody may run beside the
    // other, whatever the one that ended had seen of the limit.
    loom::model(|| {
        let tokens = Arc::new(Tokens::new(2));
        let [ends, _stays] = [0, 0].map(|stripe| tokens.take(stripe).expect("two may run"));
        let other = Arc::clone(&tokens);
        let returned = thread::spawn(move || other.give_back(1, ends));
        tokens.set_limit(1);
        let second = tokens.take(0);
        returned.join().expect("joined");
        assert_eq!(second, None, "the limit was one when it asked");
        assert_eq!(tokens.in_flight(), 1);
    });
}

#[test]
fn loom_a_place_is_not_lent_by_a_limit_that_has_fallen() {
    // Goal: a critical request that has seen a kept place takes it only while there is one.
    loom::model(|| {
        let (tokens, held, critical) = a_place_is_kept_and_asked_for();
        tokens.set_limit(1);
        tokens.give_back(0, held);
        let here = tokens.take_as(Priority::Critical, 0).is_some();
        let there = critical.join().expect("joined");
        assert!(!(here && there), "two run at a limit of one");
    });
}

#[test]
fn loom_less_is_kept_than_may_run_however_both_change() {
    for (from, to) in [(1, 4), (4, 1)] {
        loom::model(move || {
            let tokens = Arc::new(Tokens::new(from));
            tokens.set_keep(Keep::new([0, 0, 0, from - 1]));
            let other = Arc::clone(&tokens);
            let changes = thread::spawn(move || {
                other.set_limit(to);
                other.set_keep(Keep::new([0, 0, 0, to - 1]));
            });
            let (limit, kept) = tokens.limit_and_kept(Priority::Background);
            assert!(kept < limit, "{kept} of {limit}");
            changes.join().expect("joined");
        });
    }
}

/// Two may run: one does, the other place is kept for critical requests, and another thread
/// asks for it.
fn a_place_is_kept_and_asked_for() -> (Arc<Tokens>, Token, thread::JoinHandle<bool>) {
    let tokens = Arc::new(Tokens::new(2));
    tokens.set_keep(Keep::new([0, 0, 0, 1]));
    let held = tokens
        .take_as(Priority::Background, 0)
        .expect("one is for all");
    let other = Arc::clone(&tokens);
    let critical = thread::spawn(move || other.take_as(Priority::Critical, 1).is_some());
    (tokens, held, critical)
}
