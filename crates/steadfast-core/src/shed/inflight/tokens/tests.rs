//! The count beside a plain model, and between threads.

use super::*;
use proptest::prelude::*;

proptest! {
    /// Goal: whatever the order of takes, returns and changes of the limit and of what is
    /// kept, the count is that of a plain integer, and a take succeeds exactly when the
    /// integer is below the limit less what is kept from the class.
    #[test]
    fn one_thread_behaves_like_a_plain_count(
        start in 1_u32..40,
        steps in proptest::collection::vec(
            (0_u8..7, 0_usize..STRIPES, 1_u32..60, [0_u32..70, 0..70, 0..70, 0..70], 0_usize..4),
            0..400,
        ),
    ) {
        let tokens = Tokens::new(start);
        let (mut limit, mut spared, mut keep, mut held) = (start, 0, Keep::default(), Vec::new());
        for (step, stripe, value, from, class) in steps {
            match step {
                0..3 => {
                    let class = Priority::ALL[class];
                    let within = held.iter().filter(|token| **token == Token::Within).count();
                    let taken = tokens.take_as(class, stripe);
                    let kept = match keep.from(class) {
                        // Nobody but those who go first may have what is spared for them.
                        0 if spared == 0 || keep.most() > 0 => 0,
                        0 => spared,
                        places => places + spared,
                    };
                    let kept = kept.min(limit + spared - 1);
                    prop_assert_eq!(taken.is_some(), (within as u32) < limit + spared - kept);
                    held.push(taken.unwrap_or_else(|| tokens.take_beyond(stripe)));
                }
                3 => if let Some(token) = held.pop() { tokens.give_back(stripe, token) },
                4 => { (limit, spared) = (value, 0); tokens.set_limit(limit); }
                5 => { (limit, spared) = (value, from[0]); tokens.set_limit_sparing(limit, spared); }
                _ => { keep = Keep::new(from); tokens.set_keep(keep); }
            }
            prop_assert_eq!(tokens.in_flight() as usize, held.len());
            prop_assert_eq!(tokens.limit(), limit + spared);
        }
        while let Some(token) = held.pop() { tokens.give_back(0, token) }
        prop_assert_eq!(tokens.in_flight(), 0);
    }

    #[test]
    fn what_is_kept_never_shrinks_from_class_to_class_and_survives_its_word(
        from in [0_u32..2_000_000, 0..2_000_000, 0..2_000_000, 0..2_000_000],
    ) {
        let keep = Keep::new(from);
        prop_assert_eq!(keep.from(Priority::Critical), 0);
        prop_assert!(Priority::ALL.windows(2).all(|pair| keep.from(pair[0]) <= keep.from(pair[1])));
        prop_assert_eq!(keep.most(), keep.from(Priority::Background));
        prop_assert_eq!(Keep::from_word(keep.to_word()), keep);
    }
}

/// Takes and gives back from eight threads, beside something else, and says how many were
/// taken at once at most.
fn taken_at_once(
    tokens: &Tokens,
    take: impl Fn(usize) -> Option<Token> + Sync,
    beside: impl FnOnce() + Send,
) -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    let (running, peak) = (AtomicU32::new(0), AtomicU32::new(0));
    std::thread::scope(|scope| {
        for stripe in 0..8 {
            let (take, running, peak) = (&take, &running, &peak);
            scope.spawn(move || {
                for _ in 0..20_000 {
                    if let Some(token) = take(stripe) {
                        let now = running.fetch_add(1, Ordering::AcqRel) + 1;
                        peak.fetch_max(now, Ordering::AcqRel);
                        running.fetch_sub(1, Ordering::AcqRel);
                        tokens.give_back((stripe + 1) % STRIPES, token);
                    }
                }
            });
        }
        scope.spawn(beside);
    });
    peak.into_inner()
}

#[test]
fn threads_never_hold_more_than_the_limit_and_return_all() {
    let tokens = Tokens::new(5);
    let peak = taken_at_once(&tokens, |stripe| tokens.take(stripe), || ());
    assert!(peak <= 5);
    assert_eq!(tokens.in_flight(), 0);
    assert_eq!((0..5).filter(|_| tokens.take(0).is_some()).count(), 5);
    assert_eq!(tokens.take(0), None);
}

#[test]
fn threads_of_every_class_stay_within_the_limit_whatever_is_kept() {
    let tokens = Tokens::new(6);
    let class = |stripe| Priority::ALL[stripe % Priority::ALL.len()];
    let peak = taken_at_once(
        &tokens,
        |stripe| tokens.take_as(class(stripe), stripe),
        || {
            for round in 0..20_000_u32 {
                tokens.set_keep(Keep::new([0, round % 2, round % 4, round % 7]));
            }
        },
    );
    assert!(peak <= 6);
    assert_eq!(tokens.in_flight(), 0);
    tokens.set_keep(Keep::new([0, 1, 2, 4]));
    let taken = Priority::ALL.map(|_| 0);
    let taken = Priority::ALL
        .into_iter()
        .rev()
        .fold(taken, |mut taken, class| {
            taken[class.index()] = (0..6)
                .filter(|_| tokens.take_as(class, 3).is_some())
                .count();
            taken
        });
    assert_eq!(taken, [1, 1, 2, 2], "each class up to its own bound");
}
