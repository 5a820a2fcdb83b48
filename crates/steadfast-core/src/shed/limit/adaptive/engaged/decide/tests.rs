//! What is made of two sides of a comparison, one row for each thing that can be found.

use super::super::super::clusters::WIDTH;
use super::super::super::cycle::Group;
use super::*;
use crate::testing::origin;

/// A side: requests in flight when they came, what they took, how much that varies, how many
/// there are, and the share of those who gave up.
#[derive(Clone, Copy, Debug)]
struct Side {
    in_flight: u32,
    latency: f64,
    varies: f64,
    n: u32,
    abandoned: f64,
}

const fn side(in_flight: u32, latency: f64) -> Side {
    Side {
        in_flight,
        latency,
        varies: 0.2,
        n: 64,
        abandoned: 0.0,
    }
}

impl Side {
    const fn of(mut self, n: u32) -> Self {
        self.n = n;
        self
    }

    const fn varying(mut self, varies: f64) -> Self {
        self.varies = varies;
        self
    }

    const fn abandoned(mut self, ratio: f64) -> Self {
        self.abandoned = ratio;
        self
    }

    /// `wait` is how long one waits in a queue at the target.
    fn group(self, wait: f64) -> Group {
        let mut group = Group::default();
        for number in 0..self.n {
            // Evenly from less to more, in an order of no meaning.
            let place = f64::from(number * 29 % self.n) / f64::from(self.n - 1);
            let latency = self.latency * (1.0 + self.varies * (2.0 * place - 1.0));
            let abandoned = f64::from(number) < self.abandoned * f64::from(self.n);
            let at = f64::from(number) * latency;
            group.admitted(at, self.in_flight);
            group.ended(
                at,
                self.in_flight,
                Some((latency, self.in_flight, abandoned)),
            );
            group.sums.would_wait(latency, wait);
            group.clusters.add(at, WIDTH * self.latency, latency);
        }
        group
    }
}

/// A limit of 100 whose requests take 100 ms, with both sides of a comparison.
fn engaged(high: Side, low: Side) -> Engaged {
    let mut engaged = Engaged::at(100.0, 1);
    engaged.latency.secs = 0.1;
    engaged.refused = 0.5;
    engaged.trial.high = high.group(0.04);
    engaged.trial.low = low.group(0.04);
    engaged
}

fn weighed(high: Side, low: Side) -> Finding {
    let engaged = engaged(high, low);
    engaged.weigh(&seen(&engaged))
}

fn seen(engaged: &Engaged) -> Experiment {
    let (high, low) = (&engaged.trial.high, &engaged.trial.low);
    let error = (high.error_squared() + low.error_squared()).sqrt();
    let ratio = low.sums.queued(&high.sums);
    Experiment::new(
        origin(),
        low.sums.in_flight(),
        high.sums.in_flight(),
        ratio,
        error,
    )
}

#[test]
fn where_all_queue_the_limit_goes_to_the_knee() {
    // In step with fewer in flight: the knee is at or below the low side.
    let found = weighed(side(100, 0.1), side(64, 0.064));
    let knee = found.knee.expect("it was compared");
    assert!((knee - 64.0).abs() < 1.0, "{knee}");
    assert!((found.step - (target(64.0) / 100.0).ln()).abs() < 0.02);
    assert!(!found.grows && matches!(found.why, ChangeReason::Queueing { .. }));
}

#[test]
fn where_some_queue_the_knee_is_between_and_a_limit_at_its_target_stays() {
    // 100 in flight, 70 of them at work: the limit is where it aims at.
    let found = weighed(side(100, 0.1), side(71, 0.0707));
    assert!(found.step.abs() < 0.03, "{}", found.step);
    assert!(!found.strong && !found.grows);
}

#[test]
fn where_nobody_queues_it_grows_threefold() {
    let found = weighed(side(100, 0.1), side(64, 0.1));
    assert!(found.grows && found.strong);
    assert!((found.step - GROWTH.ln()).abs() < 0.05, "{}", found.step);
    assert!(matches!(found.why, ChangeReason::NoQueue { .. }));
}

#[test]
fn between_a_little_queue_and_none_it_grows_by_a_part_of_that() {
    let step = |latency| weighed(side(100, 0.1).of(2_000), side(64, latency).of(2_000)).step;
    let (some, less, none) = (step(0.089), step(0.095), step(0.1));
    assert!(some < less && less < none, "{some} {less} {none}");
}

#[test]
fn when_most_give_up_it_shrinks_without_asking_latency() {
    let found = weighed(side(100, 0.1).abandoned(0.6), side(64, 0.1));
    assert!(found.strong && !found.grows && found.knee.is_none());
    assert!((found.step - DIP.ln()).abs() < 1e-9);
    let half = weighed(side(100, 0.1).abandoned(0.5), side(64, 0.1));
    assert!(
        !matches!(half.why, ChangeReason::Abandoned { .. }),
        "half is not most"
    );
}

#[test]
fn what_is_uncertain_is_not_taken_in_full() {
    let sure = weighed(side(100, 0.1), side(40, 0.04));
    assert!(sure.strong);
    let unsure = weighed(
        side(100, 0.1).varying(0.95).of(16),
        side(40, 0.04).varying(0.95).of(16),
    );
    assert!(!unsure.strong, "{}", unsure.step);
}

#[test]
fn a_new_limit_is_a_mistake_if_requests_are_no_faster_with_it() {
    let verify = |low: Side| {
        let mut engaged = engaged(side(140, 0.1), low);
        engaged.knee = Some(70.0);
        let now = origin();
        engaged.decide(now, Kind::Verify, &mut Random(7))
    };
    let mistaken = verify(side(64, 0.1));
    assert!(matches!(mistaken, Outcome::Mistaken { latency, .. } if (latency - 0.1).abs() < 0.01));
    let confirmed = verify(side(64, 0.05));
    assert!(
        matches!(confirmed, Outcome::Confirmed(ChangeReason::Queueing { .. })),
        "{confirmed:?}"
    );
    let undecided = verify(side(100, 0.09).varying(0.9).of(16));
    assert!(matches!(undecided, Outcome::Nothing), "{undecided:?}");
}

#[test]
fn a_new_limit_is_no_mistake_because_those_without_it_gave_up_early() {
    // Goal: a database's brownout as a server saw it. Everybody left after half a second, so that
    // is all that those without a limit took, and the first few with one came in one slice.
    let without = side(520, 0.5).varying(0.01).abandoned(0.9);
    let with = side(31, 0.25).of(4);
    let verified = |without| {
        let mut engaged = engaged(without, with);
        let outcome = engaged.decide(origin(), Kind::Verify, &mut Random(7));
        (outcome, engaged.trial.step)
    };
    let looks_on = verified(without);
    assert!(
        matches!(looks_on, (Outcome::Nothing, Step::Verify)),
        "{looks_on:?}"
    );
    // The same of clients who did wait.
    let mistaken = verified(without.abandoned(0.0));
    assert!(
        matches!(mistaken, (Outcome::Mistaken { .. }, _)),
        "{mistaken:?}"
    );
}

#[test]
fn a_verification_corrects_a_limit_that_is_far_off_and_only_such_a_one() {
    let corrected = |before: f64| {
        // With fewer than half in flight they took nine fourteenths: 90 are worked on.
        let mut engaged = engaged(side(140, 0.14), side(64, 0.09));
        engaged.knee = Some(before);
        let _ = engaged.decide(origin(), Kind::Verify, &mut Random(7));
        engaged.knee.expect("it had one")
    };
    assert!((corrected(20.0) - 90.0).abs() < 1.0, "four times too small");
    assert!((corrected(60.0) - 60.0).abs() < 1e-9, "near enough");
}

#[test]
fn while_the_process_is_late_it_neither_grows_nor_goes_away() {
    let decide = |kind| {
        let mut engaged = engaged(side(100, 0.1), side(64, 0.1));
        engaged.freeze(true);
        let outcome = engaged.decide(origin(), kind, &mut Random(7));
        (outcome, engaged.limit())
    };
    for kind in [Kind::Dip, Kind::Verify] {
        let (outcome, limit) = decide(kind);
        assert!(matches!(outcome, Outcome::Nothing), "{kind:?}: {outcome:?}");
        assert_eq!(limit, 100, "{kind:?}");
    }
}

#[test]
fn after_two_growths_on_end_the_limit_goes_away() {
    let mut engaged = engaged(side(100, 0.1), side(64, 0.1));
    let grown = engaged.decide(origin(), Kind::Dip, &mut Random(7));
    assert!(
        matches!(grown, Outcome::Moved(ChangeReason::NoQueue { .. })),
        "{grown:?}"
    );
    assert!(engaged.limit() > 250, "{}", engaged.limit());
    (engaged.trial.high, engaged.trial.low) =
        (side(300, 0.1).group(0.04), side(100, 0.1).group(0.04));
    let gone = engaged.decide(origin(), Kind::Rise, &mut Random(7));
    assert!(matches!(gone, Outcome::Open(_)), "{gone:?}");
}

#[test]
fn a_side_with_next_to_nobody_decides_nothing() {
    let mut engaged = engaged(side(100, 0.1), side(64, 0.05).of(3));
    let outcome = engaged.decide(origin(), Kind::Dip, &mut Random(7));
    assert!(
        matches!(outcome, Outcome::Nothing) && engaged.limit() == 100,
        "{outcome:?}"
    );
    assert!(engaged.rest.until.is_some_and(|until| until > origin()));
}

#[test]
fn what_was_not_sure_is_kept_and_added_to_the_next_time() {
    let unsure = || {
        (
            side(100, 0.1).varying(0.9).of(24),
            side(64, 0.075).varying(0.9).of(24),
        )
    };
    let (high, low) = unsure();
    let mut engaged = engaged(high, low);
    let outcome = engaged.decide(origin(), Kind::Dip, &mut Random(7));
    assert!(matches!(outcome, Outcome::Nothing), "{outcome:?}");
    let kept = engaged.rest.kept.high.sums.n();
    assert!((kept - 24.0).abs() < 1e-9, "{kept}");
    (engaged.trial.high, engaged.trial.low) = (high.group(0.04), low.group(0.04));
    let _ = engaged.decide(origin(), Kind::Dip, &mut Random(7));
    let seen = engaged.take_experiment().expect("one was made");
    let once = seen_error(&unsure());
    assert!(
        seen.error < 0.8 * once,
        "{} of {once}: both were counted",
        seen.error
    );
}

fn seen_error((high, low): &(Side, Side)) -> f64 {
    seen(&engaged(*high, *low)).error
}

/// What is decided of a dip whose sides are large enough to be sure of.
fn decided(high: Side, low: Side) -> (Engaged, Outcome) {
    let mut engaged = engaged(high.of(2_000), low.of(2_000));
    let outcome = engaged.decide(origin(), Kind::Dip, &mut Random(7));
    (engaged, outcome)
}

#[test]
fn where_even_those_in_the_dip_queued_the_next_dip_is_deep_and_comes_at_once() {
    // In step with fewer in flight: the knee is at the low side, or far below it.
    let (all, outcome) = decided(side(100, 0.1), side(64, 0.064));
    assert!(matches!(outcome, Outcome::Moved(_)));
    assert!(all.deep && all.limit() < 95, "{}", all.limit());
    assert_eq!(all.rest.until, all.trial.step_since, "without a rest");
    // Less than in step: the knee is between the two sides.
    let (some, outcome) = decided(side(100, 0.1), side(64, 0.085));
    assert!(matches!(outcome, Outcome::Moved(_)));
    assert!(!some.deep && some.limit() > 105, "{}", some.limit());
}

#[test]
fn a_limit_that_was_raised_by_much_is_compared_with_the_one_before() {
    let (raised, _) = decided(side(100, 0.1), side(64, 0.1));
    assert_eq!(raised.limit(), 300);
    assert_eq!(raised.trial.step, Step::Rise);
    let before = raised.trial.low.sums.in_flight();
    assert!((before - 100.0).abs() < 0.1, "{before}: those at the limit");
    assert_eq!(raised.trial.high.len(), 0.0, "and whoever comes now");
    let (stays, _) = decided(side(100, 0.1), side(71, 0.0707));
    assert_eq!(stays.trial.step, Step::Rest);
}

#[test]
fn where_even_fewer_queue_for_certain_a_new_limit_comes_down_by_half_and_is_verified_again() {
    let mut engaged = engaged(side(400, 0.4).of(2_000), side(100, 0.1).of(2_000));
    let outcome = engaged.decide(origin(), Kind::Verify, &mut Random(7));
    assert!(matches!(
        outcome,
        Outcome::Moved(ChangeReason::Queueing { .. })
    ));
    assert!((45..60).contains(&engaged.limit()), "{}", engaged.limit());
    assert_eq!(engaged.trial.step, Step::Verify);
    let high = engaged.trial.high.sums.in_flight();
    assert!(
        (high - 100.0).abs() < 0.1,
        "{high}: those of the limit before"
    );
    assert_eq!(engaged.trial.low.len(), 0.0);
    assert!((engaged.latency.secs - 0.1).abs() < 0.01, "at that limit");
}

/// What follows of a dip that is known to a tenth, of a limit that no dip has proven or one has.
fn known_to_a_tenth(proven: bool, deep: bool, low: Side) -> (u32, Step, bool) {
    let [high, low] = [side(100, 0.1), low].map(|it| it.varying(0.9));
    let mut engaged = engaged(high.of(80), low);
    (engaged.proven, engaged.deep) = (proven, deep);
    let _ = engaged.decide(origin(), Kind::Dip, &mut Random(7));
    (engaged.limit(), engaged.trial.step, engaged.deep)
}

#[test]
fn a_limit_that_is_far_too_high_comes_down_by_halves_from_its_first_deep_dip_on() {
    // Goal: 349 places for 16 workers, found where everybody waited as long as clients do. Nine of
    // ten requests are short, so a dip is known to a tenth, and the next comes after 14 s.
    let shallow = |proven, latency, n| known_to_a_tenth(proven, false, side(64, latency).of(n));
    assert_eq!(shallow(false, 0.064, 80), (100, Step::Rest, true));
    assert_eq!(shallow(false, 0.07, 80), (100, Step::Rest, true), "perhaps");
    assert_eq!(shallow(true, 0.064, 80), (100, Step::Rest, false));
    assert_eq!(shallow(false, 0.064, 24), (100, Step::Rest, false), "small");
    let mut late = engaged(side(100, 0.1), side(64, 0.068).of(4));
    late.proven = false;
    let _ = late.decide(origin(), Kind::Dip, &mut Random(7));
    assert!(!late.proven, "four say nothing");
    let deep = |proven, latency| known_to_a_tenth(proven, true, side(36, latency).of(80));
    let (limit, step, _) = deep(false, 0.037);
    assert_eq!((limit, step), (19, Step::Verify), "half of the dip's");
    let (limit, step, _) = deep(false, 0.071);
    assert_eq!(step, Step::Rest);
    assert!((95..105).contains(&limit), "{limit}: it was right");
}

#[test]
fn few_samples_exclude_a_queue_only_by_far() {
    // As fast with fewer in flight, by and large.
    let grows = |n| engaged(side(100, 0.1).of(n), side(64, 0.1).of(n)).unqueued();
    assert_eq!(grows(2_000), Some(GROWTH), "alike enough to know it");
    assert_eq!(grows(64), Some(GROWTH_FEW));
    assert_eq!(grows(24), None, "these may be alike by chance");
}
