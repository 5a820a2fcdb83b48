//! One side of a comparison, and what is carried from one cycle to the next.

use super::*;

fn group(requests: u32, latency: f64, in_flight: u32) -> Group {
    let mut group = Group::default();
    for number in 0..requests {
        let at = f64::from(number);
        group.admitted(at, in_flight);
        let own = latency * (1.0 + 0.02 * f64::from(number % 3));
        group.ended(at, in_flight, Some((own, in_flight, false)));
        group.clusters.add(at, 0.001, own);
    }
    group
}

#[test]
fn a_group_is_open_until_all_of_it_have_ended() {
    let mut group = Group::default();
    group.admitted(1.0, 8);
    group.admitted(2.0, 10);
    assert!(group.open() && (group.len() - 2.0).abs() < 1e-9);
    group.ended(1.0, 8, Some((0.5, 8, false)));
    assert!(group.open(), "one has not");
    // One that says nothing ends all the same.
    group.ended(2.0, 10, None);
    assert!(!group.open() && (group.len() - 1.0).abs() < 1e-9);
}

#[test]
fn those_still_open_count_with_the_age_they_have() {
    let mut group = Group::default();
    for (at, in_flight) in [(0.0, 8), (2.0, 12)] {
        group.admitted(at, in_flight);
    }
    group.close(5.0);
    assert!(!group.open());
    assert!((group.sums.n() - 2.0).abs() < 1e-9);
    assert!(
        (group.sums.latency() - 4.0).abs() < 1e-9,
        "5 s less 1 s on average"
    );
    assert!((group.sums.in_flight() - 10.0).abs() < 1e-9);
    group.close(9.0);
    assert!((group.sums.n() - 2.0).abs() < 1e-9, "once");
}

#[test]
fn many_that_hang_change_a_mean_no_further() {
    let mut group = Group::default();
    group.admitted_before(1_000, -3.0, 50.0);
    assert!((group.len() - 1_000.0).abs() < 1e-9);
    group.close(1.0);
    assert!((group.sums.n() - OPEN_MAX).abs() < 1e-9);
    assert!((group.sums.latency() - 4.0).abs() < 1e-9);
}

#[test]
fn sums_are_carried_on_unless_the_service_changed_its_speed() {
    let check = |latency: f64, carried: bool| {
        let kept = Kept {
            high: group(40, 0.010, 32),
            low: group(30, 0.008, 20),
        };
        let (mut high, mut low) = (group(40, latency, 32), group(30, 0.008, 20));
        kept.add_to(&mut high, &mut low);
        let expected = if carried { (80.0, 60.0) } else { (40.0, 30.0) };
        let seen = (high.sums.n(), low.sums.n());
        assert_eq!(seen, expected, "{latency}");
        let clusters = high.clusters.latency_spread();
        assert!(matches!(clusters, super::super::clusters::Spread::Is(_)));
    };
    check(0.010, true);
    check(0.012, true);
    check(0.020, false);
    check(0.004, false);
}

#[test]
fn nothing_carried_adds_nothing() {
    let (mut high, mut low) = (group(5, 0.01, 4), group(5, 0.01, 2));
    Kept::default().add_to(&mut high, &mut low);
    assert!((high.sums.n() - 5.0).abs() < 1e-9 && (low.sums.n() - 5.0).abs() < 1e-9);
}

#[test]
fn an_error_is_that_of_the_clusters_where_it_is_far_larger() {
    // Eight slices of sixteen: as many answers as there are slices.
    let mut sliced = Group::default();
    for slice in 0..8 {
        let latency = 0.01 * (1.0 + f64::from(slice % 2));
        for _ in 0..16 {
            sliced.admitted(0.0, 8);
            sliced.ended(0.0, 8, Some((latency, 8, false)));
            sliced.clusters.add(f64::from(slice), 0.001, latency);
        }
    }
    assert!(sliced.error_squared() > 8.0 * sliced.sums.error_squared());
    assert!(sliced.log_error_squared() > 8.0 * sliced.sums.log_error_squared());
    let apart = group(128, 0.01, 8);
    assert!((apart.error_squared() - apart.sums.error_squared()).abs() < 1e-12);
}

#[test]
fn a_few_that_happen_to_be_short_are_no_surer_than_what_is_known_of_all() {
    let mut group = Group::default();
    for _ in 0..16 {
        group.admitted(0.0, 8);
        group.ended(0.0, 8, Some((0.002, 8, false)));
    }
    let alike = group.error_squared();
    assert!(alike < 1e-4, "{alike}");
    // One of ten takes 200 ms.
    group.scatter = 0.09 * 0.198 * 0.198;
    let known = group.error_squared();
    assert!((known - group.scatter / 0.002_f64.powi(2) / 16.0).abs() < 1e-6);
}
