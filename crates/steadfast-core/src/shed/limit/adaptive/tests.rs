//! What surrounds the experiments: bounds, doubts, and who is told from whom.

use super::*;
use crate::testing::origin;

mod watched;

const SECOND: Duration = Duration::from_secs(1);

fn start(limit: u32) -> Adaptive {
    Adaptive::builder(7).start(limit).build()
}

#[test]
fn a_limit_is_within_its_bounds_and_a_minimum_gives_way_to_a_maximum() {
    let build = |of: fn(AdaptiveBuilder) -> AdaptiveBuilder| of(Adaptive::builder(7)).build();
    let limit = |of| build(of).snapshot().limit;
    assert_eq!(limit(|it| it.start(100).max(10)), Some(10));
    assert_eq!(limit(|it| it.start(3).min(5)), Some(5));
    assert_eq!(limit(|it| it.start(15).min(20).max(10)), Some(10));
    assert_eq!(limit(|it| it.start(7).min(5).max(10)), Some(7));
    assert_eq!(limit(|it| it.max(0)), Some(1), "none is no service");
    assert_eq!(limit(|it| it), None, "a healthy service has none");
    assert_eq!(build(|it| it).directive().cap, None);
    let bounded = build(|it| it.max(30));
    assert_eq!(
        (bounded.limit(), bounded.directive().cap),
        (Some(30), Some(30))
    );
    assert!(build(|it| it.min(0).start(1)).directive().admits(0));
}

#[test]
fn places_that_are_kept_come_on_top_of_the_cap_and_never_beyond_the_maximum() {
    let mut limit = Adaptive::builder(7).start(10).max(40).build();
    let cap = limit.directive().cap.expect("it has a limit");
    limit.kept(2);
    assert_eq!(limit.directive().cap, Some(cap + 2));
    limit.kept(100);
    assert_eq!(limit.directive().cap, Some(40));
    assert_eq!(limit.spared(), 0, "it does not dip");
}

#[test]
fn after_each_mistake_on_end_saturation_is_doubted_for_longer() {
    let now = origin();
    let why = ChangeReason::Other("a mistake");
    let mut limit = Adaptive::new(7);
    let mistaken = |limit: &mut Adaptive, latency| {
        limit.engaged = Some(Engaged::at(16.0, 1));
        limit.told(now, Some(why));
        let outcome = Outcome::Mistaken { why, latency };
        let change = limit.advance(now, |_, _| outcome).expect("it has moved");
        assert_eq!((change.from, change.to), (Some(16), None));
        limit.doubt_until.expect("it doubts") - now
    };
    let doubts: Vec<_> = (0..3).map(|_| mistaken(&mut limit, 0.5)).collect();
    assert_eq!(doubts, [4 * SECOND, 8 * SECOND, 16 * SECOND]);
    for _ in 0..40 {
        let doubt = mistaken(&mut limit, 0.5);
        assert!(doubt <= 60 * SECOND, "{doubt:?}: it is believed again");
    }
    limit.engaged = Some(Engaged::at(16.0, 1));
    limit.advance(now, |_, _| Outcome::Confirmed(why));
    assert_eq!(mistaken(&mut limit, 0.5), 4 * SECOND, "one proved right");
}

#[test]
fn a_limit_that_has_gone_leaves_an_epoch_that_no_tag_carries() {
    let now = origin();
    let mut limit = start(16);
    let tag = limit.admitted(Admitted::new(now, 16));
    assert_ne!(tag.raw() & 3, 0, "nobody is refused, so it is of the watch");
    let before = limit.engaged.as_ref().expect("a limit").next_epoch();
    limit.advance(now, |_, _| Outcome::Open(ChangeReason::Quiet(SECOND)));
    assert_eq!((limit.epoch, limit.limit()), (before, None));
    assert!(limit.advance(now, |_, _| panic!("none is held")).is_none());
}

#[test]
fn what_is_watched_is_told_from_what_is_compared_by_its_tag() {
    let now = origin();
    let mut limit = start(16);
    assert!(limit.watches(), "nobody is refused");
    assert_eq!(limit.admitted(Admitted::new(now, 16)).raw() & 3, WATCH);
    // Half of what comes is refused.
    for _ in 0..400 {
        limit.window(Window::new(now, 4, 4, 16));
    }
    assert!(!limit.watches());
    let tag = limit.admitted(Admitted::new(now, 16));
    assert_ne!(tag.raw() & 3, WATCH);
    assert!(!tag.is_none());
    let snapshot = limit.snapshot();
    assert!(snapshot.refused_ratio > 0.4, "{snapshot:?}");
    assert_eq!(snapshot.phase, LimitPhase::Reference, "it looks into it");
}

#[test]
fn a_process_is_late_for_a_second_at_least_and_for_as_long_as_it_was() {
    let now = origin();
    let mut limit = Adaptive::new(7);
    let until = |limit: &Adaptive| limit.late_until.map(|until| until - now);
    limit.late(now, SECOND / 50);
    assert_eq!(until(&limit), Some(SECOND));
    limit.late(now, 3 * SECOND);
    assert_eq!(until(&limit), Some(3 * SECOND));
    limit.late(now + SECOND, SECOND / 50);
    assert_eq!(until(&limit), Some(3 * SECOND), "the later end");
    limit.engaged = Some(Engaged::at(16.0, 1));
    let mut was_late = Vec::new();
    for secs in [2, 3] {
        limit.advance(now + secs * SECOND, |engaged, _| {
            was_late.push(engaged.clone());
            Outcome::Nothing
        });
    }
    let frozen = |engaged: &Engaged| format!("{engaged:?}").contains("frozen: true");
    let frozen: Vec<_> = was_late.iter().map(frozen).collect();
    assert_eq!(frozen, [true, false]);
}

#[test]
fn an_end_before_any_answer_says_nothing() {
    let now = origin();
    let sample = |ending| Ended::new(now + SECOND, now, 4, Tag::new(1), ending).sample();
    assert_eq!(sample(Ending::Completed), Some((1.0, 4, false)));
    assert_eq!(sample(Ending::Abandoned), Some((1.0, 4, true)));
    assert_eq!(sample(Ending::Irrelevant), None);
    let mut limit = Adaptive::new(7);
    let none = Ended::new(now, now, 4, Tag::NONE, Ending::Completed);
    assert!(limit.ended(none).is_none(), "it was not asked about");
}

#[test]
fn experiments_of_two_instances_are_out_of_step_and_spread_evenly() {
    let numbers = |seed| {
        let mut random = Random(seed);
        let numbers = (0..1_000).map(move |_| random.between(0.8, 1.2));
        numbers.collect::<Vec<_>>()
    };
    let (one, other) = (numbers(1), numbers(2));
    assert!(one.iter().zip(&other).all(|(one, other)| one != other));
    for quarter in 0..4 {
        let from = 0.8 + 0.1 * f64::from(quarter);
        let within = |number: &&f64| (from..from + 0.1).contains(*number);
        let found = one.iter().filter(within).count();
        assert!((200..300).contains(&found), "{found} from {from}");
    }
}
