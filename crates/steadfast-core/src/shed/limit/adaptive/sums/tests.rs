//! What sums over requests say, against the textbook.

use super::*;

fn of(samples: &[(f64, u32)]) -> Sums {
    let mut sums = Sums::default();
    for (latency, in_flight) in samples {
        sums.add(*latency, *in_flight, false);
    }
    sums
}

fn close(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs()).max(1e-9)
}

#[test]
fn means_and_their_errors_are_those_of_the_textbook() {
    let sums = of(&[(1.0, 2), (2.0, 4), (6.0, 9)]);
    assert!(close(sums.n(), 3.0) && close(sums.latency(), 3.0) && close(sums.in_flight(), 5.0));
    let logs = [1.0_f64.ln(), 2.0_f64.ln(), 6.0_f64.ln()];
    let mean = logs.iter().sum::<f64>() / 3.0;
    assert!(close(sums.log(), mean));
    let variance = logs.iter().map(|log| (log - mean).powi(2)).sum::<f64>() / 3.0;
    assert!(close(sums.log_error_squared(), variance / 3.0));
    // Deviations -2, -1, 3 from a mean of 3.
    assert!(close(sums.error_squared(), (14.0 / 3.0) / 9.0 / 3.0));
}

#[test]
fn no_requests_divide_by_nothing() {
    let none = Sums::default();
    assert!(close(none.latency(), 0.0) && close(none.in_flight(), 0.0) && close(none.log(), 0.0));
    assert!(close(none.abandoned_ratio(), 0.0) && close(none.shift(), 0.0));
    assert!(close(none.error_squared(), 1.0), "nothing is known");
}

#[test]
fn samples_that_are_all_alike_are_not_known_without_an_error() {
    let alike = of(&[(0.01, 4); 16]);
    assert!(close(alike.error_squared(), 1e-4 / 16.0));
    assert!(close(alike.log_error_squared(), 1e-6 / 16.0));
}

#[test]
fn two_groups_merged_are_one_group_of_both() {
    let (a, b) = (of(&[(1.0, 2), (5.0, 3)]), of(&[(2.0, 7)]));
    let both = of(&[(1.0, 2), (5.0, 3), (2.0, 7)]);
    let mut merged = a;
    merged.merge(&b);
    for what in [
        Sums::n,
        Sums::latency,
        Sums::in_flight,
        Sums::log,
        Sums::error_squared,
        Sums::log_error_squared,
    ] {
        assert!(close(what(&merged), what(&both)));
    }
}

#[test]
fn who_gave_up_and_who_would_wait_are_shares_of_all() {
    let mut sums = Sums::default();
    for abandoned in [true, false, false, true, true] {
        sums.add(0.5, 1, abandoned);
    }
    assert!(close(sums.abandoned_ratio(), 0.6));
    sums.would_wait(0.5, 0.5);
    assert!(close(sums.shift(), 2.0_f64.ln() / 5.0));
    let mut merged = sums;
    merged.merge(&sums);
    assert!(close(merged.abandoned_ratio(), 0.6) && close(merged.shift(), sums.shift()));
}

#[test]
fn queued_is_between_their_ratio_in_flight_and_one() {
    let check = |low: (f64, u32), high: (f64, u32), expected: f64| {
        let queued = of(&[low]).queued(&of(&[high]));
        assert!(close(queued, expected), "{low:?} {high:?}: {queued}");
    };
    check((0.5, 8), (1.0, 16), 0.5);
    check((0.8, 8), (1.0, 16), 0.8);
    check((1.5, 8), (1.0, 16), 1.0);
    // Faster than a queue explains counts as all of a queue.
    check((0.1, 8), (1.0, 16), 0.5);
    // More in flight on the low side: nothing can be told from it.
    check((0.5, 20), (1.0, 16), 1.0);
}

#[test]
fn a_service_changed_its_speed_only_if_it_moved_far_and_surely() {
    let base = of(&[(1.0, 4)]);
    let by = |log: f64| of(&[(log.exp(), 4)]);
    let check = |log: f64, error: f64, expected: bool| {
        let differs = by(log).differs_from(&base, error * error);
        assert_eq!(differs, expected, "{log} with an error of {error}");
    };
    check(0.5, 0.1, true);
    check(-0.5, 0.1, true);
    check(0.5, 0.2, false);
    check(0.35, 0.001, false);
    assert!(
        by(1.0).differs_from(&Sums::default(), 0.01),
        "from nothing it does"
    );
}
