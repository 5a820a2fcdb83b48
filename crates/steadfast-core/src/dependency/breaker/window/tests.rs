use proptest::prelude::*;

use super::*;

const SUCCESS: Sample = Sample {
    call: true,
    failed: false,
    slow: false,
    abandoned: false,
};
const FAILURE: Sample = Sample {
    failed: true,
    ..SUCCESS
};

#[test]
fn a_long_healthy_past_does_not_outvote_failures_now() {
    let window = Window::new(1_000, 10, 4);
    for at in 0..100_000 {
        window.record(at as usize, SUCCESS, at);
    }
    for at in 110_000..110_020 {
        window.record(0, FAILURE, at);
    }
    let counts = window.counts(110_020);
    assert_eq!((counts.calls, counts.failed), (20, 20));
}

#[test]
fn an_idle_gap_empties_the_window_without_a_sweeper() {
    let window = Window::new(1_000, 10, 1);
    window.record(0, FAILURE, 5_500);
    assert_eq!(window.counts(14_999).failed, 1);
    assert_eq!(window.counts(15_000).failed, 0);
    assert_eq!(window.counts(5_500 + 16_000).failed, 0);
}

#[test]
fn a_full_bucket_keeps_its_ratio_and_spares_its_neighbour() {
    let window = Window::new(1_000, 10, 1);
    for _ in 0..COUNT_MAX {
        window.record(0, SUCCESS, 0);
        window.record(0, FAILURE, 0);
    }
    let counts = window.counts(0);
    assert_eq!(u64::from(counts.calls), COUNT_MAX - RACING_ADDS_MAX);
    assert_eq!(counts.failed, counts.calls / 2);
    window.record(0, FAILURE, 1_000);
    assert_eq!(window.counts(1_000).failed, counts.failed + 1);
}

#[test]
fn a_leftover_of_half_the_epoch_space_ago_is_taken_over() {
    let window = Window::new(1, 10, 1);
    for gap in [1 << 27, (1 << 27) + 16, (1 << 28) - 4096, (3 << 28) | 4096] {
        let window = Window::new(1, 10, 1);
        window.record(0, FAILURE, 0);
        window.record(0, FAILURE, gap);
        assert_eq!(window.counts(gap).failed, 1, "after {gap} buckets");
    }
    window.record(0, FAILURE, 0);
    assert_eq!(window.counts(1 << 27).failed, 0);
}

#[test]
fn a_record_from_a_thread_that_is_late_is_dropped_when_its_bucket_is_gone() {
    let window = Window::new(1_000, 10, 1);
    window.record(0, SUCCESS, 32_000);
    window.record(0, FAILURE, 16_000);
    assert_eq!(window.counts(32_000).failed, 0);
    window.record(0, FAILURE, 31_999);
    assert_eq!(window.counts(32_000).failed, 1);
}

#[test]
fn a_reader_whose_clock_is_a_moment_old_counts_the_newest_bucket() {
    let window = Window::new(1_000, 10, 1);
    window.record(0, FAILURE, 1_000);
    assert_eq!(window.counts(999).failed, 1);
}

#[test]
fn a_cleared_window_is_empty_and_goes_on_counting() {
    let window = Window::new(1_000, 10, 2);
    window.record(0, FAILURE, 7_000);
    window.record(1, FAILURE, 6_000);
    window.clear();
    assert_eq!(window.counts(7_000), WindowCounts::default());
    window.record(1, FAILURE, 7_000);
    assert_eq!(window.counts(7_000).failed, 1);
}

fn sample() -> impl Strategy<Value = Sample> {
    prop_oneof![
        Just(SUCCESS),
        Just(FAILURE),
        Just(Sample {
            slow: true,
            ..SUCCESS
        }),
        Just(Sample {
            abandoned: true,
            ..Sample::default()
        }),
        Just(Sample {
            slow: true,
            abandoned: true,
            ..FAILURE
        }),
    ]
}

proptest! {
    /// The reference keeps every event and counts those in the last ten buckets.
    #[test]
    fn the_window_counts_what_a_list_of_events_counts(
        events in prop::collection::vec((0_u64..4_000, 0_usize..9, sample()), 1..300),
        stripes in 1_usize..6,
        buckets in 1_usize..20,
        bucket_ms in 1_u64..1_500,
    ) {
        let window = Window::new(bucket_ms, buckets, stripes);
        let mut list: Vec<(u64, Sample)> = Vec::new();
        let mut now = 0;
        for (wait, stripe, sample) in events {
            now += wait;
            window.record(stripe, sample, now);
            list.push((now, sample));
            let first = (now / bucket_ms).saturating_sub(buckets as u64 - 1);
            let live = || list.iter().filter(|(at, _)| at / bucket_ms >= first).map(|(_, s)| s);
            let counts = window.counts(now);
            prop_assert_eq!(counts.calls as usize, live().filter(|s| s.call).count());
            prop_assert_eq!(counts.failed as usize, live().filter(|s| s.failed).count());
            prop_assert_eq!(counts.slow as usize, live().filter(|s| s.slow).count());
            prop_assert_eq!(counts.abandoned as usize, live().filter(|s| s.abandoned).count());
        }
    }
}
