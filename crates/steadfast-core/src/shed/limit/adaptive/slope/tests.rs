//! Rows of blocks as services of known kinds make them, and what is read from them.

use super::*;

/// A block whose requests take `latency` on average, half of them a little less and half a
/// little more.
fn block(in_flight: f64, latency: f64) -> Sums {
    let mut sums = Sums::default();
    for sign in [-1.0, 1.0] {
        for _ in 0..8 {
            sums.add(
                latency * (1.0 + sign * 0.02),
                in_flight.round() as u32,
                false,
            );
        }
    }
    sums
}

/// A block of so many requests, of which so many take 200 ms and the others 2, after this wait.
fn uneven(requests: u32, in_flight: u32, long: u32, wait: f64) -> Sums {
    let mut sums = Sums::default();
    for request in 0..requests {
        let service = if request < long { 0.2 } else { 0.002 };
        sums.add(service + wait, in_flight, false);
    }
    sums
}

/// In flight that goes up and down by a third while it grows from 16 to 128.
fn waves() -> impl Iterator<Item = f64> {
    (0..24).map(|at| {
        let trend = 16.0 * 8.0_f64.powf(f64::from(at) / 23.0);
        trend * if at % 2 == 0 { 1.0 } else { 1.4 }
    })
}

fn full_pool() -> Vec<Sums> {
    waves().map(|f| block(f, 0.01 * f / 16.0)).collect()
}

/// As many in flight, and latency that does not follow them.
fn roomy() -> Vec<Sums> {
    waves().map(|f| block(f, 0.01)).collect()
}

#[test]
fn behind_a_full_pool_the_slope_is_one_and_sure() {
    let blocks = full_pool();
    for scale in [1, 2, 4] {
        let slope = slope(&blocks, scale, 0.0, false).expect("enough pairs");
        assert!((slope.value - 1.0).abs() < 0.05, "{scale}: {}", slope.value);
        assert!(slope.sure(), "{scale}");
    }
    let close = slope(&blocks, 1, 0.0, true).expect("enough pairs");
    assert!(!close.refutes() && !close.explains());
}

#[test]
fn where_latency_does_not_follow_the_slope_is_nothing_and_a_queue_refuted() {
    let blocks = roomy();
    let slope_of = |trendless| slope(&blocks, 1, 0.0, trendless).expect("enough pairs");
    assert!(slope_of(false).value.abs() < 0.01);
    assert!(!slope_of(false).sure());
    assert!(slope_of(true).refutes() && slope_of(true).explains());
}

#[test]
fn a_trend_alone_is_no_queue_once_it_is_taken_out() {
    // A dependency that comes and goes: latency rises with what is in flight over seconds,
    // and does not follow its short ups and downs.
    let blocks: Vec<Sums> = waves()
        .enumerate()
        .map(|(at, f)| block(f, 0.01 * 8.0_f64.powf(at as f64 / 23.0)))
        .collect();
    assert!(slope(&blocks, 4, 0.0, false).expect("enough").sure());
    assert!(slope(&blocks, 1, 0.0, true).expect("enough").refutes());
}

#[test]
fn without_the_trend_the_slope_is_that_of_the_ups_and_downs() {
    // Both grow by a quarter and more with each block, whatever makes them; of the ups and downs
    // latency follows half.
    let blocks: Vec<Sums> = (0..25)
        .map(|at| {
            let up = if at % 2 == 0 { 1.0_f64 } else { 1.4 };
            let grown = f64::from(at);
            block(
                100.0 * 1.25_f64.powf(grown) * up,
                0.01 * 1.35_f64.powf(grown) * up.sqrt(),
            )
        })
        .collect();
    let close = slope(&blocks, 1, 0.0, true).expect("enough pairs");
    assert!((close.value - 0.5).abs() < 0.02, "{}", close.value);
    assert!(close.error < 0.05, "{}", close.error);
}

#[test]
fn one_step_never_decides() {
    // Everything that speaks for a queue is in one pair; beside it in flight goes up and down
    // and latency does not.
    let blocks: Vec<Sums> = (0..24)
        .map(|at| {
            let (base, latency) = if at < 12 { (20.0, 0.01) } else { (60.0, 0.03) };
            block(base + f64::from(at % 2), latency)
        })
        .collect();
    let step = slope(&blocks, 1, 0.0, false).expect("enough pairs");
    assert!(step.value > 0.9 && step.value > SURE * step.error);
    assert!(!step.sure(), "not without that pair");
}

#[test]
fn few_pairs_say_nothing_and_pairs_below_the_bound_do_not_count() {
    let blocks = full_pool();
    assert!(slope(&blocks[..PAIRS_MIN], 1, 0.0, false).is_none());
    assert!(slope(&blocks[..=PAIRS_MIN], 1, 0.0, false).is_some());
    assert!(
        slope(&blocks, 1, 1_000.0, false).is_none(),
        "none had so many"
    );
    let same = vec![block(20.0, 0.01); 8];
    assert!(
        slope(&same, 1, 0.0, false).is_none(),
        "nothing to compare by"
    );
}

#[test]
fn what_rises_by_more_than_a_queue_makes_counts_as_much_as_a_queue_would() {
    let blocks: Vec<Sums> = waves()
        .enumerate()
        .map(|(at, f)| block(f, if at == 10 { 3.0 } else { 0.01 * f / 16.0 }))
        .collect();
    let slope = slope(&blocks, 1, 0.0, false).expect("enough pairs");
    assert!((0.7..=1.2).contains(&slope.value), "{}", slope.value);
}

#[test]
fn saturation_knows_the_size_of_the_pool() {
    let found = saturation(&full_pool(), false).expect("it is eight times slower");
    assert!((14.0..22.0).contains(&found.knee), "{}", found.knee);
    assert!((8.0..10.0).contains(&found.slower), "{}", found.slower);
    assert!(
        found.high.in_flight() > 100.0,
        "of those with many in flight"
    );
}

#[test]
fn where_requests_differ_a_lot_all_that_had_room_are_what_one_takes() {
    // One of ten takes 200 ms and the others 2; few are in flight while none of the long ones
    // runs, which says nothing of sixteen workers.
    let of = |in_flight, long, wait| uneven(14, in_flight, long, wait);
    let calm = [
        (3, 0),
        (4, 0),
        (7, 1),
        (8, 2),
        (9, 1),
        (10, 3),
        (8, 1),
        (9, 2),
    ];
    let mut blocks: Vec<_> = calm.map(|(few, long)| of(few, long, 0.0)).into();
    let mean = 10.0 / 112.0 * 0.198 + 0.002;
    let waits = |in_flight: u32| f64::from(in_flight - 16) / 16.0 * mean;
    blocks.extend([100, 110, 120].map(|many| of(many, 1, waits(many))));
    let found = saturation(&blocks, false).expect("it is five times slower");
    // Of the two blocks with fewest alone it would be two, and be said for certain.
    assert!((12.0..32.0).contains(&found.knee), "{}", found.knee);
    let expected = 10.0 / 112.0 * 0.198_f64.powi(2);
    assert!(
        (found.scatter / expected - 1.0).abs() < 0.3,
        "{}, about {expected}",
        found.scatter
    );
}

#[test]
fn a_few_that_happen_to_be_short_do_not_know_what_the_long_ones_take() {
    // Goal: 82 in flight are too few to tell sixteen workers by, when the only blocks with room
    // have short requests alone; three were told for certain, and five places held.
    let of = |in_flight, long, wait| uneven(16, in_flight, long, wait);
    let calm = [of(3, 0, 0.0), of(4, 0, 0.0)];
    let queue = [40, 50, 60, 70, 82].map(|many| of(many, 2, f64::from(many - 16) * 0.0014));
    let blocks = [&calm[..], &queue[..]].concat();
    let knee = |uneven| saturation(&blocks, uneven).map(|found| found.knee);
    assert!(
        knee(false).is_some_and(|knee| knee < 6.0),
        "{:?}",
        knee(false)
    );
    assert!(
        knee(true).is_none_or(|knee| knee > 16.0),
        "{:?}",
        knee(true)
    );
}

#[test]
fn saturation_is_no_more_than_in_flight_explains() {
    let check = |few: (f64, f64), many: (f64, f64), expected: Option<(f64, f64)>| {
        let blocks = [block(few.0, few.1), block(many.0, many.1)];
        let found = saturation(&blocks, false).map(|found| (found.slower, found.knee));
        match (found, expected) {
            (None, None) => {}
            (Some((slower, knee)), Some((at, size))) => {
                assert!(
                    (slower / at - 1.0).abs() < 0.01,
                    "{few:?} {many:?}: {slower}"
                );
                // What is uncertain goes to the side of those who would be refused.
                assert!(
                    knee >= size && knee < 1.05 * size,
                    "{few:?} {many:?}: {knee}"
                );
            }
            other => panic!("{few:?} {many:?}: {other:?}"),
        }
    };
    check((10.0, 0.01), (40.0, 0.04), Some((4.0, 10.0)));
    check((10.0, 0.01), (40.0, 0.02), Some((2.0, 20.0)));
    // Ten times slower with four times as many: a queue made it four.
    check((10.0, 0.01), (40.0, 0.10), Some((4.0, 10.0)));
    check((10.0, 0.01), (40.0, 0.017), None);
    check((40.0, 0.01), (40.0, 0.10), None);
    assert!(saturation(&[], false).is_none());
}

#[test]
fn a_queue_explains_a_rise_in_step_and_nothing_beyond() {
    let noise = Noise::of(&[block(20.0, 0.01), block(20.0, 0.01)]);
    let check = |to: (f64, f64), expected: bool| {
        let difference = Difference::new(&block(20.0, 0.01), &block(to.0, to.1));
        assert_eq!(difference.by_queue(noise), expected, "{to:?}");
    };
    check((40.0, 0.02), true);
    check((20.0, 0.0105), true);
    check((20.0, 0.03), false);
    check((40.0, 0.10), false);
    check((10.0, 0.0005), false);
}

#[test]
fn a_slope_says_only_what_its_error_allows() {
    let of = |value, error| Slope {
        value,
        chance: error,
        error,
        holds: true,
    };
    // A queue's slope is refuted 1.5 errors below 0.6, and is so plainly none that what was seen
    // is explained 3 errors below it.
    let check = |value: f64, error: f64, refutes: bool, explains: bool| {
        let slope = of(value, error);
        let told = (slope.refutes(), slope.explains());
        assert_eq!(told, (refutes, explains), "{value} within {error}");
    };
    check(0.0, 0.05, true, true);
    check(0.44, 0.05, true, true);
    check(0.46, 0.05, true, false);
    check(0.54, 0.05, false, false);
    check(0.9, 0.05, false, false);
    // Of what scatters much it says less, and then nothing.
    check(0.0, 0.115, true, true);
    check(0.0, EXPLAINED_ERROR_MAX, true, false);
    check(0.0, 0.2, true, false);
    check(0.0, REFUTED_ERROR_MAX, false, false);
    check(0.0, 0.3, false, false);
    for (value, error, follows) in [
        (FOLLOWS, 0.1, true),
        (0.69, 0.1, false),
        (0.9, 0.19, true),
        (0.9, FOLLOWS_ERROR_MAX, false),
        (0.0, 0.3, false),
    ] {
        let told = of(value, error).follows();
        assert_eq!(told, follows, "{value} within {error}");
    }
}

#[test]
fn scatter_counts_once_it_is_far_more_than_chance() {
    // With the error of chance it explains, with that of the scatter it does not.
    for (error, explains) in [(0.09, true), (0.11, false)] {
        let slope = Slope {
            value: 0.4,
            chance: 0.05,
            error,
            holds: true,
        };
        assert_eq!(slope.explains(), explains, "{error}");
    }
}
