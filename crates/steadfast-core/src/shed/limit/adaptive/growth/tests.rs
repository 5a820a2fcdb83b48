use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Blocks of sixteen requests, opened `every` so many seconds, with so many in flight and so long.
fn blocks(n: usize, every: f64, of: impl Fn(f64) -> (f64, f64)) -> (Vec<Sums>, Vec<Instant>) {
    let start = crate::testing::origin();
    let at = |i: usize| i as f64 * every;
    let opened = (0..n).map(|i| start + Duration::from_secs_f64(at(i)));
    let sums = (0..n).map(|i| {
        let (in_flight, latency) = of(at(i));
        let mut sums = Sums::default();
        for k in 0..16 {
            let around = 1.0 + 0.02 * f64::from(k - 8);
            sums.add(latency * around, in_flight.round() as u32, false);
        }
        sums
    });
    (sums.collect(), opened.collect())
}

proptest! {
    #[test]
    fn an_overload_outgrows_whatever_queue_was_the_normal(
        workers in 1.0f64..500.0,
        service_secs in 0.0002f64..0.5,
        normal in 1.0f64..20.0,
        times in 1.6f64..12.0,
    ) {
        let capacity = workers / service_secs;
        let before = (normal * workers).max(12.0);
        // Until it has doubled.
        let secs = before / (times - 1.0) / capacity;
        let (sums, opened) = blocks(24, secs / 23.0, |t| {
            let in_flight = before + (times - 1.0) * capacity * t;
            (in_flight, in_flight / capacity)
        });
        prop_assert!(outgrows(&sums, &opened));
    }

    #[test]
    fn an_overload_of_a_tenth_and_what_stands_do_not(
        workers in 16.0f64..500.0,
        service_secs in 0.001f64..0.5,
        times in 1.0f64..1.1,
    ) {
        let capacity = workers / service_secs;
        let (sums, opened) = blocks(64, service_secs / 4.0, |t| {
            let in_flight = 2.0 * workers + (times - 1.0) * capacity * t;
            (in_flight, in_flight / capacity)
        });
        prop_assert!(!outgrows(&sums, &opened));
    }

    #[test]
    fn a_dependency_that_becomes_slower_at_once_or_slowly_is_none(
        rate in 100.0f64..10_000.0,
        before in 0.001f64..0.1,
        more in 0.05f64..1.0,
        slope in 0.0f64..0.25,
    ) {
        // At once: latency first, and in flight after it.
        let (sums, opened) = blocks(64, more / 40.0, |t| {
            let since = t - more / 4.0;
            if since < 0.0 { return (rate * before, before) }
            let late = since.min(before + more);
            ((rate * before).max(rate * late), before + more)
        });
        prop_assert!(!outgrows(&sums, &opened));
        // Slowly: both together, by little of the time that passes.
        let (sums, opened) = blocks(64, before / 4.0, |t| {
            let latency = before + slope * t;
            (rate * latency / (1.0 + slope), latency)
        });
        prop_assert!(!outgrows(&sums, &opened));
    }
}

#[test]
fn nothing_is_said_of_nothing() {
    assert!(!outgrows(&[], &[]));
    let (sums, opened) = blocks(1, 1.0, |_| (100.0, 1.0));
    assert!(!outgrows(&sums, &opened));
}
