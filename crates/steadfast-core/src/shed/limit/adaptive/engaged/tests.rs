//! A limit in force: its cap, the requests that an experiment takes, and when it goes away.

use super::*;
use crate::{shed::limit::Ending, testing::origin};

const MS: Duration = Duration::from_millis(1);

/// A limit for a pool of sixteen.
fn of_sixteen() -> Engaged {
    let mut engaged = Engaged::at(target(16.0), 1);
    engaged.knee = Some(16.0);
    engaged
}

/// The same, and what a request takes there is known.
fn measured() -> Engaged {
    let mut engaged = of_sixteen();
    engaged.latency = Latency {
        secs: 0.015,
        in_flight: 24.0,
        n: LATENCY_MEMORY,
    };
    engaged
}

fn random() -> Random {
    Random(7)
}

fn in_step(step: Step) -> Engaged {
    let mut engaged = of_sixteen();
    engaged.enter(step, origin());
    engaged
}

/// Admits so many with so many in flight, and returns their tags.
fn admit(engaged: &mut Engaged, count: u32, in_flight: u32, now: Instant) -> Vec<Tag> {
    let admit = |_| engaged.admitted(now, in_flight);
    (0..count).map(admit).collect()
}

/// What the low bits of the tags say, if it is the same of all.
fn kind(tags: &[Tag]) -> u32 {
    let kinds: Vec<_> = tags.iter().map(|tag| tag.raw() & 3).collect();
    assert!(kinds.windows(2).all(|pair| pair[0] == pair[1]), "{kinds:?}");
    kinds[0]
}

fn refuse(engaged: &mut Engaged, admitted: u32, refused: u32, now: Instant) -> Outcome {
    engaged.window(&Window::new(now, admitted, refused, 16), &mut random())
}

#[test]
fn the_cap_has_room_for_bursts_while_few_are_refused_and_is_the_limit_under_pressure() {
    let mut engaged = of_sixteen();
    // The study, section 7: at exactly the capacity sixteen workers need 37.
    for (refused, cap) in [(0.0, 37), (0.15, 31), (0.3, 24), (0.9, 24)] {
        engaged.refused = refused;
        assert_eq!(engaged.cap(), cap, "{refused} are refused");
        assert_eq!(engaged.dip(), 0, "it does not dip");
    }
    // Where the limit is higher than that already, it is what it is.
    let mut high = Engaged::at(100.0, 1);
    high.knee = Some(16.0);
    assert_eq!(high.cap(), 100);
    assert_eq!((high.limit(), Engaged::at(0.0, 1).limit()), (100, 2));
}

#[test]
fn a_limit_at_rest_lends_places_to_bursts_and_an_experiment_does_not() {
    // Goal: under a load of half the capacity, whoever is measured, so that it is known, and
    // whatever was refused before.
    let mut engaged = measured();
    engaged.refused = 0.9;
    let mut now = origin();
    for _ in 0..1_000 {
        now += MS;
        engaged.window(&Window::new(now, 1, 0, 8), &mut random());
    }
    engaged.refused = 0.9;
    // A quarter of a second at 1,600 each second.
    assert_eq!(engaged.cap(), 24 + 400);
    assert_eq!(engaged.limit(), 23, "what is told stays");
    engaged.freeze(true);
    assert_eq!(engaged.cap(), 24, "a late process lends nothing");
    engaged.freeze(false);
    engaged.enter(Step::Before, now);
    assert_eq!(engaged.cap(), 24);
}

#[test]
fn lent_places_that_nothing_explains_end_the_limit() {
    let mut engaged = measured();
    let mut now = origin();
    let outcome = |engaged: &mut Engaged, now, in_flight| {
        engaged.window(&Window::new(now, 1, 0, in_flight), &mut random())
    };
    for _ in 0..1_000 {
        now += MS;
        assert!(matches!(outcome(&mut engaged, now, 8), Outcome::Nothing));
    }
    for _ in 0..500 {
        now += MS;
        assert!(matches!(outcome(&mut engaged, now, 300), Outcome::Nothing));
    }
    now += 2 * MS;
    let outcome = outcome(&mut engaged, now, 300);
    assert!(
        matches!(outcome, Outcome::Open(ChangeReason::Changed(_))),
        "{outcome:?}"
    );
}

#[test]
fn who_stands_in_line_while_the_process_is_late_holds_no_lent_place() {
    let mut engaged = measured();
    engaged.freeze(true);
    let mut now = origin();
    for ms in 0..3_000 {
        now += MS;
        let in_flight = if ms < 1_000 { 8 } else { 300 };
        let outcome = engaged.window(&Window::new(now, 1, 0, in_flight), &mut random());
        assert!(matches!(outcome, Outcome::Nothing), "{ms}: {outcome:?}");
    }
}

#[test]
fn in_a_dip_the_cap_is_below_the_knee_and_in_a_deep_one_far_below() {
    let until = origin();
    for step in [Step::Dip, Step::Hold { until }] {
        let mut engaged = in_step(step);
        let shallow = engaged.cap();
        assert!(shallow < 16 && shallow > 10, "{shallow}");
        assert_eq!(engaged.dip(), engaged.limit.ceil() as u32 - shallow);
        engaged.deep = true;
        assert!(engaged.cap() < shallow * 2 / 3, "{}", engaged.cap());
        let mut least = Engaged::at(0.0, 1);
        least.enter(step, origin());
        assert_eq!(least.cap(), 1, "somebody runs in any dip");
    }
}

#[test]
fn each_step_is_shown_as_what_it_compares() {
    use LimitPhase::{Dip, Held, Reference, Rise, Verifying};
    let until = origin();
    for (step, phase) in [
        (Step::Rest, Held),
        (Step::Verify, Verifying),
        (Step::Wait { kind: Kind::Verify }, Verifying),
        (Step::Before, Reference),
        (Step::Dip, Dip),
        (Step::Hold { until }, Dip),
        (Step::After, Reference),
        (Step::Wait { kind: Kind::Dip }, Reference),
        (Step::Rise, Rise),
        (Step::Wait { kind: Kind::Rise }, Rise),
    ] {
        assert_eq!(in_step(step).phase(), phase, "{step:?}");
    }
}

#[test]
fn an_experiment_takes_everybody_and_between_two_a_large_limit_is_sampled_thinly() {
    let one_in = |limit, step| {
        let mut engaged = Engaged::at(limit, 1);
        engaged.enter(step, origin());
        engaged.one_in()
    };
    for (limit, at_rest) in [(16.0, 1), (320.0, 10), (1e6, 1024)] {
        assert_eq!(one_in(limit, Step::Rest), at_rest, "{limit}");
        assert_eq!(one_in(limit, Step::Wait { kind: Kind::Dip }), at_rest);
        assert_eq!(one_in(limit, Step::Before), 1);
        assert_eq!(one_in(limit, Step::Dip), 1);
    }
    for (limit, arrivals) in [(8.0, 4), (100.0, 25), (1e6, 64)] {
        assert_eq!(Engaged::at(limit, 1).window_arrivals(), arrivals);
    }
}

#[test]
fn the_share_of_refusals_follows_what_arrives_and_forgets_bursts() {
    let mut engaged = of_sixteen();
    engaged.count(4.0, 4.0);
    assert!(engaged.refused > 0.0 && engaged.refused < 0.02, "one burst");
    engaged.count(0.0, 0.0);
    for _ in 0..1_000 {
        engaged.count(6.0, 2.0);
    }
    assert!(
        (engaged.refused - 0.25).abs() < 0.001,
        "{}",
        engaged.refused
    );
    for _ in 0..1_000 {
        engaged.count(8.0, 0.0);
    }
    assert!(engaged.refused < 0.001 && engaged.idle());
    // A larger limit remembers as many of its own arrivals.
    let mut large = Engaged::at(1_000.0, 1);
    large.count(400.0, 400.0);
    assert!(large.refused < 0.03, "{}", large.refused);
}

#[test]
fn an_experiment_compares_a_cohort_in_the_dip_with_those_before_and_after_it() {
    let start = origin();
    let mut engaged = of_sixteen();
    engaged.latency.secs = 0.01;
    engaged.begin(start);
    let (limit, dip) = (engaged.limit(), 14);
    let idle = admit(&mut engaged, 20, 4, start);
    assert_eq!(kind(&idle), OTHER, "with few in flight it says nothing");
    let before = admit(&mut engaged, 16, limit, start);
    assert_eq!((kind(&before), engaged.trial.step), (HIGH, Step::Dip));
    let few = admit(&mut engaged, 1, 1, start);
    assert_eq!(kind(&few), OTHER, "it was not held back by the dip");
    let low = admit(&mut engaged, 16, dip, start + 5 * MS);
    assert_eq!(kind(&low), LOW);
    let held = admit(&mut engaged, 3, dip, start + 14 * MS);
    assert_eq!(kind(&held), OTHER, "the dip goes on, for those in it");
    let after = admit(&mut engaged, 16, limit, start + 15 * MS);
    assert_eq!(kind(&after), HIGH);
    assert_eq!(engaged.trial.step, Step::Wait { kind: Kind::Dip });
    // Some of those at the limit wait for one of those before them.
    let all = before.iter().chain(&low).chain(&after);
    for (tag, nth) in all.zip(0..) {
        let is_low = tag.raw() & 3 == LOW;
        let (at, in_flight) = match nth {
            0..16 => (start, limit),
            16..32 => (start + 5 * MS, dip),
            _ => (start + 15 * MS, limit),
        };
        let took = if is_low { 10 * MS } else { 12 * MS };
        let ended = Ended::new(at + took, at, in_flight, *tag, Ending::Completed);
        assert!(engaged.experiment.is_none(), "{nth} of 48 have ended");
        engaged.ended(&ended, &mut random());
    }
    let seen = engaged.take_experiment().expect("it was compared");
    assert!((seen.latency_ratio - 10.0 / 12.0).abs() < 0.01, "{seen:?}");
    assert!(engaged.take_experiment().is_none(), "it is told once");
}

#[test]
fn of_each_sample_it_is_noted_how_much_slower_the_target_would_make_it() {
    let start = origin();
    let mut engaged = of_sixteen();
    engaged.latency.secs = 0.01;
    engaged.begin(start);
    let tag = admit(&mut engaged, 1, 23, start)[0];
    let ended = Ended::new(start + 10 * MS, start, 23, tag, Ending::Completed);
    engaged.ended(&ended, &mut random());
    // At its target a limit lets so many wait that requests take 1.4 times as long.
    let slower = engaged.trial.high.sums.shift().exp();
    assert!((slower - 1.4).abs() < 1e-6, "{slower}");
}

#[test]
fn a_step_that_its_load_has_left_ends_without_a_decision() {
    let start = origin();
    let mut engaged = of_sixteen();
    engaged.latency.secs = 0.01;
    engaged.begin(start);
    admit(&mut engaged, 8, 23, start);
    engaged.clock(start + 240 * MS);
    assert_eq!(engaged.trial.step, Step::Before, "the load may come yet");
    engaged.clock(start + 400 * MS);
    assert_eq!(engaged.trial.step, Step::Rest);
    assert_eq!(engaged.trial.high.len(), 0.0, "what it took is forgotten");
    // Nothing is tried again at once.
    engaged.refused = 0.5;
    refuse(&mut engaged, 8, 8, start + 500 * MS);
    assert_eq!(engaged.trial.step, Step::Rest);
    refuse(&mut engaged, 8, 8, start + 1_500 * MS);
    assert_eq!(engaged.trial.step, Step::Before);
}

#[test]
fn who_has_not_ended_after_long_counts_with_the_age_that_it_has() {
    let start = origin();
    let mut engaged = of_sixteen();
    engaged.latency.secs = 0.01;
    engaged.enter(Step::Verify, start);
    engaged.trial.high.sums = [(0.02, 23, false); 32].iter().fold(
        Sums::default(),
        |mut sums, &(latency, in_flight, left)| {
            sums.add(latency, in_flight, left);
            sums
        },
    );
    let tags = admit(&mut engaged, 16, 23, start);
    assert_eq!(
        kind(&tags),
        LOW,
        "everything after the limit is its low side"
    );
    assert_eq!(engaged.trial.step, Step::Wait { kind: Kind::Verify });
    engaged.finish(start + 200 * MS, &mut random());
    assert!(engaged.experiment.is_none(), "they may end yet");
    engaged.finish(start + 300 * MS, &mut random());
    let seen = engaged.experiment.expect("nobody is waited for any more");
    assert!(seen.latency_ratio > 0.9, "no faster for fewer: {seen:?}");
}

#[test]
fn a_limit_goes_away_when_nobody_needs_it_and_when_it_refuses_blindly() {
    let start = origin();
    let engaged = |last_refusal_ms: u64, last_end_ms: u64| {
        let mut engaged = of_sixteen();
        engaged.latency.secs = 0.05;
        engaged.signs.last_refusal = Some(start + Duration::from_millis(last_refusal_ms));
        engaged.signs.last_end = Some(start + Duration::from_millis(last_end_ms));
        engaged
    };
    let now = start + 10_000 * MS;
    let why = |it: &Engaged, refuses| it.obsolete(now, refuses);
    assert_eq!(why(&engaged(1, 9_999), false), None, "refused lately");
    let quiet = why(&engaged(0, 9_999), false);
    assert!(matches!(quiet, Some(ChangeReason::Quiet(it)) if it == 10_000 * MS));
    // Half a second is ten latencies.
    let silent = why(&engaged(10_000, 9_500), true);
    assert!(matches!(silent, Some(ChangeReason::Silent(it)) if it == 500 * MS));
    assert_eq!(
        why(&engaged(10_000, 9_501), true),
        None,
        "one has just ended"
    );
    assert_eq!(why(&engaged(10_000, 0), false), None, "nobody is refused");
    let mut late = engaged(10_000, 0);
    late.freeze(true);
    assert_eq!(why(&late, true), None, "the process itself was late");
    let mut quick = engaged(10_000, 9_950);
    quick.latency.secs = 0.001;
    assert_eq!(why(&quick, true), None, "a tenth of a second at least");
    // Sixteen places with 200 ms each, where nine of ten requests take 2.
    let mut uneven = engaged(10_000, 9_800);
    uneven.latency.secs = 0.003;
    uneven.scatter = 0.06 * 0.06;
    assert_eq!(why(&uneven, true), None, "the long ones have not ended yet");
}

#[test]
fn a_process_that_stood_still_keeps_its_limit() {
    // Goal: it hears of those who came meanwhile first, and of those who ended after that.
    let start = origin();
    let window = |engaged: &mut Engaged, at| {
        let window = Window::new(start + at, 0, 8, 24);
        engaged.window(&window, &mut random())
    };
    let mut engaged = of_sixteen();
    engaged.latency.secs = 0.01;
    engaged.signs.lives(start);
    for at in [5 * MS, 125 * MS, 126 * MS, 200 * MS] {
        let outcome = window(&mut engaged, at);
        assert!(matches!(outcome, Outcome::Nothing), "{at:?}: {outcome:?}");
    }
    let hangs = window(&mut engaged, 221 * MS);
    assert!(
        matches!(hangs, Outcome::Open(ChangeReason::Silent(_))),
        "{hangs:?}"
    );
}

#[test]
fn that_fewer_run_than_came_shows_that_some_have_ended() {
    let start = origin();
    for (in_flight, has_ended) in [(24, false), (23, true)] {
        let mut engaged = of_sixteen();
        let window = |admitted, in_flight| Window::new(start, admitted, 1, in_flight);
        engaged.window(&window(4, 16), &mut random());
        assert_eq!(engaged.signs.last_end, None, "nobody knows yet");
        engaged.window(&window(8, in_flight), &mut random());
        assert_eq!(engaged.signs.last_end.is_some(), has_ended, "{in_flight}");
    }
}

#[test]
fn epochs_count_round_and_leave_out_the_tag_that_is_none() {
    assert_eq!(
        [next(1), next(EPOCH_MASK - 1), next(EPOCH_MASK)],
        [2, EPOCH_MASK, 1]
    );
    let mut engaged = Engaged::at(20.0, EPOCH_MASK);
    let before = engaged.admitted(origin(), 20);
    engaged.begin(origin());
    let after = engaged.admitted(origin(), 20);
    assert!(!before.is_none() && !after.is_none());
    assert_ne!(before.raw() >> 2, after.raw() >> 2, "of another experiment");
}

#[test]
fn a_limit_is_lowered_by_what_was_watched_only_if_it_is_well_above_that() {
    let engaged = Engaged::at(target(16.0), 1);
    for (knee, is_above) in [(16.0, false), (13.5, false), (12.0, true), (4.0, true)] {
        assert_eq!(engaged.above(knee), is_above, "{knee}");
    }
}
